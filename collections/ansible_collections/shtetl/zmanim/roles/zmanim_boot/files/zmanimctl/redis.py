"""Redis through its own protocol (RESP2): the password never appears in an argv."""

from __future__ import annotations

import socket
from typing import BinaryIO, Callable, Optional

from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError
from zmanimctl.settings import Settings
from zmanimctl.systemd import Systemd


def encode(*words: str) -> bytes:
    """Return a command in RESP."""
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        raw = word.encode("utf-8")
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


def read_reply(stream: BinaryIO) -> str:
    """Return one simple, integer or bulk reply as text; raise ZmanimError for an error reply."""
    line = stream.readline().decode("utf-8", "replace").rstrip("\r\n")
    kind, rest = line[:1], line[1:]
    if kind == "-":
        raise ZmanimError("Redis refused a command", found=rest.split(",")[0])
    if kind == "$":
        size = int(rest)
        return "" if size < 0 else stream.read(size + 2)[:-2].decode("utf-8", "replace")
    if kind in ("+", ":"):
        return rest
    raise ZmanimError("Redis closed the connection", found=line or "nothing", expected="a reply")


class Redis:
    """The Redis service and the commands that the machine needs of it."""

    def __init__(self, systemd: Systemd, settings: Settings, password: Callable[[], str]) -> None:
        """``password`` is asked at each connection, since it may be rotated."""
        self._systemd = systemd
        self._settings = settings
        self._password = password

    def command(self, *words: str, seconds: float = 5.0) -> str:
        """Authenticate, send one command and return its reply; OSError when nobody listens."""
        with socket.create_connection(("127.0.0.1", self._settings.redis_port), timeout=seconds) as link:
            stream = link.makefile("rb")
            password = self._password()
            if password:
                link.sendall(encode("AUTH", password))
                read_reply(stream)
            link.sendall(encode(*words))
            return read_reply(stream)

    def start(self, seconds: float = 60.0) -> None:
        """Start the service and wait for PONG (it answers LOADING while it reads its data)."""
        service = self._settings.redis_service
        deadline = Deadline(seconds, "start of Redis", remedy=f"look at: journalctl -u {service}")
        self._systemd.start(service, deadline.remaining())
        while True:
            problem = self._problem()
            if problem is None:
                return
            if deadline.expired():
                raise deadline.exceeded(problem)
            deadline.pause(0.1)

    def _problem(self) -> Optional[str]:
        try:
            self.command("PING")
        except (OSError, ZmanimError) as error:
            return str(error)
        return None

    def save(self, seconds: float = 60.0) -> None:
        """Write the RDB file now."""
        try:
            self.command("SAVE", seconds=seconds)
        except OSError as error:
            raise ZmanimError("Redis could not save", found=str(error)) from None

    def save_in_background(self, seconds: float = 300.0) -> None:
        """Write the RDB file without keeping anybody waiting, and wait for it."""
        deadline = Deadline(seconds, "background save of Redis")
        try:
            self.command("BGSAVE")
            facts = deadline.poll(self._saved, 0.2)
        except OSError as error:
            raise ZmanimError("Redis could not save", found=str(error)) from None
        if "rdb_last_bgsave_status:ok" not in facts:
            raise ZmanimError("Redis could not save", found="rdb_last_bgsave_status is not ok")

    def _saved(self) -> Optional[str]:
        facts = self.command("INFO", "persistence")
        return facts if "rdb_bgsave_in_progress:0" in facts else None

    def stop(self, seconds: float = 30.0) -> None:
        """Stop the service; on SIGTERM Redis saves once more."""
        self._systemd.stop(self._settings.redis_service, seconds)
