# SPDX-License-Identifier: GPL-3.0-or-later
"""SSM Run Command: documents really run on the machines."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.ec2.models.instances import Instance

from lab.errors import LabError
from lab.events import Events
from lab.machines import Machine

Payload = dict[str, Any]

SHOWN = 24000
"""Characters of output that GetCommandInvocation returns (AWS documentation of StandardOutputContent)."""
DEFAULT_TIMEOUT = 3600
RUNNING = ("Pending", "InProgress", "Delayed", "Cancelling")
SCRIPTS = "/run/amazon-ssm"
AGENT_VERSION = "3.3.2299.0"


class SsmError(Exception):
    """An error of the API: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Invocation:
    """One command on one machine."""

    command_id: str
    instance_id: str
    document: str
    script: str
    working_directory: str
    execution_timeout: float
    comment: str
    parameters: Payload
    requested: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    output: str = ""
    error: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since it started, or that it took."""
        return (self.ended or time.time()) - (self.started or time.time())

    def end(self, status: str, details: str | None = None, code: int = -1) -> None:
        """Enter a final state, unless it is in one."""
        if self.status in RUNNING:
            self.status, self.details, self.code = status, details or status, code
            self.ended = time.time()


class RunCommand:
    """SendCommand and its relatives."""

    def __init__(
        self, find: Callable[[str], Instance], everyone: Callable[[], list[Instance]], events: Events
    ) -> None:
        self._find = find
        self._everyone = everyone
        self._events = events
        self._invocations: dict[str, list[Invocation]] = {}

    def handlers(self) -> dict[str, Callable[[Payload], Payload]]:
        """The API's actions that the lab answers itself."""
        return {
            "SendCommand": self.send,
            "GetCommandInvocation": self.get_invocation,
            "ListCommandInvocations": self.list_invocations,
            "ListCommands": self.list_commands,
            "CancelCommand": self.cancel,
            "DescribeInstanceInformation": self.describe_instances,
        }

    def send(self, request: Payload) -> Payload:
        """SendCommand: starts it on every target and returns at once."""
        document = request.get("DocumentName", "")
        if document.rsplit("/", 1)[-1] != "AWS-RunShellScript":
            raise SsmError("InvalidDocument", f"The lab runs AWS-RunShellScript; {document!r} is not known")
        parameters = request.get("Parameters", {})
        if not parameters.get("commands"):
            raise SsmError("InvalidParameters", "The document needs the parameter 'commands'")
        targets = self._targets(request)
        command_id = str(uuid.uuid4())
        self._invocations[command_id] = [
            Invocation(
                command_id=command_id,
                instance_id=target,
                document=document,
                script="\n".join(parameters["commands"]) + "\n",
                working_directory=(parameters.get("workingDirectory") or [""])[0] or "/",
                execution_timeout=float((parameters.get("executionTimeout") or [DEFAULT_TIMEOUT])[0]),
                comment=request.get("Comment", ""),
                parameters=parameters,
            )
            for target in targets
        ]
        for invocation in self._invocations[command_id]:
            delivery = float(request.get("TimeoutSeconds") or DEFAULT_TIMEOUT)
            threading.Thread(target=self._run, args=(invocation, delivery), daemon=True).start()
        return {"Command": self._command(command_id)}

    def get_invocation(self, request: Payload) -> Payload:
        """GetCommandInvocation."""
        invocation = self._one(request["CommandId"], request["InstanceId"])
        return {
            "CommandId": invocation.command_id,
            "InstanceId": invocation.instance_id,
            "Comment": invocation.comment,
            "DocumentName": invocation.document,
            "DocumentVersion": "$DEFAULT",
            "PluginName": request.get("PluginName", "aws:runShellScript"),
            "ResponseCode": invocation.code,
            "ExecutionStartDateTime": _iso(invocation.started),
            "ExecutionEndDateTime": _iso(invocation.ended),
            "ExecutionElapsedTime": f"PT{invocation.elapsed:.3f}S",
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "StandardOutputContent": invocation.output[:SHOWN],
            "StandardOutputUrl": "",
            "StandardErrorContent": invocation.error[:SHOWN],
            "StandardErrorUrl": "",
        }

    def list_invocations(self, request: Payload) -> Payload:
        """ListCommandInvocations."""
        wanted = [
            invocation
            for command_id, invocations in self._invocations.items()
            if request.get("CommandId") in (None, command_id)
            for invocation in invocations
            if request.get("InstanceId") in (None, invocation.instance_id)
        ]
        return {
            "CommandInvocations": [_listed(invocation, bool(request.get("Details"))) for invocation in wanted]
        }

    def list_commands(self, request: Payload) -> Payload:
        """ListCommands."""
        wanted = [name for name in self._invocations if request.get("CommandId") in (None, name)]
        return {"Commands": [self._command(name) for name in wanted]}

    def cancel(self, request: Payload) -> Payload:
        """CancelCommand: ends what still runs."""
        if request["CommandId"] not in self._invocations:
            raise SsmError("InvalidCommandId", "")
        for invocation in self._invocations[request["CommandId"]]:
            if request.get("InstanceIds") and invocation.instance_id not in request["InstanceIds"]:
                continue
            invocation.end("Cancelled")
            _kill(invocation)
        return {}

    def describe_instances(self, request: Payload) -> Payload:
        """DescribeInstanceInformation: the machines that run."""
        wanted: set[str] = set()
        for entry in request.get("Filters", []) + request.get("InstanceInformationFilterList", []):
            if entry.get("Key", entry.get("key")) == "InstanceIds":
                wanted.update(entry.get("Values", entry.get("valueSet", [])))
        running = [instance for instance in self._everyone() if _is_online(instance)]
        return {
            "InstanceInformationList": [
                {
                    "InstanceId": instance.id,
                    "PingStatus": "Online",
                    "LastPingDateTime": time.time(),
                    "AgentVersion": AGENT_VERSION,
                    "IsLatestVersion": True,
                    "PlatformType": "Linux",
                    "PlatformName": "Debian GNU/Linux",
                    "ResourceType": "EC2Instance",
                    "IPAddress": instance.private_ip,
                    "ComputerName": instance.private_dns_name,
                }
                for instance in running
                if not wanted or instance.id in wanted
            ]
        }

    def _targets(self, request: Payload) -> list[str]:
        targets = list(request.get("InstanceIds", []))
        for target in request.get("Targets", []):
            targets += [instance.id for instance in self._everyone() if _selected(instance, target)]
        states = {instance.id: instance.state for instance in self._everyone()}
        off = [target for target in targets if states.get(target) != "running"]
        if off or not targets:
            raise SsmError(
                "InvalidInstanceId",
                f"Instances not in a valid state for account: {', '.join(off) or 'none given'}",
            )
        return targets

    def _one(self, command_id: str, instance_id: str) -> Invocation:
        for invocation in self._invocations.get(command_id, []):
            if invocation.instance_id == instance_id:
                return invocation
        raise SsmError("InvocationDoesNotExist", "")

    def _command(self, command_id: str) -> Payload:
        invocations = self._invocations[command_id]
        first = invocations[0]
        done = [entry for entry in invocations if entry.status not in RUNNING]
        states = {entry.status for entry in invocations}
        bad = next((state for state in ("Failed", "TimedOut", "Cancelled") if state in states), "Success")
        status = bad if len(done) == len(invocations) else "InProgress"
        return {
            "CommandId": command_id,
            "DocumentName": first.document,
            "DocumentVersion": "$DEFAULT",
            "Comment": first.comment,
            "Parameters": first.parameters,
            "InstanceIds": [entry.instance_id for entry in invocations],
            "RequestedDateTime": first.requested,
            "ExpiresAfter": first.requested + DEFAULT_TIMEOUT,
            "Status": status,
            "StatusDetails": status,
            "TargetCount": len(invocations),
            "CompletedCount": len(done),
            "ErrorCount": sum(entry.status in ("Failed", "TimedOut") for entry in invocations),
        }

    def _run(self, invocation: Invocation, delivery: float) -> None:
        machine = Machine(invocation.instance_id)
        script = f"{SCRIPTS}/{invocation.command_id}.sh"
        try:
            _deliver(machine, script, invocation.script, delivery)
        except (LabError, OSError) as lost:
            self._events.act(invocation.instance_id, "command not delivered", reason=str(lost))
            invocation.end("TimedOut", "Delivery Timed Out")
            return
        invocation.started = time.time()
        if invocation.status == "Pending":
            invocation.status = invocation.details = "InProgress"
            self._execute(invocation, machine, script)
        self._events.act(
            invocation.instance_id, "command ended", command=invocation.command_id, status=invocation.status
        )

    def _execute(self, invocation: Invocation, machine: Machine, script: str) -> None:
        place = invocation.working_directory
        shell = 'cd "$1" && sh "$2"; code=$?; rm -f "$2"; exit $code'
        invocation.process = subprocess.Popen(
            machine.command("setsid", "--wait", "sh", "-c", shell, "sh", place, script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, error = invocation.process.communicate(timeout=invocation.execution_timeout)
        except subprocess.TimeoutExpired:
            invocation.end("TimedOut", "Execution Timed Out", 137)
            _kill(invocation)
            output, error = invocation.process.communicate()
        invocation.output, invocation.error = output.decode(errors="replace"), error.decode(errors="replace")
        code = invocation.process.returncode
        invocation.end("Failed" if code else "Success", code=code)


def _deliver(machine: Machine, path: str, text: str, patience: float) -> None:
    """Put the script on the machine, whose agent answers once systemd is up."""
    until = time.monotonic() + patience
    while not _answers(machine):
        if time.monotonic() > until:
            raise LabError(f"{machine.name}: no agent answered in {patience:g} s")
        time.sleep(0.2)
    target = machine.root / path.lstrip("/")
    target.parent.mkdir(mode=0o700, exist_ok=True)
    target.touch(mode=0o600)
    target.write_text(text)


def _answers(machine: Machine) -> bool:
    """Whether the agent would run: it starts with the basic system, which emergency mode never reaches."""
    if not machine.pid:
        raise LabError(f"{machine.name}: the machine is off")
    return machine.execute("systemctl", "is-active", "--quiet", "basic.target").returncode == 0


def _kill(invocation: Invocation) -> None:
    """End the process with all it has started."""
    process = invocation.process
    if process is None or process.poll() is not None:
        return
    children = _descendants(process.pid)
    for pid in [*children, process.pid]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for child in map(int, children):
        found += [child, *_descendants(child)]
    return found


def _is_online(instance: Instance) -> bool:
    try:
        return instance.state == "running" and _answers(Machine(instance.id))
    except LabError:
        return False


def _selected(instance: Instance, target: Payload) -> bool:
    key, values = target.get("Key", ""), target.get("Values", [])
    if instance.state != "running":
        return False
    if key == "InstanceIds":
        return instance.id in values
    if key.startswith("tag:"):
        return any(tag["key"] == key[4:] and tag["value"] in values for tag in instance.get_tags())
    return False


def _listed(invocation: Invocation, details: bool) -> Payload:
    plugin = {
        "Name": "aws:runShellScript",
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "ResponseCode": invocation.code,
        "Output": (invocation.output + invocation.error)[:2500],
    }
    return {
        "CommandId": invocation.command_id,
        "InstanceId": invocation.instance_id,
        "Comment": invocation.comment,
        "DocumentName": invocation.document,
        "RequestedDateTime": invocation.requested,
        "Status": invocation.status,
        "StatusDetails": invocation.details,
        "CommandPlugins": [plugin] if details else [],
    }


def _iso(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat().replace("+00:00", "Z")
