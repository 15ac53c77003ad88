#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare an Elastic IP by its name, and which instance has it."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: elastic_ip
version_added: 0.1.0
short_description: Declare an Elastic IP by its name
description:
  - Finds the address by its C(Name) tag, allocates it when there is none, and associates it with an instance.
  - Unlike C(amazon.aws.ec2_eip) it never takes another free address of the account.
options:
  name:
    description: The C(Name) tag of the address.
    type: str
    required: true
  instance_id:
    description: Instance that has the address. Left as it is when not given or empty.
    type: str
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags.added
"""

EXAMPLES = r"""
- name: Give the machine its address
  shtetl.zmanim.elastic_ip:
    name: zmanim-production
    instance_id: i-0123456789abcdef0
"""

RETURN = r"""
public_ip:
  description: The address, empty in check mode before it exists.
  returned: always
  type: str
allocation_id:
  description: Id of the allocation, empty in check mode before it exists.
  returned: always
  type: str
"""

from typing import Any, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    add_ec2_tags,
    call,
    desired_tags,
    run,
    tag_dict,
    tag_list,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import named, the_only


class ElasticIp(DeclaredResource):
    """The one Elastic IP with the declared name."""

    kind = "Elastic IP"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["name"]
        self.public_ip = ""
        self.allocation_id = ""

    def current(self) -> Optional[State]:
        """Read the address that has the name; more than one is an error."""
        addresses = named(self.ec2.describe_addresses, "Addresses", self.name)
        found = the_only("Elastic IPs", self.name, addresses, "PublicIp", "release the others")
        if found is None:
            return None
        self.public_ip, self.allocation_id = found["PublicIp"], found["AllocationId"]
        return {"instance_id": found.get("InstanceId") or "", "tags": tag_dict(found.get("Tags"))}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared address."""
        held = current or {"instance_id": "", "tags": {}}
        tags = dict(self.params["tags"], Name=self.name)
        return {
            "instance_id": self.params["instance_id"] or held["instance_id"],
            "tags": desired_tags(held["tags"], tags, purge=False),
        }

    def create(self, desired: State) -> None:
        """Allocate the address and associate it."""
        tags = [{"ResourceType": "elastic-ip", "Tags": tag_list(desired["tags"])}]
        answer = call("allocate an address", self.ec2.allocate_address, Domain="vpc", TagSpecifications=tags)
        self.public_ip, self.allocation_id = answer["PublicIp"], answer["AllocationId"]
        self._associate("", desired["instance_id"])

    def _associate(self, current: str, instance_id: str) -> None:
        if instance_id and instance_id != current:
            call(
                f"associate {self.public_ip} with {instance_id}",
                self.ec2.associate_address,
                AllocationId=self.allocation_id,
                InstanceId=instance_id,
                AllowReassociation=True,
            )

    def update(self, current: State, desired: State) -> None:
        """Move the address and set its tags."""
        add_ec2_tags(self.ec2, self.allocation_id, current["tags"], desired["tags"])
        self._associate(current["instance_id"], desired["instance_id"])

    def delete(self, current: State) -> None:
        """Take the address from its instance and release it."""
        if current["instance_id"]:
            answer = call("read the address", self.ec2.describe_addresses, AllocationIds=[self.allocation_id])
            association = answer["Addresses"][0].get("AssociationId")
            if association:
                call("disassociate the address", self.ec2.disassociate_address, AssociationId=association)
        call(f"release {self.public_ip}", self.ec2.release_address, AllocationId=self.allocation_id)

    def result(self) -> State:
        """Return the address and its allocation."""
        return {"public_ip": self.public_ip, "allocation_id": self.allocation_id}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "instance_id": {"type": "str"},
            "tags": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    run(module, ElasticIp)


if __name__ == "__main__":
    main()
