# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens between two commands: a secret that goes away, a second run, a controller that is killed."""

from __future__ import annotations

import pytest

from lab.api.build import BROKEN
from tests.living.production import Production, eventually
from tests.rehearsal.steps import FAILED

pytestmark = pytest.mark.living
MISSING = "required SSM parameter /zmanim/lab/redis-password is missing or blank: expected a SecureString"


def swap_to(production: Production) -> dict[str, str]:
    """The variables of a swap to the image that runs, which replaces the machine alone."""
    quick = {"swap_soak_seconds": "2", "swap_standby_deadline": "90"}
    return {"swap_ami_id": production.ami, "swap_force": "true", **quick}


def test_a_swap_without_a_required_secret_rolls_back(production: Production) -> None:
    with production.without_parameter("redis-password"), production.unchanged("parameters"):
        production.refused(
            "swap",
            "failed to prepare",
            MISSING,
            "nothing was started",
            "put the value back",
            f"{production.machine()} serves now",
            **swap_to(production),
        )
    assert production.operator.swap_state()["phase"] == "rolled-back"
    assert production.lock() == {}


def test_a_machine_that_boots_without_a_required_secret_starts_nothing(production: Production) -> None:
    machine = production.machine()
    with production.unchanged():
        with production.without_parameter("redis-password"):
            production.operator.client("ec2").reboot_instances(InstanceIds=[machine])
            found = eventually(production.status, lambda status: status["phase"] == "failed")
            assert MISSING in found["error"]
            assert "systemctl start zmanim.target" in found["error"]
            assert not (found["postgres"]["running"] or found["redis"]["running"])
            assert found["front"]["mode"] != "slot"
            assert not production.healthy()
        production.operator.on_machine(machine, "systemctl", "start", "zmanim.target", seconds=120)
        assert production.status()["phase"] == "serving"


def test_a_second_run_is_refused_while_one_goes_on(production: Production) -> None:
    slow = production.release_of(BROKEN)
    production.play("publish", **slow)
    with (
        production.unchanged("releases"),
        production.running("release", release_deadline="15", **slow) as first,
    ):
        held = eventually(production.lock, lambda lock: lock.get("operation") == "release")
        production.refused(
            "swap",
            "release (run ",
            f"process {first.pid}, since {held['taken_at']}",
            "holds the lock /zmanim/lab/lock: expected no other operation on this environment",
            "wait for it to end",
            **swap_to(production),
        )
        assert first.poll() is None, "the second run was refused by something else"
        assert first.wait(90) in FAILED
    assert production.lock() == {}


def test_a_controller_killed_in_the_handover_loses_no_write(production: Production) -> None:
    with production.viewers() as viewers:
        with production.running("swap", **swap_to(production)) as controller:
            eventually(production.operator.swap_state, lambda state: state.get("phase") == "moving")
            production.kill(controller)
        assert production.operator.swap_state()["phase"] == "moving"
        finished = production.play("swap", **swap_to(production))
    assert "A run had been killed in phase moving" in finished
    state = production.operator.swap_state()
    assert (state["phase"], state["green"]) == ("done", production.machine())
    assert production.healthy()
    acknowledged = {one.write_id for one in viewers.requests() if one.acknowledged}
    assert sorted(acknowledged - set(production.ask("select id from writes"))) == []
    assert production.lock() == {}
