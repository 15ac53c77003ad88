# SPDX-License-Identifier: GPL-3.0-or-later
"""A production for all tests of the lane: baked, provisioned and served by the product's own commands.

With ZMANIM_KEEP=1 it is left standing, and the next run with it takes it as it is.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.living.production import LOGS, Production
from tests.rehearsal import options
from tests.rehearsal.__main__ import NAMES, interrupt
from tests.rehearsal.run import Rehearsal
from tests.rehearsal.steps import STEPS

KEEP = bool(os.environ.get("ZMANIM_KEEP"))


def take(rehearsal: Rehearsal, name: str) -> bool:
    """Take one step of the rehearsal; returns whether it went well."""
    step = next(step for step in STEPS if step.name == name)
    return rehearsal.run_step(step.name, step.title, step.action).ok


def stands(rehearsal: Rehearsal) -> bool:
    """Whether an earlier run left its production standing."""
    status = json.loads(rehearsal.controller.ask_lab("status", "--json"))
    return bool(status["running"] and rehearsal.facts["boot"]["launch_to_health_s"])


@pytest.fixture(scope="session")
def interruptible() -> Iterator[None]:
    """SIGTERM ends the lane as Ctrl-C does: what was started is stopped."""
    before = signal.signal(signal.SIGTERM, interrupt)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def production(interruptible: None) -> Iterator[Production]:
    """A machine that serves version 1.0.0 of the API behind the whole AWS side."""
    asked = options.parse([], NAMES)
    kept = Rehearsal(asked, whole=False, logs=LOGS)
    if KEEP and stands(kept):
        yield Production(kept.need("bake")["ami_id"])
        return
    rehearsal = Rehearsal(asked, whole=True, logs=LOGS)
    mine = True
    try:
        mine = take(rehearsal, "lab")  # a lab that is up already is somebody else's
        if not mine or not all(take(rehearsal, name) for name in ("bake", "site")):
            pytest.fail(f"no production: {rehearsal.steps[-1].name}: {rehearsal.steps[-1].complaints}")
        yield Production(rehearsal.facts["bake"]["ami_id"])
    finally:
        if mine and not KEEP:
            assert take(rehearsal, "lab-down"), rehearsal.steps[-1].complaints
