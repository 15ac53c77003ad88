#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare that an environment has its one active instance, with the data volume attached."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: active_instance
version_added: 0.1.0
short_description: Declare the one active instance of an environment with its data volume
description:
  - Finds the instance with the C(Name) tag and the tag C(ZmanimRole=active), and launches it from the launch
    template when there is none; it runs, and the data volume is attached to it and is never deleted with it.
  - An existing instance is never replaced. When it runs another image or type than declared a warning
    names the playbook that changes it.
  - Polls every second, where the waiters of boto3 poll every fifteen.
options:
  name:
    description: The C(Name) tag of the instance.
    type: str
    required: true
  state:
    description: >-
      Whether the instance exists. V(absent) terminates every instance with the name, whatever its role.
  launch_template:
    description: Name of the launch template; its default version is used.
    type: str
  image_id:
    description: Image of a new instance.
    type: str
  instance_type:
    description: Declared type, compared with that of an existing instance.
    type: str
  subnet_id:
    description: Subnet of a new instance.
    type: str
  volume_id:
    description: Id of the data volume.
    type: str
  device:
    description: Device name that the data volume is attached as.
    type: str
    default: /dev/sdf
  wait_timeout:
    description: Seconds to wait for each change of the instance or of the attachment.
    type: int
    default: 300
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
- name: Keep the active instance
  shtetl.zmanim.active_instance:
    name: zmanim-production
    launch_template: zmanim-production
    image_id: ami-0123456789abcdef0
    subnet_id: subnet-0123456789abcdef0
    volume_id: vol-0123456789abcdef0
"""

RETURN = r"""
instance_id:
  description: Id of the active instance, empty in check mode before it exists.
  returned: always
  type: str
image_id:
  description: Image that the instance runs, or is launched from.
  returned: always
  type: str
private_ip:
  description: Private address of the instance, empty before it exists.
  returned: always
  type: str
launched:
  description: Whether this run launched the instance.
  returned: always
  type: bool
"""

import uuid
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    DeclaredResourceError,
    State,
    add_ec2_tags,
    call,
    desired_tags,
    run,
    tag_dict,
    tag_list,
    wait_until,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import instances
from ansible_collections.shtetl.zmanim.plugins.module_utils.volume_tags import FINAL_SNAPSHOT

ROLE_TAG = "ZmanimRole"
# A new instance profile takes some seconds until EC2 knows it.
NOT_YET = "InvalidParameterValue"
PROFILE_DEADLINE = 60


def choose_active(instances: List[Dict[str, Any]], name: str) -> Optional[Dict[str, Any]]:
    """Return the instance that carries the active role, None when no instance has the name.

    Raises DeclaredResourceError when several are active, or when there are instances and none is.
    """
    active = [one for one in instances if tag_dict(one.get("Tags")).get(ROLE_TAG) == "active"]
    if len(active) == 1:
        return active[0]
    if not instances:
        return None
    found = ", ".join(sorted(one["InstanceId"] for one in active or instances))
    raise DeclaredResourceError(
        f"{len(active)} instances named {name} have the tag {ROLE_TAG}=active ({found}), expected one: "
        "a swap is unfinished; run playbooks/swap.yml, which finishes it or rolls it back, or correct the tag"
    )


class ActiveInstance(DeclaredResource):
    """The instance that serves, and the attachment of the data volume to it."""

    kind = "EC2 instance"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["name"]
        self.instance: Dict[str, Any] = {}
        self.launched = False

    @property
    def instance_id(self) -> str:
        """Return the id of the active instance, empty before it exists."""
        return str(self.instance.get("InstanceId", ""))

    def _named_instances(self) -> List[Dict[str, Any]]:
        return instances(self.ec2, self.name)

    def current(self) -> Optional[State]:
        """Read the active instance and the attachment of the volume."""
        chosen = choose_active(self._named_instances(), self.name)
        if chosen is None:
            return None
        self.instance = chosen
        self._report_differences()
        return {
            "attachment": self._attachment(),
            "state": "running" if chosen["State"]["Name"] in ("pending", "running") else "stopped",
            "tags": {
                key: text for key, text in tag_dict(chosen.get("Tags")).items() if not key.startswith("aws:")
            },
        }

    def _attachment(self) -> Optional[Dict[str, Any]]:
        for mapping in self.instance.get("BlockDeviceMappings", []):
            if mapping.get("Ebs", {}).get("VolumeId") == self.params["volume_id"]:
                ebs = mapping["Ebs"]
                return {
                    "delete_on_termination": bool(ebs.get("DeleteOnTermination")),
                    "device": mapping["DeviceName"],
                    "volume_id": ebs["VolumeId"],
                }
        return None

    def _report_differences(self) -> None:
        for key, option in (("ImageId", "image_id"), ("InstanceType", "instance_type")):
            wanted, found = self.params[option], self.instance.get(key)
            if wanted and found != wanted:
                self.module.warn(
                    f"the instance {self.instance_id} has {option} {found}, declared is {wanted}: an "
                    "existing "
                    f"instance is never replaced here; playbooks/swap.yml does that without losing a request"
                )

    def desired(self, current: Optional[State]) -> State:
        """Return the declared instance."""
        held = (current or {}).get("tags") or {ROLE_TAG: "active"}
        tags = dict(self.params["tags"], Name=self.name)
        return {
            "attachment": {
                "delete_on_termination": False,
                "device": ((current or {}).get("attachment") or {}).get("device", self.params["device"]),
                "volume_id": self.params["volume_id"],
            },
            "state": "running",
            "tags": desired_tags(held, tags, purge=False),
        }

    def create(self, desired: State) -> None:
        """Launch the instance, wait until it runs, attach the volume."""
        self._refuse_foreign_attachment()
        self.instance = self._launch(desired["tags"])
        self.launched = True
        self._wait_for_state("running")
        self._attach(desired["attachment"])
        self.instance = self._described()

    def _launch(self, tags: Dict[str, str]) -> Dict[str, Any]:
        specifications = [{"ResourceType": "instance", "Tags": tag_list(tags)}]
        arguments = {
            "ClientToken": str(uuid.uuid4()),
            "ImageId": self.params["image_id"],
            "LaunchTemplate": {"LaunchTemplateName": self.params["launch_template"], "Version": "$Default"},
            "MaxCount": 1,
            "MinCount": 1,
            "SubnetId": self.params["subnet_id"],
            "TagSpecifications": specifications,
        }

        def attempt() -> Optional[Dict[str, Any]]:
            try:
                answer = call(f"launch {self.name}", self.ec2.run_instances, **arguments)
            except DeclaredResourceError as error:
                if error.code == NOT_YET and "iam" in error.message.lower():
                    return None
                raise
            return dict(answer["Instances"][0])

        return wait_until("an instance profile known to EC2", attempt, bool, deadline=PROFILE_DEADLINE) or {}

    def _described(self) -> Dict[str, Any]:
        answer = call("read the instance", self.ec2.describe_instances, InstanceIds=[self.instance_id])
        return dict(answer["Reservations"][0]["Instances"][0])

    def _volume(self) -> Dict[str, Any]:
        volume_id = self.params["volume_id"]
        answer = call(f"read the volume {volume_id}", self.ec2.describe_volumes, VolumeIds=[volume_id])
        return dict(answer["Volumes"][0])

    def _wait(self, what: str, probe: Callable[[], Any], reached: Callable[[Any], bool]) -> None:
        wait_until(what, probe, reached, deadline=self.params["wait_timeout"])

    def _wait_for_state(self, state: str) -> None:
        def probe() -> str:
            found = str(self._described()["State"]["Name"])
            if state == "running" and found in ("shutting-down", "terminated"):
                reason = self._described().get("StateReason", {}).get("Message", "no reason given")
                raise DeclaredResourceError(
                    f"the instance {self.instance_id} ended while it started: {reason}"
                )
            return found

        self._wait(f"{self.instance_id} {state}", probe, lambda found: found == state)

    def _refuse_foreign_attachment(self) -> None:
        holders = [
            one["InstanceId"] for one in self._volume().get("Attachments", []) if one.get("InstanceId")
        ]
        foreign = sorted(set(holders) - {self.instance_id})
        if foreign:
            raise DeclaredResourceError(
                f"the data volume {self.params['volume_id']} is attached to {', '.join(foreign)}, "
                "expected it free or "
                f"on {self.instance_id or 'no instance'}: stop that instance and detach the volume, or "
                "restore its tags"
            )

    def _attach(self, attachment: Dict[str, Any]) -> None:
        volume_id = attachment["volume_id"]
        outdated = [{"Key": FINAL_SNAPSHOT}]
        call("forget the final snapshot", self.ec2.delete_tags, Resources=[volume_id], Tags=outdated)
        call(
            f"attach {volume_id} to {self.instance_id}",
            self.ec2.attach_volume,
            Device=attachment["device"],
            InstanceId=self.instance_id,
            VolumeId=volume_id,
        )
        self._wait(
            f"{volume_id} attached",
            lambda: [one.get("State") for one in self._volume().get("Attachments", [])],
            lambda states: states == ["attached"],
        )
        self._keep_volume(attachment["device"])

    def _keep_volume(self, device: str) -> None:
        """Make sure that the volume stays when the instance is terminated."""
        self.instance = self._described()
        if (self._attachment() or {}).get("delete_on_termination"):
            call(
                "keep the volume on termination",
                self.ec2.modify_instance_attribute,
                InstanceId=self.instance_id,
                BlockDeviceMappings=[{"DeviceName": device, "Ebs": {"DeleteOnTermination": False}}],
            )

    def update(self, current: State, desired: State) -> None:
        """Start the instance, attach the volume, protect it, set tags."""
        add_ec2_tags(self.ec2, self.instance_id, current["tags"], desired["tags"])
        if current["attachment"] is None:
            self._refuse_foreign_attachment()
            self._attach(desired["attachment"])
        elif current["attachment"]["delete_on_termination"]:
            self._keep_volume(desired["attachment"]["device"])
        if current["state"] != "running":
            self._start()
        self.instance = self._described()

    def _start(self) -> None:
        stopping = self.instance["State"]["Name"] == "stopping"
        if stopping:
            self._wait_for_state("stopped")
        call(f"start {self.instance_id}", self.ec2.start_instances, InstanceIds=[self.instance_id])
        self._wait_for_state("running")

    def result(self) -> State:
        """Return the instance's identifiers."""
        return {
            "image_id": self.instance.get("ImageId") or self.params["image_id"] or "",
            "instance_id": self.instance_id,
            "launched": self.launched,
            "private_ip": self.instance.get("PrivateIpAddress", ""),
        }


class NoInstance(ActiveInstance):
    """The instances that have the name, to be ended."""

    def current(self) -> Optional[State]:
        """Read which instances have the name, None when there are none."""
        found = sorted(one["InstanceId"] for one in self._named_instances())
        return {"instances": found} if found else None

    def delete(self, current: State) -> None:
        """Terminate the instances after making sure that no data volume goes with them."""
        for instance_id in current["instances"]:
            self.instance = {"InstanceId": instance_id}
            self.instance = self._described()
            self._protect_volumes()
        call("terminate the instances", self.ec2.terminate_instances, InstanceIds=current["instances"])
        for instance_id in current["instances"]:
            self.instance = {"InstanceId": instance_id}
            self._wait_for_state("terminated")

    def _protect_volumes(self) -> None:
        root = self.instance.get("RootDeviceName")
        for mapping in self.instance.get("BlockDeviceMappings", []):
            if mapping["DeviceName"] != root and mapping.get("Ebs", {}).get("DeleteOnTermination"):
                self.params["volume_id"] = mapping["Ebs"]["VolumeId"]
                self._keep_volume(mapping["DeviceName"])


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "launch_template": {"type": "str"},
            "image_id": {"type": "str"},
            "instance_type": {"type": "str"},
            "subnet_id": {"type": "str"},
            "volume_id": {"type": "str"},
            "device": {"type": "str", "default": "/dev/sdf"},
            "tags": {"type": "dict", "default": {}},
            "wait_timeout": {"type": "int", "default": 300},
        },
        required_if=[("state", "present", ["launch_template", "image_id", "subnet_id", "volume_id"])],
        supports_check_mode=True,
    )
    run(module, NoInstance if module.params["state"] == "absent" else ActiveInstance)


if __name__ == "__main__":
    main()
