# SPDX-License-Identifier: GPL-3.0-or-later
"""The viewers, against a small server that acknowledges, refuses and stalls."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.rehearsal.load import Load, Viewer


class Api(BaseHTTPRequestHandler):
    stored: set[str]
    paths: list[str]
    hosts: set[str]
    stalled: threading.Event
    refuse_writes: bool

    def do_GET(self) -> None:
        self.paths.append(self.path)
        self.hosts.add(self.headers["Host"])
        self.stalled.wait(5)
        known = "/writes/" not in self.path or self.path.rsplit("/", 1)[1] in self.stored
        self.answer(200 if known else 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.refuse_writes:
            self.answer(503)
            return
        self.stored.add(body["id"])
        self.answer(201)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[type[Api], Viewer]]:
    state = {
        "stored": set(),
        "paths": [],
        "hosts": set(),
        "stalled": threading.Event(),
        "refuse_writes": False,
    }
    handler: type[Api] = type("Handler", (Api,), state)
    handler.stalled.set()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield handler, Viewer("127.0.0.1", "site.test", "/backend", port=listener.server_address[1])
    listener.shutdown()
    listener.server_close()


def wait_until(load: Load, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(load.requests()) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(load.requests()) >= count


def test_every_request_is_counted_and_every_acknowledged_write_is_known(
    server: tuple[type[Api], Viewer],
) -> None:
    handler, viewer = server
    load = Load(viewer, 50, 50, time.monotonic)
    load.start()
    wait_until(load, 40)
    load.stop()
    found = load.requests()
    assert all(request.ok for request in found)
    assert {request.write_id for request in found if request.acknowledged} == handler.stored
    assert handler.hosts == {"site.test"}
    assert any(path.startswith("/backend/api/v1/writes/") for path in handler.paths)
    places = [path for path in handler.paths if "places" in path]
    assert len(places) > 3
    assert len(set(places)) == len(places), "a repeated question could be answered by a cache"


def test_refused_writes_are_failures_and_not_acknowledged(server: tuple[type[Api], Viewer]) -> None:
    handler, viewer = server
    handler.refuse_writes = True
    load = Load(viewer, 20, 20, time.monotonic)
    load.start()
    wait_until(load, 10)
    load.stop()
    writes = [request for request in load.requests() if request.kind == "write"]
    assert writes
    assert [request.status for request in writes] == [503] * len(writes)
    assert not any(request.acknowledged for request in writes)


def test_a_stall_is_met_by_every_viewer_who_comes_in_it(server: tuple[type[Api], Viewer]) -> None:
    handler, viewer = server
    handler.stalled.clear()
    load = Load(viewer, 20, 1, time.monotonic)
    load.start()
    deadline = time.monotonic() + 5
    while len(handler.paths) < 15 and time.monotonic() < deadline:
        time.sleep(0.01)
    handler.stalled.set()
    load.stop()
    reads = [request for request in load.requests() if request.kind == "read"]
    assert sum(request.seconds > 0.1 for request in reads) >= 10


def test_nobody_listening_is_a_failure_with_its_reason() -> None:
    load = Load(Viewer("127.0.0.1", "site.test", "", port=9), 20, 1, time.monotonic)
    load.start()
    wait_until(load, 3)
    load.stop()
    assert all(request.status == 0 and "ConnectionRefused" in request.error for request in load.requests())
