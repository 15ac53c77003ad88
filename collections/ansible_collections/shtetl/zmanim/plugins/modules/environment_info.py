#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List everything in AWS that belongs to one environment."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: environment_info
version_added: 0.1.0
short_description: List what an environment has in AWS
description:
  - Finds everything that carries the names of an environment, by kind.
  - Changes nothing.
options:
  environment:
    description: Name of the environment.
    type: str
    required: true
  zone:
    description: Domain of the hosted zone.
    type: str
    default: ""
  domain:
    description: Domain of the site, which mail is sent from.
    type: str
    default: ""
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes.info_module
"""

EXAMPLES = r"""
- name: List what production has
  shtetl.zmanim.environment_info:
    environment: production
"""

RETURN = r"""
resources:
  description: Lists of names or ids by kind; a kind without any is left out.
  returned: always
  type: dict
"""

from typing import Any, Dict, List

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import (
    distributions,
    health_checks,
    http_apis,
    instances,
    named,
)

HEALTH_REGION = "us-east-1"


class Environment:
    """What carries the names of one environment."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.env: str = module.params["environment"]
        self.name = f"zmanim-{self.env}"
        self.ec2 = module.client("ec2")

    def resources(self) -> Dict[str, List[str]]:
        """Return all kinds that have something."""
        found = {
            **self._machine(),
            **self._network(),
            **self._global(),
            **self._regional(),
            **self._edge(),
        }
        return {kind: sorted(items) for kind, items in sorted(found.items()) if items}

    def _tagged(self, method: str, key: str, id_key: str, name: str, **more: Any) -> List[str]:
        return [str(item[id_key]) for item in named(getattr(self.ec2, method), key, name, **more)]

    def _machine(self) -> Dict[str, List[str]]:
        data = f"zmanim-data-{self.env}"
        snapshots = {"OwnerIds": ["self"]}
        templates = call("list the launch templates", self.ec2.describe_launch_templates)["LaunchTemplates"]
        return {
            "addresses": self._tagged("describe_addresses", "Addresses", "PublicIp", self.name),
            "instances": [str(one["InstanceId"]) for one in instances(self.ec2, self.name)],
            "launch_templates": [
                str(one["LaunchTemplateName"]) for one in templates if one["LaunchTemplateName"] == self.name
            ],
            "snapshots": self._tagged("describe_snapshots", "Snapshots", "SnapshotId", data, **snapshots),
            "volumes": self._tagged("describe_volumes", "Volumes", "VolumeId", data),
        }

    def _network(self) -> Dict[str, List[str]]:
        return {"vpcs": self._tagged("describe_vpcs", "Vpcs", "VpcId", self.name)}

    def _global(self) -> Dict[str, List[str]]:
        iam, s3 = self.module.client("iam"), self.module.client("s3")
        roles = (self.name, f"{self.name}-release")
        buckets = [f"zmanim-{kind}-{self.env}" for kind in ("backups", "releases", "static")]
        return {
            "buckets": [name for name in buckets if self._bucket_exists(s3, name)],
            "roles": [
                name
                for name in roles
                if call(f"read the role {name}", iam.get_role, missing=("NoSuchEntity",), RoleName=name)
            ],
        }

    @staticmethod
    def _bucket_exists(s3: Any, name: str) -> bool:
        missing = ("NoSuchBucket", "404", "NotFound")
        return call(f"read the bucket {name}", s3.head_bucket, missing=missing, Bucket=name) is not None

    def _regional(self) -> Dict[str, List[str]]:
        prefix = f"/zmanim/{self.env}/"
        ssm, logs = self.module.client("ssm"), self.module.client("logs")
        parameters = ssm.get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True)
        groups = [
            str(group["logGroupName"])
            for beginning in (prefix, f"/aws/vendedlogs/{self.name}/")
            for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=beginning)
            for group in page["logGroups"]
        ]
        return {
            "alarms": self._alarms(self.module.client("cloudwatch")),
            "health_alarms": self._alarms(self.module.client("cloudwatch", region=HEALTH_REGION)),
            "log_groups": groups,
            "mail_identities": self._mail_identity(),
            "parameters": [str(one["Name"]) for page in parameters for one in page["Parameters"]],
            "topics": self._topics(self.module.client("sns")),
            "health_topics": self._topics(self.module.client("sns", region=HEALTH_REGION)),
        }

    def _alarms(self, cloudwatch: Any) -> List[str]:
        pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=f"{self.name}/")
        return [str(alarm["AlarmName"]) for page in pages for alarm in page.get("MetricAlarms", [])]

    def _topics(self, sns: Any) -> List[str]:
        arns = [
            topic["TopicArn"]
            for page in sns.get_paginator("list_topics").paginate()
            for topic in page["Topics"]
        ]
        return [arn for arn in arns if arn.split(":")[-1] == self.name]

    def _mail_identity(self) -> List[str]:
        domain = self.module.params["domain"]
        if not domain:
            return []
        ses = self.module.client("sesv2")
        missing = ("NotFoundException",)
        answer = call("read the mail identity", ses.get_email_identity, missing=missing, EmailIdentity=domain)
        return [domain] if answer else []

    def _edge(self) -> Dict[str, List[str]]:
        gateway, cloudfront = self.module.client("apigatewayv2"), self.module.client("cloudfront")
        return {
            "apis": [str(api["ApiId"]) for api in http_apis(gateway, self.name)],
            "distributions": [str(one["Id"]) for one in distributions(cloudfront, self.name)],
            "health_checks": health_checks(self.module.client("route53"), self.name),
            "hosted_zones": self._zones(),
        }

    def _zones(self) -> List[str]:
        zone = self.module.params["zone"].rstrip(".") + "."
        if zone == ".":
            return []
        route53 = self.module.client("route53")
        answer = call("look for the zone", route53.list_hosted_zones_by_name, DNSName=zone, MaxItems="5")
        return [str(one["Name"]) for one in answer["HostedZones"] if one["Name"] == zone]


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "environment": {"type": "str", "required": True},
            "zone": {"type": "str", "default": ""},
            "domain": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, resources=Environment(module).resources())
    except DeclaredResourceError as error:
        module.fail_json(msg=error.message)


if __name__ == "__main__":
    main()
