"""The two slots of the API: which release each one runs, and the record of what was released."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional

from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError
from zmanimctl.health import Health, probe
from zmanimctl.settings import Settings
from zmanimctl.systemd import Systemd

# A program that systemd had to restart this often while it should come up keeps ending.
MAX_RESTARTS = 3


@dataclass(frozen=True)
class Record:
    """What runs where: kept on the root disk, so that a reboot brings the same release up again."""

    active_slot: str = ""
    version: str = ""
    previous: str = ""
    history: List[str] = field(default_factory=list)


def parse_record(document: Mapping[str, Any]) -> Record:
    """Return the record in the JSON document; an empty one has released nothing."""
    return Record(
        str(document.get("active_slot") or ""),
        str(document.get("version") or ""),
        str(document.get("previous") or ""),
        [str(one) for one in document.get("history") or []],
    )


def idle_slot(active: str, names: List[str]) -> str:
    """Return the slot that may be filled: the first one that is not active."""
    return next(name for name in sorted(names) if name != active)


def after_release(record: Record, slot: str, version: str) -> Record:
    """Return the record once ``version`` serves from ``slot``; history is oldest first, each version once."""
    previous = record.version if record.version != version else record.previous
    history = [one for one in record.history if one != version] + [version]
    return Record(slot, version, previous, history)


class Slots:
    """Fills, starts, stops and asks slots."""

    def __init__(
        self,
        systemd: Systemd,
        settings: Settings,
        ask: Callable[[str, int, float], Health] = probe,
    ) -> None:
        """Remember the slots' ports."""
        self._systemd = systemd
        self._settings = settings
        self._ask = ask

    @property
    def names(self) -> List[str]:
        """The slots."""
        return sorted(self._settings.slots)

    @staticmethod
    def unit(slot: str) -> str:
        """Return the systemd unit of a slot."""
        return f"zmanim-api@{slot}.service"

    def _link(self, slot: str) -> Path:
        return Path(self._settings.api_home) / "slots" / slot

    def version_in(self, slot: str) -> str:
        """Return the version that a slot points to, '' when it is empty."""
        try:
            return os.path.basename(os.readlink(str(self._link(slot))))
        except OSError:
            return ""

    def fill(self, slot: str, version: str) -> None:
        """Point a slot at a release in one rename."""
        link = self._link(slot)
        link.parent.mkdir(parents=True, exist_ok=True)
        beside = link.with_name(f".{slot}.new")
        if beside.is_symlink():
            beside.unlink()
        os.symlink(f"../releases/{version}", str(beside))
        os.replace(str(beside), str(link))

    def empty(self, slot: str) -> None:
        """Take a slot's release away."""
        if self._link(slot).is_symlink():
            self._link(slot).unlink()

    def health(self, slot: str, timeout: float = 1.0) -> Health:
        """Ask the slot itself, past the front."""
        return self._ask("127.0.0.1", self._settings.slots[slot], timeout)

    def start(self, slot: str, version: str, seconds: float) -> None:
        """Start a slot and wait for its /health; raise ZmanimError as soon as it can't come up any more."""
        unit = self.unit(slot)
        deadline = Deadline(seconds, f"/health of release {version} in slot {slot}")
        self._systemd.start(unit, deadline.remaining())
        while True:
            health = self.health(slot)
            if health.good:
                return self._check_version(health, version, slot)
            if deadline.expired():
                raise deadline.exceeded(f"{health.problem}; {self._systemd.last_words(unit)}")
            if self._ended(unit):
                raise ZmanimError(
                    f"release {version} ended in slot {slot}",
                    found=self._systemd.last_words(unit) or "no words",
                    remedy=f"look at: journalctl -u {unit}",
                )
            deadline.pause(0.1)

    def _ended(self, unit: str) -> bool:
        """Say whether the program will not come up: it failed for good, or it keeps ending."""
        failed = self._systemd.states([unit]).get(unit) == "failed"
        return failed or self._systemd.restarts(unit) >= MAX_RESTARTS

    @staticmethod
    def _check_version(health: Health, version: str, slot: str) -> None:
        if health.version and health.version.lstrip("v") != version.lstrip("v"):
            raise ZmanimError(
                f"the program in slot {slot} reports another version",
                found=health.version,
                expected=version,
                remedy="upload the right binary under this version",
            )

    def stop(self, slot: str, seconds: float = 30.0) -> None:
        """Stop a slot."""
        self._systemd.stop(self.unit(slot), seconds)

    def running(self) -> Dict[str, bool]:
        """Return which slots are active."""
        states = self._systemd.states([self.unit(slot) for slot in self.names])
        return {slot: states.get(self.unit(slot)) == "active" for slot in self.names}

    def serving(self, record: Record) -> Optional[str]:
        """Return the recorded slot when it runs the recorded version and answers /health."""
        slot = record.active_slot
        if slot and self.version_in(slot) == record.version and self.health(slot).good:
            return slot
        return None
