#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the launch template that every instance of an environment starts from."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: launch_template
version_added: 0.1.0
short_description: Declare an EC2 launch template for instances with IMDSv2
description:
  - Keeps a launch template whose default version is exactly what is declared; a difference
    makes a new version.
  - Always asks for IMDSv2 with the instance's tags readable, and for an encrypted root volume.
  - Names no image; the image is given at launch, so that a new image changes no template.
  - Unlike C(amazon.aws.ec2_launch_template) a second run changes nothing and the diff shows every difference.
options:
  name:
    description: Name of the launch template.
    type: str
    required: true
  instance_type:
    description: Type of the instances.
    type: str
  instance_profile:
    description: Name of the instance profile.
    type: str
  security_group_ids:
    description: Security groups of the instances.
    type: list
    elements: str
    default: []
  user_data:
    description: User data as plain text; holds no secret.
    type: str
    default: ""
  key_name:
    description: Name of the key pair for SSH. None when not given.
    type: str
  root_device_name:
    description: Device name of the root volume, as the image names it.
    type: str
    default: /dev/xvda
  root_size_gib:
    description: Size of the root volume in GiB.
    type: int
    default: 10
  instance_tags:
    description: Tags of every instance and its root volume.
    type: dict
    default: {}
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
- name: Keep the launch template
  shtetl.zmanim.launch_template:
    name: zmanim-production
    instance_type: m7g.medium
    instance_profile: zmanim-production
    security_group_ids: [sg-0123456789abcdef0]
    user_data: |
      ZMANIM_ENV=production
"""

RETURN = r"""
template_id:
  description: Id of the launch template, empty in check mode before it exists.
  returned: always
  type: str
"""

import base64
from typing import Any, Dict, List, Mapping, Optional

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

GONE = ("InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound")


def decoded(user_data: Optional[str]) -> str:
    """Return user data as text."""
    return base64.b64decode(user_data or "").decode("utf-8", "replace")


def readable(data: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the data of a template version without empty parts, and with its user data as text."""
    shown = {key: value for key, value in data.items() if value not in (None, "", [], {})}
    if "UserData" in shown:
        shown["UserData"] = decoded(shown["UserData"])
    if "MetadataOptions" in shown:
        shown["MetadataOptions"] = {
            key: value for key, value in shown["MetadataOptions"].items() if key != "State"
        }
    if "SecurityGroupIds" in shown:
        shown["SecurityGroupIds"] = sorted(shown["SecurityGroupIds"])
    if "TagSpecifications" in shown:
        shown["TagSpecifications"] = _tags_by_type(shown["TagSpecifications"])
    return shown


def _tags_by_type(specifications: List[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Return the tags that instances get; those of the template itself are compared apart."""
    plain = [
        {"ResourceType": one["ResourceType"], "Tags": tag_list(tag_dict(one.get("Tags")))}
        for one in specifications
        if one["ResourceType"] != "launch-template"
    ]
    return sorted(plain, key=lambda one: str(one["ResourceType"]))


def template_data(options: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the data of the declared template in the form that readable() gives."""
    tags = tag_list({str(key): str(value) for key, value in options["instance_tags"].items()})
    root = {
        "DeviceName": options["root_device_name"],
        "Ebs": {
            "DeleteOnTermination": True,
            "Encrypted": True,
            "VolumeSize": options["root_size_gib"],
            "VolumeType": "gp3",
        },
    }
    data = {
        "BlockDeviceMappings": [root],
        "IamInstanceProfile": {"Name": options["instance_profile"]} if options["instance_profile"] else None,
        "InstanceType": options["instance_type"],
        "KeyName": options["key_name"],
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
            "HttpTokens": "required",
            "InstanceMetadataTags": "enabled",
        },
        "SecurityGroupIds": sorted(options["security_group_ids"]),
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume") if tags
        ],
        "UserData": options["user_data"],
    }
    return {key: value for key, value in data.items() if value not in (None, "", [], {})}


def encoded(data: Mapping[str, Any]) -> Dict[str, Any]:
    """Return readable data in the form that EC2 takes."""
    request = dict(data)
    if "UserData" in request:
        request["UserData"] = base64.b64encode(request["UserData"].encode("utf-8")).decode("ascii")
    return request


class LaunchTemplate(DeclaredResource):
    """A launch template and the data of its default version."""

    kind = "launch template"

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self.ec2 = module.client("ec2")
        self.name: str = self.params["name"]
        self.template_id = ""

    def current(self) -> Optional[State]:
        """Read the template and its default version."""
        found = call(
            f"read the launch template {self.name}",
            self.ec2.describe_launch_templates,
            missing=GONE,
            LaunchTemplateNames=[self.name],
        )
        if not found or not found["LaunchTemplates"]:
            return None
        template = found["LaunchTemplates"][0]
        self.template_id = template["LaunchTemplateId"]
        versions = call(
            f"read the default version of {self.name}",
            self.ec2.describe_launch_template_versions,
            LaunchTemplateId=self.template_id,
            Versions=[str(template["DefaultVersionNumber"])],
        )["LaunchTemplateVersions"]
        return {"data": readable(versions[0]["LaunchTemplateData"]), "tags": tag_dict(template.get("Tags"))}

    def desired(self, current: Optional[State]) -> State:
        """Return the declared template."""
        held = (current or {}).get("tags")
        return {
            "data": template_data(self.params),
            "tags": desired_tags(held, self.params["tags"], purge=False),
        }

    def create(self, desired: State) -> None:
        """Create the template with its first version."""
        arguments: Dict[str, Any] = {}
        if desired["tags"]:
            tags = tag_list(desired["tags"])
            arguments["TagSpecifications"] = [{"ResourceType": "launch-template", "Tags": tags}]
        answer = call(
            f"create the launch template {self.name}",
            self.ec2.create_launch_template,
            LaunchTemplateName=self.name,
            LaunchTemplateData=encoded(desired["data"]),
            **arguments,
        )
        self.template_id = answer["LaunchTemplate"]["LaunchTemplateId"]

    def update(self, current: State, desired: State) -> None:
        """Make a new default version when the data differs, and set tags."""
        add_ec2_tags(self.ec2, self.template_id, current["tags"], desired["tags"])
        if current["data"] != desired["data"]:
            version = call(
                f"make a version of {self.name}",
                self.ec2.create_launch_template_version,
                LaunchTemplateId=self.template_id,
                LaunchTemplateData=encoded(desired["data"]),
            )["LaunchTemplateVersion"]["VersionNumber"]
            call(
                f"make version {version} of {self.name} the default",
                self.ec2.modify_launch_template,
                LaunchTemplateId=self.template_id,
                DefaultVersion=str(version),
            )

    def delete(self, current: State) -> None:
        """Delete the template with all versions."""
        template = {"LaunchTemplateId": self.template_id}
        call(f"delete {self.name}", self.ec2.delete_launch_template, missing=GONE, **template)

    def result(self) -> State:
        """Return the template's id."""
        return {"template_id": self.template_id}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": STATE,
            "instance_type": {"type": "str"},
            "instance_profile": {"type": "str"},
            "security_group_ids": {"type": "list", "elements": "str", "default": []},
            "user_data": {"type": "str", "default": ""},
            "key_name": {"type": "str", "no_log": False},
            "root_device_name": {"type": "str", "default": "/dev/xvda"},
            "root_size_gib": {"type": "int", "default": 10},
            "instance_tags": {"type": "dict", "default": {}},
            "tags": {"type": "dict", "default": {}},
        },
        required_if=[("state", "present", ["instance_type", "instance_profile"])],
        supports_check_mode=True,
    )
    run(module, LaunchTemplate)


if __name__ == "__main__":
    main()
