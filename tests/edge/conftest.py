# SPDX-License-Identifier: GPL-3.0-or-later
"""An edge of the tests' own, on addresses that a running lab does not use, and modules run in-process."""

from __future__ import annotations

import http.client
import importlib
import io
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
for path in (REPOSITORY, REPOSITORY / "collections"):
    if str(path) not in sys.path:
        sys.path.insert(0, str(path))


CREDENTIALS = {
    "region_name": "eu-west-1",
    "aws_access_key_id": "AKIAEDGETESTS",
    "aws_secret_access_key": "edge-tests",
}
VIEWER = "127.0.20.1"
GATEWAY = "127.0.20.2"
ISSUER = "127.0.20.3:4568"
MIRROR = "127.0.20.3:4567"
ORIGIN = "127.0.20.5:8080"
VERIFY_KEY = "planted-origin-key"
MODULES = "ansible_collections.shtetl.zmanim.plugins.modules"


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    running = importlib.import_module("lab.edge").start(
        tmp_path_factory.mktemp("edge"),
        api="127.0.20.4:4570",
        viewer=f"{VIEWER}:80",
        viewer_tls=f"{VIEWER}:443",
        gateway=f"{GATEWAY}:80",
        issuer=ISSUER,
        mirror=MIRROR,
    )
    yield running
    running.stop()


@dataclass
class Client:
    """boto3 clients of the edge, and its modules."""

    endpoint: str
    state_dir: Path

    def boto(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.endpoint, **CREDENTIALS)

    def module(
        self, module: str, /, *, check: bool = False, fails: bool = False, **params: Any
    ) -> dict[str, Any]:
        """Run a module and return its answer; a failure raises unless it is expected."""
        answer = run_module(module, dict(params, endpoint_url=self.endpoint), check)
        assert bool(answer.get("failed")) is fails, answer.get("msg", answer)
        return answer


def run_module(name: str, params: dict[str, Any], check: bool) -> dict[str, Any]:
    from ansible.module_utils.testing import patch_module_args

    module = importlib.import_module(f"{MODULES}.{name}")
    arguments = {
        "region": CREDENTIALS["region_name"],
        "access_key": CREDENTIALS["aws_access_key_id"],
        "secret_key": CREDENTIALS["aws_secret_access_key"],
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        **params,
    }
    output = io.StringIO()
    with patch_module_args(arguments), redirect_stdout(output), pytest.raises(SystemExit):
        module.main()
    answer: dict[str, Any] = json.loads(output.getvalue())
    return answer


@pytest.fixture(scope="session")
def aws(edge: Any) -> Client:
    return Client(edge.endpoint, Path(edge.settings.state_dir))


@dataclass
class Origin:
    """An HTTP server that remembers its requests and can hold them back."""

    url: str
    hold: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


class _Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


@pytest.fixture
def origin() -> Iterator[Origin]:
    state = Origin(f"http://{ORIGIN}")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length).decode()
            time.sleep(state.hold)
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = {"method": self.command, "path": self.path, "headers": headers, "body": body}
            state.requests.append(seen)
            content = json.dumps(seen).encode()
            self.send_response(404 if "missing" in self.path else 200)
            for name, value in {"content-type": "application/json", **state.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    host, port = ORIGIN.split(":")
    server = _Server((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@dataclass
class Site:
    """The two roles' playbook against the edge."""

    environment: dict[str, str]
    variables: Path

    def play(
        self, playbook: str = "site.yml", *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook of this directory; its variables are in a file, so the key is in no process list."""
        values = {
            "origin_url": f"http://{ORIGIN}",
            "origin_verify_key": VERIFY_KEY,
            "jwt_issuer": f"http://{ISSUER}/",
            **variables,
        }
        self.variables.write_text(json.dumps(values))
        program = Path(sys.executable).with_name("ansible-playbook")
        fixed = ["-i", "localhost,", "-c", "local", "-e", f"@{self.variables}"]
        return subprocess.run(
            [str(program), *fixed, str(HERE / playbook), *arguments],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def changed(run: subprocess.CompletedProcess[str]) -> int:
    """How many tasks a playbook run changed."""
    found = re.search(r"changed=(\d+)", run.stdout)
    assert run.returncode == 0 and found, run.stdout + run.stderr
    return int(found.group(1))


@pytest.fixture(scope="session")
def bare_site(aws: Client, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A playbook runner and the bucket of the static site, nothing declared yet."""
    bucket = aws.boto("s3")
    location = {"LocationConstraint": CREDENTIALS["region_name"]}
    bucket.create_bucket(Bucket="zmanim-static-edge", CreateBucketConfiguration=location)
    for key, content in (("index.html", b"<h1>zmanim</h1>"), ("assets/app.0123.js", b"1")):
        bucket.put_object(Bucket="zmanim-static-edge", Key=key, Body=content)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ANSIBLE_"))},
        "AWS_ENDPOINT_URL": aws.endpoint,
        "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
        "AWS_REGION": CREDENTIALS["region_name"],
    }
    return Site(environment, tmp_path_factory.mktemp("site") / "variables.json")


@pytest.fixture(scope="session")
def site(bare_site: Site) -> Site:
    """The declared edge."""
    changed(bare_site.play())
    return bare_site


@dataclass
class Answer:
    """What a viewer got."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Viewer:
    """A browser: resolves the site's name to the lab's viewer address and trusts the lab's authority."""

    state_dir: Path
    name: str = "zmanim.lab.test"

    def get(
        self, path: str, *, method: str = "GET", tls: bool = True, body: str | None = None, **headers: str
    ) -> Answer:
        host, port = VIEWER, 443 if tls else 80
        connection: http.client.HTTPConnection = http.client.HTTPConnection(host, port, timeout=60)
        if tls:
            context = ssl.create_default_context(cafile=str(self.state_dir / "ca.pem"))
            connection.sock = context.wrap_socket(
                socket.create_connection((host, port), 60), server_hostname=self.name
            )
        sent = {"Host": self.name, **{name.replace("_", "-"): value for name, value in headers.items()}}
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, got, answer.read())
        finally:
            connection.close()


@pytest.fixture(scope="session")
def viewer(aws: Client, site: Site) -> Viewer:
    return Viewer(aws.state_dir)


@pytest.fixture(scope="session")
def mint(aws: Client) -> Any:
    """The issuer's `mint`, bound to the running edge."""
    tokens = importlib.import_module("lab.edge.tokens")
    return lambda **claims: tokens.mint(aws.state_dir, issuer=f"http://{ISSUER}/", **claims)
