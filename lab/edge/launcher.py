# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop the edge process."""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.edge import certificates, tokens
from lab.edge.settings import MIRROR, EdgeSettings
from lab.standins import build_mirror

REPOSITORY = Path(__file__).resolve().parents[2]
ALIASES = ("zmanim.lab.test", "*.lab.test", "*.zmanim.lab.test", "*.cloudfront.net")
READY_DEADLINE = 60.0
STOP_DEADLINE = 10.0


class EdgeError(Exception):
    """The edge process did not start or died."""


@dataclass
class Edge:
    """A running edge process."""

    process: subprocess.Popen[bytes]
    settings: EdgeSettings
    log: Path

    @property
    def endpoint(self) -> str:
        """The AWS API endpoint of the emulator behind the edge, "http://host:port"."""
        return f"http://{self.settings.api}"

    @property
    def pid(self) -> int:
        """Process id, for the lab's status."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether the process is still running."""
        return self.process.poll() is None

    def tell(self, line: str) -> None:
        """Write a line to the process; raises EdgeError when it has no pipe."""
        if self.process.stdin is None:
            raise EdgeError("the edge process was started without a pipe")
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def stop(self) -> None:
        """End the process: closes its pipe, waits, then kills. Safe to call twice."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP_DEADLINE)


def _environment(settings: EdgeSettings, scratch: Path) -> dict[str, str]:
    """Return the child's environment: the emulator's settings, no proxies, no outer AWS configuration."""
    dropped = ("AWS_", "MINISTACK_", "DOCKER_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and not name.lower().endswith("_proxy")
    }
    host, port = settings.api.rsplit(":", 1)
    return {
        **kept,
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(scratch),
        "BIND_HOST": host,
        "GATEWAY_PORT": port,
        "MINISTACK_REGION": settings.region,
        "MINISTACK_ACCOUNT_ID": settings.account,
        "MINISTACK_WORKER_THREADS": str(settings.threads),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "S3_PERSIST": "0",
        "LOCALSTACK_PERSISTENCE": "0",
        "LOG_LEVEL": "WARNING",
        "NODE_OPTIONS": "",
    }


def _wait_ready(edge: Edge) -> None:
    deadline = time.monotonic() + READY_DEADLINE
    while time.monotonic() < deadline:
        if not edge.alive():
            raise EdgeError(
                f"the edge process ended with status {edge.process.returncode}:\n{_tail(edge.log)}"
            )
        try:
            if _healthy(edge.settings.api):
                return
        except OSError:
            pass
        time.sleep(0.1)
    edge.stop()
    raise EdgeError(f"the edge process did not answer within {READY_DEADLINE:g} s:\n{_tail(edge.log)}")


def _healthy(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == 200
    finally:
        connection.close()


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def start(
    state_dir: Path,
    *,
    api: str = "127.0.0.1:4570",
    viewer: str = "127.0.10.1:80",
    viewer_tls: str = "127.0.10.1:443",
    gateway: str = "127.0.10.2:80",
    issuer: str = "169.254.169.1:4568",
    mirror: str = "169.254.169.1:4567",
    region: str = "eu-west-1",
    account: str = "123456789012",
    aws_endpoint_url: str | None = None,
    aliases: Sequence[str] = ALIASES,
    threads: int = 512,
) -> Edge:
    """Start the edge process and return when it answers.

    `state_dir` (build/lab) receives ca.pem, edge/ and edge.log.  `aws_endpoint_url` is where access logs are
    delivered (the lab's one endpoint); the emulator itself when None.  `mirror` serves the files below
    mirror/, where the stand-ins' packages are built first.  An empty `issuer` or `mirror` is left out.
    `threads` bounds the requests that may be held at the same time.  Raises EdgeError and StandinError.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    scratch = state_dir / "edge" / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    files = certificates.issue(aliases, state_dir)
    tokens.create_key(state_dir)
    build_mirror(state_dir / MIRROR)
    settings = EdgeSettings(
        api=api,
        viewer=viewer,
        viewer_tls=viewer_tls,
        gateway=gateway,
        issuer=issuer,
        mirror=mirror,
        state_dir=str(state_dir),
        certificate=str(files.certificate),
        key=str(files.key),
        region=region,
        account=account,
        aws_endpoint_url=aws_endpoint_url or f"http://{api}",
        threads=threads,
    )
    edge = _spawn(settings, state_dir / "edge.log", scratch)
    _wait_ready(edge)
    return edge


def _spawn(settings: EdgeSettings, log: Path, scratch: Path) -> Edge:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.edge.server"],
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=scratch,
            env=_environment(settings, scratch),
            start_new_session=True,
        )
    edge = Edge(process, settings, log)
    edge.tell(settings.to_json())
    return edge
