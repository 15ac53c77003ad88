# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load saw: requests, the windows they fall into, and the figures of a window.

Times are seconds since the rehearsal began. All of this is pure.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

SLOW_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """One request of the load: what a viewer sent, when, and what came of it."""

    kind: str  # "read" or "write"
    started: float
    seconds: float
    status: int  # 0 without an answer
    error: str = ""
    write_id: str = ""

    @property
    def ended(self) -> float:
        """When the answer was complete or the client gave up."""
        return self.started + self.seconds

    @property
    def ok(self) -> bool:
        """Whether the viewer got what was asked for."""
        return not self.error and 200 <= self.status < 300

    @property
    def acknowledged(self) -> bool:
        """Whether the viewer was told that a write is safe."""
        return self.kind == "write" and self.ok


@dataclass(frozen=True)
class Window:
    """A stretch of the rehearsal that a step marks; the step's name is its name."""

    name: str
    started: float
    ended: float


@dataclass(frozen=True)
class Figures:
    """What a window's requests add up to."""

    requests: int
    failed: int
    max_latency_ms: int
    writes_acknowledged: int
    writes_lost: int
    longest_gap_ms: int


def within(requests: Iterable[Request], window: Window) -> list[Request]:
    """Requests that were in flight at any moment of the window, by start."""
    found = [r for r in requests if r.started <= window.ended and r.ended >= window.started]
    return sorted(found, key=lambda request: request.started)


def longest_gap(requests: Iterable[Request], window: Window) -> float:
    """Longest stretch of the window, in seconds, in which no request was answered well."""
    answers = sorted(r.ended for r in requests if r.ok and window.started <= r.ended <= window.ended)
    edges = [window.started, *answers, window.ended]
    return max(later - earlier for earlier, later in itertools.pairwise(edges))


def lost_writes(requests: Iterable[Request], stored: Collection[str]) -> list[str]:
    """Ids of acknowledged writes that the database does not have."""
    return sorted(r.write_id for r in requests if r.acknowledged and r.write_id not in stored)


def account(requests: Sequence[Request], window: Window, stored: Collection[str]) -> Figures:
    """Add up a window; ``stored`` holds the ids that the database has in the end."""
    mine = within(requests, window)
    return Figures(
        requests=len(mine),
        failed=sum(not r.ok for r in mine),
        max_latency_ms=round(max((r.seconds for r in mine), default=0.0) * 1000),
        writes_acknowledged=sum(r.acknowledged for r in mine),
        writes_lost=len(lost_writes(mine, stored)),
        longest_gap_ms=round(longest_gap(mine, window) * 1000),
    )


@dataclass(frozen=True)
class Outage:
    """A stretch in which viewers waited (held) or were refused (failed)."""

    started: float
    ended: float
    requests: int
    failed: int


def outages(requests: Iterable[Request], slow_seconds: float = SLOW_SECONDS) -> list[Outage]:
    """Merge failed requests and those slower than ``slow_seconds`` into stretches of time."""
    bad = sorted((r for r in requests if not r.ok or r.seconds > slow_seconds), key=lambda r: r.started)
    found: list[Outage] = []
    for request in bad:
        failed = int(not request.ok)
        if found and request.started <= found[-1].ended:
            last = found[-1]
            ended = max(last.ended, request.ended)
            found[-1] = Outage(last.started, ended, last.requests + 1, last.failed + failed)
        else:
            found.append(Outage(request.started, request.ended, 1, failed))
    return found
