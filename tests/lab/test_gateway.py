# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoint: which service a request is for, faults, and where it goes."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab.events import Events
from lab.faults import Faults
from lab.gateway import Call, Gateway, identify
from lab.ssm import SsmError

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIA1/20260101/eu-west-1/{}/aws4_request, SignedHeaders=host, Signature=0"
)


def environ(service: str, body: bytes = b"", **more: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "HTTP_AUTHORIZATION": SIGNED.format(service) if service else "",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **more,
    }


FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded; charset=utf-8"}


def test_a_query_call_is_named_by_its_form_and_keeps_its_body() -> None:
    request = environ("ec2", b"Action=RunInstances&MinCount=1", **FORM)
    call = identify(request)
    assert (call.service, call.action, call.access_key) == ("ec2", "RunInstances", "AKIA1")
    assert request["wsgi.input"].read() == b"Action=RunInstances&MinCount=1"


def test_a_packed_body_is_unpacked_for_whoever_answers() -> None:
    plain = b"Action=PutMetricData&Namespace=Zmanim"
    request = environ("monitoring", gzip.compress(plain), HTTP_CONTENT_ENCODING="gzip", **FORM)
    assert identify(request).action == "PutMetricData"
    assert (request["wsgi.input"].read(), request["CONTENT_LENGTH"]) == (plain, str(len(plain)))
    assert "HTTP_CONTENT_ENCODING" not in request


def test_a_json_call_is_named_by_its_target() -> None:
    call = identify(environ("ssm", b'{"CommandId": "x"}', HTTP_X_AMZ_TARGET="AmazonSSM.GetCommandInvocation"))
    assert (call.service, call.action, call.json_body) == ("ssm", "GetCommandInvocation", {"CommandId": "x"})


def test_a_presigned_call_is_named_by_its_query() -> None:
    query = "X-Amz-Credential=AKIA2%2F20260101%2Feu-west-1%2Fs3%2Faws4_request"
    call = identify(environ("", QUERY_STRING=query, REQUEST_METHOD="GET", PATH_INFO="/bucket/key"))
    assert (call.service, call.access_key, call.action) == ("s3", "AKIA2", "GET /bucket/key")


def test_an_unsigned_call_to_assume_a_role_is_for_sts() -> None:
    assert identify(environ("", b"Action=AssumeRoleWithWebIdentity", **FORM)).service == "sts"


@pytest.mark.parametrize(
    ("action", "writes"), [("DescribeImages", False), ("GetParameter", False), ("AttachVolume", True)]
)
def test_reading_calls_are_known(action: str, writes: bool) -> None:
    assert Call("ec2", action).writes is writes


class Server:
    """A gateway whose moto answers `moto`, in front of a local server that echoes."""

    def __init__(self, directory: Path, port: int) -> None:
        self.faults = Faults()
        self.journal = directory / "events.jsonl"
        self.after: list[str] = []
        self.gateway = Gateway(
            moto=self._moto,
            ministack=f"127.0.0.1:{port}",
            events=Events(self.journal),
            faults=self.faults,
            name_caller={"AKIA1": "controller"}.get,
            before=lambda call: None,
            after=lambda call: self.after.append(call.action),
        )

    def _moto(self, request: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"moto"]

    def ask(self, request: dict[str, Any]) -> tuple[str, bytes]:
        statuses: list[str] = []
        body = b"".join(self.gateway(request, lambda status, headers, *_: statuses.append(status)))
        return statuses[0], body

    def last_event(self) -> dict[str, Any]:
        return json.loads(self.journal.read_text().splitlines()[-1])  # type: ignore[no-any-return]


@pytest.fixture
def server(tmp_path: Path) -> Iterable[Server]:
    class Echo(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = f"{self.path} {self.headers['Host']} ".encode() + body
            self.send_response(201, "Created")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    yield Server(tmp_path, upstream.server_address[1])
    upstream.shutdown()
    upstream.server_close()


def test_s3_is_passed_on_with_path_host_and_body(server: Server) -> None:
    request = environ(
        "s3", b"data", REQUEST_METHOD="PUT", REQUEST_URI="/b/k%20y?x=1", HTTP_HOST="endpoint:4566"
    )
    assert server.ask(request) == ("201 Created", b"/b/k%20y?x=1 endpoint:4566 data")


def test_a_service_that_does_not_answer_is_a_bad_gateway(tmp_path: Path) -> None:
    status, body = Server(tmp_path, 9).ask(environ("s3", b"", REQUEST_METHOD="GET"))
    assert status.startswith("502")
    assert b"does not answer" in body


def test_the_rest_goes_to_moto_and_writes_are_followed_up(server: Server) -> None:
    assert server.ask(environ("ec2", b"Action=AttachVolume", **FORM))[1] == b"moto"
    server.ask(environ("ec2", b"Action=DescribeVolumes", **FORM))
    assert server.after == ["AttachVolume"]


def test_every_call_is_recorded_with_its_caller_and_without_its_parameters(server: Server) -> None:
    server.ask(environ("ssm", b'{"Value": "hunter2"}', HTTP_X_AMZ_TARGET="AmazonSSM.PutParameter"))
    event = server.last_event()
    assert (event["service"], event["action"], event["caller"], event["outcome"]) == (
        "ssm", "PutParameter", "controller", "200",
    )  # fmt: skip
    assert "hunter2" not in server.journal.read_text()


def test_a_counted_fault_strikes_as_often_as_it_says(server: Server) -> None:
    server.faults.set("ssm-throttle", "2")
    answers = [
        server.ask(environ("ssm", b"{}", HTTP_X_AMZ_TARGET="AmazonSSM.GetParameter"))[0] for _ in range(3)
    ]
    assert [answer.split()[0] for answer in answers] == ["400", "400", "200"]


def test_a_fault_of_s3_speaks_s3(server: Server) -> None:
    server.faults.set("s3-error", "1")
    status, body = server.ask(environ("s3", b"", REQUEST_METHOD="GET"))
    assert status.startswith("503")
    assert b"<Code>SlowDown</Code>" in body


def test_the_labs_own_handlers_answer_json_and_errors(server: Server) -> None:
    def refuse(request: dict[str, Any]) -> dict[str, Any]:
        raise SsmError("InvalidInstanceId", "off")

    server.gateway.handlers["ssm", "SendCommand"] = refuse
    server.gateway.handlers["ssm", "ListCommands"] = lambda request: {"Commands": []}
    status, body = server.ask(environ("ssm", b"{}", HTTP_X_AMZ_TARGET="AmazonSSM.SendCommand"))
    assert (status, json.loads(body)["__type"]) == ("400 Bad Request", "InvalidInstanceId")
    assert json.loads(server.ask(environ("ssm", b"{}", HTTP_X_AMZ_TARGET="AmazonSSM.ListCommands"))[1]) == {
        "Commands": []
    }
