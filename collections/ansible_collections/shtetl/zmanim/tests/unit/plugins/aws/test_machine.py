# SPDX-License-Identifier: GPL-3.0-or-later
"""The volume outlives everything, the instance is never replaced, and doubt is an error."""

from __future__ import annotations

from typing import Any, Callable

import boto3
import pytest

VOLUME = {
    "name": "zmanim-data-unit",
    "availability_zone": "eu-west-1a",
    "size_gib": 1,
    "first_tags": {"Fresh": "true"},
}


def tags(resource: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags", [])}


def goes_with_its_instance(instance_id: str, volume_id: str) -> bool:
    reservation = boto3.client("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"][0]
    mappings = reservation["Instances"][0]["BlockDeviceMappings"]
    found = [one["Ebs"]["DeleteOnTermination"] for one in mappings if one["Ebs"]["VolumeId"] == volume_id]
    assert len(found) == 1
    return bool(found[0])


def volume(volume_id: str) -> dict[str, Any]:
    found: dict[str, Any] = boto3.client("ec2").describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
    return found


@pytest.fixture
def machine(aws: Any, bake: Callable[[str], str]) -> dict[str, Any]:
    """The arguments of an instance in a network, with a volume."""
    ec2 = boto3.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "zmanim-unit"}])
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone="eu-west-1a")
    group = ec2.create_security_group(GroupName="zmanim-unit", Description="d", VpcId=vpc)["GroupId"]
    aws(
        "service_role",
        name="zmanim-unit",
        trust={"Version": "2012-10-17", "Statement": []},
        instance_profile=True,
    )
    aws(
        "launch_template",
        name="zmanim-unit",
        instance_type="m7g.medium",
        instance_profile="zmanim-unit",
        security_group_ids=[group],
    )
    return {
        "name": "zmanim-unit",
        "launch_template": "zmanim-unit",
        "image_id": bake("image-v1"),
        "subnet_id": subnet["Subnet"]["SubnetId"],
        "volume_id": aws("data_volume", **VOLUME)["volume_id"],
    }


def test_the_volume_is_created_encrypted_and_fresh_only_once(aws: Any) -> None:
    assert aws("data_volume", check=True, **VOLUME)["changed"]
    volume_id = aws("data_volume", **VOLUME)["volume_id"]
    made = volume(volume_id)
    assert made["Encrypted"] and made["VolumeType"] == "gp3" and tags(made)["Fresh"] == "true"
    boto3.client("ec2").delete_tags(Resources=[volume_id], Tags=[{"Key": "Fresh"}])
    assert not aws("data_volume", **VOLUME)["changed"]
    assert "Fresh" not in tags(volume(volume_id))


def test_another_size_is_a_warning_and_another_zone_an_error(aws: Any) -> None:
    aws("data_volume", **VOLUME)
    bigger = aws("data_volume", **dict(VOLUME, size_gib=9))
    assert not bigger["changed"] and "9" in str(bigger["warnings"])
    message = aws("data_volume", fails=True, **dict(VOLUME, availability_zone="eu-west-1b"))["msg"]
    assert "eu-west-1a" in message and "eu-west-1b" in message


def test_a_lost_volume_with_snapshots_is_not_replaced_by_an_empty_one(aws: Any) -> None:
    volume_id = aws("data_volume", **VOLUME)["volume_id"]
    snapshot = aws("final_snapshot", volume_name=VOLUME["name"])["snapshot_id"]
    aws("data_volume", name=VOLUME["name"], state="absent", volume_id=volume_id)
    message = aws("data_volume", fails=True, **VOLUME)["msg"]
    assert snapshot in message and "accept_empty" in message
    restored = aws("data_volume", snapshot_id=snapshot, **VOLUME)["volume_id"]
    assert "Fresh" not in tags(volume(restored))
    assert volume(restored)["SnapshotId"] == snapshot


def test_only_the_named_volume_is_deleted(aws: Any) -> None:
    volume_id = aws("data_volume", **VOLUME)["volume_id"]
    wrong = {"name": VOLUME["name"], "state": "absent", "volume_id": "vol-00000000000000000"}
    assert volume_id in aws("data_volume", fails=True, **wrong)["msg"]
    assert volume(volume_id)["State"] == "available"


def test_the_instance_gets_the_volume_and_is_launched_once(aws: Any, machine: dict[str, Any]) -> None:
    assert aws("active_instance", check=True, **machine)["changed"]
    first = aws("active_instance", **machine)
    again = aws("active_instance", **machine)
    assert first["launched"] and not again["changed"] and first["instance_id"] == again["instance_id"]
    attachment = volume(machine["volume_id"])["Attachments"][0]
    assert attachment["InstanceId"] == first["instance_id"] and attachment["Device"] == "/dev/sdf"
    assert not goes_with_its_instance(first["instance_id"], machine["volume_id"])


def test_another_image_does_not_replace_the_instance(
    aws: Any, bake: Callable[[str], str], machine: dict[str, Any]
) -> None:
    first = aws("active_instance", **machine)
    other = bake("image-v2")
    answer = aws("active_instance", **dict(machine, image_id=other))
    assert not answer["changed"] and answer["instance_id"] == first["instance_id"]
    assert "swap.yml" in str(answer["warnings"])


def test_a_stopped_instance_is_started(aws: Any, machine: dict[str, Any]) -> None:
    first = aws("active_instance", **machine)
    ec2 = boto3.client("ec2")
    ec2.stop_instances(InstanceIds=[first["instance_id"]])
    assert aws("active_instance", **machine)["changed"]
    assert not aws("active_instance", **machine)["changed"]


def test_a_volume_that_would_go_with_the_instance_is_protected(aws: Any, machine: dict[str, Any]) -> None:
    first = aws("active_instance", **machine)
    mapping = {"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}
    boto3.client("ec2").modify_instance_attribute(
        InstanceId=first["instance_id"], BlockDeviceMappings=[mapping]
    )
    assert goes_with_its_instance(first["instance_id"], machine["volume_id"])
    assert aws("active_instance", **machine)["changed"]
    assert not goes_with_its_instance(first["instance_id"], machine["volume_id"])


def test_two_active_instances_are_refused(aws: Any, machine: dict[str, Any]) -> None:
    first = aws("active_instance", **machine)
    role = [{"Key": "ZmanimRole", "Value": "active"}, {"Key": "Name", "Value": "zmanim-unit"}]
    specification = [{"ResourceType": "instance", "Tags": role}]
    second = boto3.client("ec2").run_instances(
        ImageId=machine["image_id"], MinCount=1, MaxCount=1, TagSpecifications=specification
    )["Instances"][0]["InstanceId"]
    message = aws("active_instance", fails=True, **machine)["msg"]
    assert first["instance_id"] in message and second in message and "swap.yml" in message


def test_a_volume_on_a_foreign_instance_is_not_taken(aws: Any, machine: dict[str, Any]) -> None:
    ec2 = boto3.client("ec2")
    foreign = ec2.run_instances(ImageId=machine["image_id"], MinCount=1, MaxCount=1)["Instances"][0][
        "InstanceId"
    ]
    ec2.attach_volume(VolumeId=machine["volume_id"], InstanceId=foreign, Device="/dev/sdg")
    message = aws("active_instance", fails=True, **machine)["msg"]
    assert foreign in message and machine["volume_id"] in message
    running = ec2.describe_instances(Filters=[{"Name": "tag:Name", "Values": ["zmanim-unit"]}])
    assert running["Reservations"] == []


def test_the_end_of_the_instance_keeps_the_volume_and_one_final_snapshot(
    aws: Any, machine: dict[str, Any]
) -> None:
    aws("active_instance", **machine)
    assert "attached" in aws("final_snapshot", volume_name=VOLUME["name"], fails=True)["msg"]
    assert aws("active_instance", name="zmanim-unit", state="absent", check=True)["changed"]
    assert aws("active_instance", name="zmanim-unit", state="absent")["changed"]
    assert not aws("active_instance", name="zmanim-unit", state="absent")["changed"]
    first = aws("final_snapshot", volume_name=VOLUME["name"])
    again = aws("final_snapshot", volume_name=VOLUME["name"])
    assert first["changed"] and not again["changed"] and first["snapshot_id"] == again["snapshot_id"]
    assert not aws("data_volume", **VOLUME)["changed"]
    aws("active_instance", **machine)
    aws("active_instance", name="zmanim-unit", state="absent")
    assert aws("final_snapshot", volume_name=VOLUME["name"])["snapshot_id"] != first["snapshot_id"]


def test_the_network_goes_only_without_instances(aws: Any, machine: dict[str, Any]) -> None:
    aws("active_instance", **machine)
    assert "instances" in aws("network_removal", name="zmanim-unit", fails=True)["msg"]
    aws("active_instance", name="zmanim-unit", state="absent")
    assert aws("network_removal", name="zmanim-unit", check=True)["changed"]
    assert aws("network_removal", name="zmanim-unit")["changed"]
    assert not aws("network_removal", name="zmanim-unit")["changed"]


def test_the_address_moves_and_never_takes_anothers(aws: Any, machine: dict[str, Any]) -> None:
    ec2 = boto3.client("ec2")
    free = ec2.allocate_address(Domain="vpc")["PublicIp"]
    instance = aws("active_instance", **machine)["instance_id"]
    address = aws("elastic_ip", name="zmanim-unit", instance_id=instance)
    assert address["public_ip"] != free
    found = ec2.describe_addresses(PublicIps=[address["public_ip"]])["Addresses"][0]
    assert found["InstanceId"] == instance
    assert not aws("elastic_ip", name="zmanim-unit", instance_id=instance)["changed"]
