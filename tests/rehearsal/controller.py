# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's side of the rehearsal: the environment, the commands, and what AWS says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml

from tests.rehearsal import commands
from tests.rehearsal.commands import ROOT, CommandError
from tests.rehearsal.load import Viewer

LAB_STATE = ROOT / "build" / "lab"
CLOUDFRONT_ADDRESS = "127.0.10.1"
API_GATEWAY_ADDRESS = "127.0.10.2"
VARIABLES = ROOT / "inventories" / "lab" / "group_vars" / "all.yml"


def command_environment(exports: dict[str, str]) -> dict[str, str]:
    """Environment of every command: the caller's, the repository's tools first, and the lab's exports."""
    tools = [str(Path(sys.executable).parent), str(ROOT / "build/tools/bin")]
    defaults = {
        "PACKER_PLUGIN_PATH": str(ROOT / "build/tools/plugins"),
        "CONTAINERS_CONF": str(ROOT / "lab/containers.conf"),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "CHECKPOINT_DISABLE": "1",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    path = os.pathsep.join([*tools, os.environ.get("PATH", os.defpath)])
    return defaults | dict(os.environ) | exports | {"PATH": path, "PYTHONPATH": str(ROOT)}


class Controller:
    """Runs the product's commands for one step at a time; ``log`` is that step's."""

    def __init__(self, beat: Callable[[str], None]) -> None:
        self._beat = beat
        self.log = ROOT / "build/rehearsal/rehearsal.log"
        self.variables: dict[str, Any] = yaml.safe_load(VARIABLES.read_text())

    @property
    def environment_name(self) -> str:
        """The rehearsed environment, ``lab``."""
        return str(self.variables["zmanim_env"])

    def environment(self) -> dict[str, str]:
        """Return the commands' environment as it is now: before ``lab up`` there are no exports."""
        file = LAB_STATE / "env"
        return command_environment(commands.exports(file.read_text()) if file.exists() else {})

    def run(
        self, command: Sequence[str], minutes: float, directory: Path = ROOT, expected: Sequence[int] = (0,)
    ) -> str:
        """Run a command into the step's log; returns its output."""
        return commands.run(
            command, self.log, minutes * 60, self.environment(), self._beat, directory, expected
        )

    def playbook(
        self,
        name: str,
        *arguments: str,
        extra: Mapping[str, str] | None = None,
        minutes: float = 5,
        expected: Sequence[int] = (0,),
    ) -> str:
        """Run ``playbooks/NAME.yml`` with extra variables; returns its output."""
        command = ["ansible-playbook", "-i", "inventories/lab", f"playbooks/{name}.yml", *arguments]
        for variable, value in (extra or {}).items():
            command += ["-e", f"{variable}={value}"]
        return self.run(command, minutes, expected=expected)

    def lab(self, *arguments: str, minutes: float = 5) -> str:
        """Run ``python -m lab ...``; returns its output."""
        return self.run([sys.executable, "-m", "lab", *arguments], minutes)

    def ask(self, command: Sequence[str], seconds: float = 60) -> str:
        """Run a command that only looks; returns its standard output alone."""
        try:
            found = subprocess.run(
                command, cwd=ROOT, env=self.environment(), capture_output=True, text=True,
                timeout=seconds, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise CommandError(f"{commands.shown(command)}: no end within {seconds:.0f} s") from error
        if found.returncode:
            raise CommandError(
                f"{commands.shown(command)} exited with {found.returncode}: {found.stderr.strip()[-600:]}"
            )
        return found.stdout

    def ask_lab(self, *arguments: str, seconds: float = 60) -> str:
        """Ask ``python -m lab`` something; returns its standard output."""
        return self.ask([sys.executable, "-m", "lab", *arguments], seconds)

    def on_machine(self, instance: str, *command: str, seconds: float = 60) -> str:
        """Run a command on a machine; returns its standard output."""
        return self.ask_lab("shell", instance, *command, seconds=seconds)

    def rows(self, instance: str, database: str, query: str) -> list[str]:
        """Ask PostgreSQL on a machine; returns one line for each row."""
        sql = ["psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query]
        return self.on_machine(instance, "runuser", "-u", "postgres", "--", *sql).splitlines()

    def client(self, service: str, region: str = "") -> Any:
        """Return a boto3 client that speaks to the lab, in the environment's region or another."""
        exported = commands.exports((LAB_STATE / "env").read_text())
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=region or exported["AWS_DEFAULT_REGION"],
            endpoint_url=exported["AWS_ENDPOINT_URL"],
            aws_access_key_id=exported["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
        )

    def instances(self) -> list[dict[str, Any]]:
        """Instances that are not terminated, oldest first."""
        states = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        pages = self.client("ec2").describe_instances(Filters=states)["Reservations"]
        found = [instance for page in pages for instance in page["Instances"]]
        return sorted(found, key=lambda instance: str(instance["LaunchTime"]))

    def elastic_ip(self) -> dict[str, Any]:
        """Return the environment's Elastic IP as EC2 describes it."""
        names = [{"Name": "tag:Name", "Values": [f"zmanim-{self.environment_name}"]}]
        found = self.client("ec2").describe_addresses(Filters=names)["Addresses"]
        if len(found) != 1:
            raise CommandError(f"expected one Elastic IP named zmanim-{self.environment_name}, found {found}")
        address: dict[str, Any] = found[0]
        return address

    def serving(self) -> dict[str, Any]:
        """Return the instance behind the Elastic IP."""
        wanted = self.elastic_ip().get("InstanceId")
        for instance in self.instances():
            if instance["InstanceId"] == wanted:
                return instance
        raise CommandError(f"the Elastic IP points to {wanted}, which does not run")

    def watched_instances(self) -> set[str]:
        """Return the instances that the environment's alarms watch."""
        prefix = f"zmanim-{self.environment_name}/"
        alarms = self.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
        return {one["Value"] for a in alarms for one in a["Dimensions"] if one["Name"] == "InstanceId"}

    def parameter(self, name: str) -> str:
        """Return the value of /zmanim/<env>/NAME."""
        path = f"/zmanim/{self.environment_name}/{name}"
        return str(self.client("ssm").get_parameter(Name=path)["Parameter"]["Value"])

    def swap_state(self) -> dict[str, Any]:
        """Return what the last swap recorded; empty before the first one."""
        client = self.client("ssm")
        try:
            state: dict[str, Any] = json.loads(self.parameter("swap"))
        except client.exceptions.ParameterNotFound:
            return {}
        return state

    def gateway_host(self) -> str:
        """Return the name of the environment's HTTP API."""
        for api in self.client("apigatewayv2").get_apis()["Items"]:
            if api["Name"] == f"zmanim-{self.environment_name}":
                return f"{api['ApiId']}.execute-api.{self.variables['zmanim_region']}.amazonaws.com"
        raise CommandError(f"there is no HTTP API named zmanim-{self.environment_name}")

    def viewer(self) -> Viewer:
        """Return a viewer that comes through CloudFront, with TLS, by the site's name."""
        base = str(self.variables["zmanim_base_path"])
        return Viewer(CLOUDFRONT_ADDRESS, str(self.variables["zmanim_domain"]), base, LAB_STATE / "ca.pem")

    def gateway_viewer(self) -> Viewer:
        """Return a viewer that asks API Gateway directly."""
        return Viewer(API_GATEWAY_ADDRESS, self.gateway_host(), "")

    def origin_viewer(self) -> Viewer:
        """Return a viewer that goes around the edge, to the Elastic IP's port 8080."""
        address = str(self.elastic_ip()["PublicIp"])
        return Viewer(address, address, "", port=8080)
