# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of ``python -m tests.rehearsal``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from tests.rehearsal import options
from tests.rehearsal.commands import CommandError
from tests.rehearsal.run import EXPECTED, Rehearsal
from tests.rehearsal.steps import STEPS, Step

NAMES = tuple(step.name for step in STEPS)
# The API's and the front's own units are left out: they log every request of the viewers.
UNITS = ("zmanim-boot", "zmanim-handover", "restic-backup", "postgresql", "postgresql@*", "redis-server")
WRITERS = ("zmanimctl", "postgres", "redis-server", "restic", "systemd")
JOURNAL = ("journalctl", "--no-pager", "--output=short-iso", "--lines=30")
EXCERPTS = (
    (*JOURNAL, *[f"--unit={unit}" for unit in UNITS], *[f"--identifier={writer}" for writer in WRITERS]),
    (*JOURNAL, "--priority=warning", "--facility=daemon,user"),
    ("zmanimctl", "status"),
)


def journals(r: Rehearsal) -> None:
    """Print what each machine says of itself; a machine that can't be asked is named."""
    try:
        instances = r.controller.instances()
    except EXPECTED as error:
        print(f"----- no machine can be asked: {error}", flush=True)
        return
    for instance in instances:
        identity = instance["InstanceId"]
        print(f"----- {identity} ({instance['State']['Name']})", flush=True)
        for command in EXCERPTS:
            try:
                print(r.controller.on_machine(identity, *command, seconds=20).rstrip(), flush=True)
            except CommandError as error:
                print(f"{error}", flush=True)


def perform(r: Rehearsal, wanted: Sequence[Step]) -> bool:
    """Run the steps until one can't go on; returns whether all were run."""
    for step in wanted:
        if step.loaded and r.load is None:
            r.start_load()
        result = r.run_step(step.name, step.title, step.action)
        if result.stopped:
            return False
    return True


def finish(r: Rehearsal, whole: bool) -> None:
    """Stop the viewers, and the lab when this run started it and nobody asked to keep it."""
    if r.load is not None:
        r.load.stop()
    down = STEPS[-1]
    stands = all(result.name != down.name for result in r.steps)
    if whole and not r.started_lab:
        return
    if whole and stands and not r.options.keep:
        r.run_step(down.name, down.title, down.action)
    elif stands:
        r.say("the lab is up: python -m lab status, python -m lab shell INSTANCE, make lab-down")


def conclude(r: Rehearsal) -> int:
    """Write the reports, print the last lines; returns the exit status."""
    r.save()
    wrong = [result for result in r.steps if not result.ok]
    requests = r.load.requests() if r.load else []
    failed = sum(not request.ok for request in requests)
    r.say(f"{len(r.steps)} steps, {len(wrong)} failed; {len(requests)} requests, {failed} failed")
    for result in wrong:
        lines = result.complaints[0].splitlines()
        print(f"FAILED: {result.name}: {lines[0]}")
        if len(lines) > 1:
            print(f"        {lines[-1]}")
        print(f"        log: build/rehearsal/{result.name}.log")
    print("report: build/rehearsal.html (for people), build/rehearsal.json (for scripts)")
    return 1 if wrong else 0


def interrupt(_number: int, _frame: object) -> None:
    """Treat SIGTERM as Ctrl-C, so that what was started is stopped."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    asked = options.parse(arguments, NAMES)
    whole = asked.only == NAMES
    signal.signal(signal.SIGTERM, interrupt)
    r = Rehearsal(asked, whole)
    wanted = [step for step in STEPS if step.name in asked.only]
    if whole and asked.keep:
        wanted = wanted[:-1]
    try:
        if not perform(r, wanted):
            journals(r)
    except KeyboardInterrupt:
        r.interrupted()
    finish(r, whole)
    return conclude(r)


if __name__ == "__main__":
    sys.exit(main())
