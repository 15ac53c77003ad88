# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage's access log reaches its log group, in the stage's own format.

ministack stores the setting and writes nothing.  Lines are delivered within about a second, like AWS's are
within some; what cannot be delivered is counted in the edge's log, not retried for ever.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import time
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from lab.edge.patches import exchange as exchanges
from lab.edge.settings import EdgeSettings

logger = logging.getLogger("lab.edge.access_log")
VARIABLE = re.compile(r"\$context\.([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*)")
BATCH = 500
Line = tuple[str, int, str]


def variables(exchange: exchanges.Exchange) -> dict[str, Any]:
    """Return the `$context` variables of the access log that this lab knows."""
    moment = datetime.fromtimestamp(exchange.started, UTC)
    source = exchange.headers.get("x-forwarded-for", "").split(",")[-1].strip() or "127.0.0.1"
    return {
        "accountId": exchange.account,
        "apiId": exchange.api_id,
        "authorizer.error": exchange.authorizer_error,
        "domainName": exchange.headers.get("host"),
        "error.message": exchange.error,
        "extendedRequestId": exchange.request_id,
        "httpMethod": exchange.method,
        "identity.sourceIp": source,
        "identity.userAgent": exchange.headers.get("user-agent"),
        "integration.error": exchange.integration_error,
        "integration.latency": exchange.integration_ms,
        "integration.status": exchange.integration_status,
        "integrationErrorMessage": exchange.integration_error,
        "integrationLatency": exchange.integration_ms,
        "integrationStatus": exchange.integration_status,
        "path": exchange.path,
        "protocol": "HTTP/1.1",
        "requestId": exchange.request_id,
        "requestTime": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "requestTimeEpoch": int(exchange.started * 1000),
        "responseLatency": exchange.response_ms,
        "responseLength": exchange.length,
        "routeKey": exchange.route_key,
        "stage": exchange.stage,
        "status": exchange.status,
    }


def render(template: str, values: dict[str, Any]) -> str:
    """Fill a log format; an unknown or empty variable is "-", quotes and control characters are escaped."""

    def fill(found: re.Match[str]) -> str:
        value = values.get(found.group(1))
        if value is None or value == "":
            return "-"
        return "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in str(value))

    return VARIABLE.sub(fill, template)


def log_group(destination: str) -> str:
    """Return the log group's name from its ARN."""
    return destination.split(":log-group:", 1)[-1].removesuffix(":*")


class Delivery:
    """Sends lines to log groups from one background thread."""

    def __init__(self, endpoint_url: str, region: str) -> None:
        self._lines: queue.Queue[Line] = queue.Queue(maxsize=100_000)
        self._streams: set[str] = set()
        self._stream = f"edge-{int(time.time())}"
        # The emulator takes any credentials.
        session = boto3.Session("edge", "edge", region_name=region)
        self._logs: Any = session.client("logs", endpoint_url=endpoint_url)
        threading.Thread(target=self._run, daemon=True, name="access-log").start()

    def put(self, line: Line) -> None:
        """Queue a line (log group, milliseconds, text); drops it when 100,000 are waiting."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            logger.warning("access log line dropped: too many are waiting")

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            for group in {line[0] for line in batch}:
                self._send(group, [line for line in batch if line[0] == group])

    def _next_batch(self) -> list[Line]:
        """Wait for a line and return it with those that arrive soon after."""
        batch = [self._lines.get()]
        time.sleep(0.5)
        while len(batch) < BATCH and not self._lines.empty():
            batch.append(self._lines.get_nowait())
        return batch

    def _send(self, group: str, lines: list[Line]) -> None:
        events = [
            {"timestamp": line[1], "message": line[2]} for line in sorted(lines, key=lambda line: line[1])
        ]
        try:
            if group not in self._streams:
                self._logs.create_log_stream(logGroupName=group, logStreamName=self._stream)
                self._streams.add(group)
            self._logs.put_log_events(logGroupName=group, logStreamName=self._stream, logEvents=events)
        except (BotoCoreError, ClientError) as error:
            self._streams.discard(group)
            logger.warning("%d access log lines for %s not delivered: %s", len(lines), group, error)


def apply(settings: EdgeSettings) -> None:
    """Write the access log of every stage that has one."""
    delivery = Delivery(settings.aws_endpoint_url, settings.region)

    def write(exchange: exchanges.Exchange) -> None:
        wanted = exchange.stage_settings.get("accessLogSettings") or {}
        if wanted.get("destinationArn") and wanted.get("format"):
            text = render(wanted["format"], variables(exchange))
            delivery.put((log_group(wanted["destinationArn"]), int(exchange.started * 1000), text))

    exchanges.after.append(write)
