# SPDX-License-Identifier: GPL-3.0-or-later
"""One ASGI application for all listeners: the local address a request came in at says what it is for."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from ministack import app as ministack_app
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.services import cloudfront

from lab.edge import tokens
from lab.edge.settings import MIRROR, EdgeSettings

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Response = tuple[int, dict[str, Any], bytes]
Handler = Callable[["Request"], Awaitable[Response]]

GATEWAY_HOST = re.compile(r"^([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com$")
DOCUMENT = {"Content-Type": "application/json"}
# What only the edge itself may say about a request.
FORGEABLE = ("x-forwarded-proto", "x-forwarded-port", "via")


class Request:
    """One HTTP request, read to its end."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        raw_path = scope.get("raw_path")
        self.raw_path: str = raw_path.decode("ascii") if raw_path else self.path
        self.raw_query: str = scope.get("query_string", b"").decode("latin-1")
        self.query = parse_qs(self.raw_query, keep_blank_values=True)
        self.scheme: str = scope.get("scheme", "http")
        self.client: str = (scope.get("client") or ("127.0.0.1",))[0]
        self.headers = _joined_headers(scope.get("headers", []))
        self.body = body

    @property
    def host(self) -> str:
        """The name asked for, lower case, without a port."""
        return self.headers.get("host", "").split(":")[0].lower()


def _joined_headers(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by lower-case name; repeated ones joined as RFC 9110 5.2 and RFC 9113 8.2.3 say."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        separator = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    return headers


def find_distribution(host: str) -> dict[str, Any] | None:
    """Return the distribution whose domain name or alias is `host`, an enabled one only."""
    for distribution in cloudfront._distributions.values():
        aliases = [name.lower() for name in cloudfront._get_distribution_aliases(distribution)]
        wildcard = "*." + host.partition(".")[2]
        if host == distribution["DomainName"].lower() or host in aliases or wildcard in aliases:
            enabled = cloudfront._get_enabled(cloudfront._dist_config_el(distribution))
            return dict(distribution) if enabled else None
    return None


class Listeners:
    """Dispatches each request to CloudFront, API Gateway, the token issuer, the mirror or the AWS API."""

    def __init__(self, settings: EdgeSettings) -> None:
        self.settings = settings
        key = tokens.load_key(Path(settings.state_dir) / tokens.KEY_FILE)
        issuer = f"http://{settings.issuer}/"
        self._documents = {
            "/.well-known/jwks.json": json.dumps(tokens.jwks(key)).encode(),
            "/.well-known/openid-configuration": json.dumps(tokens.openid_configuration(issuer)).encode(),
        }
        self._handlers: dict[str, Handler] = {
            settings.viewer: self._viewer,
            settings.viewer_tls: self._viewer,
            settings.gateway: self._gateway,
            settings.issuer: self._issuer,
            settings.mirror: self._mirror,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        handler = self._handler(scope)
        if handler is None:
            await ministack_app.app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            return
        request = Request(scope, body)
        set_request_account_id(self.settings.account)
        set_request_region(self.settings.region)
        status, headers, content = await handler(request)
        await ministack_app._send_response(send, status, headers, content, head=request.method == "HEAD")

    def _handler(self, scope: Scope) -> Handler | None:
        if scope["type"] != "http":
            return None
        host, port = scope.get("server") or ("", 0)
        return self._handlers.get(f"{host}:{port}")

    async def _viewer(self, request: Request) -> Response:
        distribution = find_distribution(request.host)
        if distribution is None:
            return _plain(403, f"no enabled CloudFront distribution answers for {request.host!r}")
        headers = {name: value for name, value in request.headers.items() if name not in FORGEABLE}
        headers["x-forwarded-proto"] = request.scheme
        response: Response = await cloudfront.handle_viewer_request(
            distribution,
            request.method,
            request.path,
            request.raw_path,
            request.raw_query,
            headers,
            request.body,
            request.query,
            request.client,
        )
        return response

    async def _gateway(self, request: Request) -> Response:
        found = GATEWAY_HOST.match(request.host)
        if found is None:
            return _plain(403, f"{request.host!r} is no API endpoint")
        return await execute_api(
            found.group(1), request.method, request.raw_path, request.raw_query, request.headers, request.body
        )

    async def _issuer(self, request: Request) -> Response:
        document = self._documents.get(request.path)
        if document is None:
            return 404, dict(DOCUMENT), b'{"message": "not found"}'
        return 200, dict(DOCUMENT), document

    async def _mirror(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return _plain(405, "the mirror is read only")
        root = (Path(self.settings.state_dir) / MIRROR).resolve()
        path = (root / request.path.lstrip("/")).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return _plain(404, f"the mirror has no {request.path}")
        content = await asyncio.to_thread(path.read_bytes)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(content))}
        return 200, headers, b"" if request.method == "HEAD" else content


async def execute_api(
    api_id: str, method: str, raw_path: str, raw_query: str, headers: dict[str, str], body: bytes
) -> Response:
    """Serve one request at an HTTP API's own endpoint, as its `<id>.execute-api...` name would."""
    from urllib.parse import unquote

    response: Response = await ministack_app._handle_execute_api_request(
        f"{api_id}.execute-api.{ministack_app._MINISTACK_HOST}",
        unquote(raw_path),
        method,
        headers,
        body,
        parse_qs(raw_query, keep_blank_values=True),
        raw_path=raw_path,
        raw_query_string=raw_query,
    ) or (404, dict(DOCUMENT), b'{"message":"Not Found"}')
    return response


def _plain(status: int, text: str) -> Response:
    return status, {"Content-Type": "text/plain"}, f"{text}\n".encode()


async def _read(receive: Receive) -> bytes | None:
    """Read a request body; None when the viewer has gone away."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
