# SPDX-License-Identifier: GPL-3.0-or-later
"""The one AWS endpoint: names the service of a request, lets the lab act on it, and passes it on.

A request goes to the lab's own handlers (SSM Run Command...), to ministack (the services with a data
plane), or to moto in this process (everything else).
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote

from werkzeug.serving import make_server

from lab.events import Events
from lab.faults import Faults
from lab.ssm import SsmError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Handler = Callable[[dict[str, Any]], dict[str, Any]]

MINISTACK = frozenset(
    (
        "s3",
        "s3express",
        "cloudfront",
        "cloudfront-keyvaluestore",
        "apigateway",
        "execute-api",
        "lambda",
        "servicediscovery",
    )
)
CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[0-9]+/([^/]*)/([^/]+)/aws4_request")
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection")
)
READ_ONLY = ("Describe", "Get", "List", "Search", "Lookup", "Head")
PIECE = 64 * 1024


@dataclass
class Call:
    """What a request asks for."""

    service: str
    action: str
    access_key: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    json_body: dict[str, Any] | None = None

    @property
    def writes(self) -> bool:
        """Whether it may change something."""
        return not self.action.startswith(READ_ONLY)


class Gateway:
    """WSGI application of the endpoint."""

    def __init__(
        self,
        moto: Application,
        ministack: str,
        events: Events,
        faults: Faults,
        name_caller: Callable[[str], str | None],
        before: Callable[[Call], None],
        after: Callable[[Call], None],
    ) -> None:
        self._moto = moto
        self._ministack = Proxy(ministack)
        self._events = events
        self._faults = faults
        self._name_caller = name_caller
        self._before = before
        self._after = after
        self.handlers: dict[tuple[str, str], Handler] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request and record it."""
        begun = time.monotonic()
        call = identify(environ)
        outcome: list[str] = []

        def record(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            outcome.append(status.split(" ", 1)[0])
            return start_response(status, headers, *more)

        try:
            return self._dispatch(call, environ, record)
        finally:
            caller = self._name_caller(call.access_key) or call.access_key or "anonymous"
            self._events.call(
                call.service, call.action, caller, outcome[0] if outcome else "500", time.monotonic() - begun
            )

    def _dispatch(self, call: Call, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        injected = self._injected(call)
        if injected:
            _drain(environ)
            return _error(start_response, call, *injected)
        handler = self.handlers.get((call.service, call.action))
        if handler is not None:
            return self._own(handler, call, start_response)
        if call.service in MINISTACK:
            return self._ministack(environ, start_response)
        self._before(call)
        pieces = list(self._moto(environ, start_response))
        if call.writes:
            self._after(call)
        return pieces

    def _injected(self, call: Call) -> tuple[int, str, str] | None:
        if call.service == "ssm" and self._faults.strikes("ssm-throttle"):
            return 400, "ThrottlingException", "Rate exceeded"
        if call.service == "ec2" and self._faults.strikes("ec2-throttle"):
            return 503, "RequestLimitExceeded", "Request limit exceeded."
        if call.service == "s3" and self._faults.strikes("s3-error"):
            return 503, "SlowDown", "Please reduce your request rate."
        return None

    def _own(self, handler: Handler, call: Call, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = handler(call.json_body if call.json_body is not None else dict(call.parameters))
        except SsmError as refused:
            return _error(start_response, call, 400, refused.code, str(refused))
        except KeyError as missing:
            return _error(start_response, call, 400, "ValidationException", f"missing parameter {missing}")
        body = json.dumps(answer).encode()
        start_response("200 OK", _headers("application/x-amz-json-1.1", body))
        return [body]


class Proxy:
    """Passes a request on to a local HTTP server and streams both bodies."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request with the server's answer."""
        connection = http.client.HTTPConnection(self._address, timeout=300)
        try:
            response = self._send(connection, environ)
        except OSError as broken:
            connection.close()
            body = f"the lab's service process does not answer: {broken}".encode()
            start_response("502 Bad Gateway", _headers("text/plain", body))
            return [body]
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in HOP_BY_HOP]
        start_response(f"{response.status} {response.reason or 'OK'}", headers)
        return _stream(connection, response)

    def _send(self, connection: http.client.HTTPConnection, environ: Environ) -> http.client.HTTPResponse:
        target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
        connection.putrequest(environ["REQUEST_METHOD"], target, skip_host=True, skip_accept_encoding=True)
        for name, value in _passed_on(environ):
            connection.putheader(name, value)
        if environ.get("CONTENT_LENGTH"):
            _send_sized(connection, environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
        elif environ.get("wsgi.input_terminated"):
            _send_chunked(connection, environ["wsgi.input"])
        else:
            connection.endheaders()
        return connection.getresponse()


def _send_sized(connection: http.client.HTTPConnection, body: Any, length: int) -> None:
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    for piece in _pieces(body, length):
        connection.send(piece)


def _send_chunked(connection: http.client.HTTPConnection, body: Any) -> None:
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    for piece in _pieces(body, None):
        connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")


def identify(environ: Environ) -> Call:
    """Name service and action of a request; reads a form or JSON body and puts it back."""
    query = environ.get("QUERY_STRING", "")
    signed = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", "")) or CREDENTIAL.search(
        "Credential=" + unquote(parse_qs(query).get("X-Amz-Credential", [""])[0])
    )
    access_key, service = (signed[1], signed[3]) if signed else ("", _unsigned(environ))
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        body = _peek(environ)
        return Call(service, target.rsplit(".", 1)[-1], access_key, json_body=json.loads(body or b"{}"))
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = dict(parse_qsl(_peek(environ).decode(), keep_blank_values=True))
        if "Action" in form:
            return Call(service or _by_action(form), form["Action"], access_key, form)
    parameters = dict(parse_qsl(query))
    action = parameters.get("Action") or f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"
    return Call(service or "s3", action, access_key, parameters)


def _unsigned(environ: Environ) -> str:
    host = environ.get("HTTP_HOST", "")
    if "execute-api" in host:
        return "execute-api"
    return "cloudfront" if "cloudfront" in host else ""


def _by_action(form: dict[str, str]) -> str:
    return "sts" if form["Action"].startswith("AssumeRole") else "ec2"


def _peek(environ: Environ) -> bytes:
    """Read a body and put it back, unpacked: botocore packs large ones, such as PutMetricData's."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ.pop("HTTP_CONTENT_ENCODING", "") == "gzip":
        body = gzip.decompress(body)
        environ["CONTENT_LENGTH"] = str(len(body))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _drain(environ: Environ) -> None:
    for _ in _pieces(environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0)):
        pass


def _passed_on(environ: Environ) -> Iterator[tuple[str, str]]:
    """The request's headers without those of this connection and those that are made anew."""
    dropped = HOP_BY_HOP | {"expect", "content-length"}
    return (header for header in _incoming_headers(environ) if header[0].lower() not in dropped)


def _incoming_headers(environ: Environ) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").title(), value
    if environ.get("CONTENT_TYPE"):
        yield "Content-Type", environ["CONTENT_TYPE"]


def _pieces(stream: Any, length: int | None) -> Iterator[bytes]:
    left = length
    while left is None or left > 0:
        piece = stream.read(PIECE if left is None else min(PIECE, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        yield piece


def _stream(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read(PIECE):
            yield piece
    finally:
        connection.close()


def _headers(content_type: str, body: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", content_type), ("Content-Length", str(len(body)))]


def _error(start_response: StartResponse, call: Call, status: int, code: str, message: str) -> list[bytes]:
    if call.json_body is not None:
        kind, body = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    elif call.service == "s3":
        kind, body = "application/xml", f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    else:
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        kind, body = "text/xml", f"<Response>{inner}<RequestID>lab</RequestID></Response>"
    encoded = body.encode()
    start_response(
        f"{status} {'Service Unavailable' if status == 503 else 'Bad Request'}", _headers(kind, encoded)
    )
    return [encoded]


def serve(application: Application, address: str, port: int) -> Any:
    """Listen in a thread and return the server."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    class Quiet(MotoRequestHandler):
        def log(self, type: str, message: str, *args: Any) -> None:
            """Say nothing: every call is in events.jsonl."""

    server = make_server(address, port, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, name="gateway", daemon=True).start()
    return server
