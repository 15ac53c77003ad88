# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml and destroy.yml against an emulated AWS whose instances are only rows: exact and repeatable."""

from __future__ import annotations

import importlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

pytestmark = pytest.mark.moto

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "collections") not in sys.path:
    sys.path.insert(0, str(ROOT / "collections"))
COLLECTION = "ansible_collections.shtetl.zmanim"
EDGE = "127.0.31"
READY_DEADLINE = 60
PLAYBOOK_DEADLINE = 180
SECRETS = ("postgres-password", "redis-password", "restic-password", "jwt-secret", "origin-verify-key")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Played:
    """How a playbook ended."""

    rc: int
    text: str

    @property
    def changed(self) -> list[str]:
        """The tasks that changed something, in order."""
        tasks, task = [], ""
        for line in self.text.splitlines():
            heading = re.match(r"TASK \[(.*)\]", line)
            task = heading.group(1) if heading else task
            if line.startswith("changed: ") and tasks[-1:] != [task]:
                tasks.append(task)
        return tasks

    @property
    def message(self) -> str:
        return " ".join(self.text.split())


class Account:
    """An empty account, and playbooks run in it."""

    def __init__(self, endpoint: str, edge: str) -> None:
        self.environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANSIBLE_"))
            },
            "AWS_ENDPOINT_URL": endpoint,
            **{f"AWS_ENDPOINT_URL_{service}": edge for service in ("APIGATEWAYV2", "CLOUDFRONT", "S3")},
            "AWS_ACCESS_KEY_ID": "AKIASITETESTS",
            "AWS_SECRET_ACCESS_KEY": "site-tests-secret-key",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "no_proxy": "*",
        }
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="eu-west-1",
            aws_access_key_id="AKIASITETESTS",
            aws_secret_access_key="site-tests-secret-key",
        )

    def image(self) -> str:
        images = self.client("ec2").describe_images()["Images"]
        return str(min(image["ImageId"] for image in images if image["Architecture"] == "x86_64"))

    def play(self, playbook: str, *arguments: str, **variables: str) -> Played:
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        command = [program, "-i", "inventories/lab", f"playbooks/{playbook}.yml"]
        command += ["-e", "aws_compute_wait_for_health=false", *arguments]
        for name, value in variables.items():
            command += ["-e", f"{name}={value}"]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PLAYBOOK_DEADLINE,
        )
        return Played(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    port = free_port()
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for_server(f"http://127.0.0.1:{port}/moto-api/")
        yield from edge_beside(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("site-edge"))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


def edge_beside(endpoint: str, state: Path) -> Iterator[Account]:
    edge = importlib.import_module("lab.edge").start(
        state,
        api=f"{EDGE}.4:4570",
        viewer=f"{EDGE}.1:80",
        viewer_tls=f"{EDGE}.1:443",
        gateway=f"{EDGE}.2:80",
        issuer=f"{EDGE}.3:4568",
        mirror=f"{EDGE}.3:4567",
    )
    try:
        yield Account(endpoint, edge.endpoint)
    finally:
        edge.stop()


def wait_for_server(url: str) -> None:
    end = time.monotonic() + READY_DEADLINE
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


@pytest.fixture(scope="module")
def runs(account: Account) -> dict[str, Played]:
    """The life of an environment, each step once: predicted, made, repeated, predicted again."""
    image = {"zmanim_ami_id": account.image()}
    return {
        "predicted": account.play("site", "--check", "--diff", **image),
        "made": account.play("site", "--diff", **image),
        "again": account.play("site", **image),
        "checked": account.play("site", "--check", "--diff"),
    }


def test_every_run_ends_well(runs: dict[str, Played]) -> None:
    assert {name: run.rc for name, run in runs.items()} == dict.fromkeys(runs, 0), {
        name: run.text[-2000:] for name, run in runs.items() if run.rc
    }


def test_check_mode_announces_exactly_what_the_run_then_changes(runs: dict[str, Played]) -> None:
    assert len(runs["made"].changed) > 30
    assert runs["predicted"].changed == runs["made"].changed


def test_the_second_run_and_a_later_check_change_nothing(runs: dict[str, Played]) -> None:
    assert runs["again"].changed == []
    assert runs["checked"].changed == []


def test_no_secret_is_shown(account: Account, runs: dict[str, Played]) -> None:
    ssm = account.client("ssm")
    for name in SECRETS:
        secret = ssm.get_parameter(Name=f"/zmanim/lab/{name}", WithDecryption=True)["Parameter"]
        assert secret["Type"] == "SecureString" and len(secret["Value"]) >= 40
        assert not [step for step, run in runs.items() if secret["Value"] in run.text], name


def test_the_machine_has_its_volume_its_address_and_no_secret_in_its_user_data(
    account: Account, runs: dict[str, Played]
) -> None:
    ec2 = account.client("ec2")
    named = [{"Name": "tag:Name", "Values": ["zmanim-lab"]}]
    instance = ec2.describe_instances(Filters=named)["Reservations"][0]["Instances"][0]
    address = ec2.describe_addresses(Filters=named)["Addresses"][0]
    data = [{"Name": "tag:Name", "Values": ["zmanim-data-lab"]}]
    volume = ec2.describe_volumes(Filters=data)["Volumes"][0]
    template = ec2.describe_launch_template_versions(LaunchTemplateName="zmanim-lab", Versions=["$Default"])
    assert address["InstanceId"] == instance["InstanceId"]
    assert volume["Attachments"][0]["InstanceId"] == instance["InstanceId"]
    launched = template["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    assert launched["MetadataOptions"]["HttpTokens"] == "required"
    assert launched["MetadataOptions"]["InstanceMetadataTags"] == "enabled"
    pointer = account.client("ssm").get_parameter(Name="/zmanim/lab/ami-id")["Parameter"]["Value"]
    assert pointer == instance["ImageId"]


def test_one_role_alone_finds_what_the_others_made(account: Account, runs: dict[str, Played]) -> None:
    alone = account.play("site", "--tags", "aws_compute,aws_monitoring,aws_cdn")
    assert alone.rc == 0, alone.text[-2000:]
    assert alone.changed == []


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"zmanim_ami_id": "ami-0123456789abcdef0"},
            ["ami-0123456789abcdef0", "expected an AMI that exists"],
        ),
        ({"zmanim_regoin": "eu-west-1"}, ["zmanim_regoin", "unknown variable", "zmanim_region"]),
        ({"zmanim_architecture": "x86"}, ["zmanim_architecture", "found 'x86'", "arm64 or amd64"]),
    ],
)
def test_bad_input_is_named_and_changes_nothing(
    account: Account, runs: dict[str, Played], variables: dict[str, str], words: list[str]
) -> None:
    refused = account.play("site", **variables)
    assert refused.rc != 0 and refused.changed == []
    assert not [word for word in words if word not in refused.message], refused.text


def test_a_running_operation_keeps_site_away(account: Account, runs: dict[str, Played]) -> None:
    parameters = importlib.import_module(f"{COLLECTION}.plugins.module_utils.swap.parameters")
    start = parameters._process_facts(os.getpid())[2]
    living = parameters.this_owner()._replace(process=os.getpid(), process_start=start)
    lock = parameters.EnvironmentLock(account.client("ssm"), "lab", living)
    lock.take("swap", "another-run", 300)
    try:
        refused = account.play("site")
    finally:
        lock.drop("another-run")
    assert refused.rc != 0 and refused.changed == []
    assert "swap" in refused.message and "/zmanim/lab/lock" in refused.message, refused.text


@pytest.fixture(scope="module")
def ends(account: Account, runs: dict[str, Played]) -> dict[str, Played]:
    """The end of the environment: refused, predicted, done, repeated."""
    return {
        "unconfirmed": account.play("destroy"),
        "wrong volume": account.play(
            "destroy", destroy_confirm="lab", destroy_volume="vol-00000000000000000"
        ),
        "predicted": account.play("destroy", "--check", destroy_confirm="lab"),
        "done": account.play("destroy", destroy_confirm="lab"),
        "again": account.play("destroy", destroy_confirm="lab"),
    }


def test_destroy_refuses_without_the_right_words(ends: dict[str, Played]) -> None:
    assert ends["unconfirmed"].rc != 0 and "add -e destroy_confirm=lab" in ends["unconfirmed"].message
    assert ends["wrong volume"].rc != 0 and "vol-00000000000000000" in ends["wrong volume"].message
    assert ends["unconfirmed"].changed == ends["wrong volume"].changed == []


def test_destroy_is_predicted_done_and_repeated(ends: dict[str, Played]) -> None:
    for name in ("predicted", "done", "again"):
        assert ends[name].rc == 0, ends[name].text[-2000:]
    assert len(ends["done"].changed) > 20
    assert ends["predicted"].changed == ends["done"].changed
    assert ends["again"].changed == []


def test_destroy_keeps_the_data_and_nothing_else(account: Account, ends: dict[str, Played]) -> None:
    ec2 = account.client("ec2")
    data = [{"Name": "tag:Name", "Values": ["zmanim-data-lab"]}]
    assert [volume["State"] for volume in ec2.describe_volumes(Filters=data)["Volumes"]] == ["available"]
    assert len(ec2.describe_snapshots(Filters=data, OwnerIds=["self"])["Snapshots"]) == 1
    parameters = account.client("ssm").describe_parameters()["Parameters"]
    assert [one["Name"] for one in parameters] == ["/zmanim/lab/restic-password"]
    remains = ends["again"].text.split('"remains"')[-1]
    assert sorted(re.findall(r'"(\w+)": \[', remains)) == ["buckets", "parameters", "snapshots", "volumes"]
    assert "zmanim-backups-lab" in remains and "zmanim-releases-lab" not in remains
