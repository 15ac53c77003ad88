"""The front: HAProxy's runtime socket. Exactly one of slot a, slot b, relay and hold is ready."""

from __future__ import annotations

import csv
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List

from zmanimctl.deadline import Deadline
from zmanimctl.errors import ZmanimError
from zmanimctl.state import write_atomically

SERVERS = ("a", "b", "relay", "hold")


@dataclass(frozen=True)
class Server:
    """One server of the backend as ``show stat`` tells it."""

    name: str
    status: str
    sessions: int
    address: str

    @property
    def ready(self) -> bool:
        """Requests may go to this server."""
        return not self.status.upper().startswith("MAINT")


def parse_stat(text: str, backend: str) -> Dict[str, Server]:
    """Return the servers of ``backend`` in the CSV of ``show stat``."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("# "):
        lines[0] = lines[0][2:]
    rows = [row for row in csv.DictReader(lines) if row.get("pxname") == backend]
    return {row["svname"]: _server(row) for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}


def _server(row: Dict[str, str]) -> Server:
    return Server(row["svname"], row.get("status") or "", int(row.get("scur") or 0), row.get("addr") or "")


def mode_of(servers: Dict[str, Server]) -> Dict[str, str]:
    """Return {"mode": slot|hold|relay|unknown, "target": server or address} of what is ready now."""
    ready = [name for name in SERVERS if name in servers and servers[name].ready]
    if len(ready) != 1:
        return {"mode": "unknown", "target": ",".join(ready)}
    name = ready[0]
    if name == "relay":
        return {"mode": "relay", "target": servers[name].address}
    return {"mode": "hold", "target": "hold"} if name == "hold" else {"mode": "slot", "target": name}


def switch_commands(backend: str, target: str) -> List[str]:
    """Return the socket commands that make ``target`` the only ready server: first it, then the others
    away.
    """
    others = [name for name in SERVERS if name != target]
    return [f"set server {backend}/{target} state ready"] + [
        f"set server {backend}/{name} state maint" for name in others
    ]


def socket_exchange(path: str, command: str, seconds: float = 3.0) -> str:
    """Send one line to a Unix socket and return the whole answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(seconds)
        link.connect(path)
        link.sendall(command.encode() + b"\n")
        chunks: List[bytes] = []
        while True:
            chunk = link.recv(65536)
            if not chunk:
                return b"".join(chunks).decode("utf-8", "replace")
            chunks.append(chunk)


class Front:
    """Tells HAProxy where requests go."""

    def __init__(
        self,
        socket_path: str,
        backend: str,
        memory: Path,
        exchange: Callable[[str, str], str] = socket_exchange,
    ) -> None:
        """``memory`` is HAProxy's server-state-file."""
        self._memory = memory
        self._socket = socket_path
        self._backend = backend
        self._exchange = exchange

    def _ask(self, command: str) -> str:
        try:
            return self._exchange(self._socket, command)
        except OSError as error:
            raise ZmanimError(
                f"the front does not answer on {self._socket}",
                found=error.strerror or str(error),
                expected="HAProxy's runtime socket",
                remedy="look at: systemctl status haproxy",
            ) from None

    def _tell(self, commands: List[str]) -> None:
        answer = self._ask("; ".join(commands)).strip()
        if answer:
            raise ZmanimError("the front refused a command", found=answer, expected="no answer")

    def _switch(self, target: str) -> None:
        """Switch, and write down the new state: HAProxy reads it when it is restarted."""
        self._tell(switch_commands(self._backend, target))
        write_atomically(self._memory, self._ask("show servers state"))

    def servers(self) -> Dict[str, Server]:
        """Return the backend's servers by name."""
        return parse_stat(self._ask("show stat -1 4 -1"), self._backend)

    def mode(self) -> Dict[str, str]:
        """Return where requests go now."""
        return mode_of(self.servers())

    def to_slot(self, slot: str) -> None:
        """Send requests, waiting ones too, to a slot."""
        self._switch(slot)

    def hold(self) -> None:
        """Let requests wait."""
        self._switch("hold")

    def relay(self, address: str, port: int) -> None:
        """Send requests, waiting ones too, to another machine's front."""
        # HAProxy answers an address change with a sentence, so it is not part of the silent commands.
        self._ask(f"set server {self._backend}/relay addr {address} port {port}")
        servers = self.servers()
        if not servers.get("relay", Server("", "", 0, "")).address.startswith(f"{address}:{port}"):
            raise ZmanimError(
                "the front did not take the relay's address",
                found=servers["relay"].address if "relay" in servers else "no server relay",
                expected=f"{address}:{port}",
            )
        self._switch("relay")

    def sessions(self, slot: str) -> int:
        """Return the requests that a slot is answering now."""
        server = self.servers().get(slot)
        return server.sessions if server else 0

    def drain(self, slot: str, seconds: float) -> bool:
        """Wait until a slot answers no request any more; return False when the deadline came first."""
        deadline = Deadline(seconds, f"drain of slot {slot}")
        while self.sessions(slot) > 0:
            if deadline.expired():
                return False
            deadline.pause(0.05)
        return True

    def wait(self, seconds: float) -> None:
        """Wait until the runtime socket answers."""
        deadline = Deadline(seconds, "an answer of the front", remedy="look at: journalctl -u haproxy")
        deadline.poll(self._answering, 0.1)

    def _answering(self) -> object:
        try:
            return self.servers() or None
        except ZmanimError:
            return None
