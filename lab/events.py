# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of the lab: one JSON line for every API call and every act behind it. No secret values."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

from lab.paths import EVENTS_FILE


class Events:
    """Appends to build/lab/events.jsonl."""

    def __init__(self, path: Path = EVENTS_FILE) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = path.open("a", buffering=1, encoding="utf-8")
        self._lock = threading.Lock()

    def call(self, service: str, action: str, caller: str, outcome: str, seconds: float) -> None:
        """Record an API call: ``outcome`` is the HTTP status or the error code."""
        self._write(
            kind="call",
            service=service,
            action=action,
            caller=caller,
            outcome=outcome,
            seconds=round(seconds, 4),
        )

    def act(self, subject: str, what: str, **details: str | float) -> None:
        """Record what the lab did to a machine, volume or address."""
        self._write(kind="act", subject=subject, what=what, **details)

    def _write(self, **record: str | float) -> None:
        line = json.dumps({"time": round(time.time(), 3), **record})
        with self._lock:
            self._handle.write(line + "\n")
