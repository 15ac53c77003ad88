# SPDX-License-Identifier: GPL-3.0-or-later
"""moto as a server whose instances answer SSM commands as zmanimctl would: no machine, only its phases.

``python -m tests.playbooks.emulated_aws PORT HEALTH_PORT FAULTS_FILE`` serves until it is killed.
  FAULTS_FILE is a
JSON object that a test rewrites at will; see Machine for the names.  Moving a volume is what makes a
  machine serve,
so a swap that moves it wrongly is seen.
"""

from __future__ import annotations

import json
import shlex
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.exceptions import JsonRESTError
from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance
from moto.server import DomainDispatcherApplication, create_backend_app
from moto.ssm.models import SimpleSystemManagerBackend
from werkzeug.serving import run_simple

REGION = "eu-west-1"
VERSIONS = ("1.0.0", "2.0.0")


def ec2() -> Any:
    """Return moto's EC2 in the test's region."""
    return ec2_backends[DEFAULT_ACCOUNT_ID][REGION]


@dataclass
class Command:
    """What a simulated command left behind."""

    rc: int = 0
    stdout: str = ""
    stderr: str = ""


@dataclass
class Machine:
    """The phases of zmanimctl on one instance.

    Faults, by name: ``refuse_release`` (text), ``green_never_serves``, ``never_ready``, ``prepare`` (text),
    ``release_api`` (text), ``deaf`` (instance ids that SSM does not know).
    """

    instance_id: str
    faults: dict[str, Any]
    phase: str = "booting"
    target: str = ""
    give_up: float = 0.0
    version: str = "1.0.0"
    previous: str = ""
    boots: int = 0
    calls: list[str] = field(default_factory=list)

    def instance(self) -> Any:
        """Return moto's instance."""
        return ec2().get_instance(self.instance_id)

    def tags(self) -> dict[str, str]:
        """Return the instance's tags."""
        return {tag["key"]: tag["value"] for tag in self.instance().get_tags()}

    def volume(self) -> str:
        """Return the data volume attached here, or nothing."""
        for volume in ec2().volumes.values():
            names = {tag["key"]: tag["value"] for tag in volume.get_tags()}
            attached = volume.attachment and volume.attachment.instance.id == self.instance_id
            if attached and names.get("Persistent") == "true":
                return str(volume.id)
        return ""

    def advance(self, machines: dict[str, Machine]) -> None:
        """Do what the machine would have done by itself since it was last asked."""
        attached = self.volume()
        if self.phase == "booting":
            standby = self.tags().get("ZmanimRole") == "standby"
            self.phase = "standby-ready" if standby else "serving"
            if standby and self.faults.get("never_ready"):
                self.phase = "booting"
        if self.phase == "standby-ready" and attached and not self.faults.get("green_never_serves"):
            self.phase = "serving"
        if self.phase == "released":
            self._watch(attached, machines)

    def _watch(self, attached: str, machines: dict[str, Machine]) -> None:
        for other in machines.values():
            if other.instance().private_ip == self.target and other.phase == "serving":
                self.phase = "relaying"
                return
        if attached and time.monotonic() > self.give_up:
            self.phase = "serving"

    def run(self, words: list[str], machines: dict[str, Machine]) -> Command:
        """Answer one command."""
        self.calls.append(" ".join(words))
        self.advance(machines)
        if words[0] == "systemctl":
            return Command()
        verb = "_".join(word for word in words[1:3] if word.isalpha())
        action = getattr(self, f"do_{verb}", None) or getattr(self, f"do_{words[1]}")
        return action(words)

    def do_status(self, _words: list[str]) -> Command:
        """Report as ``zmanimctl status --json``."""
        mounted = self.phase == "serving"
        document = {
            "phase": self.phase,
            "instance_id": self.instance_id,
            "volume": {"id": self.volume() or None, "mounted": mounted},
            "postgres": {"major": 17, "running": mounted},
            "api": {"version": self.version},
        }
        return Command(stdout=json.dumps(document))

    def do_handover_prepare(self, _words: list[str]) -> Command:
        """Check the guards."""
        return self._refused("prepare") or Command(stdout="{}")

    def do_handover_release(self, words: list[str]) -> Command:
        """Let the volume go."""
        if self.phase not in ("serving", "released"):
            return Command(1, stderr=f"zmanimctl: phase is {self.phase}, expected serving")
        refused = self._refused("refuse_release")
        if refused:
            return refused
        self.phase, self.target = "released", words[words.index("--target") + 1]
        self.give_up = time.monotonic() + float(words[words.index("--deadline") + 1])
        return Command(stdout=json.dumps({"phase": "released", "milliseconds": {"checkpoint": 12}}))

    def do_handover_reclaim(self, _words: list[str]) -> Command:
        """Take the volume back."""
        if not self.volume():
            return Command(1, stderr="zmanimctl: the volume is not attached here")
        self.phase = "serving"
        return Command(stdout=json.dumps({"phase": "serving"}))

    def do_release(self, words: list[str]) -> Command:
        """Release a version of the API."""
        refused = self._refused("release_api")
        if refused:
            return refused
        wanted = self.previous if words[2] == "--rollback" else words[2]
        if wanted == self.version:
            answer = {
                "result": "unchanged",
                "version": wanted,
                "previous": self.previous,
                "slot": "a",
                "seconds": 0,
            }
        else:
            answer = {
                "result": "released",
                "version": wanted,
                "previous": self.version,
                "slot": "b",
                "seconds": 1.5,
            }
            self.previous, self.version = self.version, wanted
        return Command(stdout=json.dumps(answer))

    def do_backup(self, _words: list[str]) -> Command:
        """Back up."""
        answer = {"snapshot_id": "c0ffee00", "databases": ["zmanim"], "bytes": 1024, "seconds": 2.0}
        return self._refused("backup") or Command(stdout=json.dumps(answer))

    def do_restore(self, words: list[str]) -> Command:
        """Restore."""
        into = words[words.index("--into") + 1] if "--into" in words else "zmanim"
        answer = {
            "snapshot_id": "c0ffee00",
            "database": "zmanim",
            "into": into,
            "tables": {"writes": 3},
            "rows": 3,
        }
        return Command(stdout=json.dumps({**answer, "seconds": 1.0}))

    def _refused(self, fault: str) -> Command | None:
        text = self.faults.get(fault)
        return Command(1, stderr=f"zmanimctl: {text}") if text else None


class Park:
    """Every machine, and what SSM needs of them."""

    def __init__(self, faults_file: Path) -> None:
        self.faults_file = faults_file
        self.machines: dict[str, Machine] = {}
        self.commands: dict[str, Command] = {}
        self.lock = threading.RLock()

    def faults(self) -> dict[str, Any]:
        """Return the faults that the test asks for now."""
        return json.loads(self.faults_file.read_text()) if self.faults_file.exists() else {}

    def machine(self, instance_id: str) -> Machine | None:
        """Return a running instance's machine; one that was stopped in between has booted anew."""
        faults = self.faults()
        try:
            instance = ec2().get_instance(instance_id)
        except Exception:  # moto's own error for an id that it does not know
            return None
        broken = "DoesNotBoot" in {tag["key"] for tag in ec2().amis[instance.image_id].get_tags()}
        if instance.state != "running" or broken or instance_id in faults.get("deaf", []):
            self.machines.pop(instance_id, None)
            return None
        boots = getattr(instance, "boots", 0)
        machine = self.machines.get(instance_id)
        if machine is None or machine.boots != boots:
            machine = self.machines[instance_id] = Machine(instance_id, faults, boots=boots)
        machine.faults = faults
        return machine

    def send(self, instance_id: str, line: str) -> str | None:
        """Run a command and return its id, None when SSM does not know the machine."""
        with self.lock:
            machine = self.machine(instance_id)
            if machine is None:
                return None
            self.machines = {key: one for key, one in self.machines.items() if ec2().get_instance_by_id(key)}
            command_id = str(uuid.uuid4())
            self.commands[command_id] = machine.run(shlex.split(line), self.machines)
            return command_id

    def healthy(self, address: str) -> bool:
        """Say whether the machine behind an Elastic IP serves or relays."""
        with self.lock:
            for found in ec2().addresses:
                if found.public_ip == address and found.instance:
                    machine = self.machine(found.instance.id)
                    if machine:
                        machine.advance(self.machines)
                    unhealthy = self.faults().get("unhealthy_outside") == found.instance.id
                    return bool(machine and machine.phase in ("serving", "relaying") and not unhealthy)
        return False


def install(park: Park) -> None:
    """Let moto's SSM speak to the machines."""

    def send_command(self: Any, comment: str, **request: Any) -> Any:
        instance_id = request["instance_ids"][0]
        command_id = park.send(instance_id, request["parameters"]["commands"][0])
        if command_id is None:
            raise JsonRESTError("InvalidInstanceId", f"Instances not in a valid state: {instance_id}")

        class Sent:
            def response_object(self) -> dict[str, Any]:
                return {"CommandId": command_id, "InstanceIds": [instance_id], "Comment": comment}

            def to_dict(self) -> dict[str, Any]:
                return self.response_object()

        return Sent()

    def get_command_invocation(self: Any, command_id: str, instance_id: str, plugin_name: str | None) -> Any:
        done = park.commands.get(command_id)
        if done is None:
            raise JsonRESTError("InvocationDoesNotExist", command_id)
        return {
            "CommandId": command_id,
            "InstanceId": instance_id,
            "Status": "Failed" if done.rc else "Success",
            "StatusDetails": "Failed" if done.rc else "Success",
            "ResponseCode": done.rc,
            "StandardOutputContent": done.stdout,
            "StandardErrorContent": done.stderr,
        }

    start = Instance.start

    def count_boots(self: Any, *arguments: Any) -> Any:
        self.boots = getattr(self, "boots", 0) + 1
        return start(self, *arguments)

    Instance.start = count_boots  # type: ignore[method-assign]
    SimpleSystemManagerBackend.send_command = send_command  # type: ignore[method-assign,assignment]
    SimpleSystemManagerBackend.get_command_invocation = get_command_invocation  # type: ignore[method-assign]


def serve_health(park: Park, port: int) -> None:
    """Answer /health on every loopback address, as the machine behind the address would."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # http.server's name
            healthy = park.healthy(self.connection.getsockname()[0])
            self.send_response(200 if healthy else 503)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("0.0.0.0", port), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main(port: int, health_port: int, faults_file: Path) -> None:
    """Serve until killed."""
    park = Park(faults_file)
    install(park)
    serve_health(park, health_port)
    run_simple("127.0.0.1", port, DomainDispatcherApplication(create_backend_app), threaded=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
