# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait ends with the first 200, and at its deadline whatever the address does."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


class Clock:
    """Time that passes only when somebody pauses, or a probe takes its time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def module() -> Any:
    return importlib.import_module("ansible_collections.shtetl.zmanim.plugins.modules.wait_for_health")


def test_the_first_200_ends_the_wait(module: Any) -> None:
    clock, answers = Clock(), iter(["connection refused", "status 503", "200"])
    assert module.wait(lambda _: next(answers), 60, 1, clock, clock.pause) == ("200", 2.0, 3)


def test_a_dead_address_ends_at_the_deadline(module: Any) -> None:
    clock = Clock()
    answer, seconds, attempts = module.wait(lambda _: "refused", 10, 1, clock, clock.pause)
    assert answer == "refused" and attempts == 10 and seconds <= 10


def test_a_hanging_address_gets_no_more_than_the_time_that_is_left(module: Any) -> None:
    clock, given = Clock(), []

    def hang(timeout: float) -> str:
        given.append(timeout)
        clock.now += timeout
        return "timed out"

    module.wait(hang, 12, 1, clock, clock.pause)
    assert given == [5.0, 5.0] and clock.now <= 12


def test_check_mode_does_not_wait(aws: Any) -> None:
    assert aws("wait_for_health", url="http://192.0.2.1:8080/health", check=True)["attempts"] == 0


def test_the_failure_names_the_address_and_the_last_answer(aws: Any) -> None:
    message = aws("wait_for_health", url="http://127.0.0.1:9/health", deadline=0.1, fails=True)["msg"]
    assert "http://127.0.0.1:9/health did not answer 200 within 0.1 s" in message and "refused" in message


def test_only_http_is_asked(aws: Any) -> None:
    assert "http://" in aws("wait_for_health", url="file:///etc/passwd", fails=True)["msg"]
