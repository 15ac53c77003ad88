# SPDX-License-Identifier: GPL-3.0-or-later
"""One record per request through an HTTP API, which throttling and the access log read.

API Gateway names the same record `$context`.  `before` hooks may answer a request, `after` hooks see the
answer.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ministack.services import apigateway

from lab.edge.settings import EdgeSettings

Response = tuple[int, dict[str, Any], bytes]


@dataclass
class Exchange:
    """A request and what became of it."""

    api_id: str
    account: str
    region: str
    stage: str
    stage_settings: dict[str, Any]
    cors: bool
    method: str
    path: str
    headers: dict[str, str]
    route_key: str
    request_id: str = field(default_factory=lambda: base64.b64encode(os.urandom(11)).decode())
    started: float = field(default_factory=time.time)
    status: int = 0
    length: int = 0
    response_ms: int = 0
    integration_status: int | None = None
    integration_ms: int | None = None
    integration_error: str | None = None
    authorizer_error: str | None = None
    error: str | None = None


current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
before: list[Callable[[Exchange], Response | None]] = []
after: list[Callable[[Exchange], None]] = []


def _open(
    api_id: str, stage: str, path: str, method: str, headers: dict[str, str], account: str, region: str
) -> Exchange:
    route = apigateway._match_route(api_id, method, "/" + path.lstrip("/")) or {}
    api = apigateway._apis.get(api_id) or {}
    return Exchange(
        api_id=api_id,
        account=account,
        region=region,
        stage=stage,
        stage_settings=apigateway._stages.get(api_id, {}).get(stage) or {},
        cors=bool(api.get("corsConfiguration")),
        method=method,
        path=path,
        headers={name.lower(): value for name, value in headers.items()},
        route_key=str(route.get("routeKey", "-")),
    )


def _close(exchange: Exchange, response: Response) -> Response:
    status, headers, body = response
    headers["apigw-requestid"] = exchange.request_id
    exchange.status, exchange.length = status, len(body)
    exchange.response_ms = int((time.time() - exchange.started) * 1000)
    if exchange.integration_status is None and status >= 400:
        exchange.error = body.decode("utf-8", "replace")[:200]
    for hook in after:
        hook(exchange)
    return status, headers, body


def apply(_settings: EdgeSettings) -> None:
    """Record every request that an HTTP API serves."""
    execute = apigateway._handle_execute_in_scope
    validate = apigateway._validate_jwt_authorizer

    async def handle(
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        account: str,
        region: str,
        raw_query: str | None = None,
    ) -> Response:
        exchange = _open(api_id, stage, path, method, headers, account, region)
        token = current.set(exchange)
        try:
            for hook in before:
                refused = hook(exchange)
                if refused is not None:
                    return _close(exchange, refused)
            response = await execute(
                api_id, stage, path, method, headers, body, query, account, region, raw_query
            )
            return _close(exchange, response)
        finally:
            current.reset(token)

    async def validate_jwt(*arguments: Any) -> tuple[Any, Any, Any]:
        claims, scopes, refusal = await validate(*arguments)
        exchange = current.get()
        if refusal is not None and exchange is not None:
            exchange.authorizer_error = "token is missing, invalid, expired or not meant for this audience"
        return claims, scopes, refusal

    apigateway._handle_execute_in_scope = handle
    apigateway._validate_jwt_authorizer = validate_jwt
