# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rehearsal: runs the steps, keeps what they found, and shows where it is."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import botocore.exceptions

from tests.rehearsal import report
from tests.rehearsal.commands import ROOT, CommandError
from tests.rehearsal.controller import Controller
from tests.rehearsal.load import Load
from tests.rehearsal.options import Options
from tests.rehearsal.timeline import Window, account

LOGS = ROOT / "build" / "rehearsal"


class StepError(Exception):
    """A step can't go on; the message says what was expected and what was found."""


EXPECTED = (
    StepError,
    CommandError,
    OSError,
    http.client.HTTPException,
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
)


@dataclass
class StepResult:
    """What became of a step."""

    name: str
    title: str
    started: float
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    stopped: bool = False  # nothing that follows makes sense

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.complaints


class Rehearsal:
    """What the steps share. ``facts`` outlive the process, for ``--only`` after ``--keep``."""

    def __init__(self, options: Options, whole: bool, logs: Path = LOGS) -> None:
        self.options = options
        self._logs = logs
        self._kept = logs / "facts.json"
        self._begun = time.monotonic()
        self.controller = Controller(self._beat)
        self.steps: list[StepResult] = []
        self.windows: list[Window] = []
        self.load: Load | None = None
        self.stored: set[str] | None = None
        self.started_lab = False  # a lab that was up before is somebody else's
        logs.mkdir(parents=True, exist_ok=True)
        earlier = {} if whole or not self._kept.exists() else json.loads(self._kept.read_text())
        self.facts: dict[str, Any] = report.empty_facts() | earlier

    def clock(self) -> float:
        """Seconds since the rehearsal began."""
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        """Print a progress line with the time since the start."""
        minutes, seconds = divmod(int(self.clock()), 60)
        print(f"[{minutes:02d}:{seconds:02d}] {text}", flush=True)

    def _beat(self, text: str) -> None:
        self.say(f"      ... {text.strip()[:110]}")

    def need(self, name: str) -> Any:
        """Return what an earlier step found; raises StepError when that step did not run."""
        if self.facts.get(name) in (None, ""):
            raise StepError(f"{name} is not known: run the step that finds it first")
        return self.facts[name]

    def complain(self, text: str) -> None:
        """Mark the running step as failed and go on: what follows can still be measured."""
        self.steps[-1].complaints.append(text)

    def expect(self, what: str, found: object, expected: object) -> None:
        """Complain unless the two are equal."""
        if found != expected:
            self.complain(f"{what}: expected {expected!r}, found {found!r}")

    def run_step(self, name: str, title: str, action: Callable[[Rehearsal], None]) -> StepResult:
        """Run one step; whatever goes wrong is in its result. Facts are saved afterwards."""
        result = StepResult(name, title, self.clock())
        self.steps.append(result)
        self.controller.log = self._logs / f"{name}.log"
        self.controller.log.write_text("")
        self.say(f"{name}: {title}")
        try:
            action(self)
        except EXPECTED as error:
            result.complaints.append(str(error) or type(error).__name__)
            result.stopped = True
        result.seconds = self.clock() - result.started
        self._remember()
        self._tell(result)
        return result

    def _tell(self, result: StepResult) -> None:
        state = "ok" if result.ok else "FAILED"
        self.say(f"      {state} after {result.seconds:.1f} s  ({self.controller.log.relative_to(ROOT)})")
        for complaint in result.complaints:
            for line in complaint.splitlines():
                print(f"        {line}", flush=True)

    def _remember(self) -> None:
        self._kept.write_text(json.dumps(self.facts, indent=2, sort_keys=True))

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Mark a stretch of time and complain about what the viewers saw fail in it."""
        started = self.clock()
        try:
            yield
        finally:
            self.windows.append(Window(name, started, self.clock()))
        if self.load is None:
            raise StepError("no load is running: nothing was measured")
        self.load.settle(self.clock())
        figures = account(self.load.requests(), self.windows[-1], ())
        self.expect("failed requests", figures.failed, 0)
        if not figures.requests:
            self.complain("no request was made in this window: nothing was measured")
        self.say(f"      {figures.requests} requests, {figures.failed} failed, "
                 f"slowest {figures.max_latency_ms} ms")  # fmt: skip

    def interrupted(self) -> None:
        """Record that the user stopped the rehearsal in the running step."""
        if self.steps:
            self.steps[-1].seconds = self.clock() - self.steps[-1].started
            self.complain("interrupted")

    def start_load(self) -> None:
        """Let the viewers begin."""
        if self.load is None:
            viewer, options = self.controller.viewer(), self.options
            self.load = Load(viewer, options.reads_per_second, options.writes_per_second, self.clock)
            self.load.start()

    def save(self) -> None:
        """Write the requests and the two reports."""
        requests = self.load.requests() if self.load else []
        with (self._logs / "requests.jsonl").open("w") as sink:
            sink.writelines(json.dumps(asdict(request)) + "\n" for request in requests)
        report.write(
            ROOT / "build", report.Sources(self.options.profile, self.facts, self._outcomes(), self.windows,
                                           requests, self.stored),
        )  # fmt: skip

    def _outcomes(self) -> Sequence[report.Outcome]:
        return [
            report.Outcome(s.name, s.title, s.started, s.seconds, s.ok, "; ".join(s.complaints))
            for s in self.steps
        ]
