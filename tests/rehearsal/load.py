# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewers: a bounded, steady rate of reads and writes through CloudFront, each of which is counted.

Requests start on time whatever became of the earlier ones, so that a stall is seen by as many viewers as
it would meet. A connection serves one request, nothing is sent twice, and the client gives up after 29 s.
"""

from __future__ import annotations

import functools
import http.client
import json
import random
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.rehearsal.timeline import Request

CLIENT_TIMEOUT_SECONDS = 29.0
MOST_IN_FLIGHT = 600


@dataclass(frozen=True)
class Viewer:
    """How a viewer reaches the site: the address, the name it asks for, and the API's base path."""

    address: str
    host: str
    base_path: str
    authority: Path | None = None  # certificate authority of the lab; without it plain HTTP
    port: int = 80  # of plain HTTP

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """Return an unopened connection to the address, which asks for ``host``."""
        if self.authority is None:
            return http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        return _NamedHTTPS(self.address, self.host, _trust(self.authority), timeout)

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        headers: dict[str, str] | None = None,
        timeout: float = CLIENT_TIMEOUT_SECONDS,
    ) -> tuple[int, bytes]:
        """Send one request below the base path; returns status and body, raises OSError or HTTPException."""
        connection = self.connect(timeout)
        body = None if document is None else json.dumps(document)
        sent = {"Host": self.host, "Content-Type": "application/json", "Connection": "close"}
        try:
            connection.request(method, self.base_path + path, body=body, headers=sent | (headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class _NamedHTTPS(http.client.HTTPSConnection):
    """HTTPS to an address under another name, as after a DNS lookup."""

    def __init__(self, address: str, name: str, context: ssl.SSLContext, timeout: float) -> None:
        super().__init__(name, 443, context=context, timeout=timeout)
        self._address, self._tls = address, context

    def connect(self) -> None:
        raw = socket.create_connection((self._address, 443), self.timeout)
        self.sock = self._tls.wrap_socket(raw, server_hostname=self.host)


@functools.cache
def _trust(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


class Load:
    """The viewers of one rehearsal; thread-safe."""

    def __init__(
        self,
        viewer: Viewer,
        reads_per_second: float,
        writes_per_second: float,
        clock: Callable[[], float],
    ) -> None:
        self._viewer = viewer
        self._rates = {"read": reads_per_second, "write": writes_per_second}
        self._clock = clock
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._in_flight: dict[int, float] = {}
        self._acknowledged = ""
        self._numbers = random.Random(1948)  # the same walk over the globe in every rehearsal
        self._stop = threading.Event()
        self._pacers: list[threading.Thread] = []

    def start(self) -> None:
        """Begin sending."""
        for kind, rate in self._rates.items():
            pacer = threading.Thread(target=self._pace, args=(kind, rate), name=f"pace-{kind}", daemon=True)
            self._pacers.append(pacer)
            pacer.start()

    def stop(self) -> None:
        """Stop sending and wait until the last request has its answer."""
        self._stop.set()
        for pacer in self._pacers:
            pacer.join(5)
        self.settle(self._clock())

    def settle(self, before: float) -> None:
        """Wait (at most the client timeout and a little) for every request that started before ``before``."""
        with self._changed:
            self._changed.wait_for(
                lambda: all(started > before for started in self._in_flight.values()),
                timeout=CLIENT_TIMEOUT_SECONDS + 5,
            )

    def requests(self) -> list[Request]:
        """Every finished request so far."""
        with self._changed:
            return list(self._requests)

    def _pace(self, kind: str, rate: float) -> None:
        begun = time.monotonic()
        number = 0
        while not self._stop.is_set():
            number += 1
            wait = begun + number / rate - time.monotonic()
            if wait > 0 and self._stop.wait(wait):
                return
            threading.Thread(target=self._send, args=(kind, number), daemon=True).start()

    def _send(self, kind: str, number: int) -> None:
        me, started = threading.get_ident(), self._clock()
        write_id = str(uuid.uuid4()) if kind == "write" else ""
        with self._changed:
            full = len(self._in_flight) >= MOST_IN_FLIGHT
            self._in_flight[me] = started
            path = self._read_path(number)
        try:
            if full:
                raise TimeoutError(f"{MOST_IN_FLIGHT} requests are waiting already")
            status, error = self._exchange(write_id, path), ""
        except (OSError, http.client.HTTPException) as problem:
            status, error = 0, f"{type(problem).__name__}: {problem}"
        request = Request(kind, started, self._clock() - started, status, error, write_id)
        with self._changed:
            del self._in_flight[me]
            self._requests.append(request)
            self._acknowledged = write_id if request.acknowledged else self._acknowledged
            self._changed.notify_all()

    def _read_path(self, number: int) -> str:
        """Read places (another point each time, so that no cache answers) and the last write by turns."""
        if self._acknowledged and number % 2:
            return f"/api/v1/writes/{self._acknowledged}"
        latitude, longitude = self._numbers.uniform(-90, 90), self._numbers.uniform(-180, 180)
        return f"/api/v1/zmanim/places?lat={latitude:.4f}&lon={longitude:.4f}&limit=5"

    def _exchange(self, write_id: str, path: str) -> int:
        if write_id:
            payload = {"id": write_id, "payload": "written during the rehearsal"}
            return self._viewer.ask("POST", "/api/v1/writes", payload)[0]
        return self._viewer.ask("GET", path)[0]
