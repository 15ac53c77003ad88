# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP_PROXY integration passes the origin's answer on as API Gateway does.

ministack keeps only Content-Type, follows redirects, ignores the integration's own time-out and always
appends the request path to the integration URI, also where that names a path itself.  API Gateway returns the
origin's headers (renaming the ones it owns), returns redirects, answers 503 past TimeoutInMillis or without a
connection, and fills the URI's `{variable}`s from the route's path variables.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from ministack.services import apigateway

from lab.edge.patches import exchange as exchanges
from lab.edge.settings import EdgeSettings

Response = tuple[int, dict[str, Any], bytes]

HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade")
)
NOT_SENT = HOP_BY_HOP | {"host", "content-length", "expect"}
REMAPPED = frozenset(("date", "server", "user-agent", "www-authenticate", "max-forwards"))
VARIABLE = re.compile(r"\{([A-Za-z0-9_.-]+)\+?\}")
DEFAULT_TIMEOUT_MS = 30_000


def target(integration: dict[str, Any], path: str, variables: dict[str, str], query: dict[str, Any]) -> str:
    """Return the URL to ask: variables filled in; only a URI of a bare host gets the request path."""
    uri = str(integration.get("integrationUri", ""))
    if VARIABLE.search(uri):
        url = VARIABLE.sub(
            lambda found: quote(variables.get(found.group(1), ""), safe="/%:@!$&'()*+,;=~-._"), uri
        )
    else:
        url = uri if urlsplit(uri).path.strip("/") else uri.rstrip("/") + path
    pairs = [(key, value) for key, values in query.items() for value in _listed(values)]
    return f"{url}?{urlencode(pairs)}" if pairs else url


def _listed(values: Any) -> list[Any]:
    return list(values) if isinstance(values, list) else [values]


def passed_on(pairs: Iterable[tuple[str, str]], drop_cors: bool) -> dict[str, Any]:
    """Return the origin's response headers as the viewer gets them; a repeated one becomes a list."""
    headers: dict[str, Any] = {}
    for name, value in pairs:
        lower = name.lower()
        if (
            lower in HOP_BY_HOP
            or lower == "content-length"
            or (drop_cors and lower.startswith("access-control-"))
        ):
            continue
        shown = f"x-amzn-remapped-{lower}" if lower in REMAPPED else name
        headers[shown] = [*_listed(headers[shown]), value] if shown in headers else value
    return headers


def ask(
    url: str, method: str, headers: dict[str, str], body: bytes, timeout: float
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Send one request within `timeout` seconds. Blocking. Raises OSError or HTTPException."""
    parts = urlsplit(url)
    connection_class = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connection_class(parts.hostname or "", parts.port, timeout=timeout)
    end = time.monotonic() + timeout
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body=body or None, headers=headers)
        if connection.sock is not None:
            connection.sock.settimeout(max(0.001, end - time.monotonic()))
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def _unavailable() -> Response:
    return 503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}'


async def invoke(
    integration: dict[str, Any],
    path: str,
    method: str,
    headers: dict[str, str],
    body: bytes,
    query: dict[str, Any],
) -> Response:
    """Serve a request by its HTTP integration."""
    exchange = exchanges.current.get()
    variables = _path_variables(exchange)
    url = target(integration, path, variables, query)
    sent = {name: value for name, value in headers.items() if name.lower() not in NOT_SENT}
    timeout = int(integration.get("timeoutInMillis") or DEFAULT_TIMEOUT_MS) / 1000
    started = time.monotonic()
    try:
        status, pairs, content = await asyncio.to_thread(ask, url, method, sent, body, timeout)
    except (OSError, http.client.HTTPException) as error:
        _record(exchange, started, None, f"{type(error).__name__}: {error}")
        return _unavailable()
    _record(exchange, started, status, None)
    return status, passed_on(pairs, bool(exchange and exchange.cors)), content


def _path_variables(exchange: exchanges.Exchange | None) -> dict[str, str]:
    if exchange is None:
        return {}
    route_path = exchange.route_key.partition(" ")[2]
    return dict(apigateway._extract_path_params(route_path, exchange.path) or {}) if route_path else {}


def _record(
    exchange: exchanges.Exchange | None, started: float, status: int | None, error: str | None
) -> None:
    if exchange is not None:
        exchange.integration_ms = int((time.monotonic() - started) * 1000)
        exchange.integration_status = status
        exchange.integration_error = error


def apply(_settings: EdgeSettings) -> None:
    """Replace the emulator's HTTP proxy."""
    apigateway._invoke_http_proxy = invoke
