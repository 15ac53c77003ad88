# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounting: which requests a window has, what failed, what was lost, when viewers waited."""

from __future__ import annotations

import pytest

from tests.rehearsal.timeline import Outage, Request, Window, account, lost_writes, outages, within


def read(started: float, seconds: float = 0.01, status: int = 200, error: str = "") -> Request:
    return Request("read", started, seconds, status, error)


def write(
    identity: str, started: float, seconds: float = 0.01, status: int = 201, error: str = ""
) -> Request:
    return Request("write", started, seconds, status, error, identity)


@pytest.mark.parametrize(
    ("request_", "ok"),
    [
        (read(0), True),
        (read(0, status=404), False),
        (read(0, status=302), False),
        (read(0, status=503), False),
        (read(0, status=0, error="TimeoutError: timed out"), False),
        (read(0, status=200, error="IncompleteRead"), False),
        (write("a", 0, status=200), True),
    ],
)
def test_only_a_complete_2xx_is_a_success(request_: Request, ok: bool) -> None:
    assert request_.ok is ok
    assert request_.acknowledged is (ok and request_.kind == "write")


@pytest.mark.parametrize(
    ("started", "seconds", "inside"),
    [
        (9.0, 0.5, False),
        (9.0, 1.0, True),
        (9.0, 30.0, True),
        (15.0, 1.0, True),
        (20.0, 1.0, True),
        (20.1, 1.0, False),
    ],
)
def test_a_window_has_what_was_in_flight_in_it(started: float, seconds: float, inside: bool) -> None:
    assert bool(within([read(started, seconds)], Window("swap", 10.0, 20.0))) is inside


def test_account_adds_up_failures_latency_writes_and_losses() -> None:
    requests = [
        read(1),
        read(11, seconds=4.2),
        read(12, seconds=0.3, status=503),
        write("kept", 13),
        write("lost", 14),
        write("refused", 15, status=503),
        write("outside", 30),
    ]
    found = account(requests, Window("swap", 10, 20), {"kept", "outside"})
    assert (found.requests, found.failed, found.max_latency_ms) == (5, 2, 4200)
    assert (found.writes_acknowledged, found.writes_lost) == (2, 1)


def test_the_longest_gap_reaches_the_edges_of_the_window() -> None:
    window = Window("swap", 10, 20)
    assert account([read(11, 0), read(12, 0), read(17, 0)], window, ()).longest_gap_ms == 5000
    assert account([read(11, 0)], window, ()).longest_gap_ms == 9000
    assert account([read(11, 0, status=500)], window, ()).longest_gap_ms == 10000
    assert account([], window, ()).longest_gap_ms == 10000


def test_only_acknowledged_writes_can_be_lost() -> None:
    requests = [write("a", 1), write("b", 2, status=0, error="reset"), write("c", 3), read(4)]
    assert lost_writes(requests, {"c"}) == ["a"]
    assert lost_writes(requests, {"a", "c"}) == []


def test_outages_merge_what_overlaps_and_count_failures() -> None:
    requests = [
        read(0, 0.1),
        read(10, 4),
        read(11, 3.5),
        read(14.2, 0.1, status=503),
        read(14.9, 0.1, status=503),
        read(30, 1.5),
    ]
    assert outages(requests) == [
        Outage(10, 14.5, 3, 1),
        Outage(14.9, 15.0, 1, 1),
        Outage(30, 31.5, 1, 0),
    ]
    assert outages([read(0, 0.9)]) == []
