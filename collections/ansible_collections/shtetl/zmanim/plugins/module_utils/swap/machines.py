# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a swap asks of C(zmanimctl) on the machines, through SSM Run Command."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any, Dict, Mapping, Optional

from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import (
    Answer,
    RunCommand,
    RunCommandError,
    shell_line,
)

from .phases import SwapError

# The unit in which a standby waits for the volume: the first when it booted as one, else the second.
BOOT_UNITS = ("zmanim-boot.service", "zmanim-standby.service")


class Machines:
    """C(zmanimctl) on one instance or the other.  C(poll) is the pause between two looks at an
    answer, in seconds.
    """

    def __init__(self, commands: RunCommand, poll: float = 0.25) -> None:
        self._commands = commands
        self._poll = poll

    def status(self, instance_id: str, deadline: float = 15.0) -> Optional[Dict[str, Any]]:
        """Return C(zmanimctl status --json), None when it printed none.  Raises RunCommandError."""
        document = self._run(instance_id, ["zmanimctl", "status", "--json"], deadline).document
        return document if isinstance(document, dict) else None

    def try_status(self, instance_id: str, deadline: float = 15.0) -> Dict[str, Any]:
        """Return the status, {} when the machine does not answer."""
        try:
            return self.status(instance_id, deadline) or {}
        except RunCommandError:
            return {}

    def refusal(self, instance_id: str) -> Optional[str]:
        """Return why C(zmanimctl handover prepare) refuses, None when the guards pass."""
        answer = self._run(instance_id, ["zmanimctl", "handover", "prepare", "--json"], 30.0)
        return None if answer.rc == 0 else answer.complaint

    def release(self, instance_id: str, swap_id: str, target: str, deadline: float) -> Dict[str, Any]:
        """Make a machine hold its requests, stop its services and unmount; return what it reports.

        Raises SwapError when it refuses, RunCommandError when it does not answer within C(deadline) seconds.
        """
        words = ["zmanimctl", "handover", "release", "--swap-id", swap_id, "--target", target]
        answer = self._run(instance_id, [*words, "--deadline", "{0:g}".format(deadline), "--json"], deadline)
        if answer.rc != 0:
            raise SwapError("{0} did not let the volume go: {1}".format(instance_id, answer.complaint))
        document = answer.document
        return document if isinstance(document, dict) else {}

    def reclaim(self, instance_id: str, deadline: float = 60.0) -> Optional[str]:
        """Make a machine mount the volume again and serve; return its complaint, None when it did."""
        try:
            answer = self._run(instance_id, ["zmanimctl", "handover", "reclaim", "--json"], deadline)
        except RunCommandError as error:
            return str(error)
        return None if answer.rc == 0 else answer.complaint

    def halt_boot(self, instance_id: str) -> Dict[str, Any]:
        """Stop a standby from taking the volume, then return its status, {} when it does not answer."""
        try:
            self._run(instance_id, ["systemctl", "stop", *BOOT_UNITS], 15.0)
        except RunCommandError:
            return {}
        return self.try_status(instance_id)

    def _run(self, instance_id: str, argv: "list[str]", deadline: float) -> Answer:
        return self._commands.run(
            instance_id, shell_line(argv), deadline=deadline, interval=self._poll, comment="swap"
        )


def http_health(url: str, headers: Mapping[str, str], timeout: float = 5.0) -> str:
    """Return "ok" when C(url) answers 200, else what it answered."""
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - the URL is the operator's own
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310 - as above
            return "ok" if response.status == 200 else "status {0}".format(response.status)
    except urllib.error.HTTPError as error:
        return "status {0}".format(error.code)
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
