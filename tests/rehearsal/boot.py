# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a machine takes from its launch to its first healthy answer, seen from outside."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType
from typing import Any

import botocore.exceptions

from tests.rehearsal.commands import CommandError
from tests.rehearsal.controller import Controller

LOOK_SECONDS = 0.2


def healthy(address: str, port: int = 8080) -> bool:
    """Whether GET /health on the address answers 200 within a second."""
    connection = http.client.HTTPConnection(address, port, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class BootWatch:
    """Looks for a new instance in the background and asks it for /health until it answers.

    The answer is taken from the Elastic IP: what counts is when the outside can use the machine.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._known = {instance["InstanceId"] for instance in controller.instances()}
        self._stop = threading.Event()
        self._found = threading.Event()
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._watch, name="boot-watch", daemon=True)

    def __enter__(self) -> BootWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5)

    def seconds(self, deadline_seconds: float) -> float:
        """Seconds from launch to health; waits at most ``deadline_seconds``, then raises CommandError."""
        if not self._found.wait(deadline_seconds):
            raise CommandError(f"no new machine answered /health within {deadline_seconds:.0f} s of site.yml")
        return round(self._seconds, 1)

    def _watch(self) -> None:
        launched = 0.0
        while not self._stop.wait(LOOK_SECONDS):
            try:
                launched = launched or self._launch()
                ready = bool(launched) and healthy(self._controller.elastic_ip()["PublicIp"])
            except (CommandError, botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                continue
            if ready:
                self._seconds = time.time() - launched
                self._found.set()
                return

    def _launch(self) -> float:
        """Launch time of an instance that was not there before, in seconds of the epoch; 0 without one."""
        new: list[dict[str, Any]] = [
            instance for instance in self._controller.instances() if instance["InstanceId"] not in self._known
        ]
        return float(new[0]["LaunchTime"].timestamp()) if new else 0.0
