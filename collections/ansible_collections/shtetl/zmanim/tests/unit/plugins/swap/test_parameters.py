# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock and the state: one run at a time, and no write over somebody else's."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import DeclaredResourceError
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap import parameters
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.parameters import (
    EnvironmentLock,
    JsonParameter,
    Owner,
    StateParameter,
    owner_lives,
    this_owner,
)
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError
from botocore.exceptions import ClientError

ELSEWHERE = Owner("laptop", "another-boot", 4242, 17)


class Ssm:
    """SSM's parameters as far as the lock and the state use them."""

    def __init__(self):
        self.stored = {}
        self.on_get = lambda: None

    def get_parameter(self, Name):
        self.on_get()
        if Name not in self.stored:
            raise error("ParameterNotFound")
        value, version = self.stored[Name]
        return {"Parameter": {"Value": value, "Version": version}}

    def put_parameter(self, Name, Value, Type, Overwrite):
        if Name in self.stored and not Overwrite:
            raise error("ParameterAlreadyExists")
        version = self.stored.get(Name, ("", 0))[1] + 1
        self.stored[Name] = (Value, version)
        return {"Version": version}

    def delete_parameter(self, Name):
        if Name not in self.stored:
            raise error("ParameterNotFound")
        del self.stored[Name]


def error(code):
    return ClientError({"Error": {"Code": code, "Message": code}}, "Operation")


class Clock:
    def __init__(self):
        self.now = 0.0
        self.on_pause = lambda: None

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds
        self.on_pause()


def lock_for(ssm, owner, clock=None):
    clock = clock or Clock()
    return EnvironmentLock(ssm, "test", owner, clock, clock.pause)


def test_only_one_run_takes_the_lock():
    ssm, here = Ssm(), this_owner()._replace(process=os.getpid(), process_start=start_of(os.getpid()))
    lock_for(ssm, here).take("swap", "first", 30)
    with pytest.raises(SwapError, match=r"swap \(run first, on .* holds the lock /zmanim/test/lock"):
        lock_for(ssm, here).take("release", "second", 30)
    lock_for(ssm, here).drop("second")
    assert lock_for(ssm, here).holder()["run"] == "first"
    lock_for(ssm, here).drop("first")
    assert lock_for(ssm, here).holder() == {}


def forget_step(ssm, lock=None):
    """Take the lock with C(lock), and end the step that took it."""
    if lock:
        lock.take("swap", "dead", 30)
    document = json.loads(ssm.stored["/zmanim/test/lock"][0])
    document.pop("step")
    ssm.stored["/zmanim/test/lock"] = (json.dumps(document), 1)


def start_of(process):
    return parameters._process_facts(process)[2]


def test_a_dead_process_on_this_machine_loses_the_lock_at_once():
    here = this_owner()
    ssm, clock = Ssm(), Clock()
    forget_step(ssm, lock_for(ssm, here._replace(process=2**22 + 1, process_start=1)))
    lock_for(ssm, here, clock).take("swap", "next", 30)
    assert clock.now == 0
    assert lock_for(ssm, here).holder()["run"] == "next"


def test_the_step_that_a_killed_playbook_left_is_waited_for():
    here = this_owner()
    ssm, clock = Ssm(), Clock()
    left = subprocess.Popen(["sleep", "60"])
    try:
        dead = here._replace(process=2**22 + 1, process_start=1)
        lock_for(ssm, dead).take("swap", "dead", 30)
        document = json.loads(ssm.stored["/zmanim/test/lock"][0])
        document["step"].update(process=left.pid, process_start=start_of(left.pid))
        ssm.stored["/zmanim/test/lock"] = (json.dumps(document), 1)
        clock.on_pause = lambda: clock.now >= 5 and (left.kill(), left.wait())
        lock_for(ssm, here, clock).take("swap", "next", 30)
        assert clock.now == 5
    finally:
        left.kill()
        left.wait()
    assert lock_for(ssm, here).holder()["run"] == "next"


def test_a_wait_ends_when_its_playbook_is_gone():
    here = this_owner()
    lock_for(Ssm(), here._replace(process=0)).require_playbook()
    with pytest.raises(SwapError, match="the playbook that took this step was killed"):
        lock_for(Ssm(), here._replace(process=2**22 + 1, process_start=1)).require_playbook()


def test_a_reused_process_number_is_not_taken_for_the_owner():
    here = this_owner()
    assert owner_lives(here._replace(process=os.getpid(), process_start=start_of(os.getpid())), here) is True
    assert owner_lives(here._replace(process=os.getpid(), process_start=1), here) is False
    assert owner_lives(ELSEWHERE, here) is None


def test_a_process_that_nobody_has_asked_after_is_dead():
    here = this_owner()
    killed = subprocess.Popen(["sleep", "60"])
    owner = here._replace(process=killed.pid, process_start=start_of(killed.pid))
    assert owner_lives(owner, here) is True
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)
    assert owner_lives(owner, here) is False
    killed.wait()


def test_a_silent_owner_elsewhere_loses_the_lock_after_its_lease():
    ssm, clock = Ssm(), Clock()
    lock_for(ssm, ELSEWHERE).take("swap", "silent", 30)
    forget_step(ssm)
    lock_for(ssm, this_owner(), clock).take("swap", "next", 30)
    assert clock.now == 30
    assert lock_for(ssm, this_owner()).holder()["run"] == "next"


def test_an_owner_elsewhere_that_renews_keeps_the_lock():
    ssm, clock = Ssm(), Clock()
    theirs = lock_for(ssm, ELSEWHERE)
    theirs.take("swap", "busy", 30)
    clock.on_pause = lambda: theirs.confirm("busy") if clock.now == 6 else None
    with pytest.raises(SwapError, match="run busy, on laptop process 4242"):
        lock_for(ssm, this_owner(), clock).take("swap", "next", 30)
    assert clock.now == 6


def test_renewing_a_lost_lock_stops_the_run():
    ssm = Ssm()
    lock_for(ssm, ELSEWHERE).take("swap", "theirs", 30)
    with pytest.raises(SwapError, match=r"no longer holds the lock.*run theirs"):
        lock_for(ssm, this_owner()).confirm("mine")


def test_check_mode_is_refused_as_well():
    ssm = Ssm()
    lock_for(ssm, ELSEWHERE).take("swap", "theirs", 30)
    with pytest.raises(SwapError, match="run theirs"):
        lock_for(ssm, this_owner()).refuse_if_held()


def test_a_state_written_in_between_is_a_conflict():
    ssm = Ssm()
    mine, theirs = StateParameter(ssm, "test"), StateParameter(ssm, "test")
    mine.load()
    theirs.load()
    theirs.save({"phase": "planned"})
    with pytest.raises(SwapError, match="another run wrote parameter /zmanim/test/swap"):
        mine.save({"phase": "planned"})


def test_a_gap_in_the_versions_is_a_conflict():
    ssm = Ssm()
    mine, theirs = StateParameter(ssm, "test"), StateParameter(ssm, "test")
    mine.save({"phase": "planned"})
    theirs.load()
    theirs.save({"phase": "launching"})
    with pytest.raises(SwapError, match="another run wrote"):
        mine.save({"phase": "launching"})


@pytest.mark.parametrize("text", ["", "[]", "not json"])
def test_a_parameter_that_is_no_state_is_named(text):
    ssm = Ssm()
    ssm.stored["/zmanim/test/swap"] = (text, 1)
    with pytest.raises(SwapError, match="/zmanim/test/swap holds no JSON object"):
        StateParameter(ssm, "test").load()


def test_another_format_is_refused():
    ssm = Ssm()
    JsonParameter(ssm, "/zmanim/test/swap").create({"version": 99})
    with pytest.raises(SwapError, match="has format 99"):
        StateParameter(ssm, "test").load()


def test_what_aws_refuses_is_not_swallowed():
    class Denied(Ssm):
        def put_parameter(self, **_request):
            raise error("AccessDeniedException")

    with pytest.raises(DeclaredResourceError, match="could not write parameter /zmanim/test/lock"):
        lock_for(Denied(), ELSEWHERE).take("swap", "run", 30)
