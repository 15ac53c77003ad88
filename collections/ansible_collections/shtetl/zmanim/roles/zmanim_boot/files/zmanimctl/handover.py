"""Handing the data volume to another machine, and taking it back when that one does not come up.

What to do next is a pure function of a few facts; the acting parts stop, watch, relay and take back.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from zmanimctl import boot
from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError
from zmanimctl.health import probe
from zmanimctl.machine import Machine
from zmanimctl.slots import parse_record
from zmanimctl.state import is_locked, locked
from zmanimctl.volume import Device

WATCHER = "zmanim-handover.service"
STANDBY = "zmanim-standby.service"
PROGRAM = "/usr/local/bin/zmanimctl"
DRAIN_SECONDS = 5.0
# A detach that EC2 has begun is given this long beyond the deadline before the volume is taken back all the
# same.
DETACH_GRACE = 10.0
# The first question to EC2 takes longest: it is asked this long before the deadline, for practice.
WARM_SECONDS = 5.0
GIVE_UP_SECONDS = 1800.0
POLL_SECONDS = 0.2
# Four segments of WAL: with less, PostgreSQL might start on neither machine.
SPARE_BYTES = 64 * 1024 * 1024


# -- decisions -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What the watcher knows at one moment. ``late`` is the seconds past the deadline (negative before
    it).
    """

    phase: str
    releasing: bool
    healthy: bool
    present: bool
    was_absent: bool
    late: float
    detaching: bool = False


def next_move(facts: Facts) -> str:
    """Return wait, relay, reclaim, stop (nothing left to watch) or give-up.

    The rule above all: without the volume nothing but relay or wait is ever returned.
    """
    if facts.phase not in ("releasing", "released"):
        return "stop"
    if facts.phase == "releasing":
        return _while_releasing(facts)
    if not facts.present:
        return _without_volume(facts)
    # It went away and came back: the swap brought it back to this machine, the deadline does not matter.
    must_wait = facts.late < 0 or (facts.detaching and facts.late < DETACH_GRACE)
    return "wait" if must_wait and not facts.was_absent else "reclaim"


def _without_volume(facts: Facts) -> str:
    if facts.healthy:
        return "relay"
    return "give-up" if facts.late > GIVE_UP_SECONDS else "wait"


def _while_releasing(facts: Facts) -> str:
    if facts.releasing:
        return "wait"
    # The releasing process died half-way: put things back, if the volume is still here.
    return "reclaim" if facts.present else "wait"


@dataclass(frozen=True)
class Check:
    """One guard: its name, whether it holds, and the message when it does not."""

    name: str
    holds: bool
    problem: str


def refuse(checks: List[Check]) -> None:
    """Raise ZmanimError that lists every guard that does not hold."""
    problems = [check.problem for check in checks if not check.holds]
    if problems:
        raise ZmanimError("the handover is refused", found="; ".join(problems), remedy="nothing was changed")


def uptime() -> float:
    """Return the seconds since boot, a clock that every process of this machine shares and that never
    jumps.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# -- acting ----------------------------------------------------------------------------------------


class Stopwatch:
    """Milliseconds of named steps."""

    def __init__(self) -> None:
        """Start with nothing measured."""
        self.milliseconds: Dict[str, int] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure one step."""
        started = time.monotonic()
        yield
        self.milliseconds[name] = round((time.monotonic() - started) * 1000)


def reachable(address: str, port: int, seconds: float = 2.0) -> bool:
    """Say whether something accepts connections at address:port."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError:
        return False
    return True


class Handover:
    """The five verbs of ``zmanimctl handover``."""

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Callable[[], float] = uptime,
        connects: Callable[[str, int], bool] = reachable,
        healthy: Optional[Callable[[str, int], bool]] = None,
        sync: Callable[[], None] = os.sync,
    ) -> None:
        """Remember the machine; the rest is for tests."""
        self._machine = machine
        self._clock = clock
        self._connects = connects
        self._healthy = healthy or (lambda address, port: probe(address, port, 1.0).good)
        self._sync = sync

    # -- prepare -----------------------------------------------------------------------------------

    def checks(self, target: str = "") -> Tuple[List[Check], Optional[Device]]:
        """Return every guard with its outcome, and the device."""
        machine = self._machine
        phase = machine.state.read().get("phase", "booting")
        device = machine.volumes.find(machine.identity.volume_id)
        mounted = machine.volumes.mounted()
        right = device is not None and mounted is not None and mounted[0] == device.numbers
        free = machine.volumes.free_bytes() if right else SPARE_BYTES
        port = machine.settings.front_port
        checks = [
            Check("phase", phase == "serving", f"phase is {phase}, not serving"),
            Check(
                "volume",
                right,
                f"{machine.settings.data_dir} has {mounted[1] if mounted else 'nothing'} mounted, "
                f"not the device with the serial of {machine.identity.volume_id}",
            ),
            Check(
                "space",
                free >= SPARE_BYTES,
                f"{machine.settings.data_dir} has {free // 1048576} MiB free, expected "
                f"{SPARE_BYTES // 1048576} MiB, or PostgreSQL might not start again: enlarge the volume or "
                "free space on it",
            ),
            Check("backup", not is_locked(machine.backup_lock), "a backup is running"),
            Check("postgres", machine.cluster.answers(), "PostgreSQL does not answer"),
        ]
        if target:
            checks.append(
                Check(
                    "target", self._connects(target, port), f"nothing accepts connections at {target}:{port}"
                )
            )
        return checks, device

    def prepare(self, target: str = "") -> Dict[str, Any]:
        """Check the guards and change nothing."""
        checks, _device = self.checks(target)
        refuse(checks)
        return {"phase": "serving", "ready": True, "checks": {check.name: check.holds for check in checks}}

    # -- release -----------------------------------------------------------------------------------

    def release(self, swap_id: str, target: str, seconds: float) -> Dict[str, Any]:
        """Let go of the volume: guards, then requests wait, then everything stops, then the volume is
        unmounted.

        A failure on the way starts everything again before the error is raised.
        """
        machine = self._machine
        state = machine.state.read()
        if state.get("phase") == "released" and state.get("handover", {}).get("swap_id") == swap_id:
            return {"phase": "released", "milliseconds": state["handover"].get("milliseconds", {})}
        with locked(machine.lock, "handover release"):
            checks, device = self.checks(target)
            refuse(checks)
            if device is None:
                raise ZmanimError("the data volume is gone")
            watch = Stopwatch()
            self._before(watch)
            handover = {"swap_id": swap_id, "target": target, "deadline_at": self._clock() + seconds}
            machine.state.update(phase="releasing", handover=handover, error=None)
            try:
                machine.systemd.run_detached(
                    WATCHER, (PROGRAM, "handover", "watch"), f"Watch of swap {swap_id}"
                )
                self._let_go(device, watch)
            except ZmanimError as error:
                self._restore(device, f"the handover was undone: {error}")
            handover["milliseconds"] = watch.milliseconds
            machine.state.update(phase="released", handover=handover)
        return {"phase": "released", "milliseconds": watch.milliseconds}

    def _before(self, watch: Stopwatch) -> None:
        """Do what takes time while requests are still being answered."""
        with watch.step("checkpoint"):
            self._machine.cluster.checkpoint()
        with watch.step("redis_save"):
            self._machine.redis.save()
        with watch.step("sync_before"):
            self._sync()

    def _let_go(self, device: Device, watch: Stopwatch) -> None:
        machine = self._machine
        slot = parse_record(machine.record.read()).active_slot
        with watch.step("hold"):
            machine.front.hold()
        with watch.step("drain"):
            machine.front.drain(slot, DRAIN_SECONDS)
        with watch.step("stop"):
            self._stop_everything()
        with watch.step("sync"):
            self._sync()
        with watch.step("unmount"):
            machine.volumes.unmount(device)

    def _stop_everything(self) -> None:
        machine = self._machine
        stops: List[Callable[[], None]] = [machine.cluster.stop, machine.redis.stop]
        stops += [partial(machine.slots.stop, slot) for slot in machine.slots.names]
        with ThreadPoolExecutor(max_workers=len(stops)) as pool:
            for done in [pool.submit(stop) for stop in stops]:
                done.result()

    def _restore(self, device: Device, why: str) -> None:
        """Start everything again and raise the reason."""
        machine = self._machine
        try:
            boot.take_back(machine, device)
        except ZmanimError as error:
            machine.state.update(phase="failed", error=f"{why}; and the restart failed: {error}")
            raise ZmanimError(
                f"{why}; and the restart failed: {error}", remedy="run: zmanimctl boot"
            ) from None
        machine.state.update(phase="serving", handover=None, error=why)
        raise ZmanimError(why, remedy="this machine serves again")

    # -- watch -------------------------------------------------------------------------------------

    def watch(self) -> Dict[str, Any]:
        """Poll until the other machine serves (relay), the volume must be taken back, or nothing is left to
        watch.
        """
        was_absent = warmed = False
        while True:
            facts = self._facts(was_absent)
            if facts.present and facts.late > -WARM_SECONDS and not warmed:
                # Loads boto3 and makes the client now, so that the deadline does not wait for that.
                warmed = self._detaching() or True
            was_absent = was_absent or not facts.present
            move = next_move(facts)
            if move == "wait":
                time.sleep(POLL_SECONDS)
                continue
            answer = self._do(move)
            if answer is not None:
                return answer

    def _facts(self, was_absent: bool) -> Facts:
        machine = self._machine
        state = machine.state.read()
        handover = state.get("handover") or {}
        late = self._clock() - float(handover.get("deadline_at", 0))
        present = machine.volumes.find(machine.identity.volume_id) is not None
        released = state.get("phase") == "released"
        target = str(handover.get("target", ""))
        return Facts(
            phase=str(state.get("phase", "")),
            releasing=is_locked(machine.lock),
            healthy=released and not present and self._healthy(target, machine.settings.front_port),
            present=present,
            was_absent=was_absent,
            late=late,
            detaching=released and present and 0 <= late < DETACH_GRACE and self._detaching(),
        )

    def _detaching(self) -> bool:
        try:
            return self._machine.ec2.describe(self._machine.identity.volume_id, 2.0).attachment == "detaching"
        except ZmanimError as error:
            print(f"zmanimctl: {error}", file=sys.stderr)
            return False

    def _do(self, move: str) -> Optional[Dict[str, Any]]:
        """Make a move; return the answer when the watch is over."""
        machine = self._machine
        if move == "stop":
            return {"phase": machine.state.read().get("phase")}
        if move == "give-up":
            raise ZmanimError(
                "neither the other machine served nor did the volume come back",
                remedy="attach the volume here and run: zmanimctl handover reclaim",
            )
        if is_locked(machine.lock):
            # Somebody (the swap's own reclaim) acts already: look again.
            time.sleep(POLL_SECONDS)
            return None
        return self.relay() if move == "relay" else self.reclaim()

    def relay(self) -> Dict[str, Any]:
        """Send held and new requests to the machine that took over."""
        machine = self._machine
        with locked(machine.lock, "handover relay"):
            target = str((machine.state.read().get("handover") or {}).get("target", ""))
            machine.front.relay(target, machine.settings.front_port)
            machine.state.update(phase="relaying")
        return {"phase": "relaying", "target": target}

    # -- reclaim and standby -----------------------------------------------------------------------

    def reclaim(self, seconds: float = 10.0) -> Dict[str, Any]:
        """Take the volume back and serve; refused while the volume is not here."""
        machine = self._machine
        if machine.state.read().get("phase") == "serving":
            return {"phase": "serving", "result": "unchanged"}
        with locked(machine.lock, "handover reclaim"):
            started = time.monotonic()
            device = machine.volumes.wait_for(machine.identity.volume_id, seconds)
            machine.front.hold()
            try:
                boot.take_back(machine, device)
            except ZmanimError as error:
                machine.state.update(phase="failed", error=str(error))
                raise
            machine.state.update(phase="serving", role="active", handover=None, error=None)
        return {"phase": "serving", "result": "reclaimed", "seconds": round(time.monotonic() - started, 3)}

    def standby(self, seconds: float = 90.0) -> Dict[str, Any]:
        """Make a machine that gave its volume away wait for it again, in the background."""
        machine = self._machine
        state = machine.state.read()
        if state.get("phase") == "standby-ready":
            return {"phase": "standby-ready", "result": "unchanged"}
        if (
            state.get("phase") not in ("relaying", "released", "failed")
            or machine.volumes.mounted() is not None
        ):
            raise ZmanimError(
                "this machine cannot become a standby",
                found=f"phase {state.get('phase', 'booting')}",
                expected="a machine that has handed its volume over",
                remedy="nothing was changed",
            )
        machine.state.update(phase="booting", role="standby", handover=None, error=None)
        machine.systemd.run_detached(STANDBY, (PROGRAM, "boot", "--standby"), "Wait for the data volume")
        deadline = Deadline(seconds, "phase standby-ready", remedy=f"look at: journalctl -u {STANDBY}")
        phase = deadline.poll(self._standby_phase, POLL_SECONDS)
        if phase == "failed":
            raise ZmanimError(str(machine.state.read().get("error") or "the standby failed"))
        return {"phase": phase, "result": "waiting"}

    def _standby_phase(self) -> Optional[str]:
        phase = str(self._machine.state.read().get("phase", ""))
        return phase if phase in ("standby-ready", "serving", "failed") else None
