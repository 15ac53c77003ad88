# SPDX-License-Identifier: GPL-3.0-or-later
"""Things are found by their names, on every page, and two of one name are never one."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils import named_resources
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import DeclaredResourceError

NAME = [{"Key": "Name", "Value": "zmanim-unit"}]


@pytest.mark.parametrize(("found", "expected"), [([], None), ([{"id": "a"}], {"id": "a"})])
def test_none_and_one_are_right(found: list[dict[str, Any]], expected: Any) -> None:
    assert named_resources.the_only("things", "n", found, "id", "delete one") == expected


def test_several_are_named_with_the_remedy() -> None:
    with pytest.raises(DeclaredResourceError) as error:
        named_resources.the_only("things", "n", [{"id": "b"}, {"id": "a"}], "id", "delete one")
    assert error.value.message == "2 things are named n (a, b), expected one: delete one"


@pytest.mark.parametrize(
    ("module", "options", "make", "arguments"),
    [
        ("elastic_ip", {"name": "zmanim-unit"}, "allocate_address", {"Domain": "vpc"}),
        ("network_removal", {"name": "zmanim-unit"}, "create_vpc", {"CidrBlock": "10.0.0.0/16"}),
        (
            "final_snapshot",
            {"volume_name": "zmanim-unit"},
            "create_volume",
            {"AvailabilityZone": "eu-west-1a", "Size": 1},
        ),
    ],
)
def test_two_of_one_name_are_refused(
    aws: Any, module: str, options: dict[str, Any], make: str, arguments: dict[str, Any]
) -> None:
    ec2 = boto3.client("ec2")
    for _ in range(2):
        made = getattr(ec2, make)(**arguments)
        found = made.get("AllocationId") or made.get("VolumeId") or made["Vpc"]["VpcId"]
        ec2.create_tags(Resources=[found], Tags=NAME)
    message = aws(module, fails=True, **options)["msg"]
    assert message.startswith("2 ") and "are named zmanim-unit (" in message and "expected one: " in message


def test_an_ended_instance_is_not_found(aws: Any) -> None:
    ec2 = boto3.client("ec2")
    tags = [{"ResourceType": "instance", "Tags": NAME}]
    made = ec2.run_instances(ImageId="ami-0", MinCount=2, MaxCount=2, TagSpecifications=tags)["Instances"]
    ended, alive = (one["InstanceId"] for one in made)
    ec2.terminate_instances(InstanceIds=[ended])
    assert [one["InstanceId"] for one in named_resources.instances(ec2, "zmanim-unit")] == [alive]
    assert aws("environment_info", environment="unit")["resources"] == {"instances": [alive]}


def test_a_health_check_is_found_behind_the_first_ten(aws: Any) -> None:
    route53 = boto3.client("route53")
    config = {"IPAddress": "203.0.113.7", "Port": 80, "Type": "TCP"}
    ids = [
        route53.create_health_check(CallerReference=str(number), HealthCheckConfig=config)["HealthCheck"][
            "Id"
        ]
        for number in range(12)
    ]
    route53.change_tags_for_resource(ResourceType="healthcheck", ResourceId=ids[-1], AddTags=NAME)
    assert named_resources.health_checks(route53, "zmanim-unit") == [ids[-1]]
    assert named_resources.health_checks(route53, "zmanim-other") == []


class Pages:
    """A CloudFront that has two distributions, each on a page of its own."""

    def list_distributions(self, Marker: str = "") -> dict[str, Any]:
        if Marker:
            return {"DistributionList": {"Items": [{"Id": "E2", "Comment": "zmanim-unit"}]}}
        first = {"Id": "E1", "Comment": "other"}
        return {"DistributionList": {"Items": [first], "IsTruncated": True, "NextMarker": "E1"}}


def test_a_distribution_is_found_on_the_second_page() -> None:
    found = named_resources.distributions(Pages(), "zmanim-unit")
    assert [one["Id"] for one in found] == ["E2"]


def test_the_edge_is_told_by_its_names_and_is_null_without_any(aws: Any) -> None:
    assert aws("edge_info", env="unit")["api"] is None
    gateway = boto3.client("apigatewayv2")
    for name in ("zmanim-other", "zmanim-unit"):
        made = gateway.create_api(Name=name, ProtocolType="HTTP")
    answer = aws("edge_info", env="unit")
    assert answer["api"]["id"] == made["ApiId"] and answer["distribution"] is None
    assert made["ApiEndpoint"].endswith(answer["api"]["host"])
