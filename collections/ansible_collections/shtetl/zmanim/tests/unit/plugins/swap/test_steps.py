# SPDX-License-Identifier: GPL-3.0-or-later
"""Every phase of a swap times a failure: the right undo, one machine serving, the volume never taken
unreleased.
"""

from __future__ import annotations

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.run_command import NotManagedError
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.phases import SwapError
from ansible_collections.shtetl.zmanim.plugins.module_utils.swap.steps import (
    FAILURES,
    Actors,
    Pointers,
    Settings,
    Swap,
)

STEPS = ("plan", "launch", "standby", "handover", "flip", "keep")


class World:
    """Two machines, a volume and an address, with a clock that only waiting moves."""

    environment, name = "test", "zmanim-test"

    def __init__(self, **faults):
        self.faults = faults
        self.now = 0.0
        self.on_poll = lambda: None
        self.phase = {"blue": "serving"}
        self.state = {"blue": "running"}
        self.on, self.attached = "blue", "attached"
        self.address_on = "blue"
        self.pointer = {"ami-id": "ami-1", "ami-previous": ""}
        self.tags = {}
        self.released = set()
        self.log = []
        self.saved = {}
        self.locked_by = "run"

    # the clock

    def clock(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds

    def wait_for_state(self, instance_id, states, deadline):
        if self.state.get(instance_id) not in states:
            self.now += deadline
            raise SwapError(f"{instance_id} becoming {states} did not happen")

    # EC2

    def data_volume(self):
        return self.volume("vol")

    def volume(self, _volume_id):
        attached = (
            [{"InstanceId": self.on, "State": "attached", "DeleteOnTermination": False}] if self.on else []
        )
        return {"VolumeId": "vol", "AvailabilityZone": "a", "Attachments": attached}

    def holder(self, _volume_id):
        return self.on

    def attachment(self, _volume_id):
        return self.on, self.attached if self.on else ""

    def instance(self, instance_id):
        if instance_id not in self.state:
            return None
        return {
            "InstanceId": instance_id,
            "State": {"Name": self.state[instance_id]},
            "ImageId": {"blue": "ami-1"}.get(instance_id, "ami-2"),
            "PrivateIpAddress": f"ip-{instance_id}",
            "Placement": {"AvailabilityZone": "a"},
            "Architecture": "arm64",
            "SubnetId": "subnet",
        }

    def instances(self, filters=None, states=("pending", "running", "stopping", "stopped")):
        if filters and "tag:ZmanimSwap" in filters:
            return [{"InstanceId": one} for one in self.state if one.startswith("green")]
        if filters and "tag-key" in filters:
            kept = [
                one
                for one in self.state
                if self.tags.get(one, {}).get("ZmanimKept") and self.state[one] in states
            ]
            return [
                {**self.instance(one), "Tags": [{"Key": "ZmanimKept", "Value": "swap-0"}]} for one in kept
            ]
        return [self.instance(one) for one in self.state if self.state[one] in states]

    def template(self):
        return {"version": "1", "data": {}}

    def template_volume(self, _template):
        return "vol"

    def image(self, _image_id):
        tags = [{"Key": "PostgresMajor", "Value": "17"}]
        return {"State": "available", "Architecture": "arm64", "Tags": tags}

    def launch(self, _request):
        self.log.append("launch")
        if self.faults.get("capacity"):
            raise SwapError("InsufficientInstanceCapacity")
        self.state["green"], self.phase["green"] = "running", "standby-ready"
        if "green_phase" in self.faults:
            self.phase["green"] = self.faults["green_phase"]
        return "green"

    def start(self, instance_id):
        self.log.append(f"start {instance_id}")
        self.state[instance_id], self.phase[instance_id] = "running", "standby-ready"

    def stop(self, instance_id):
        self.log.append(f"stop {instance_id}")
        self.state[instance_id] = "stopped"
        self.released.add(instance_id)

    def terminate(self, instance_id):
        assert self.on != instance_id, "an instance with the volume must not be terminated"
        self.log.append(f"terminate {instance_id}")
        self.state[instance_id] = "terminated"

    def detach(self, _volume_id, instance_id, deadline):
        assert instance_id in self.released, f"the volume was detached from {instance_id} before it let go"
        self.log.append(f"detach {instance_id}")
        if self.faults.get("detach_hangs") and instance_id == "blue":
            self.now += deadline
            raise SwapError("volume vol becoming free did not happen")
        self.on = None

    def wait_until_free(self, _volume_id, _deadline):
        self.on = None

    def attach(self, _volume_id, instance_id, _device):
        assert self.on is None
        self.log.append(f"attach {instance_id}")
        if self.faults.get("attach_fails") and instance_id == "green":
            raise SwapError("attach refused")
        self.on = instance_id
        self.released.discard(instance_id)
        if self.phase[instance_id] != "standby-ready" or self.faults.get("never_serves"):
            return
        if self.faults.get("green_fails"):
            self.phase[instance_id] = "failed"
            return
        self.phase[instance_id] = "serving"
        other = "blue" if instance_id == "green" else "green"
        self.phase[other] = "relaying"

    def start_snapshot(self, _volume_id, _swap_id):
        return "snap"

    def snapshot(self, _snapshot_id):
        return {"SnapshotId": "snap", "VolumeId": "vol", "State": self.faults.get("snapshot", "pending")}

    def address(self):
        return {"InstanceId": self.address_on, "AllocationId": "eip", "PublicIp": "192.0.2.1"}

    def move_address(self, _allocation_id, instance_id):
        self.log.append(f"address {instance_id}")
        self.address_on = instance_id

    def tag(self, resource_id, tags):
        self.tags.setdefault(resource_id, {}).update(tags)

    def untag(self, resource_id, keys):
        for key in keys:
            self.tags.get(resource_id, {}).pop(key, None)

    # zmanimctl

    def status(self, instance_id, deadline=0):
        self.now += 0.1
        if instance_id == self.faults.get("deaf") or self.state.get(instance_id) != "running":
            raise NotManagedError(f"{instance_id} is not managed by SSM")
        phase = self.phase[instance_id]
        return {
            "phase": phase,
            "error": "planted",
            "postgres": {"major": 17},
            "volume": {"id": "vol", "mounted": phase in ("serving", "failed")},
        }

    def try_status(self, instance_id, deadline=0):
        try:
            return self.status(instance_id)
        except NotManagedError:
            return {}

    def refusal(self, _instance_id):
        return self.faults.get("refusal")

    def release(self, instance_id, _swap_id, _target, _deadline):
        self.now += self.faults.get("slow_release", 1.0)
        if self.faults.get("refuse") == instance_id or self.phase[instance_id] != "serving":
            raise SwapError(f"{instance_id} did not let the volume go")
        if self.faults.get("lies") == instance_id:
            return {"phase": "serving"}
        self.log.append(f"release {instance_id}")
        self.phase[instance_id] = "released"
        self.released.add(instance_id)
        return {"phase": "released", "milliseconds": {}}

    def reclaim(self, instance_id, deadline=0):
        if self.on != instance_id:
            return "the volume is not here"
        self.log.append(f"reclaim {instance_id}")
        self.phase[instance_id] = "serving"
        self.released.discard(instance_id)
        return None

    def halt_boot(self, instance_id):
        status = self.try_status(instance_id)
        if status and not status["volume"]["mounted"]:
            self.released.add(instance_id)
        return status

    # state, lock, health

    def load(self):
        return dict(self.saved)

    def save(self, state):
        self.saved = dict(state)
        if state["phase"] == self.faults.get("killed_in"):
            raise KeyboardInterrupt

    def take(self, _operation, run, _lease):
        self.locked_by = run

    def confirm(self, run):
        assert self.locked_by == run

    renew = confirm

    def drop(self, _run):
        self.locked_by = None

    def probe(self, url, _headers):
        if self.faults.get("unhealthy") and self.address_on == "green":
            return "status 503"
        return "ok"


class Lock:
    """The lock's four verbs, on the world."""

    def __init__(self, world):
        self.take, self.confirm, self.renew, self.drop = world.take, world.confirm, world.renew, world.drop
        self.require_playbook = lambda: None
        self.holder = lambda: {"run": world.locked_by} if world.locked_by else {}


def step_on(world, direction="swap", run="run"):
    pointers = Pointers(
        lambda name: world.pointer.get(name, ""), lambda name, value: world.pointer.update({name: value})
    )
    actors = Actors(world, world, world, Lock(world), pointers, world.probe)
    settings = Settings(ami_id="ami-2", direction=direction, soak=2, standby_deadline=20, undo_deadline=20)
    return Swap(actors, settings, run)


def swap(world, direction="swap"):
    """Take every step as the playbook does, each in a fresh process; return the error, or None."""
    step_on(world, direction).recover()
    try:
        for step in STEPS:
            getattr(step_on(world, direction), step)()
    except FAILURES as error:
        step_on(world, direction).rollback(str(error))
        return str(error)
    return None


def assert_blue_serves(world):
    assert world.on == "blue"
    assert world.phase["blue"] == "serving"
    assert world.state["blue"] == "running"
    assert world.address_on == "blue"
    assert world.pointer["ami-id"] == "ami-1"
    assert world.state.get("green") in (None, "terminated")
    assert world.locked_by is None


def test_a_swap_moves_everything_in_order():
    world = World()
    assert swap(world) is None
    assert world.log == [
        "launch",
        "release blue",
        "detach blue",
        "attach green",
        "address green",
        "stop blue",
    ]
    assert world.pointer == {"ami-id": "ami-2", "ami-previous": "ami-1"}
    assert world.saved["phase"] == "done"
    assert world.tags["blue"] == {"ZmanimRole": "standby", "ZmanimKept": world.saved["swap_id"]}
    assert world.tags["green"]["ZmanimRole"] == "active"
    assert world.saved["handover_ms"]["serving"] >= world.saved["handover_ms"]["released"]


def test_going_back_starts_the_kept_instance_and_stops_the_other():
    world = World()
    swap(world)
    world.log.clear()
    assert swap(world, "rollback") is None
    assert world.log == [
        "start blue",
        "release green",
        "detach green",
        "attach blue",
        "address blue",
        "stop green",
    ]
    assert world.pointer == {"ami-id": "ami-1", "ami-previous": "ami-2"}
    assert "ZmanimKept" not in world.tags["blue"]


@pytest.mark.parametrize(
    ("faults", "message", "log"),
    [
        ({"refusal": "a backup is running"}, "a backup is running", []),
        ({"capacity": True}, "InsufficientInstanceCapacity", ["launch"]),
        ({"green_phase": "booting"}, "was not ready after 20 s", ["launch", "terminate green"]),
        ({"green_phase": "failed"}, "failed to prepare: planted", ["launch", "terminate green"]),
        ({"snapshot": "error"}, "snapshot snap failed", ["launch", "terminate green"]),
        ({"refuse": "blue"}, "did not let the volume go", ["launch", "terminate green"]),
        ({"lies": "blue"}, "expected 'released'", ["launch", "terminate green"]),
        (
            {"slow_release": 15},
            "too little is left",
            ["launch", "release blue", "reclaim blue", "terminate green"],
        ),
        (
            {"detach_hangs": True},
            "becoming free did not happen",
            ["launch", "release blue", "detach blue", "reclaim blue", "terminate green"],
        ),
        (
            {"attach_fails": True},
            "attach refused",
            [
                "launch",
                "release blue",
                "detach blue",
                "attach green",
                "attach blue",
                "reclaim blue",
                "terminate green",
            ],
        ),
        (
            {"never_serves": True},
            "did not serve within the handover's deadline of 20 s",
            [
                "launch",
                "release blue",
                "detach blue",
                "attach green",
                "detach green",
                "attach blue",
                "reclaim blue",
                "terminate green",
            ],
        ),
        (
            {"green_fails": True},
            "green failed: planted",
            [
                "launch",
                "release blue",
                "detach blue",
                "attach green",
                "stop green",
                "detach green",
                "attach blue",
                "reclaim blue",
                "terminate green",
            ],
        ),
        (
            {"unhealthy": True},
            "is not healthy: expected status 200, found status 503",
            [
                "launch",
                "release blue",
                "detach blue",
                "attach green",
                "address green",
                "address blue",
                "release green",
                "detach green",
                "attach blue",
                "reclaim blue",
                "terminate green",
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_every_failure_ends_with_blue_serving(faults, message, log):
    world = World(**faults)
    error = swap(world)
    assert message in error
    assert world.log == log
    assert_blue_serves(world)


@pytest.mark.parametrize("phase", ["planned", "launching", "preparing", "releasing", "moving"])
def test_a_run_killed_before_green_serves_is_undone_by_the_next(phase):
    world = World(killed_in=phase)
    with pytest.raises(KeyboardInterrupt):
        swap(world)
    world.faults.clear()
    found = step_on(world, run="second").recover()
    assert (found["recovered"], found["found_phase"]) == ("back", phase)
    assert world.saved["phase"] == "rolled-back"
    assert world.saved["failed_phase"] == phase
    world.locked_by = None
    assert_blue_serves(world)


@pytest.mark.parametrize("phase", ["relaying", "flipping", "soaking", "keeping"])
def test_a_run_killed_while_green_serves_is_finished_by_the_next(phase):
    world = World(killed_in=phase)
    with pytest.raises(KeyboardInterrupt):
        swap(world)
    world.faults.clear()
    found = step_on(world, run="second").recover()
    assert (found["recovered"], found["found_phase"]) == ("forward", phase)
    assert (world.on, world.address_on, world.state["blue"]) == ("green", "green", "stopped")
    assert world.pointer["ami-id"] == "ami-2"


def test_a_step_of_another_run_is_refused():
    world = World()
    step_on(world).recover()
    step_on(world).plan()
    with pytest.raises(SwapError, match="was planned by run run, this is run other"):
        step_on(world, run="other").launch()


def test_a_run_without_the_lock_undoes_nothing():
    world = World()
    step_on(world).recover()
    step_on(world).plan()
    world.locked_by = "other"
    with pytest.raises(SwapError, match="does not hold the lock"):
        step_on(world).rollback("asked for")
    assert world.saved["phase"] == "planned"


def test_where_there_never_was_a_swap_nobody_is_asked_who_serves():
    world = World()
    step_on(world).recover()
    world.holder = None  # it must not be called
    assert step_on(world).rollback("no volume")["outcome"] == "Nothing was touched"


def test_nothing_to_roll_back_to_is_said():
    world = World()
    step_on(world, "rollback").recover()
    with pytest.raises(SwapError, match="nothing to roll back to"):
        step_on(world, "rollback").plan()
