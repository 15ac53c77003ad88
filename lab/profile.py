# SPDX-License-Identifier: GPL-3.0-or-later
"""How long things take that on EC2 take time and here would not."""

from __future__ import annotations

import time
from dataclasses import dataclass

from lab.errors import LabError


@dataclass(frozen=True)
class Profile:
    """Delays in seconds."""

    name: str
    boot: float = 0
    stop: float = 0
    attach: float = 0
    detach: float = 0
    address: float = 0
    snapshot: float = 0

    def delay(self, step: str) -> None:
        """Wait as long as the step takes on EC2."""
        time.sleep(float(getattr(self, step)))


PROFILES = {
    "fast": Profile("fast"),
    "aws": Profile(
        "aws",
        # RunInstances to `running`; median of published measurements of Linux launches
        # (https://www.daemonology.net/blog/2021-08-12-EC2-boot-time-benchmarking.html gives the method and
        # 8-30 s from pending to SSH; about 16 s to `running` for Nitro types).
        boot=16,
        # A clean shutdown's `stopping` state, on top of the operating system's own time.
        stop=10,
        # 1-4 s typical until `attached` and visible on a Nitro instance.
        attach=3,
        # 1-4 s typical from unmounted to `available`; minutes when the volume is busy.
        detach=3,
        # Association to first packet at the new instance.
        address=1,
        # An incremental snapshot of a small volume to `completed`; a first full one takes minutes.
        snapshot=5,
    ),
}


def profile_named(name: str) -> Profile:
    """Look a profile up by name."""
    if name not in PROFILES:
        raise LabError(f"unknown profile {name!r}; there are: {', '.join(PROFILES)}")
    return PROFILES[name]
