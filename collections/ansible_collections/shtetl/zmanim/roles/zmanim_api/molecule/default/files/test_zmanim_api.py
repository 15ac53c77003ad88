"""Prove on the machine what the role promises: a bake that starts nothing, a front that lets requests wait.

Everything is real: HAProxy with the role's configuration, the slots as systemd units, the admin socket. Each
test of the front names the servers that are ready, so that their order does not matter.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import socket
import stat
import subprocess
import threading
import time
import unittest
from typing import Any, Callable, ClassVar, NamedTuple

ADMIN_SOCKET = "/run/haproxy/admin.sock"
CONFIGURATION = pathlib.Path("/etc/haproxy/haproxy.cfg")
STATE_FILE = pathlib.Path("/run/zmanim/front.state")
RELEASE = pathlib.Path("/opt/zmanim/releases/1.0.0")
SERVERS = ("a", "b", "relay", "hold")
FRONT, SLOT_A, SLOT_B, OTHER_MACHINE = 8080, 8081, 8082, 8090


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said, whatever its exit status."""
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def systemctl(*arguments: str) -> None:
    """Run systemctl and fail with its message."""
    subprocess.run(["systemctl", *arguments], check=True, timeout=30)


def admin(command: str, path: str = ADMIN_SOCKET) -> str:
    """Send one line of commands to the admin socket and return the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def serve_with(name: str, path: str = ADMIN_SOCKET) -> None:
    """Make the named server ready first and the others unavailable after it."""
    others = (f"set server api/{other} state maint" for other in SERVERS if other != name)
    admin("; ".join([f"set server api/{name} state ready", *others]), path)


def ready_servers() -> list[str]:
    """Return the names of the servers that take requests."""
    rows = [line.split() for line in admin("show servers state api").splitlines()[2:] if line]
    return [row[3] for row in rows if row[5] == "2"]


class Answer(NamedTuple):
    """What came back from one request."""

    status: int
    body: dict[str, Any]
    headers: http.client.HTTPMessage
    seconds: float


def ask(path: str = "/", port: int = FRONT, method: str = "GET", body: str = "", **headers: str) -> Answer:
    """Send one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    begin = time.monotonic()
    try:
        connection.request(method, path, body or None, named)
        answer = connection.getresponse()
        text = answer.read().decode()
        decoded = json.loads(text) if text.startswith("{") else {}
        return Answer(answer.status, decoded, answer.msg, time.monotonic() - begin)
    finally:
        connection.close()


def wait_until_listening(port: int) -> None:
    """Return when the port answers; fail after ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port} after 10 s")


def in_background(call: Callable[..., Answer], *arguments: Any, **keywords: Any) -> Any:
    """Start the call in a thread and return its future."""
    pool = concurrent.futures.ThreadPoolExecutor(max_workers=1)
    future = pool.submit(call, *arguments, **keywords)
    pool.shutdown(wait=False)
    return future


class Bake(unittest.TestCase):
    """The machine as the image is taken from it. Runs before the front's tests start anything."""

    def test_the_front_is_enabled_and_nothing_runs(self) -> None:
        """Boot decides when a service runs; the image only says which."""
        enabled = run("systemctl", "is-enabled", "haproxy.service", "zmanim-api@a.service")
        self.assertEqual(enabled.stdout.split(), ["enabled", "static"])
        active = run("systemctl", "is-active", "haproxy.service", "zmanim-api@a.service")
        self.assertEqual(active.stdout.split(), ["inactive", "inactive"])

    def test_the_units_are_valid_and_the_slot_is_hardened(self) -> None:
        """Systemd finds no mistake and an exposure of 3.0 at most."""
        verified = run("systemd-analyze", "verify", "--man=no", "zmanim-api@a.service", "haproxy.service")
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))
        security = run("systemd-analyze", "security", "--no-pager", "--threshold=30", "zmanim-api@a.service")
        self.assertEqual(security.returncode, 0, security.stdout[-200:])

    def test_release_and_migrations_are_baked(self) -> None:
        """The first boot needs no download."""
        self.assertTrue(pathlib.Path("/opt/zmanim/migrations/20260101000000_first.sql").is_file())
        self.assertEqual(pathlib.Path("/opt/zmanim/slots/a").resolve(), RELEASE)
        checked = subprocess.run(["sha256sum", "--check", "--strict", "zmanim-api.sha256"], cwd=RELEASE)
        self.assertEqual(checked.returncode, 0)

    def test_the_api_can_change_nothing_of_its_own(self) -> None:
        """The program, its units and its environment belong to root."""
        for path in ("/opt/zmanim", RELEASE, RELEASE / "zmanim-api", "/etc/zmanim/slot-a.env"):
            self.assertEqual((os.stat(path).st_uid, os.stat(path).st_mode & 0o022), (0, 0), path)


class Front(unittest.TestCase):
    """The front, its slots and another machine that a relay can point at."""

    other_machine: ClassVar[subprocess.Popen[bytes]]

    @classmethod
    def setUpClass(cls) -> None:
        """Stand in for boot: write the environment, start both slots, and a third server for the relay."""
        if run("systemctl", "start", "zmanim-api@a.service").returncode == 0:
            raise RuntimeError("a slot started without its environment")
        run("systemctl", "stop", "zmanim-api@a.service")
        secrets = pathlib.Path("/run/zmanim/secrets")
        secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        secrets.parent.chmod(0o755)
        (secrets / "api.env").write_text("ENVIRONMENT=test\n", encoding="utf-8")
        (secrets / "api.env").chmod(0o600)
        slot_b = pathlib.Path("/opt/zmanim/slots/b")
        slot_b.unlink(missing_ok=True)
        slot_b.symlink_to("../releases/1.0.0")
        systemctl("restart", "haproxy.service")
        wait_until_listening(FRONT)
        systemctl("start", "zmanim-api@a.service", "zmanim-api@b.service")
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": str(OTHER_MACHINE)}
        cls.other_machine = subprocess.Popen([str(RELEASE / "zmanim-api")], env=environment)
        for port in (SLOT_A, SLOT_B, OTHER_MACHINE):
            wait_until_listening(port)
        admin(f"set server api/relay addr 127.0.0.1 port {OTHER_MACHINE}")

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop what is not a unit."""
        cls.other_machine.terminate()
        cls.other_machine.wait(10)

    def test_requests_wait_for_the_only_slot(self) -> None:
        """The request is answered when the slot is back."""
        serve_with("a")
        systemctl("stop", "zmanim-api@a.service")
        waiting = in_background(ask)
        time.sleep(2)
        self.assertFalse(waiting.done(), "the request did not wait")
        systemctl("start", "zmanim-api@a.service")
        status, body, _, seconds = waiting.result(20)
        self.assertEqual((status, body["port"]), (200, SLOT_A))
        self.assertLess(seconds, 10)

    def test_with_broken_retries_the_same_request_fails(self) -> None:
        """Show that the wait can fail: the same configuration with one retry answers 503 at once."""
        broken, port, path = pathlib.Path("/run/broken-front.cfg"), 8099, "/run/broken-front.sock"
        text = CONFIGURATION.read_text(encoding="utf-8")
        text, count = re.subn(r"^( *retries) \d+$", r"\1 1", text, flags=re.M)
        self.assertEqual(count, 1)
        text = text.replace(f"bind :{FRONT}", f"bind :{port}").replace(ADMIN_SOCKET, path)
        broken.write_text(text.replace(str(STATE_FILE), "/run/broken-front.state"), encoding="utf-8")
        systemctl("stop", "zmanim-api@a.service")
        process = subprocess.Popen(["haproxy", "-db", "-f", str(broken)])
        try:
            wait_until_listening(port)
            serve_with("a", path)
            status, body, headers, seconds = ask(port=port)
            self.assertEqual(status, 503)
            self.assertLess(seconds, 1.9)
            self.assertEqual(body["error"]["code"], "unavailable")
            self.assertEqual(headers["Retry-After"], "5")
            self.assertIsNotNone(headers["X-Request-Id"])
        finally:
            process.terminate()
            process.wait(10)
            systemctl("start", "zmanim-api@a.service")
            wait_until_listening(SLOT_A)

    def test_switching_loses_no_request(self) -> None:
        """200 requests of 8 clients while the front goes from hold to a, b and relay."""
        serve_with("hold")
        enough = threading.Semaphore(0)

        def keep_asking(count: int) -> list[Answer]:
            """Send the requests one after the other and tell how far it is."""
            answers = []
            for number in range(count):
                answers.append(ask("/slow" if number % 10 == 0 else "/"))
                enough.release()
                time.sleep(0.02)
            return answers

        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            clients = [pool.submit(keep_asking, 25) for _ in range(8)]
            time.sleep(0.5)
            self.assertFalse(enough.acquire(blocking=False), "hold let a request through")
            for server in ("a", "b", "relay"):
                serve_with(server)
                for _ in range(60):
                    self.assertTrue(enough.acquire(timeout=20), f"requests do not move on {server}")
            answers = [answer for client in clients for answer in client.result(30)]
        self.assertEqual([answer.status for answer in answers], [200] * 200)
        ports = {answer.body["port"] for answer in answers}
        self.assertEqual(ports, {SLOT_A, SLOT_B, OTHER_MACHINE})

    def test_a_slot_finishes_its_requests_after_the_switch(self) -> None:
        """A release may stop the old slot as soon as it has drained."""
        serve_with("b")
        slow = [in_background(ask, "/slow") for _ in range(8)]
        time.sleep(0.15)
        serve_with("a")
        systemctl("stop", "zmanim-api@b.service")
        self.assertEqual([request.result(10).status for request in slow], [200] * 8)
        systemctl("start", "zmanim-api@b.service")
        wait_until_listening(SLOT_B)

    def test_waiting_requests_follow_to_the_relay(self) -> None:
        """What waits while a volume moves is answered by the other machine."""
        serve_with("hold")
        admin("set server api/relay addr 127.0.0.1 port 9")
        waiting = [in_background(ask, method="POST", body="{}") for _ in range(5)]
        time.sleep(1)
        self.assertFalse(any(request.done() for request in waiting), "hold let a request through")
        admin(f"set server api/relay addr 127.0.0.1 port {OTHER_MACHINE}")
        serve_with("relay")
        answers = [request.result(10) for request in waiting]
        self.assertEqual(
            [(answer.status, answer.body["port"]) for answer in answers], [(200, OTHER_MACHINE)] * 5
        )

    def test_waiting_requests_follow_from_a_closed_slot(self) -> None:
        """A switch rescues requests that wait for a dead slot."""
        serve_with("a")
        systemctl("stop", "zmanim-api@a.service")
        waiting = in_background(ask)
        time.sleep(1)
        serve_with("b")
        status, body, _, _ = waiting.result(10)
        self.assertEqual((status, body["port"]), (200, SLOT_B))
        systemctl("start", "zmanim-api@a.service")
        wait_until_listening(SLOT_A)

    def test_a_crash_in_the_middle_is_waiting_time_for_a_read(self) -> None:
        """A read that the crash took is sent again."""
        serve_with("a")
        status, body, _, seconds = ask(X_Die_If_Older=str(time.time()))
        self.assertEqual((status, body["port"]), (200, SLOT_A))
        self.assertGreater(seconds, 0.5, "the slot was not restarted in between")

    def test_a_crash_in_the_middle_of_a_write_is_not_repeated(self) -> None:
        """Nobody knows whether the write happened: say so."""
        serve_with("b")
        status, _, _, _ = ask(method="POST", body="{}", X_Die_If_Older=str(time.time()))
        self.assertEqual(status, 502)
        wait_until_listening(SLOT_B)

    def test_the_front_starts_with_hold(self) -> None:
        """Requests that come before boot is done wait."""
        STATE_FILE.unlink(missing_ok=True)
        systemctl("restart", "haproxy.service")
        wait_until_listening(FRONT)
        self.assertEqual(ready_servers(), ["hold"])
        admin(f"set server api/relay addr 127.0.0.1 port {OTHER_MACHINE}")

    def test_a_killed_front_comes_back_with_the_recorded_server(self) -> None:
        """The state file survives the front, not the machine."""
        serve_with("relay")
        STATE_FILE.write_text(admin("show servers state api"), encoding="utf-8")
        try:
            systemctl("kill", "--signal=KILL", "haproxy.service")
            time.sleep(0.5)
            wait_until_listening(FRONT)
            self.assertEqual(ready_servers(), ["relay"])
            self.assertEqual(ask().body["port"], OTHER_MACHINE)
        finally:
            STATE_FILE.unlink()

    def test_the_request_id_reaches_program_viewer_and_journal(self) -> None:
        """One id names a request everywhere; the query string, which may hold secrets, is not logged."""
        serve_with("a")
        _, body, headers, _ = ask("/with%22quote?secret=1")
        request_id = headers["X-Request-Id"]
        self.assertRegex(request_id, r"^[0-9a-f-]{36}$")
        self.assertEqual(body["id"], request_id)
        line = self.journal_line(request_id)
        self.assertEqual((line["status"], line["server"], line["method"]), (200, "a", "GET"))
        self.assertEqual(line["path"], "/with%22quote")

    def journal_line(self, request_id: str) -> dict[str, Any]:
        """Return the front's JSON line about the request; fail after five seconds."""
        command = ["journalctl", "--unit=haproxy.service", "--output=cat", f"--grep={request_id}"]
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            found = run(*command).stdout
            if request_id in found:
                line: dict[str, Any] = json.loads(found.splitlines()[-1])
                return line
            time.sleep(0.1)
        raise AssertionError(f"the journal has no line about {request_id}")

    def test_a_plain_request_id_is_kept_and_a_strange_one_is_not(self) -> None:
        """The id survives a relay and cannot break the log."""
        serve_with("a")
        self.assertEqual(ask(X_Request_Id="from-the-other-front").body["id"], "from-the-other-front")
        self.assertNotIn("quote", ask(X_Request_Id='a "quote"').body["id"])

    def test_a_body_over_the_limit_is_refused(self) -> None:
        """The refusal comes before the body."""
        connection = http.client.HTTPConnection("127.0.0.1", FRONT, timeout=10)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(10485761))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)
        connection.close()

    def test_only_root_reaches_the_admin_socket(self) -> None:
        """Whoever reaches it decides where requests go."""
        found = os.stat(ADMIN_SOCKET)
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (0o600, 0, 0))


if __name__ == "__main__":
    unittest.main(verbosity=2)
