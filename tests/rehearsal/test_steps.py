# SPDX-License-Identifier: GPL-3.0-or-later
"""What the steps read from the swap's state and from the playbooks' output."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import pytest

from tests.rehearsal import __main__, options, steps
from tests.rehearsal.run import Rehearsal


@pytest.mark.parametrize(
    ("state", "outcome", "milliseconds"),
    [
        ({}, "none", None),
        ({"phase": "done", "direction": "swap", "handover_ms": {"serving": 2100.4}}, "swapped", 2100),
        ({"phase": "done", "direction": "rollback", "handover_ms": {"serving": 900}}, "rolled-back", 900),
        ({"phase": "rolled-back", "direction": "swap", "failed_phase": "preparing"}, "rolled-back", 0),
        ({"phase": "rolled-back", "direction": "swap", "failed_phase": "moving"}, "rolled-back", None),
        ({"phase": "moving", "direction": "swap", "handover_ms": {}}, "moving", None),
    ],
)
def test_state(state: dict[str, Any], outcome: str, milliseconds: int | None) -> None:
    assert steps.outcome(state) == outcome
    assert steps.handover_ms(state) == milliseconds


def test_the_snapshot_is_found_in_the_backup_playbooks_line() -> None:
    found = steps.SNAPSHOT.search('"msg": "Snapshot 4f3a2b1c of zmanim, postgres: 1234 bytes in 3 s."')
    assert found
    assert found.group(1) == "4f3a2b1c"
    assert not steps.SNAPSHOT.search("Snapshot unknown of zmanim")


def test_steps_have_one_name_each_and_loaded_ones_come_between_load_and_writes() -> None:
    names = [step.name for step in steps.STEPS]
    assert len(set(names)) == len(names)
    loaded = [step.name for step in steps.STEPS if step.loaded]
    assert loaded == names[names.index("load") + 1 : names.index("writes") + 1]


@pytest.mark.parametrize(("started", "ended"), [(True, ["lab-down"]), (False, [])])
def test_only_a_lab_that_this_run_started_is_taken_down(started: bool, ended: list[str]) -> None:
    class Run:
        load = None
        steps: ClassVar[list[Any]] = []
        options = options.parse([], __main__.NAMES)
        started_lab = started
        ran: ClassVar[list[str]] = []

        def run_step(self, name: str, *_: object) -> None:
            self.ran.append(name)

        def say(self, _text: str) -> None:
            raise AssertionError("nothing is kept")

    run = Run()
    run.ran.clear()
    __main__.finish(cast("Rehearsal", run), whole=True)
    assert run.ran == ended
