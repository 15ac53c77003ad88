# SPDX-License-Identifier: GPL-3.0-or-later
"""Hops over a real socket: status, headers, another address, and no answer at all."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.shtetl.zmanim.plugins.module_utils.http_probe import Response, problems, table, walk


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.headers["Host"].startswith("api.example") else 421)
        self.send_header("Strict-Transport-Security", "max-age=31536000")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_args):
        pass


@pytest.fixture
def port():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


def test_a_hop_is_asked_at_another_address_under_its_own_name(port):
    url = f"http://api.example.invalid:{port}/health?deep=1"
    rows = walk([{"name": "front", "url": url, "address": "127.0.0.1", "status": [200]}], timeout=5)
    assert (rows[0]["status"], rows[0]["problems"]) == (200, [])


def test_a_closed_port_is_a_problem_not_an_error():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        rows = walk([{"name": "front", "url": url, "status": [200]}], timeout=5)
    assert rows[0]["problems"][0].startswith("no answer: ")
    assert table(rows)[0].startswith("FAILED front")


def test_tls_on_a_plain_port_is_a_problem(port):
    hop = {"name": "viewer", "url": f"https://127.0.0.1:{port}/", "status": [200]}
    assert walk([hop], timeout=5)[0]["problems"][0].startswith("no answer: ")


@pytest.mark.parametrize(
    ("response", "statuses", "headers", "expected"),
    [
        (Response(200, {}, 1), [200], {}, []),
        (Response(401, {}, 1), [401, 403], {}, []),
        (Response(200, {}, 1), [401], {}, ["status 200, expected 401"]),
        (
            Response(200, {}, 1),
            [200],
            {"X-Frame-Options": "DENY"},
            ["header X-Frame-Options is missing, expected DENY"],
        ),
        (
            Response(200, {"x-frame-options": "SAMEORIGIN"}, 1),
            [200],
            {"X-Frame-Options": "DENY"},
            ["header X-Frame-Options is 'SAMEORIGIN', expected 'DENY' in it"],
        ),
        (Response(200, {"x-frame-options": "deny"}, 1), [200], {"X-Frame-Options": "DENY"}, []),
    ],
)
def test_problems(response, statuses, headers, expected):
    assert problems(response, statuses, headers) == expected
