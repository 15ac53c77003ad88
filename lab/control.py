# SPDX-License-Identifier: GPL-3.0-or-later
"""How the command line speaks to the running lab: one JSON line each way over a Unix socket."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from lab.errors import LabError
from lab.paths import CONTROL_SOCKET

Answer = dict[str, Any]
Command = Callable[..., Any]


def serve(commands: dict[str, Command]) -> socketserver.BaseServer:
    """Answer the commands in a thread."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            request = json.loads(self.rfile.readline())
            try:
                answer: Answer = {"ok": commands[request["command"]](*request["arguments"])}
            except Exception as error:
                answer = {"error": str(error)}
            self.wfile.write(json.dumps(answer).encode() + b"\n")

    CONTROL_SOCKET.unlink(missing_ok=True)
    server = socketserver.ThreadingUnixStreamServer(str(CONTROL_SOCKET), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="control", daemon=True).start()
    return server


def ask(command: str, *arguments: str, timeout: float = 60) -> Any:
    """Send a command to the running lab and return its answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(CONTROL_SOCKET))
        except OSError as refused:
            raise LabError("the lab is not running; start it with `make lab`") from refused
        connection.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
        answer = json.loads(connection.makefile().readline())
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["ok"]
