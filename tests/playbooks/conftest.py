# SPDX-License-Identifier: GPL-3.0-or-later
"""An environment as site.yml leaves it, in an emulated AWS without machines, and a way to run
playbooks against it.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "tests/playbooks/inventory"
BASE_IMAGE_DEADLINE = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Played:
    """How a playbook ended."""

    rc: int
    text: str

    def failed_with(self, *words: str) -> None:
        """Assert that it failed and that one message holds all the words."""
        flat = " ".join(self.text.split())
        assert self.rc != 0, flat
        missing = [word for word in words if word not in flat]
        assert not missing, f"missing {missing} in: {flat}"


class Site:
    """The environment ``test``: one machine that serves, a volume, an address, a template, buckets
    and pointers.
    """

    def __init__(self, endpoint: str, health_port: int, faults_file: Path) -> None:
        self.endpoint = endpoint
        self.health_port = health_port
        self.faults_file = faults_file
        self.environment = {
            **os.environ,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "emulated-access-key",
            "AWS_SECRET_ACCESS_KEY": "emulated-secret-key",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "no_proxy": "*",
        }
        self.ec2 = self.client("ec2")
        self.ssm = self.client("ssm")
        self.s3 = self.client("s3")
        self.cloudwatch = self.client("cloudwatch")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def build(self) -> None:
        urllib.request.urlopen(
            urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST"), timeout=5
        ).close()
        self.faults()
        vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnet = self.ec2.create_subnet(
            VpcId=vpc, CidrBlock="10.0.1.0/24", AvailabilityZone="eu-west-1a"
        )["Subnet"]["SubnetId"]
        self.volume = self.make_volume()
        self.ami_v1 = self.make_image("v1")
        self.ami_v2 = self.make_image("v2")
        data = base64.b64encode(f"ZMANIM_ENV=test\nZMANIM_VOLUME_ID={self.volume}\n".encode()).decode()
        self.ec2.create_launch_template(
            LaunchTemplateName="zmanim-test",
            LaunchTemplateData={"ImageId": self.ami_v1, "InstanceType": "t3.medium", "UserData": data},
        )
        self.blue = self.ec2.run_instances(
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            ImageId=self.ami_v1,
            LaunchTemplate={"LaunchTemplateName": "zmanim-test"},
            TagSpecifications=[
                {"ResourceType": "instance", "Tags": self.tags("zmanim-test", ZmanimRole="active")}
            ],
        )["Instances"][0]["InstanceId"]
        self.ec2.attach_volume(VolumeId=self.volume, InstanceId=self.blue, Device="/dev/sdf")
        address = self.ec2.allocate_address(
            Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": self.tags("zmanim-test")}]
        )
        self.ec2.associate_address(AllocationId=address["AllocationId"], InstanceId=self.blue)
        self.cloudwatch.put_metric_alarm(
            AlarmName="zmanim-test/cpu",
            Namespace="AWS/EC2",
            MetricName="CPUUtilization",
            Dimensions=[{"Name": "InstanceId", "Value": self.blue}],
            Statistic="Average",
            ComparisonOperator="GreaterThanThreshold",
            Threshold=80,
            Period=300,
            EvaluationPeriods=1,
        )
        self.ssm.put_parameter(Name="/zmanim/test/ami-id", Value=self.ami_v1, Type="String")
        self.s3.create_bucket(
            Bucket="zmanim-releases-test", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

    @staticmethod
    def tags(name: str, **more: str) -> list[dict[str, str]]:
        return [{"Key": k, "Value": v} for k, v in {"Name": name, "Environment": "test", **more}.items()]

    def make_volume(self) -> str:
        return self.ec2.create_volume(
            AvailabilityZone="eu-west-1a",
            Size=30,
            TagSpecifications=[
                {"ResourceType": "volume", "Tags": self.tags("zmanim-data-test", Persistent="true")}
            ],
        )["VolumeId"]

    def make_image(self, name: str, **tags: str) -> str:
        image = self.ec2.register_image(
            Name=f"zmanim-{name}", Architecture="x86_64", RootDeviceName="/dev/xvda"
        )["ImageId"]
        wanted = {"PostgresMajor": "17", **tags}
        self.ec2.create_tags(Resources=[image], Tags=[{"Key": k, "Value": v} for k, v in wanted.items() if v])
        return image

    def faults(self, **faults: Any) -> None:
        """Set the faults of the emulated machines; none clears them."""
        self.faults_file.write_text(json.dumps(faults))

    def play(self, playbook: str, *flags: str, deadline: int = 120, **variables: Any) -> Played:
        """Run a playbook to its end."""
        with tempfile.TemporaryFile("w+") as output:
            run = subprocess.Popen(
                self.command(playbook, *flags, **variables),
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                rc = run.wait(timeout=deadline)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                rc = -1
            output.seek(0)
            return Played(rc, output.read())

    def command(self, playbook: str, *flags: str, **variables: Any) -> list[str]:
        given = (
            {"swap_front_port": self.health_port, **variables}
            if "swap" in playbook or "rollback" in playbook
            else variables
        )
        tool = str(Path(sys.executable).parent / "ansible-playbook")
        return [tool, "-i", str(INVENTORY), f"playbooks/{playbook}.yml", "-e", json.dumps(given), *flags]

    def parameter(self, name: str) -> str | None:
        try:
            return self.ssm.get_parameter(Name=f"/zmanim/test/{name}")["Parameter"]["Value"]
        except self.ssm.exceptions.ParameterNotFound:
            return None

    def swap_state(self) -> dict[str, Any]:
        return json.loads(self.parameter("swap") or "{}")

    def holder(self) -> str | None:
        attachments = self.ec2.describe_volumes(VolumeIds=[self.volume])["Volumes"][0]["Attachments"]
        return attachments[0]["InstanceId"] if attachments else None

    def snapshots(self) -> list[str]:
        only = [{"Name": "volume-id", "Values": [self.volume]}]
        return [one["SnapshotId"] for one in self.ec2.describe_snapshots(Filters=only)["Snapshots"]]

    def address_on(self) -> str | None:
        return self.ec2.describe_addresses()["Addresses"][0].get("InstanceId")

    def watched(self) -> str:
        """Return the instance that the environment's alarm watches."""
        alarm = self.cloudwatch.describe_alarms(AlarmNames=["zmanim-test/cpu"])["MetricAlarms"][0]
        return str(alarm["Dimensions"][0]["Value"])

    def instances(self) -> dict[str, str]:
        found = [one for group in self.ec2.describe_instances()["Reservations"] for one in group["Instances"]]
        return {one["InstanceId"]: one["State"]["Name"] for one in found}


@pytest.fixture(scope="session")
def emulated_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("emulated-aws")
    port, health_port, faults = free_port(), free_port(), folder / "faults.json"
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.playbooks.emulated_aws", str(port), str(health_port), str(faults)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(port, server)
            yield Site(f"http://127.0.0.1:{port}", health_port, faults)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=10)


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + BASE_IMAGE_DEADLINE
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the emulated AWS did not start")


@pytest.fixture
def site(emulated_aws: Site) -> Site:
    emulated_aws.build()
    return emulated_aws
