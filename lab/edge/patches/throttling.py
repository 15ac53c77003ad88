# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage's throttling settings bound its requests: a token bucket per route, 429 when it is empty.

ministack stores the settings and does not apply them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lab.edge.patches import exchange as exchanges
from lab.edge.settings import EdgeSettings

Response = tuple[int, dict[str, Any], bytes]


@dataclass
class Bucket:
    """A token bucket: `rate` tokens a second up to `burst`."""

    rate: float
    burst: float
    tokens: float
    filled: float

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        self.tokens = min(self.burst, self.tokens + (now - self.filled) * self.rate)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


_buckets: dict[tuple[str, str, str], Bucket] = {}


def limits(stage: dict[str, Any], route_key: str) -> tuple[float, float] | None:
    """Return a route's (requests per second, burst), its own settings before the stage's; None without."""
    settings = {
        **(stage.get("defaultRouteSettings") or {}),
        **((stage.get("routeSettings") or {}).get(route_key) or {}),
    }
    rate, burst = settings.get("throttlingRateLimit"), settings.get("throttlingBurstLimit")
    if rate is None or burst is None:
        return None
    return float(rate), float(burst)


def refuse(exchange: exchanges.Exchange) -> Response | None:
    """Answer 429 when the route's bucket is empty."""
    limit = limits(exchange.stage_settings, exchange.route_key)
    if limit is None:
        return None
    key, now = (exchange.api_id, exchange.stage, exchange.route_key), time.monotonic()
    bucket = _buckets.get(key)
    if bucket is None or (bucket.rate, bucket.burst) != limit:
        bucket = _buckets[key] = Bucket(*limit, tokens=limit[1], filled=now)
    if bucket.take(now):
        return None
    return 429, {"Content-Type": "application/json"}, b'{"message":"Too Many Requests"}'


def apply(_settings: EdgeSettings) -> None:
    """Throttle every HTTP API request."""
    exchanges.before.append(refuse)
