"""Waits that always end: deadlines, polling and the back-off between retries."""

from __future__ import annotations

import time
from typing import Callable, Optional, TypeVar

from zmanimctl.errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """A point in time after which a wait gives up, and the wait itself.

    ``what`` completes the sentence "<what> did not happen within N s".
    """

    def __init__(
        self,
        seconds: float,
        what: str,
        *,
        remedy: str = "",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start the clock."""
        self.seconds = seconds
        self.what = what
        self.remedy = remedy
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds

    def remaining(self) -> float:
        """Return the seconds left, never below zero."""
        return max(0.0, self._end - self._clock())

    def expired(self) -> bool:
        """Say whether the deadline has passed."""
        return self._clock() >= self._end

    def pause(self, seconds: float) -> None:
        """Sleep for ``seconds``, but not past the deadline."""
        self._sleep(min(seconds, self.remaining()))

    def exceeded(self, found: str = "") -> DeadlineExceeded:
        """Return the exception that says what did not happen."""
        return DeadlineExceeded(
            f"{self.what} did not happen within {self.seconds:g} s", found=found, remedy=self.remedy
        )

    def poll(self, probe: Callable[[], Optional[T]], interval: float = 0.2) -> T:
        """Call ``probe`` until it returns something other than None; raise DeadlineExceeded at the
        deadline.
        """
        while True:
            answer = probe()
            if answer is not None:
                return answer
            if self.expired():
                raise self.exceeded()
            self.pause(interval)


def backoff(attempt: int, *, first: float = 0.2, limit: float = 5.0) -> float:
    """Return the pause in seconds before retry number ``attempt`` (0, 1, 2 ...): doubling up to ``limit``."""
    return float(min(limit, first * (2 ** min(attempt, 16))))
