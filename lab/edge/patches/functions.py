# SPDX-License-Identifier: GPL-3.0-or-later
"""CloudFront functions are evaluated by few warm workers, however many requests come at once.

ministack starts a Node process for every evaluation that finds no idle one, and gives up after five seconds:
a burst on a busy machine starts dozens and some fail with 503.  CloudFront's functions are warm and take a
millisecond, so requests queue for a worker here.
"""

from __future__ import annotations

import threading
from typing import Any

from ministack.core import cloudfront_js

from lab.edge.settings import EdgeSettings

WORKERS = 2  # what the pool keeps idle
DEADLINE_SECONDS = 20.0

evaluate = cloudfront_js.evaluate
turns = threading.BoundedSemaphore(WORKERS)


def evaluate_in_turn(code: bytes, event: dict[str, Any]) -> Any:
    """Evaluate a function once a worker is free; raises CloudFrontFunctionError as the original does."""
    if not turns.acquire(timeout=DEADLINE_SECONDS):
        raise cloudfront_js.CloudFrontFunctionError(f"no worker was free within {DEADLINE_SECONDS:g} s")
    try:
        return evaluate(code, event)
    finally:
        turns.release()


def apply(_settings: EdgeSettings) -> None:
    """Let evaluations take turns, and give a busy machine time."""
    cloudfront_js._EVAL_TIMEOUT = DEADLINE_SECONDS
    cloudfront_js.evaluate = evaluate_in_turn
