#!/usr/bin/python
# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check an inventory's variables, the credentials, the region and the image before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: site_guard
version_added: 0.1.0
short_description: Refuse wrong variables, credentials, regions and images before anything changes
description:
  - Checks every C(zmanim_) variable of an inventory, by name, type and form, and reports all faults at once;
    each names the variable, what was found and what was expected.
  - Then asks AWS who is calling, whether the availability zone exists in the region, whether no swap is
    unfinished, and whether the image exists, is available, and has the declared architecture.
  - Finds what the environment already has (network, address, instance, volume), so that each part of a
    playbook can run alone.
  - Changes nothing.
options:
  settings:
    description: Every variable whose name starts with C(zmanim_).
    type: dict
    required: true
  image:
    description: >-
      Whether an image must be known. V(required) when an instance may have to be launched, V(ignored)
      otherwise.
    type: str
    choices: [required, ignored]
    default: ignored
  unfinished_swap:
    description: Whether a swap that is between two instances is V(refused) or V(accepted).
    type: str
    choices: [refused, accepted]
    default: refused
author:
  - The shtetl.zmanim authors (@shtetl)
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - shtetl.zmanim.attributes.info_module
"""

EXAMPLES = r"""
- name: Check the settings and the account
  shtetl.zmanim.site_guard:
    settings: "{{ dict(names | zip(lookup('ansible.builtin.vars', *names, wantlist=true))) }}"
    region: "{{ zmanim_region }}"
"""

RETURN = r"""
account_id:
  description: The AWS account.
  returned: always
  type: str
image_id:
  description: The image for a new instance, from the variable, else from the pointer; else empty.
  returned: always
  type: str
found:
  description: >-
    Identifiers of what exists, empty where it doesn't; vpc_id, subnet_id, security_group_id, volume_id,
    instance_id, instance_private_ip, public_ip, allocation_id, health_check_id, api_domain,
    distribution_domain, ami_id.
  returned: always
  type: dict
"""

import difflib
import ipaddress
import json
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
except ImportError:  # AnsibleAWSModule reports the missing library
    pass

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
    tag_dict,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.named_resources import (
    distributions,
    health_checks,
    http_apis,
    instances,
    named,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap import phases

WHERE = "correct it in the inventory's group_vars/all.yml or on the command line"
ARCHITECTURES = {"arm64": "arm64", "amd64": "x86_64"}


class Setting(NamedTuple):
    """What one variable must be: C(accepts) decides, C(expected) says it to a person."""

    accepts: Callable[[Any], bool]
    expected: str
    required: bool = True


def text_like(pattern: str) -> Callable[[Any], bool]:
    """Return a test for a text that matches the whole pattern."""
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def one_of(*choices: Any) -> Callable[[Any], bool]:
    """Return a test for one of the choices, numbers also as text."""
    return lambda value: str(value) in {str(choice) for choice in choices}


def number_between(low: int, high: int) -> Callable[[Any], bool]:
    """Return a test for a whole number in a range, also as text."""
    return lambda value: str(value).isdigit() and low <= int(value) <= high


def is_network(value: Any) -> bool:
    """Whether a value is an IPv4 network without host bits."""
    try:
        ipaddress.IPv4Network(value)
    except ValueError:
        return False
    return isinstance(value, str)


def are_networks(value: Any) -> bool:
    """Whether a value is a list of IPv4 networks."""
    return isinstance(value, list) and all(is_network(item) for item in value)


def is_tags(value: Any) -> bool:
    """Whether a value is a dict of texts."""
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


ZONE = r"[a-z]{2}(-[a-z]+)+-\d[a-z]"
DOMAIN = r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}"
URL = r"https?://\S+"
SETTINGS: Dict[str, Setting] = {
    "zmanim_env": Setting(
        text_like(r"[a-z][a-z0-9-]{0,19}"), "1 to 20 lower-case letters, digits and dashes"
    ),
    "zmanim_region": Setting(text_like(r"[a-z]{2}(-[a-z]+)+-\d"), "a region such as eu-west-1"),
    "zmanim_availability_zone": Setting(text_like(ZONE), "a zone of the region such as eu-west-1a"),
    "zmanim_domain": Setting(text_like(DOMAIN), "a domain name such as zmanim.example.com"),
    "zmanim_base_path": Setting(text_like(r"(/[A-Za-z0-9_-]+)+"), "a path such as /backend"),
    "zmanim_architecture": Setting(one_of("arm64", "amd64"), "arm64 or amd64"),
    "zmanim_instance_type": Setting(
        text_like(r"[a-z0-9-]+\.[a-z0-9]+"), "an instance type such as m7g.medium"
    ),
    "zmanim_postgres_major": Setting(one_of(15, 16, 17), "15, 16 or 17"),
    "zmanim_vpc_cidr": Setting(is_network, "a network such as 10.0.0.0/16"),
    "zmanim_subnet_cidr": Setting(is_network, "a network inside zmanim_vpc_cidr such as 10.0.1.0/24"),
    "zmanim_admin_cidrs": Setting(are_networks, "a list of networks, [] to keep SSH closed"),
    "zmanim_ingress_cidrs": Setting(are_networks, "a list of networks that may reach port 8080"),
    "zmanim_data_volume_gib": Setting(number_between(1, 16384), "a size of 1 to 16384 GiB"),
    "zmanim_frontend_mode": Setting(one_of("static", "ssr"), "static or ssr"),
    "zmanim_origin_mode": Setting(one_of("public"), "public"),
    "zmanim_clerk_issuer": Setting(text_like(URL), "the URL of the token issuer"),
    "zmanim_clerk_audience": Setting(text_like(r"\S+"), "the audience of the tokens"),
    "zmanim_aws_endpoint_url": Setting(text_like(f"|{URL}"), "a URL, or '' for AWS itself"),
    "zmanim_restic_repository": Setting(
        text_like(r"s3:\S+"), "a restic repository such as s3:s3.REGION.amazonaws.com/B"
    ),
    "zmanim_admin_email": Setting(text_like(r"[^@\s]+@[^@\s]+"), "an e-mail address"),
    "zmanim_ami_id": Setting(
        text_like(r"(ami-([0-9a-f]{8}|[0-9a-f]{17}))?"), "an AMI id, or '' for the pointer in SSM"
    ),
    "zmanim_tags": Setting(is_tags, "a dict of tags"),
    "zmanim_dns_zone": Setting(text_like(DOMAIN), "the DNS zone that holds zmanim_domain", required=False),
    "zmanim_certificate_arn": Setting(
        text_like(r"(arn:aws[a-z-]*:acm:us-east-1:\d{12}:certificate/\S+)?"),
        "'' or the ARN of a certificate in us-east-1, where CloudFront looks for it",
        required=False,
    ),
    "zmanim_github_repository": Setting(
        text_like(r"([\w.-]+/[\w.-]+)?"), "'' or OWNER/REPOSITORY", required=False
    ),
    "zmanim_optional_secrets": Setting(is_tags, "a dict of names and secrets", required=False),
    "zmanim_volume_snapshot_id": Setting(
        text_like(r"(snap-[0-9a-f]+)?"), "'' or a snapshot id", required=False
    ),
    "zmanim_accept_empty_volume": Setting(one_of(True, False), "true or false", required=False),
}
SECRET = ("zmanim_optional_secrets",)


def faults(settings: Mapping[str, Any], table: Optional[Mapping[str, Setting]] = None) -> List[str]:
    """Return one line for every variable that is unknown, missing or wrong; [] when all are right."""
    known = SETTINGS if table is None else table
    lines = [_unknown(name, known) for name in sorted(settings) if name not in known]
    lines += [line for name, setting in known.items() for line in _fault(name, setting, settings.get(name))]
    return lines or _contradictions(settings)


def _fault(name: str, setting: Setting, value: Any) -> List[str]:
    if value is None:
        return [f"{name}: found nothing, expected {setting.expected}"] if setting.required else []
    if setting.accepts(value):
        return []
    found = "another form" if name in SECRET else repr(value)
    return [f"{name}: found {found}, expected {setting.expected}"]


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    meant = f", expected perhaps {close[0]}" if close else ", expected no such variable"
    return f"{name}: found an unknown variable{meant}"


def _contradictions(settings: Mapping[str, Any]) -> List[str]:
    lines = []
    if settings["zmanim_availability_zone"][:-1] != settings["zmanim_region"]:
        lines.append(
            f"zmanim_availability_zone: found {settings['zmanim_availability_zone']!r}, "
            f"expected a zone of zmanim_region {settings['zmanim_region']}"
        )
    vpc, subnet = (ipaddress.IPv4Network(settings[f"zmanim_{name}_cidr"]) for name in ("vpc", "subnet"))
    if not subnet.subnet_of(vpc):
        lines.append(f"zmanim_subnet_cidr: found '{subnet}', expected a network inside zmanim_vpc_cidr {vpc}")
    return lines


class SiteGuard:
    """The questions to AWS that come before any change."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self.settings: Dict[str, Any] = module.params["settings"]
        self.env: str = self.settings["zmanim_env"]
        self.region: str = self.settings["zmanim_region"]
        self.ec2 = module.client("ec2")
        self.ssm = module.client("ssm")

    def check_region(self) -> None:
        """Fail unless the region is one that the installed botocore knows for EC2."""
        session = boto3.session.Session()
        partitions = session.get_available_partitions()
        known = [name for partition in partitions for name in session.get_available_regions("ec2", partition)]
        if self.region not in known:
            close = difflib.get_close_matches(self.region, known, n=3)
            raise DeclaredResourceError(
                f"zmanim_region: found {self.region!r}, expected a region of AWS such as "
                f"{', '.join(close or known[:3])}"
            )

    def account_id(self) -> str:
        """Return the account that the credentials belong to; DeclaredResourceError when there are none."""
        remedy = (
            "give AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with aws sso login"
        )
        try:
            return str(self.module.client("sts").get_caller_identity()["Account"])
        except NoCredentialsError as error:
            raise DeclaredResourceError(f"AWS credentials: found none, expected some; {remedy}") from error
        except (ClientError, BotoCoreError) as error:
            raise DeclaredResourceError(
                f"AWS credentials: found {error}, expected valid ones; {remedy}"
            ) from error

    def check_zone(self) -> None:
        """Fail unless the zone exists and is available in the region."""
        zones = call("list the availability zones", self.ec2.describe_availability_zones)["AvailabilityZones"]
        names = sorted(zone["ZoneName"] for zone in zones if zone["State"] == "available")
        wanted = self.settings["zmanim_availability_zone"]
        if wanted not in names:
            raise DeclaredResourceError(
                f"zmanim_availability_zone: found {wanted!r}, expected one of {', '.join(names)} in "
                f"{self.region}"
            )

    def parameters(self) -> Dict[str, str]:
        """Return the pointer to the image and the state of the last swap, '' where they don't exist."""
        names = {f"/zmanim/{self.env}/{name}": name for name in ("ami-id", "swap")}
        answer = call("read the pointers", self.ssm.get_parameters, Names=sorted(names))
        found = dict.fromkeys(names.values(), "")
        found.update({names[one["Name"]]: one["Value"] for one in answer["Parameters"]})
        return found

    def check_image(self, image_id: str, origin: str) -> None:
        """Fail unless the image exists, is available and has the declared architecture."""
        gone = ("InvalidAMIID.NotFound", "InvalidAMIID.Malformed", "InvalidAMIID.Unavailable")
        answer = call(
            f"read the image {image_id}", self.ec2.describe_images, missing=gone, ImageIds=[image_id]
        )
        images = (answer or {}).get("Images") or []
        if not images:
            raise DeclaredResourceError(
                f"{origin}: found {image_id}, expected an AMI that exists in {self.region}; bake one "
                "with packer build"
            )
        architecture = ARCHITECTURES[self.settings["zmanim_architecture"]]
        if images[0].get("State", "available") != "available":
            raise DeclaredResourceError(
                f"{origin}: found {image_id} in state {images[0]['State']}, expected available"
            )
        if images[0].get("Architecture", architecture) != architecture:
            raise DeclaredResourceError(
                f"{origin}: found {image_id} with architecture {images[0]['Architecture']}, expected "
                f"{architecture} "
                "because of zmanim_architecture"
            )

    def image(self, pointer: str, launched: bool) -> str:
        """Return the image for a new instance, checked when it is needed or was named."""
        named = self.settings["zmanim_ami_id"]
        if named:
            self.check_image(named, "zmanim_ami_id")
        elif pointer and not launched:
            self.check_image(pointer, f"the parameter /zmanim/{self.env}/ami-id")
        elif not pointer and not launched and self.module.params["image"] == "required":
            raise DeclaredResourceError(
                f"zmanim_ami_id: found '' and no parameter /zmanim/{self.env}/ami-id, expected an image "
                "for the first "
                "instance; bake one with packer build and give its id"
            )
        return str(named or pointer)

    def found(self) -> Dict[str, Any]:
        """Return the identifiers of what the environment already has."""
        name = f"zmanim-{self.env}"
        vpc = self._named("describe_vpcs", "Vpcs", name)
        address = self._named("describe_addresses", "Addresses", name)
        instance = self._active_instance(name)
        return {
            "api_domain": self._api_domain(name),
            "allocation_id": address.get("AllocationId", ""),
            "distribution_domain": self._distribution_domain(name),
            "health_check_id": "".join(health_checks(self.module.client("route53"), name)[:1]),
            "instance_id": instance.get("InstanceId", ""),
            "instance_private_ip": instance.get("PrivateIpAddress", ""),
            "public_ip": address.get("PublicIp", ""),
            "security_group_id": self._security_group(name, vpc.get("VpcId", "")),
            "subnet_id": self._named("describe_subnets", "Subnets", name).get("SubnetId", ""),
            "volume_id": self._named("describe_volumes", "Volumes", f"zmanim-data-{self.env}").get(
                "VolumeId", ""
            ),
            "vpc_id": vpc.get("VpcId", ""),
        }

    def _named(self, method: str, key: str, name: str) -> Dict[str, Any]:
        items = named(getattr(self.ec2, method), key, name)
        return items[0] if len(items) == 1 else {}

    def _security_group(self, name: str, vpc_id: str) -> str:
        filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc_id]}]
        if not vpc_id:
            return ""
        groups = call("look for the security group", self.ec2.describe_security_groups, Filters=filters)
        return "".join(str(group["GroupId"]) for group in groups["SecurityGroups"])

    def _api_domain(self, name: str) -> str:
        apis = http_apis(self.module.client("apigatewayv2"), name)
        return "".join(api["ApiEndpoint"].split("://")[-1] for api in apis)

    def _distribution_domain(self, name: str) -> str:
        found = distributions(self.module.client("cloudfront"), name)
        return "".join(str(one["DomainName"]) for one in found)

    def _active_instance(self, name: str) -> Dict[str, Any]:
        found = instances(self.ec2, name)
        active = [one for one in found if tag_dict(one.get("Tags")).get("ZmanimRole") == "active"]
        return active[0] if len(active) == 1 else {}


def refuse_unfinished_swap(swap: Mapping[str, Any]) -> None:
    """Fail while a swap is between two instances: what is active is not decided yet."""
    phase = swap.get("phase", phases.DONE)
    if phase not in phases.FINISHED:
        raise DeclaredResourceError(
            f"a swap is in phase {phase}, expected none or a finished one: run playbooks/swap.yml, which "
            "finishes it "
            "or rolls it back"
        )


def answer_of(guard: SiteGuard) -> Dict[str, Any]:
    """Ask everything and return the module's answer."""
    guard.check_region()
    account_id = guard.account_id()
    guard.check_zone()
    pointers = guard.parameters()
    if guard.module.params["unfinished_swap"] == "refused":
        refuse_unfinished_swap(json.loads(pointers["swap"] or "{}"))
    found = guard.found()
    image_id = guard.image(pointers["ami-id"], launched=bool(found["instance_id"]))
    found.update(ami_id=pointers["ami-id"])
    return {"account_id": account_id, "image_id": image_id, "found": found}


def main() -> None:
    """Run the module."""
    module = AnsibleAWSModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "unfinished_swap": {"type": "str", "choices": ["refused", "accepted"], "default": "refused"},
            "image": {"type": "str", "choices": ["required", "ignored"], "default": "ignored"},
        },
        supports_check_mode=True,
    )
    lines = faults(module.params["settings"])
    if lines:
        module.fail_json(msg="; ".join(lines) + f"; {WHERE}")
    try:
        module.exit_json(changed=False, **answer_of(SiteGuard(module)))
    except DeclaredResourceError as error:
        module.fail_json(msg=error.message)


if __name__ == "__main__":
    main()
