# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults by name: what goes wrong on AWS, on demand."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True)
class Fault:
    """A kind of fault: what its argument means and what it does."""

    name: str
    argument: str
    effect: str
    counts: bool = False
    """The argument is how many times it strikes; other faults hold until cleared."""


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("ssm-throttle", "N", "the next N calls of SSM answer ThrottlingException", counts=True),
        Fault("ec2-throttle", "N", "the next N calls of EC2 answer RequestLimitExceeded", counts=True),
        Fault("s3-error", "N", "the next N calls of S3 answer 503 SlowDown", counts=True),
        Fault("imds-down", "", "the metadata service answers 503"),
        Fault("attach-hang", "SECONDS", "attachments stay `attaching` that long"),
        Fault("detach-hang", "SECONDS", "detachments stay `detaching` that long"),
        Fault("late-device", "SECONDS", "the device appears that long after `attached`"),
        Fault("decoy-disk", "", "the next attachment brings an empty disk of another volume first"),
        Fault("wrong-serial", "", "the next attachment shows the serial of another volume"),
        Fault("boot-fail", "AMI", "machines of this AMI stop in the initial boot, without network services"),
        Fault("full-disk", "INSTANCE:/DIRECTORY", "the file system of that directory has no room"),
        Fault("power-off", "INSTANCE", "cuts the instance's power at once"),
    )
}


class Faults:
    """The faults that are set now; safe to ask from any thread."""

    def __init__(self) -> None:
        self._set: dict[str, str] = {}
        self._lock = threading.Lock()

    def set(self, name: str, argument: str = "") -> None:
        """Set a fault; raises LabError for an unknown one or a missing argument."""
        fault = FAULTS.get(name)
        if fault is None:
            raise LabError(f"unknown fault {name!r}; there are: {', '.join(FAULTS)}")
        if fault.argument and not argument:
            raise LabError(f"fault {name} needs {fault.argument}: {fault.effect}")
        if fault.argument in ("N", "SECONDS"):
            _number(name, argument)
        with self._lock:
            self._set[name] = argument

    def clear(self) -> None:
        """Forget all faults."""
        with self._lock:
            self._set.clear()

    def listed(self) -> dict[str, str]:
        """The faults that are set, with their arguments."""
        with self._lock:
            return dict(self._set)

    def strikes(self, name: str) -> bool:
        """Whether the fault strikes now; a counted one is used up by the asking."""
        with self._lock:
            if name not in self._set:
                return False
            if FAULTS[name].counts:
                self._count_down(name)
            return True

    def once(self, name: str) -> bool:
        """Whether the fault is set; it is gone after that."""
        with self._lock:
            return self._set.pop(name, None) is not None

    def seconds(self, name: str) -> float:
        """The length of a fault; 0 when it is not set."""
        with self._lock:
            return float(self._set.get(name, 0))

    def names(self, name: str, subject: str) -> bool:
        """Whether the fault is set for this subject."""
        with self._lock:
            return self._set.get(name) == subject

    def _count_down(self, name: str) -> None:
        left = int(self._set[name]) - 1
        if left > 0:
            self._set[name] = str(left)
        else:
            del self._set[name]


def _number(name: str, argument: str) -> None:
    try:
        positive = float(argument) > 0
    except ValueError:
        positive = False
    if not positive:
        raise LabError(f"fault {name}: {argument!r} is not a positive number")
