# SPDX-License-Identifier: GPL-3.0-or-later
"""One production in the lab, and what a command that is refused must leave as it was."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.rehearsal import boot, rows
from tests.rehearsal.commands import ROOT, CommandError, stop
from tests.rehearsal.controller import Controller
from tests.rehearsal.load import Load
from tests.rehearsal.steps import API, FAILED

LOGS = ROOT / "build" / "living"
FAILURE = re.compile(r"^(?:fatal|failed): \[localhost\].*?=> (\{.*\})$", re.MULTILINE)
LOOK_SECONDS = 0.1


def verdict(output: str) -> str:
    """The message with which a playbook ended."""
    told = [str(json.loads(text).get("msg", "")) for text in FAILURE.findall(output)]
    told = [message for message in told if message != "One or more items failed"]
    assert told, f"no task failed: {output[-2000:]}"
    return told[-1]


def eventually(ask: Callable[[], Any], good: Callable[[Any], bool], deadline: float = 90) -> Any:
    """Ask until the answer is good; what can't be asked yet is asked again."""
    end = time.monotonic() + deadline
    while True:
        found = None
        with contextlib.suppress(CommandError):
            found = ask()
            if good(found):
                return found
        assert time.monotonic() < end, f"still {found!r} after {deadline} s"
        time.sleep(LOOK_SECONDS)


@dataclass(frozen=True)
class Facts:
    """What serves, and all that it serves from."""

    instances: list[tuple[str, str, str]]
    volume: list[tuple[str, str]]
    address: str
    version: str
    system_identifier: str
    releases: list[str]
    databases: list[str]
    rows: dict[str, list[str]]
    parameters: dict[str, str]
    objects: dict[str, str]


class Operator(Controller):
    """A controller whose environment a test may change: no credentials, for instance."""

    changes: Mapping[str, str | None]

    def __init__(self) -> None:
        super().__init__(lambda _text: None)
        self.changes = {}

    def environment(self) -> dict[str, str]:
        """The controller's environment with the changes; None takes a variable away."""
        wanted = {**super().environment(), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", **self.changes}
        return {name: value for name, value in wanted.items() if value is not None}


class Production:
    """The operator's commands, and questions to AWS and to the machine that do not go through the product."""

    def __init__(self, ami: str) -> None:
        self.ami = ami
        self.operator = Operator()
        self.operator.log = LOGS / "playbooks.log"
        self.operator.log.write_text("")
        self.name = self.operator.environment_name

    # Asking

    def machine(self) -> str:
        """The instance that serves."""
        return str(self.operator.serving()["InstanceId"])

    def ask(self, query: str, database: str = "zmanim") -> list[str]:
        """Ask the database that serves."""
        return self.operator.rows(self.machine(), database, query)

    def status(self) -> dict[str, Any]:
        """What the serving machine says of itself."""
        found: dict[str, Any] = json.loads(
            self.operator.on_machine(self.machine(), "zmanimctl", "status", "--json")
        )
        return found

    def version(self) -> str:
        """The version of the API that viewers meet."""
        status, body = self.operator.viewer().ask("GET", "/api/v1/version")
        assert status == 200, body
        return str(json.loads(body)["data"]["version"])

    def healthy(self) -> bool:
        """Whether the machine behind the address answers."""
        return boot.healthy(str(self.operator.elastic_ip()["PublicIp"]))

    def parameters(self) -> dict[str, str]:
        """Every parameter of the environment with its value."""
        pages = self.operator.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=f"/zmanim/{self.name}", Recursive=True, WithDecryption=True)
        return {one["Name"].rpartition("/")[2]: one["Value"] for page in found for one in page["Parameters"]}

    def facts(self) -> Facts:
        """Everything that a refused command must leave as it was."""
        tags = [{"Name": "tag:Name", "Values": [f"zmanim-data-{self.name}"]}]
        (volume,) = self.operator.client("ec2").describe_volumes(Filters=tags)["Volumes"]
        bucket = self.operator.client("s3").list_objects_v2(Bucket=self.bucket)
        instances = self.operator.instances()
        releases = self.operator.on_machine(self.machine(), "ls", "-A", "/opt/zmanim/releases")
        return Facts(
            instances=[(one["InstanceId"], one["ImageId"], one["State"]["Name"]) for one in instances],
            volume=[(one["InstanceId"], one["State"]) for one in volume["Attachments"]],
            address=self.machine(),
            version=self.version(),
            system_identifier=str(self.status()["postgres"]["system_identifier"]),
            releases=releases.split(),
            databases=self.ask("select datname from pg_database order by 1", "postgres"),
            rows=rows.read_tables(self.ask),
            parameters=self.parameters(),
            objects={one["Key"]: one["ETag"] for one in bucket.get("Contents", [])},
        )

    @property
    def bucket(self) -> str:
        """The bucket of the releases."""
        return f"zmanim-releases-{self.name}"

    def release_of(self, version: str, program: str = "") -> dict[str, str]:
        """The variables that name a version and the file that a build pipeline made of it."""
        file = API / str(self.operator.variables["zmanim_architecture"]) / (program or version) / "zmanim-api"
        return {"release_version": version, "release_file": str(file)}

    # Acting

    def play(self, playbook: str, **variables: str) -> str:
        """Run a playbook; returns its output."""
        return self.operator.playbook(playbook, extra=variables)

    def refused(self, playbook: str, *words: str, **variables: str) -> str:
        """Run a playbook that must fail with one message that has all the words; returns the message."""
        return self.refusal(self.operator.playbook(playbook, extra=variables, expected=FAILED), *words)

    @staticmethod
    def refusal(output: str, *words: str) -> str:
        """The message of a playbook that failed; it must have all the words."""
        message = verdict(output)
        assert [word for word in words if word not in message] == [], message
        assert "Traceback" not in output
        return message

    @contextmanager
    def unchanged(self, *but: str) -> Iterator[None]:
        """Everything is afterwards as it was before, except the named facts, and it serves."""
        before = asdict(self.facts())
        yield
        after = asdict(self.facts())
        assert {name for name in before if before[name] != after[name]} <= set(but)
        assert self.healthy()

    @contextmanager
    def environment(self, **changes: str | None) -> Iterator[None]:
        """Another environment for the commands; None takes a variable away."""
        self.operator.changes = changes
        try:
            yield
        finally:
            self.operator.changes = {}

    @contextmanager
    def full_disk(self, directory: str) -> Iterator[None]:
        """No room in a directory of the serving machine."""
        self.operator.lab("fault", "full-disk", f"{self.machine()}:{directory}")
        try:
            yield
        finally:
            self.operator.lab("fault", "--clear")

    @contextmanager
    def without_parameter(self, name: str) -> Iterator[None]:
        """The environment without one of its secrets."""
        ssm, path = self.operator.client("ssm"), f"/zmanim/{self.name}/{name}"
        value = ssm.get_parameter(Name=path, WithDecryption=True)["Parameter"]["Value"]
        ssm.delete_parameter(Name=path)
        try:
            yield
        finally:
            ssm.put_parameter(Name=path, Value=value, Type="SecureString")

    @contextmanager
    def running(self, playbook: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """A playbook that goes on meanwhile; whatever is left of it is stopped at the end."""
        command = ["ansible-playbook", "-i", "inventories/lab", f"playbooks/{playbook}.yml"]
        command += [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
        with (LOGS / f"{playbook}-beside.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.operator.environment(), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                stop(process)

    def lock(self) -> dict[str, Any]:
        """Who holds the environment's lock; empty when nobody does."""
        found: dict[str, Any] = json.loads(self.parameters().get("lock", "{}"))
        return found

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Take a controller away at once: the playbook, and the step that has a session of its own."""
        step = int((self.lock().get("step") or {}).get("process", 0))
        os.killpg(process.pid, signal.SIGKILL)
        if step and "ansible" in _command_line(step):
            os.kill(step, signal.SIGKILL)
        process.wait(10)

    @contextmanager
    def viewers(self) -> Iterator[Load]:
        """Viewers who read and write meanwhile."""
        begun = time.monotonic()
        load = Load(self.operator.viewer(), 10, 5, lambda: time.monotonic() - begun)
        load.start()
        try:
            eventually(load.requests, lambda found: sum(one.acknowledged for one in found) >= 5, 30)
            yield load
        finally:
            load.stop()


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
