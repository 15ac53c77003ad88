# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab with real machines: what EC2 says is what the machines are, and nothing is left at the end."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from lab import cleanup
from lab.paths import ENV_FILE, ROOT

pytestmark = pytest.mark.lab

DEBIAN_13 = "debian-13-amd64-20260101-0000"
TOKEN = (
    "T=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "
    "http://169.254.169.254/latest/api/token); "
    'get() { curl -s -H "X-aws-ec2-metadata-token: $T" "http://169.254.169.254/latest/$1"; }; '
)


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def eventually(ask: Callable[[], Any], wanted: Any, deadline: float = 60) -> None:
    """Poll until an answer is the wanted one."""
    until = time.monotonic() + deadline
    answer = ask()
    while answer != wanted and time.monotonic() < until:
        time.sleep(0.2)
        answer = ask()
    assert answer == wanted


class Cloud:
    """A controller's clients, and what the tests do with them again and again."""

    def __init__(self, settings: dict[str, str]) -> None:
        session = boto3.Session(
            aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
            region_name=settings["AWS_REGION"],
        )
        endpoint = settings["AWS_ENDPOINT_URL"]
        self.ec2 = session.client("ec2", endpoint_url=endpoint)
        once = Config(retries={"total_max_attempts": 1})
        self.impatient_ec2 = session.client("ec2", endpoint_url=endpoint, config=once)
        self.ssm = session.client("ssm", endpoint_url=endpoint)
        self.iam = session.client("iam", endpoint_url=endpoint)
        self.s3 = session.client("s3", endpoint_url=endpoint)

    def instance(self, instance_id: str) -> dict[str, Any]:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])
        return dict(found["Reservations"][0]["Instances"][0])

    def state(self, instance_id: str) -> str:
        return str(self.instance(instance_id)["State"]["Name"])

    def volume(self, volume_id: str) -> tuple[str, list[str]]:
        found = self.ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"][0]
        return found["State"], [attachment["State"] for attachment in found["Attachments"]]

    def shell(self, instance_id: str, script: str, timeout: int = 60) -> dict[str, Any]:
        sent = self.ssm.send_command(
            InstanceIds=[instance_id],
            DocumentName="AWS-RunShellScript",
            Parameters={"commands": [script], "executionTimeout": [str(timeout)]},
        )["Command"]["CommandId"]

        def status() -> Any:
            return self.ssm.get_command_invocation(CommandId=sent, InstanceId=instance_id)

        while status()["Status"] in ("Pending", "InProgress"):
            time.sleep(0.1)
        return dict(status())

    def output(self, instance_id: str, script: str) -> str:
        done = self.shell(instance_id, script)
        assert done["Status"] == "Success", done
        return str(done["StandardOutputContent"]).strip()

    def disks(self, instance_id: str) -> list[dict[str, Any]]:
        found = json.loads(self.output(instance_id, "lsblk -J -o PATH,SERIAL,SIZE,FSTYPE"))
        return list(found["blockdevices"])


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    started = lab("up")
    assert started.returncode == 0, started.stderr
    exports = dict(line.removeprefix("export ").split("=", 1) for line in ENV_FILE.read_text().splitlines())
    yield Cloud(exports)
    stopped = lab("down")
    assert stopped.returncode == 0, stopped.stderr
    assert cleanup.leftovers() == []


@pytest.fixture(scope="module")
def network(cloud: Cloud) -> dict[str, str]:
    """A VPC with a group that admits 8080, and a launch template with role, user-data and tags."""
    vpc = cloud.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = cloud.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone="eu-west-1a")
    group = cloud.ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    cloud.ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[
            {
                "IpProtocol": "tcp",
                "FromPort": 8080,
                "ToPort": 8080,
                "IpRanges": [{"CidrIp": "127.0.0.0/8"}],
                "UserIdGroupPairs": [{"GroupId": group}],
            }
        ],
    )
    cloud.iam.create_role(RoleName="machine", AssumeRolePolicyDocument="{}")
    cloud.iam.create_instance_profile(InstanceProfileName="machine")
    cloud.iam.add_role_to_instance_profile(InstanceProfileName="machine", RoleName="machine")
    image = cloud.ec2.describe_images(Filters=[{"Name": "name", "Values": [DEBIAN_13]}])["Images"][0]
    assert image["OwnerId"] == "136693071363"
    cloud.ec2.create_launch_template(
        LaunchTemplateName="machine",
        LaunchTemplateData={
            "ImageId": image["ImageId"],
            "InstanceType": "m7i.large",
            "UserData": base64.b64encode(b"ZMANIM_ENV=lab\n").decode(),
            "IamInstanceProfile": {"Name": "machine"},
            "MetadataOptions": {"HttpTokens": "required", "InstanceMetadataTags": "enabled"},
            "SecurityGroupIds": [group],
            "TagSpecifications": [
                {"ResourceType": "instance", "Tags": [{"Key": "Environment", "Value": "lab"}]}
            ],
        },
    )
    return {"subnet": subnet["Subnet"]["SubnetId"], "group": group, "image": image["ImageId"]}


def launch(cloud: Cloud, network: dict[str, str], role: str) -> str:
    launched = cloud.ec2.run_instances(
        LaunchTemplate={"LaunchTemplateName": "machine"},
        SubnetId=network["subnet"],
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "ZmanimRole", "Value": role}]}],
    )["Instances"][0]
    assert launched["State"]["Name"] == "pending"
    return str(launched["InstanceId"])


@pytest.fixture(scope="module")
def machines(cloud: Cloud, network: dict[str, str]) -> tuple[str, str]:
    """Two running machines."""
    pair = launch(cloud, network, "active"), launch(cloud, network, "standby")
    for instance_id in pair:
        eventually(lambda instance_id=instance_id: cloud.state(instance_id), "running", 300)  # type: ignore[misc]
        cloud.output(instance_id, "systemctl is-system-running --wait")
    return pair


def test_a_second_lab_is_refused(cloud: Cloud) -> None:
    refused = lab("up")
    assert refused.returncode == 1
    assert "a lab is already running here" in refused.stderr


def test_a_machine_has_the_address_that_ec2_names(cloud: Cloud, machines: tuple[str, str]) -> None:
    for instance_id in machines:
        address = cloud.instance(instance_id)["PrivateIpAddress"]
        assert f"{address}/24" in cloud.output(instance_id, "ip -4 -o address show eth0")


def test_metadata_needs_a_token_and_knows_the_instance(cloud: Cloud, machines: tuple[str, str]) -> None:
    instance_id = machines[0]
    refused = "curl -s -o /dev/null -w %{http_code} http://169.254.169.254/latest/meta-data/"
    assert cloud.output(instance_id, refused) == "401"
    answers = cloud.output(
        instance_id,
        TOKEN + "for key in instance-id placement/region tags/instance/ZmanimRole tags/instance/Environment; "
        "do get meta-data/$key; echo; done; get user-data; get meta-data/spot/instance-action",
    )
    assert answers.split() == [instance_id, "eu-west-1", "active", "lab", "ZMANIM_ENV=lab", "Not", "Found"]


def test_the_role_s_credentials_are_accepted(cloud: Cloud, machines: tuple[str, str]) -> None:
    given = json.loads(cloud.output(machines[0], TOKEN + "get meta-data/iam/security-credentials/machine"))
    session = boto3.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["Token"], region_name="eu-west-1"
    )
    identity = session.client("sts", endpoint_url="http://169.254.169.1:4566").get_caller_identity()
    assert identity["Arn"].endswith(f"assumed-role/machine/{machines[0]}")


def test_a_volume_moves_with_its_data_and_a_mounted_one_stays(
    cloud: Cloud, machines: tuple[str, str]
) -> None:
    blue, green = machines
    volume = cloud.ec2.create_volume(AvailabilityZone="eu-west-1a", Size=3, VolumeType="gp3")["VolumeId"]
    serial = volume.replace("-", "")
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=blue, Device="/dev/sdf")
    eventually(lambda: cloud.volume(volume), ("in-use", ["attached"]))
    (disk,) = cloud.disks(blue)
    assert (disk["serial"], disk["size"], disk["fstype"]) == (serial, "3G", None)
    assert cloud.disks(green) == []
    cloud.output(
        blue, f"mkfs.xfs -q {disk['path']}; mkdir -p /data; mount {disk['path']} /data; echo kept >/data/x"
    )
    eventually(lambda: cloud.disks(blue)[0]["fstype"], "xfs")
    snapshot = cloud.ec2.create_snapshot(VolumeId=volume)["SnapshotId"]

    cloud.ec2.detach_volume(VolumeId=volume)
    cloud.output(blue, "sleep 1; cat /data/x")
    assert cloud.volume(volume) == ("in-use", ["detaching"])
    cloud.output(blue, "umount /data")
    eventually(lambda: cloud.volume(volume), ("available", []))
    assert cloud.disks(blue) == []

    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=green, Device="/dev/sdf")
    eventually(lambda: cloud.volume(volume), ("in-use", ["attached"]))
    assert (
        cloud.output(green, f"mount {cloud.disks(green)[0]['path']} /mnt; cat /mnt/x; umount /mnt") == "kept"
    )

    eventually(
        lambda: cloud.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]["State"], "completed"
    )
    copy = cloud.ec2.create_volume(AvailabilityZone="eu-west-1a", SnapshotId=snapshot)["VolumeId"]
    cloud.ec2.attach_volume(VolumeId=copy, InstanceId=blue, Device="/dev/sdg")
    eventually(lambda: cloud.volume(copy), ("in-use", ["attached"]))
    path = cloud.disks(blue)[0]["path"]
    assert cloud.output(blue, f"mount -o nouuid {path} /mnt; cat /mnt/x; umount /mnt") == "kept"
    for attached in (volume, copy):
        cloud.ec2.detach_volume(VolumeId=attached)
        eventually(lambda attached=attached: cloud.volume(attached), ("available", []))  # type: ignore[misc]
        cloud.ec2.delete_volume(VolumeId=attached)


def test_a_wrong_serial_and_a_decoy_are_shown_when_asked_for(cloud: Cloud, machines: tuple[str, str]) -> None:
    volume = cloud.ec2.create_volume(AvailabilityZone="eu-west-1a", Size=1, VolumeType="gp3")["VolumeId"]
    for fault in ("decoy-disk", "wrong-serial"):
        assert lab("fault", fault).returncode == 0
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=machines[0], Device="/dev/sdf")
    eventually(lambda: cloud.volume(volume), ("in-use", ["attached"]))
    serials = [disk["serial"] for disk in cloud.disks(machines[0])]
    assert len(serials) == 2
    assert volume.replace("-", "") not in serials
    cloud.ec2.detach_volume(VolumeId=volume)
    eventually(lambda: cloud.volume(volume), ("available", []))


HANG = "3"


@pytest.fixture
def fault() -> Iterator[Callable[..., None]]:
    """Sets faults, which are gone after the test."""

    def set_fault(*arguments: str) -> None:
        done = lab("fault", *arguments)
        assert done.returncode == 0, done.stderr

    yield set_fault
    set_fault("--clear")


@pytest.fixture
def volume(cloud: Cloud) -> Iterator[str]:
    """A volume, attached to nothing."""
    made = cloud.ec2.create_volume(AvailabilityZone="eu-west-1a", Size=1, VolumeType="gp3")["VolumeId"]
    yield made
    if cloud.volume(made)[0] == "in-use":
        cloud.ec2.detach_volume(VolumeId=made)
    eventually(lambda: cloud.volume(made), ("available", []))
    cloud.ec2.delete_volume(VolumeId=made)


def attach(cloud: Cloud, volume: str, instance_id: str) -> None:
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=instance_id, Device="/dev/sdf")
    eventually(lambda: cloud.volume(volume), ("in-use", ["attached"]))


def until(cloud: Cloud, volume: str, wanted: tuple[str, list[str]], disks: Callable[[], int]) -> list[Any]:
    """What EC2 and the machine said of a volume on the way to a state, that state included."""
    end = time.monotonic() + 60
    seen: list[Any] = []
    while (not seen or seen[-1][0] != wanted) and time.monotonic() < end:
        shown = disks()
        seen.append((cloud.volume(volume), shown))
    assert seen[-1][0] == wanted
    return seen


def test_a_hanging_attachment_stays_attaching_without_a_device(
    cloud: Cloud, machines: tuple[str, str], volume: str, fault: Callable[..., None]
) -> None:
    fault("attach-hang", HANG)
    begun = time.monotonic()
    cloud.ec2.attach_volume(VolumeId=volume, InstanceId=machines[1], Device="/dev/sdf")
    seen = until(cloud, volume, ("in-use", ["attached"]), lambda: len(cloud.disks(machines[1])))
    assert time.monotonic() - begun >= float(HANG)
    assert set(map(str, seen[:-1])) == {str((("in-use", ["attaching"]), 0))}
    assert [disk["serial"] for disk in cloud.disks(machines[1])] == [volume.replace("-", "")]


def test_a_hanging_detachment_stays_detaching_with_its_device(
    cloud: Cloud, machines: tuple[str, str], volume: str, fault: Callable[..., None]
) -> None:
    attach(cloud, volume, machines[1])
    fault("detach-hang", HANG)
    begun = time.monotonic()
    cloud.ec2.detach_volume(VolumeId=volume)
    seen = until(cloud, volume, ("available", []), lambda: len(cloud.disks(machines[1])))
    assert time.monotonic() - begun >= float(HANG)
    assert str(seen[0]) == str((("in-use", ["detaching"]), 1))
    assert cloud.disks(machines[1]) == []


def test_a_late_device_comes_after_ec2_has_said_attached(
    cloud: Cloud, machines: tuple[str, str], volume: str, fault: Callable[..., None]
) -> None:
    fault("late-device", HANG)
    attach(cloud, volume, machines[1])
    assert cloud.disks(machines[1]) == []
    eventually(lambda: [disk["serial"] for disk in cloud.disks(machines[1])], [volume.replace("-", "")])


def test_throttled_ec2_refuses_so_many_calls_and_no_other_service(
    cloud: Cloud, fault: Callable[..., None]
) -> None:
    fault("ec2-throttle", "2")
    cloud.ssm.describe_instance_information()
    for _ in range(2):
        with pytest.raises(cloud.ec2.exceptions.ClientError, match="RequestLimitExceeded"):
            cloud.impatient_ec2.describe_volumes()
    cloud.impatient_ec2.describe_volumes()
    fault("ec2-throttle", "2")
    cloud.ec2.describe_volumes()  # botocore's own repetitions are enough


def test_a_full_disk_has_no_room_until_it_is_given_back(
    cloud: Cloud, machines: tuple[str, str], volume: str, fault: Callable[..., None]
) -> None:
    green = machines[1]
    attach(cloud, volume, green)
    path = cloud.disks(green)[0]["path"]
    cloud.output(
        green, f"mkfs.xfs -q {path}; mkdir -p /data /opt/full; mount {path} /data; echo kept >/opt/full/x"
    )
    try:
        for directory in ("/data", "/opt/full"):
            fault("full-disk", f"{green}:{directory}")
            refused = cloud.shell(green, f"head -c 100000 /dev/zero >{directory}/y")
            assert "No space left on device" in refused["StandardErrorContent"]
            assert cloud.output(green, "rm /*/y /opt/*/y 2>/dev/null; cat /opt/full/x") == "kept"
            fault("--clear")
            cloud.output(green, f"head -c 100000 /dev/zero >{directory}/y")
        left = cloud.output(green, "cat /opt/full/x; stat -c %m /opt/full; ls -A /data").split()
        assert left == ["kept", "/"]
    finally:
        cloud.output(green, "umount /data")
    assert "no directory /opt/none" in lab("fault", "full-disk", f"{green}:/opt/none").stderr


def test_an_elastic_ip_moves_and_groups_are_enforced(cloud: Cloud, machines: tuple[str, str]) -> None:
    blue, green = machines
    for instance_id in machines:
        cloud.output(
            instance_id,
            "mkdir -p /srv/w; hostname >/srv/w/index.html; "
            "systemd-run --quiet -p WorkingDirectory=/srv/w python3 -m http.server 8080; "
            "until curl -sf -o /dev/null http://127.0.0.1:8080/; do sleep 0.1; done",
        )
    address = cloud.ec2.allocate_address(Domain="vpc")
    assert address["PublicIp"].startswith("127.77.0.")

    def who() -> str:
        done = subprocess.run(
            ["curl", "-s", "--max-time", "3", f"http://{address['PublicIp']}:8080/"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout.strip()

    assert who() == ""
    for instance_id in (blue, green):
        cloud.ec2.associate_address(
            AllocationId=address["AllocationId"], InstanceId=instance_id, AllowReassociation=True
        )
        private = cloud.instance(instance_id)["PrivateIpAddress"]
        eventually(who, f"ip-{private.replace('.', '-')}")
    assert cloud.instance(blue).get("PublicIpAddress") is None
    with pytest.raises(TimeoutError):
        socket.create_connection((address["PublicIp"], 22), timeout=1)
    there = cloud.instance(blue)["PrivateIpAddress"]
    assert cloud.shell(green, f"curl -sf -m 3 http://{there}:8080/")["Status"] == "Success"
    assert cloud.shell(green, f"curl -s -m 2 http://{there}:22/")["ResponseCode"] == 28


def test_run_command_tells_failure_timeout_and_cancellation(cloud: Cloud, machines: tuple[str, str]) -> None:
    failed = cloud.shell(machines[0], "echo out; echo err >&2; exit 3")
    assert (failed["Status"], failed["ResponseCode"]) == ("Failed", 3)
    assert (failed["StandardOutputContent"], failed["StandardErrorContent"]) == ("out\n", "err\n")
    late = cloud.shell(machines[0], "sleep 77", timeout=1)
    assert (late["Status"], late["StatusDetails"]) == ("TimedOut", "Execution Timed Out")
    sent = cloud.ssm.send_command(
        InstanceIds=[machines[0]],
        DocumentName="AWS-RunShellScript",
        Parameters={"commands": ["sleep 78"]},
    )["Command"]["CommandId"]
    running = "pgrep -fc '^sleep 7[78]' || true"
    eventually(lambda: cloud.output(machines[0], running), "1")
    cloud.ssm.cancel_command(CommandId=sent)
    eventually(lambda: cloud.output(machines[0], running), "0")
    ended = cloud.ssm.get_command_invocation(CommandId=sent, InstanceId=machines[0])
    assert ended["Status"] == "Cancelled"
    online = cloud.ssm.describe_instance_information()["InstanceInformationList"]
    assert {entry["InstanceId"] for entry in online} >= set(machines)


def test_imds_goes_down_and_comes_back(cloud: Cloud, machines: tuple[str, str]) -> None:
    ask = "curl -s -o /dev/null -w %{http_code} http://169.254.169.254/latest/meta-data/"
    lab("fault", "imds-down")
    assert cloud.output(machines[0], ask) == "503"
    lab("fault", "--clear")
    assert cloud.output(machines[0], ask) == "401"


def test_a_machine_stops_starts_reboots_and_loses_power(cloud: Cloud, machines: tuple[str, str]) -> None:
    green = machines[1]
    boot = "cat /proc/1/stat | cut -d' ' -f22"
    first = cloud.output(green, "touch /etc/kept; " + boot)
    cloud.shell(green, "systemctl reboot", timeout=5)
    eventually(lambda: cloud.shell(green, boot)["StandardOutputContent"].strip() not in ("", first), True)
    cloud.ec2.stop_instances(InstanceIds=[green])
    eventually(lambda: cloud.state(green), "stopped")
    cloud.ec2.start_instances(InstanceIds=[green])
    eventually(lambda: cloud.state(green), "running")
    assert cloud.output(green, "ls /etc/kept") == "/etc/kept"
    assert lab("fault", "power-off", green).returncode == 0
    eventually(lambda: cloud.state(green), "stopped")
    cloud.ec2.start_instances(InstanceIds=[green])
    eventually(lambda: cloud.state(green), "running")


def test_an_image_of_a_machine_boots_with_what_was_on_it(
    cloud: Cloud, network: dict[str, str], machines: tuple[str, str]
) -> None:
    cloud.output(machines[0], "echo baked >/etc/baked")
    image = cloud.ec2.create_image(InstanceId=machines[0], Name="baked")["ImageId"]
    eventually(lambda: cloud.ec2.describe_images(ImageIds=[image])["Images"][0]["State"], "available")
    broken = cloud.ec2.copy_image(SourceImageId=image, SourceRegion="eu-west-1", Name="broken")["ImageId"]
    lab("fault", "boot-fail", broken)
    started = [
        cloud.ec2.run_instances(ImageId=name, SubnetId=network["subnet"], MinCount=1, MaxCount=1)
        for name in (image, broken)
    ]
    good, bad = (str(entry["Instances"][0]["InstanceId"]) for entry in started)
    for instance_id in (good, bad):
        eventually(lambda instance_id=instance_id: cloud.state(instance_id), "running", 120)  # type: ignore[misc]
    assert cloud.output(good, "cat /etc/baked") == "baked"

    def check(instance_id: str) -> str:
        statuses = cloud.ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
        return str(statuses[0]["InstanceStatus"]["Status"])

    eventually(lambda: check(bad), "impaired", 90)
    assert check(good) == "ok"
    cloud.ec2.terminate_instances(InstanceIds=[good, bad])
    for instance_id in (good, bad):
        eventually(lambda instance_id=instance_id: cloud.state(instance_id), "terminated")  # type: ignore[misc]


def test_buckets_keep_what_is_put(cloud: Cloud) -> None:
    cloud.s3.create_bucket(Bucket="lab-test", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    cloud.s3.put_object(Bucket="lab-test", Key="a key", Body=b"x" * 300_000)
    assert len(cloud.s3.get_object(Bucket="lab-test", Key="a key")["Body"].read()) == 300_000


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"ImageId": "ami-00000000000000000"}, "InvalidAMIID.NotFound"),
        ({"KeyName": "none"}, "InvalidKeyPair.NotFound"),
        ({"InstanceType": "m7g.colossal"}, "InvalidInstanceType"),
    ],
)
def test_wrong_launches_are_refused(
    cloud: Cloud, network: dict[str, str], arguments: dict[str, str], code: str
) -> None:
    request: dict[str, Any] = {"ImageId": network["image"], "MinCount": 1, "MaxCount": 1, **arguments}
    with pytest.raises(cloud.ec2.exceptions.ClientError, match=code):
        cloud.ec2.run_instances(**request)
