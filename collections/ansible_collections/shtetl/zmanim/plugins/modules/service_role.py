#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare an IAM role that a service assumes, with its policies and its instance profile."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: service_role
version_added: 0.1.0
short_description: Declare an IAM role with its policies and its instance profile
description:
  - Keeps an IAM role, its inline policies, its attached managed policies and an instance profile of the
    same name as one declared thing.
  - What is not declared is removed from the role, so that the declaration is all that the role may do.
  - Unlike separate tasks for the role and its policies, check mode works before the role exists.
options:
  name:
    description: Name of the role, and of the instance profile.
    type: str
    required: true
  description:
    description: Description of the role.
    type: str
    default: ""
  trust:
    description: Trust policy document, saying who may assume the role. Required when I(state=present).
    type: dict
  policies:
    description: Inline policy documents by policy name.
    type: dict
    default: {}
  managed_policies:
    description: ARNs of the managed policies attached to the role.
    type: list
    elements: str
    default: []
  instance_profile:
    description: Whether the role has an instance profile of the same name.
    type: bool
    default: false
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes
  - shtetl.zmanim.state
  - shtetl.zmanim.tags
"""

EXAMPLES = r"""
- name: Declare the role of the machine
  shtetl.zmanim.service_role:
    name: zmanim-production
    instance_profile: true
    trust:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Principal: {Service: ec2.amazonaws.com}
          Action: sts:AssumeRole
    policies:
      metrics:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Action: cloudwatch:PutMetricData
            Resource: "*"
            Condition: {StringEquals: {cloudwatch:namespace: Zmanim}}
"""

RETURN = r"""
arn:
  description: ARN of the role, empty in check mode before it exists.
  returned: always
  type: str
name:
  description: Name of the role.
  returned: always
  type: str
"""

from typing import Any, Dict, List, Optional

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    STATE,
    DeclaredResource,
    State,
    call,
    desired_tags,
    run,
    tag_changes,
    tag_dict,
    tag_list,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.policy_document import document_text, normalised

GONE = ("NoSuchEntity",)


class ServiceRole(DeclaredResource):
    """An IAM role, what it may do, and its instance profile."""

    kind = "IAM role"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.iam = module.client("iam")
        self.name: str = self.params["name"]
        self.arn = ""

    def current(self) -> Optional[State]:
        """Read the role with everything attached to it."""
        answer = call(f"read the role {self.name}", self.iam.get_role, missing=GONE, RoleName=self.name)
        if answer is None:
            return None
        role = answer["Role"]
        self.arn = role["Arn"]
        return {
            "description": role.get("Description", ""),
            "instance_profile": self._profile_holds_role(),
            "managed_policies": self._managed_policies(),
            "policies": self._policies(),
            "tags": tag_dict(role.get("Tags")),
            "trust": normalised(role["AssumeRolePolicyDocument"]),
        }

    def _managed_policies(self) -> List[str]:
        answer = call("list attached policies", self.iam.list_attached_role_policies, RoleName=self.name)
        return sorted(policy["PolicyArn"] for policy in answer["AttachedPolicies"])

    def _policies(self) -> Dict[str, Any]:
        names = call("list inline policies", self.iam.list_role_policies, RoleName=self.name)["PolicyNames"]
        return {name: normalised(self._policy(name)) for name in names}

    def _policy(self, name: str) -> Any:
        answer = call(
            f"read the policy {name}", self.iam.get_role_policy, RoleName=self.name, PolicyName=name
        )
        return answer["PolicyDocument"]

    def _profile_holds_role(self) -> bool:
        answer = call(
            f"read the instance profile {self.name}",
            self.iam.get_instance_profile,
            missing=GONE,
            InstanceProfileName=self.name,
        )
        roles = answer["InstanceProfile"]["Roles"] if answer else []
        return any(role["RoleName"] == self.name for role in roles)

    def desired(self, current: Optional[State]) -> State:
        """Return the declared role."""
        return {
            "description": self.params["description"],
            "instance_profile": self.params["instance_profile"],
            "managed_policies": sorted(self.params["managed_policies"]),
            "policies": {name: normalised(text) for name, text in self.params["policies"].items()},
            "tags": desired_tags((current or {}).get("tags"), self.params["tags"], purge=True),
            "trust": normalised(self.params["trust"]),
        }

    def create(self, desired: State) -> None:
        """Create the role, then what belongs to it."""
        answer = call(
            f"create the role {self.name}",
            self.iam.create_role,
            RoleName=self.name,
            Description=desired["description"],
            AssumeRolePolicyDocument=document_text(desired["trust"]),
            Tags=tag_list(desired["tags"]),
        )
        self.arn = answer["Role"]["Arn"]
        bare = dict(desired, policies={}, managed_policies=[], instance_profile=False)
        self.update(bare, desired)

    def update(self, current: State, desired: State) -> None:
        """Bring each part of the role to its declaration."""
        if current["description"] != desired["description"]:
            call(
                "describe the role",
                self.iam.update_role,
                RoleName=self.name,
                Description=desired["description"],
            )
        if current["trust"] != desired["trust"]:
            call(
                "set the trust policy",
                self.iam.update_assume_role_policy,
                RoleName=self.name,
                PolicyDocument=document_text(desired["trust"]),
            )
        self._set_policies(current["policies"], desired["policies"])
        self._set_managed_policies(current["managed_policies"], desired["managed_policies"])
        self._set_tags(current["tags"], desired["tags"])
        if desired["instance_profile"] and not current["instance_profile"]:
            self._add_profile()
        if current["instance_profile"] and not desired["instance_profile"]:
            self._remove_profile()

    def _set_policies(self, current: Dict[str, Any], desired: Dict[str, Any]) -> None:
        for name in sorted(set(current) - set(desired)):
            call(
                f"delete the policy {name}", self.iam.delete_role_policy, RoleName=self.name, PolicyName=name
            )
        for name, document in desired.items():
            if current.get(name) != document:
                call(
                    f"write the policy {name}",
                    self.iam.put_role_policy,
                    RoleName=self.name,
                    PolicyName=name,
                    PolicyDocument=document_text(document),
                )

    def _set_managed_policies(self, current: List[str], desired: List[str]) -> None:
        for arn in sorted(set(current) - set(desired)):
            call(f"detach {arn}", self.iam.detach_role_policy, RoleName=self.name, PolicyArn=arn)
        for arn in sorted(set(desired) - set(current)):
            call(f"attach {arn}", self.iam.attach_role_policy, RoleName=self.name, PolicyArn=arn)

    def _set_tags(self, current: Dict[str, str], desired: Dict[str, str]) -> None:
        to_set, to_remove = tag_changes(current, desired)
        if to_set:
            call("tag the role", self.iam.tag_role, RoleName=self.name, Tags=tag_list(to_set))
        if to_remove:
            call("untag the role", self.iam.untag_role, RoleName=self.name, TagKeys=to_remove)

    def _add_profile(self) -> None:
        call(
            f"create the instance profile {self.name}",
            self.iam.create_instance_profile,
            missing=("EntityAlreadyExists",),
            InstanceProfileName=self.name,
        )
        call(
            f"put the role into the instance profile {self.name}",
            self.iam.add_role_to_instance_profile,
            InstanceProfileName=self.name,
            RoleName=self.name,
        )
        self.iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=self.name)

    def _remove_profile(self) -> None:
        arguments = {"InstanceProfileName": self.name}
        call(
            f"take the role out of the instance profile {self.name}",
            self.iam.remove_role_from_instance_profile,
            missing=GONE,
            RoleName=self.name,
            **arguments,
        )
        call("delete the instance profile", self.iam.delete_instance_profile, missing=GONE, **arguments)

    def delete(self, current: State) -> None:
        """Take everything off the role, then delete it."""
        self._set_policies(current["policies"], {})
        self._set_managed_policies(current["managed_policies"], [])
        if current["instance_profile"]:
            self._remove_profile()
        call(f"delete the role {self.name}", self.iam.delete_role, missing=GONE, RoleName=self.name)

    def result(self) -> State:
        """Return the role's identifiers."""
        return {"arn": self.arn, "name": self.name}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "description": {"type": "str", "default": ""},
            "trust": {"type": "dict"},
            "policies": {"type": "dict", "default": {}},
            "managed_policies": {"type": "list", "elements": "str", "default": []},
            "instance_profile": {"type": "bool", "default": False},
            "tags": {"type": "dict"},
        },
        required_if=[("state", "present", ["trust"])],
        supports_check_mode=True,
    )
    run(module, ServiceRole)


if __name__ == "__main__":
    main()
