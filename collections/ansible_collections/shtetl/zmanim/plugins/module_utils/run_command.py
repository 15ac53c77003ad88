# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command on one instance through SSM Run Command, and wait for its answer by polling.

botocore's waiter for command invocations polls every 5 s, which is longer than a whole handover.
"""

from __future__ import annotations

import json
import shlex
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    TRANSIENT_CODES,
    DeclaredResourceError,
    call,
)

# GetCommandInvocation returns at most this much of each stream (SSM API reference, GetCommandInvocation).
OUTPUT_LIMIT = 24000
PENDING = ("Pending", "InProgress", "Delayed", "Cancelling")
UNMANAGED = ("InvalidInstanceId",)


class RunCommandError(Exception):
    """A command could not be sent, or gave no answer in time."""


class NotManagedError(RunCommandError):
    """SSM knows no such machine, or its agent has not registered yet."""


class CommandTimeoutError(RunCommandError):
    """The command had not ended at the deadline; it may still be running on the machine."""


class Answer(NamedTuple):
    """What a command left behind.  C(document) is the JSON document on its standard output, if any."""

    command_id: str
    status: str
    rc: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def document(self) -> Any:
        """Return the JSON document printed on standard output, or None."""
        return json_document(self.stdout)

    @property
    def complaint(self) -> str:
        """Return the line that best says why the command failed."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[-1] if lines else "exit status {0}, no output".format(self.rc)


def json_document(text: str) -> Any:
    """Return the JSON document that C(text) is, or that its last line is, or None."""
    stripped = text.strip()
    candidates = [stripped, stripped.splitlines()[-1] if stripped else ""]
    for candidate in candidates:
        if not candidate.startswith(("{", "[")):
            continue
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    return None


def shell_line(argv: Sequence[str]) -> str:
    """Return an argument list as one line of shell."""
    return " ".join(shlex.quote(str(word)) for word in argv)


class RunCommand:
    """Sends commands to instances.  C(ssm) is a boto3 SSM client; C(clock) and C(pause) count in seconds."""

    def __init__(
        self,
        ssm: Any,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ssm = ssm
        self._clock = clock
        self._pause = pause

    def run(
        self,
        instance_id: str,
        command: str,
        deadline: float = 60.0,
        interval: float = 0.5,
        comment: str = "",
        on_poll: Optional[Callable[[], None]] = None,
    ) -> Answer:
        """Run one shell C(command) as root and return its L(Answer), whatever its exit status.

        Raises NotManagedError, CommandTimeoutError after C(deadline) seconds, or RunCommandError.
        """
        started = self._clock()
        end = started + deadline
        command_id = self._send(instance_id, command, deadline, end, interval, comment)
        while True:
            invocation = self._invocation(instance_id, command_id)
            if invocation and invocation.get("Status") not in PENDING:
                return self._answer(instance_id, command_id, invocation, self._clock() - started)
            if self._clock() + interval > end:
                raise CommandTimeoutError(
                    "{0!r} on {1} had not ended after {2:g} s (SSM command {3}); it may still "
                    "be running there: "
                    "look with 'zmanimctl status' on the machine, or raise the deadline".format(
                        command, instance_id, deadline, command_id
                    )
                )
            if on_poll:
                on_poll()
            self._pause(interval)

    def _send(
        self, instance_id: str, command: str, deadline: float, end: float, interval: float, comment: str
    ) -> str:
        request: Dict[str, Any] = {
            "InstanceIds": [instance_id],
            "DocumentName": "AWS-RunShellScript",
            "Parameters": {"commands": [command], "executionTimeout": [str(max(int(deadline + 0.999), 5))]},
            "TimeoutSeconds": 30,  # the least SSM accepts: how long it may wait for the agent to pick it up
        }
        if comment:
            request["Comment"] = comment[:100]
        while True:
            try:
                sent = call(
                    "send a command to {0}".format(instance_id),
                    self._ssm.send_command,
                    pause=self._short_pause,
                    **request,
                )
                return str((sent or {})["Command"]["CommandId"])
            except DeclaredResourceError as error:
                if error.code not in TRANSIENT_CODES or self._clock() + interval > end:
                    raise _plain(error, instance_id) from error
                self._pause(interval)

    def _short_pause(self, seconds: float) -> None:
        """Requests may be waiting: a caller with a deadline is not held for long by one call."""
        self._pause(min(seconds, 0.5))

    def _invocation(self, instance_id: str, command_id: str) -> Optional[Dict[str, Any]]:
        """Return what SSM knows of a command; None for an answer that a later look may replace."""
        try:
            return call(
                "read the answer of command {0} on {1}".format(command_id, instance_id),
                self._ssm.get_command_invocation,
                missing=(
                    "InvocationDoesNotExist",
                    *TRANSIENT_CODES,
                ),  # the first: for a moment after SendCommand
                CommandId=command_id,
                InstanceId=instance_id,
            )
        except DeclaredResourceError as error:
            raise _plain(error, instance_id) from error

    @staticmethod
    def _answer(instance_id: str, command_id: str, invocation: Dict[str, Any], seconds: float) -> Answer:
        status = str(invocation.get("StatusDetails") or invocation.get("Status"))
        rc = int(invocation.get("ResponseCode", -1))
        if rc < 0 and status.lower().replace(" ", "") in ("deliverytimedout", "undeliverable", "terminated"):
            raise NotManagedError(
                "{0} did not pick up the command within 30 s (SSM says {1}): its agent does not answer; "
                "check that the instance runs and that amazon-ssm-agent reaches SSM".format(
                    instance_id, status
                )
            )
        return Answer(
            command_id=command_id,
            status=status,
            rc=rc if rc >= 0 or status != "Success" else 0,
            stdout=str(invocation.get("StandardOutputContent") or ""),
            stderr=str(invocation.get("StandardErrorContent") or ""),
            seconds=round(seconds, 3),
        )


def _plain(error: DeclaredResourceError, instance_id: str) -> RunCommandError:
    if error.code in UNMANAGED:
        return NotManagedError(
            "{0} is not managed by SSM: expected a running instance with amazon-ssm-agent and the instance "
            "profile that site.yml attaches; it may still be booting, be stopped, or be in another "
            "region".format(instance_id)
        )
    if error.code in (
        "ThrottlingException",
        "Throttling",
        "TooManyRequestsException",
        "RequestLimitExceeded",
    ):
        return RunCommandError(
            "SSM kept refusing calls for {0} because of throttling until the deadline: "
            "run the same command again in a minute ({1})".format(instance_id, error.message)
        )
    return RunCommandError(error.message)
