# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of a swap, as tables."""

from __future__ import annotations

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap import phases
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError

BACK = ("take_from_green", "give_to_blue", "reclaim", "discard_green")


@pytest.mark.parametrize(
    ("phase", "actions"),
    [
        ("planned", ()),
        ("launching", ("discard_green",)),
        ("preparing", ("discard_green",)),
        ("releasing", ("reclaim", "discard_green")),
        ("moving", BACK),
        ("relaying", BACK),
        ("flipping", ("flip_back", *BACK)),
        ("soaking", ("flip_back", *BACK)),
        ("done", ()),
        ("rolled-back", ()),
    ],
)
def test_each_phase_undoes_what_it_may_have_touched(phase, actions):
    assert phases.undo_actions(phase) == actions


def test_every_phase_is_undone_or_past_return():
    assert set(phases.UNDO) | {phases.KEEPING} | set(phases.FINISHED) == set(phases.PHASES)


def test_keeping_is_past_return():
    with pytest.raises(SwapError, match=r"past its point of return.*rollback\.yml"):
        phases.undo_actions("keeping")


def test_unknown_phase_is_refused():
    with pytest.raises(SwapError, match="'dreaming' in the state parameter is unknown"):
        phases.undo_actions("dreaming")


@pytest.mark.parametrize(
    ("phase", "green_serves", "way", "work"),
    [
        ("done", True, "none", ()),
        ("rolled-back", False, "none", ()),
        ("planned", False, "back", ()),
        ("preparing", False, "back", ("discard_green",)),
        ("releasing", True, "back", ("reclaim", "discard_green")),
        ("moving", False, "back", BACK),
        ("moving", True, "forward", ("flip", "keep")),
        ("relaying", True, "forward", ("flip", "keep")),
        ("relaying", False, "back", BACK),
        ("flipping", True, "forward", ("flip", "keep")),
        ("soaking", True, "forward", ("keep",)),
        ("soaking", False, "back", ("flip_back", *BACK)),
        ("keeping", False, "forward", ("keep",)),
    ],
)
def test_what_a_killed_run_left(phase, green_serves, way, work):
    assert phases.resume(phase, green_serves) == (way, work)


@pytest.mark.parametrize("step", list(phases.STEP_NEEDS))
@pytest.mark.parametrize("phase", [None, *phases.PHASES])
def test_a_step_runs_only_in_its_phase(step, phase):
    if phase in phases.STEP_NEEDS[step]:
        phases.require_phase(step, phase)
    else:
        with pytest.raises(SwapError, match=f"step {step} needs a swap in phase"):
            phases.require_phase(step, phase)


@pytest.mark.parametrize(
    ("answer", "status", "problem"),
    [
        ({"phase": "released"}, {"mounted": False}, None),
        ({"phase": "released"}, {}, None),
        ({"phase": "serving"}, {}, "phase 'serving', expected 'released'"),
        ({}, {}, "phase None, expected 'released'"),
        (None, {}, "no JSON answer"),
        ({"phase": "released"}, {"mounted": True}, "still has the volume mounted"),
    ],
)
def test_nothing_is_detached_without_proof_of_release(answer, status, problem):
    found = phases.release_problems(answer, status)
    assert (problem is None and found == []) or problem in found[0]


def volume(**changes):
    attachment = {"InstanceId": "i-blue", "State": "attached", "DeleteOnTermination": False}
    attachment.update({key: value for key, value in changes.items() if key in attachment})
    found = {"VolumeId": "vol-1", "AvailabilityZone": "eu-west-1a", "Attachments": [attachment]}
    found.update({key: value for key, value in changes.items() if key not in attachment})
    return found


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (volume(), None),
        (volume(InstanceId="i-other"), "attached to i-other, expected i-blue"),
        (volume(State="detached"), "attached to no instance"),
        (volume(Attachments=[]), "attached to no instance"),
        (volume(DeleteOnTermination=True), "DeleteOnTermination=true"),
        (volume(AvailabilityZone="eu-west-1b"), "must share a zone"),
    ],
)
def test_attachment_guards(found, problem):
    problems = phases.attachment_problems(found, "i-blue", "eu-west-1a")
    assert (problem is None and problems == []) or problem in problems[0]


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        ({"VolumeId": "vol-1", "State": "pending"}, None),
        ({"VolumeId": "vol-1", "State": "completed"}, None),
        (None, "is gone"),
        ({"VolumeId": "vol-2", "State": "completed", "SnapshotId": "snap-1"}, "not of vol-1"),
        ({"VolumeId": "vol-1", "State": "error", "SnapshotId": "snap-1"}, "failed"),
    ],
)
def test_snapshot_guards(snapshot, problem):
    problems = phases.snapshot_problems(snapshot, "vol-1")
    assert (problem is None and problems == []) or problem in problems[0]


@pytest.mark.parametrize(("elapsed", "allowed"), [(0, True), (13, True), (13.5, False), (20, False)])
def test_no_detach_in_the_last_third(elapsed, allowed):
    assert phases.may_detach(elapsed, 20) is allowed


def image(**changes):
    tags = [{"Key": "PostgresMajor", "Value": changes.pop("major", "17")}]
    return {"State": "available", "Architecture": "arm64", "Tags": tags, **changes}


WANTED = {"postgres_major": 17, "architecture": "arm64", "ami_id": "ami-1", "force": False}


@pytest.mark.parametrize(
    ("found", "ami_id", "wanted", "problem"),
    [
        (image(), "ami-2", WANTED, None),
        (None, "ami-2", WANTED, "does not exist"),
        (image(State="pending"), "ami-2", WANTED, "is pending, expected available"),
        (image(Architecture="x86_64"), "ami-2", WANTED, "is for x86_64"),
        (image(), "ami-1", WANTED, "is what runs now"),
        (image(), "ami-1", {**WANTED, "force": True}, None),
        (image(major="16"), "ami-2", WANTED, "replica mode"),
        (image(Tags=[]), "ami-2", WANTED, "no tag PostgresMajor"),
    ],
)
def test_image_guards(found, ami_id, wanted, problem):
    problems = phases.image_problems(found, ami_id, wanted)
    assert (problem is None and problems == []) or problem in problems[0]


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (None, "wait"),
        ({"phase": "booting"}, "wait"),
        ({"phase": "standby-ready"}, "ready"),
        ({"phase": "failed", "error": "secret jwt-secret is missing"}, "failed"),
    ],
)
def test_readiness(status, verdict):
    assert phases.readiness(status)[0] == verdict


@pytest.mark.parametrize(
    ("status", "problems"),
    [
        ({"phase": "serving", "volume": {"id": "vol-1", "mounted": True}}, 0),
        ({"phase": "serving", "volume": {"id": "vol-2", "mounted": True}}, 1),
        ({"phase": "failed", "volume": {"id": "vol-1", "mounted": False}}, 2),
        ("nonsense", 1),
    ],
)
def test_blue_must_serve_with_the_right_volume(status, problems):
    assert len(phases.blue_problems(status, "i-blue", "vol-1")) == problems
