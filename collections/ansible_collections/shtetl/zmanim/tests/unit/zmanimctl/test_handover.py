"""The handover: without the volume no database is started, and every failure ends with one that serves."""

from __future__ import annotations

from typing import Any

import pytest
from zmanimctl import marker as markers
from zmanimctl.errors import ZmanimError
from zmanimctl.handover import DETACH_GRACE, GIVE_UP_SECONDS, SPARE_BYTES, Facts, Handover, next_move
from zmanimctl.marker import Marker
from zmanimctl.state import locked
from zmanimctl.volume import Signatures
from zmanimctl_fakes import VOLUME, Rig


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "phase": "released",
        "releasing": False,
        "healthy": False,
        "present": True,
        "was_absent": False,
        "late": -10.0,
    }
    return Facts(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "move"),
    [
        ({}, "wait"),
        ({"present": False}, "wait"),
        ({"present": False, "healthy": True}, "relay"),
        ({"present": False, "healthy": True, "late": 5.0}, "relay"),
        ({"present": False, "late": 5.0}, "wait"),
        ({"present": False, "late": GIVE_UP_SECONDS + 1}, "give-up"),
        ({"late": 0.1}, "reclaim"),
        ({"late": 0.1, "detaching": True}, "wait"),
        ({"late": DETACH_GRACE + 1, "detaching": True}, "reclaim"),
        ({"was_absent": True}, "reclaim"),
        ({"was_absent": True, "detaching": True}, "reclaim"),
        ({"phase": "releasing", "releasing": True}, "wait"),
        ({"phase": "releasing", "releasing": True, "late": 99.0}, "wait"),
        ({"phase": "releasing"}, "reclaim"),
        ({"phase": "releasing", "present": False}, "wait"),
        ({"phase": "serving"}, "stop"),
        ({"phase": "relaying"}, "stop"),
        ({"phase": "standby-ready"}, "stop"),
        ({"phase": "failed"}, "stop"),
    ],
)
def test_next_move(changes: dict[str, Any], move: str) -> None:
    assert next_move(facts(**changes)) == move


def test_without_the_volume_nothing_is_ever_started() -> None:
    for late in (-5.0, 0.0, 5.0, 1e6):
        for phase in ("releasing", "released"):
            for flags in range(16):
                healthy, was_absent, releasing, detaching = (bool(flags >> bit & 1) for bit in range(4))
                seen = Facts(phase, releasing, healthy, False, was_absent, late, detaching)
                assert next_move(seen) != "reclaim"


@pytest.fixture
def blue(rig: Rig) -> Rig:
    """A machine that serves release 1.0.0 from slot a."""
    markers.write(
        str(rig.data_dir), Marker(VOLUME, "lab", 17, "3.5.2", system_identifier=rig.cluster.identifier)
    )
    rig.cluster.exists = rig.cluster.up = rig.volumes.is_mounted = True
    rig.volumes.written = Signatures("xfs", "zmanim-data", "u")
    rig.slots.fill("a", "1.0.0")
    rig.systemd.active["zmanim-api@a.service"] = "active"
    rig.front.now = "a"
    rig.machine.record.update(active_slot="a", version="1.0.0", history=["1.0.0"])
    rig.machine.state.update(phase="serving")
    return rig


def handover(rig: Rig, **parts: Any) -> Handover:
    parts.setdefault("connects", lambda _address, _port: True)
    parts.setdefault("healthy", lambda _address, _port: False)
    return Handover(rig.machine, sync=lambda: rig.log.append("sync"), **parts)


def test_release_in_order(blue: Rig) -> None:
    answer = handover(blue).release("s1", "10.0.1.9", 20.0)
    assert answer["phase"] == "released"
    order = [
        blue.log.index(one) for one in ("checkpoint", "front hold", "drain a", "stop postgres", "unmount")
    ]
    assert order == sorted(order)
    assert blue.log.index("save redis") < blue.log.index("front hold")
    assert "stop zmanim-api@a.service" in blue.log
    assert blue.log.index("front hold") < blue.log.index("stop zmanim-api@a.service")
    assert not blue.volumes.is_mounted
    assert blue.systemd.detached == [
        ("zmanim-handover.service", "/usr/local/bin/zmanimctl", "handover", "watch")
    ]
    again = handover(blue).release("s1", "10.0.1.9", 20.0)
    assert again == answer, "a second call with the same swap finds it done"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rig: rig.machine.state.update(phase="relaying"), "phase is relaying"),
        (lambda rig: setattr(rig.volumes, "is_mounted", False), "has nothing mounted"),
        (lambda rig: setattr(rig.volumes, "device", None), "has nothing mounted"),
        (lambda rig: setattr(rig.cluster, "up", False), "PostgreSQL does not answer"),
        (lambda rig: setattr(rig.volumes, "free", SPARE_BYTES - 1), "has 63 MiB free, expected 64 MiB"),
    ],
)
def test_guards_refuse_and_change_nothing(blue: Rig, spoil: Any, message: str) -> None:
    spoil(blue)
    with pytest.raises(ZmanimError, match=message):
        handover(blue).release("s1", "10.0.1.9", 20.0)
    assert blue.log == []
    assert blue.front.now == "a"


def test_a_running_backup_or_an_unreachable_target_refuses(blue: Rig) -> None:
    with (
        locked(blue.machine.backup_lock, "backup"),
        pytest.raises(ZmanimError, match="a backup is running"),
    ):
        handover(blue).prepare()
    with pytest.raises(ZmanimError, match=r"nothing accepts connections at 10\.0\.1\.9:8080"):
        handover(blue, connects=lambda _address, _port: False).prepare("10.0.1.9")
    assert handover(blue).prepare("10.0.1.9")["ready"]


def test_a_failed_unmount_starts_everything_again(blue: Rig) -> None:
    blue.volumes.unmount_fails = True
    with pytest.raises(ZmanimError, match=r"the handover was undone: unmount of /data .*serves again"):
        handover(blue).release("s1", "10.0.1.9", 20.0)
    assert blue.front.now == "a"
    assert blue.cluster.up
    assert blue.systemd.is_active("zmanim-api@a.service")
    assert blue.machine.state.read()["phase"] == "serving"


def test_watch_relays_once_the_other_serves(blue: Rig) -> None:
    handover(blue).release("s1", "10.0.1.9", 20.0)
    blue.volumes.device = None
    answer = handover(blue, healthy=lambda address, port: (address, port) == ("10.0.1.9", 8080)).watch()
    assert answer == {"phase": "relaying", "target": "10.0.1.9"}
    assert blue.front.mode() == {"mode": "relay", "target": "10.0.1.9:8080"}
    assert not blue.cluster.up


def test_watch_takes_a_volume_back_that_stayed_past_the_deadline(blue: Rig) -> None:
    handover(blue).release("s1", "10.0.1.9", 0.0)
    assert handover(blue).watch()["result"] == "reclaimed"
    assert blue.volumes.is_mounted
    assert blue.cluster.up
    assert blue.front.now == "a"
    assert blue.machine.state.read()["phase"] == "serving"


def test_a_healthy_target_is_not_believed_while_the_volume_is_here(blue: Rig) -> None:
    handover(blue).release("s1", "10.0.1.9", 0.0)
    assert handover(blue, healthy=lambda _address, _port: True).watch()["result"] == "reclaimed"


def test_reclaim_without_the_volume_is_refused(blue: Rig) -> None:
    handover(blue).release("s1", "10.0.1.9", 20.0)
    blue.volumes.device = None
    started = len(blue.log)
    with pytest.raises(ZmanimError, match="did not appear"):
        handover(blue).reclaim()
    assert blue.log[started:] == []
    assert not blue.cluster.up


def test_a_changed_cluster_is_not_started_by_reclaim(blue: Rig) -> None:
    handover(blue).release("s1", "10.0.1.9", 20.0)
    blue.cluster.identifier = "7000000000000000999"
    with pytest.raises(ZmanimError, match="system identifier 7000000000000000999"):
        handover(blue).reclaim()
    assert not blue.cluster.up
    assert blue.machine.state.read()["phase"] == "failed"


def test_standby_waits_in_a_unit_of_its_own(blue: Rig) -> None:
    with pytest.raises(ZmanimError, match="cannot become a standby"):
        handover(blue).standby()
    blue.machine.state.update(phase="relaying")
    blue.volumes.is_mounted = False

    def detached(unit: str, argv: Any, _description: str) -> None:
        assert (unit, argv[1:]) == ("zmanim-standby.service", ("boot", "--standby"))
        blue.machine.state.update(phase="standby-ready")

    blue.systemd.run_detached = detached  # type: ignore[method-assign, assignment]
    assert handover(blue).standby()["phase"] == "standby-ready"
    assert handover(blue).standby()["result"] == "unchanged"
