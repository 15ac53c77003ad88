"""The small parts: identity, IMDS, parameters, retries, front, Redis, state, locks, command line."""

from __future__ import annotations

import errno
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from zmanimctl import aws, cli, identity, redis, secrets
from zmanimctl.deadline import Deadline, backoff
from zmanimctl.errors import AwsFailed, CommandFailed, DeadlineExceeded, ZmanimError
from zmanimctl.front import Front, mode_of, parse_stat, switch_commands
from zmanimctl.health import parse_version
from zmanimctl.imds import Imds
from zmanimctl.process import Runner, describe
from zmanimctl.settings import load_settings, parse_settings, parse_site_config
from zmanimctl.state import StateFile, is_locked, locked, write_atomically
from zmanimctl.systemd import Systemd
from zmanimctl_fakes import SECRETS, VOLUME, FakeRunner, Rig

USER_DATA = f"""#comment
ZMANIM_ENV=lab
ZMANIM_REGION="eu-west-1"
ZMANIM_VOLUME_ID={VOLUME}
ZMANIM_AWS_ENDPOINT_URL=http://169.254.169.1:4566     # optional line
"""


def test_user_data() -> None:
    values = identity.parse_user_data(USER_DATA)
    assert values["ZMANIM_REGION"] == "eu-west-1"
    assert values["ZMANIM_AWS_ENDPOINT_URL"] == "http://169.254.169.1:4566"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "user-data has no ZMANIM_ENV"),
        (USER_DATA.replace("ZMANIM_REGION", "X"), "user-data has no ZMANIM_REGION"),
        (USER_DATA.replace(VOLUME, "vol-xyz"), "found vol-xyz, expected an EBS volume id"),
        (USER_DATA.replace(VOLUME, "/dev/sdf"), "expected an EBS volume id"),
    ],
)
def test_bad_user_data(text: str, message: str) -> None:
    with pytest.raises(ZmanimError, match=message):
        identity.parse_user_data(text)


class FakeImds(BaseHTTPRequestHandler):
    """IMDSv2 with a token, and a first answer that fails."""

    failures = 1
    facts = {  # noqa: RUF012 - a table
        "user-data": USER_DATA,
        "meta-data/instance-id": "i-1",
        "meta-data/ami-id": "ami-1",
    }

    def _say(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self) -> None:
        type(self).failures -= 1
        self._say(503 if type(self).failures >= 0 else 200, "token")

    def do_GET(self) -> None:
        text = self.facts.get(self.path.removeprefix("/latest/"))
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "token"
        self._say(401 if not allowed else 404 if text is None else 200, text or "")

    def log_message(self, *_arguments: Any) -> None:
        return


def test_imds_needs_a_token_and_survives_a_failure(tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), FakeImds)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        imds = Imds(f"http://127.0.0.1:{server.server_port}", deadline=5)
        found = identity.discover(imds)
        with pytest.raises(ZmanimError, match="IMDS has no meta-data/nothing"):
            imds.get("meta-data/nothing")
    finally:
        server.shutdown()
        server.server_close()
    assert (found.instance_id, found.role, found.volume_id) == ("i-1", "active", VOLUME)
    identity.save(found, tmp_path / "identity.json")
    assert identity.load(tmp_path / "identity.json") == found
    with pytest.raises(ZmanimError, match="run: zmanimctl boot"):
        identity.load(tmp_path / "absent.json")


def test_imds_that_never_answers_ends_at_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded, match=r"an answer of IMDS for x did not happen within 0\.3 s"):
        Imds("http://127.0.0.1:9", deadline=0.3).get("x")


def test_every_missing_secret_is_named_at_once() -> None:
    assert secrets.missing({}) == list(secrets.REQUIRED)
    with pytest.raises(
        ZmanimError, match=r"/zmanim/lab/jwt-secret, /zmanim/lab/origin-verify-key is missing"
    ):
        secrets.sort_out("lab", {**SECRETS, "jwt-secret": "", "origin-verify-key": "\n", "config": "{}"})
    for name, warned in (("restic-password", True), ("jwt-secret", False)):
        assert ("opens none of the old backups" in secrets.put_back([name])) is warned
    with pytest.raises(ZmanimError, match="SSM parameter /zmanim/lab/config is missing"):
        secrets.sort_out("lab", SECRETS)
    sorted_out = secrets.sort_out("lab", {**SECRETS, "config": '{"database": "x"}', "ami-id": "ami-1"})
    assert sorted_out.config.database == "x"
    assert "ami-id" not in sorted_out.secrets
    assert "planted" not in repr(sorted_out)


def test_parameters_are_read_page_by_page() -> None:
    class Client:
        def get_paginator(self, _name: str) -> Any:
            return self

        def paginate(self, **options: Any) -> Any:
            assert options == {"Path": "/zmanim/lab", "Recursive": False, "WithDecryption": True}
            yield {"Parameters": [{"Name": "/zmanim/lab/a", "Value": "1"}]}
            yield {"Parameters": [{"Name": "/zmanim/lab/b", "Value": "2"}]}

    class Calls:
        def call(self, _service: str, _what: str, act: Any, *, seconds: float) -> Any:
            return act(Client())

    assert secrets.ParameterStore(Calls(), "lab").values() == {"a": "1", "b": "2"}


def client_error(code: str) -> Exception:
    kind = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})
    error = kind("boom")
    error.response = {"Error": {"Code": code, "Message": "words"}}
    return error


@pytest.mark.parametrize(
    ("code", "tries"), [("ThrottlingException", 3), ("RequestTimeout", 3), ("", 3), ("AccessDenied", 1)]
)
def test_only_what_may_go_away_is_retried(code: str, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(aws, "backoff", lambda attempt: 0.0)

    def act(_client: Any) -> str:
        calls.append(1)
        if len(calls) < 3:
            raise client_error(code)
        return "done"

    service = aws.Aws("eu-west-1")
    monkeypatch.setattr(service, "client", lambda _service: None)
    if tries == 1:
        with pytest.raises(AwsFailed, match="SSM x: found AccessDenied: words"):
            service.call("ssm", "SSM x", act)
    else:
        assert service.call("ssm", "SSM x", act) == "done"
    assert len(calls) == tries


def test_retries_end_at_the_deadline_and_bugs_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    service = aws.Aws("eu-west-1")
    monkeypatch.setattr(service, "client", lambda _service: None)

    def throttle(_client: Any) -> None:
        raise client_error("Throttling")

    with pytest.raises(AwsFailed, match="Throttling"):
        service.call("ssm", "SSM x", throttle, seconds=0.3)
    with pytest.raises(ZeroDivisionError):
        service.call("ssm", "SSM x", lambda _client: 1 / 0)


STAT = """# pxname,svname,qcur,scur,status,addr,
api,a,0,0,MAINT,127.0.0.1:8081,
api,b,0,3,UP,127.0.0.1:8082,
api,relay,0,0,MAINT,10.0.1.9:8080,
api,hold,0,0,MAINT,127.0.0.1:9,
api,BACKEND,0,3,UP,,
other,a,0,9,UP,127.0.0.1:1,
"""


def test_the_front_is_read_and_switched(tmp_path: Path) -> None:
    servers = parse_stat(STAT, "api")
    assert sorted(servers) == ["a", "b", "hold", "relay"]
    assert mode_of(servers) == {"mode": "slot", "target": "b"}
    assert servers["b"].sessions == 3
    said: list[str] = []

    def exchange(_path: str, command: str) -> str:
        said.append(command)
        return STAT if "show stat " in command else "1\n# state" if "show servers" in command else ""

    front = Front("/socket", "api", tmp_path / "front.state", exchange)
    front.hold()
    assert said[0].split("; ")[0] == "set server api/hold state ready", (
        "the new one first: a request has a place"
    )
    assert said[0].count("state maint") == 3
    assert (tmp_path / "front.state").read_text() == "1\n# state"
    front.relay("10.0.1.9", 8080)
    with pytest.raises(ZmanimError, match="did not take the relay's address"):
        front.relay("10.0.1.8", 8080)
    assert not front.drain("b", 0.1)
    assert front.drain("a", 0.1)


@pytest.mark.parametrize(
    ("ready", "mode"), [([], "unknown"), (["a", "b"], "unknown"), (["hold"], "hold"), (["relay"], "relay")]
)
def test_modes(ready: list[str], mode: str) -> None:
    servers = parse_stat(STAT.replace(",UP,127.0.0.1:8082", ",MAINT,127.0.0.1:8082"), "api")
    servers = {
        name: one if name not in ready else type(one)(name, "UP", 0, one.address)
        for name, one in servers.items()
    }
    assert mode_of(servers)["mode"] == mode


def test_a_front_that_is_away_is_named(tmp_path: Path) -> None:
    front = Front(str(tmp_path / "none.sock"), "api", tmp_path / "s")
    with pytest.raises(ZmanimError, match="the front does not answer on"):
        front.mode()
    with pytest.raises(ZmanimError, match="an answer of the front"):
        front.wait(0.2)
    refusing = Front("/s", "api", tmp_path / "s", lambda _path, _command: "No such server.\n")
    with pytest.raises(ZmanimError, match="refused a command: found No such server"):
        refusing.hold()
    assert len(switch_commands("api", "a")) == 4


@pytest.mark.parametrize(
    ("raw", "text"), [(b"+PONG\r\n", "PONG"), (b":5\r\n", "5"), (b"$3\r\na\rb\r\n", "a\rb"), (b"$-1\r\n", "")]
)
def test_redis_replies(raw: bytes, text: str) -> None:
    assert redis.read_reply(io.BytesIO(raw)) == text
    assert redis.encode("AUTH", "ü") == b"*2\r\n$4\r\nAUTH\r\n$2\r\n\xc3\xbc\r\n"


@pytest.mark.parametrize("raw", [b"-WRONGPASS no\r\n", b"", b"*1\r\n"])
def test_redis_errors(raw: bytes) -> None:
    with pytest.raises(ZmanimError, match="Redis"):
        redis.read_reply(io.BytesIO(raw))


def test_state_is_whole_and_locks_name_their_holder(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "run/state.json")
    assert state.read() == {}
    state.update(phase="booting", error="x")
    assert state.update(phase="serving", error=None) == {"phase": "serving"}
    state.path.write_text("{half")
    assert state.read() == {}
    assert write_atomically(tmp_path / "f", "a", mode=0o600)
    assert not write_atomically(tmp_path / "f", "a", mode=0o600)
    assert write_atomically(tmp_path / "f", "a", mode=0o644), "the mode counts too"
    assert not is_locked(tmp_path / "lock")
    with locked(tmp_path / "lock", "release"):
        assert is_locked(tmp_path / "lock")
        with (
            pytest.raises(
                ZmanimError, match=r"zmanimctl backup cannot start: found another one running \(release"
            ),
            locked(tmp_path / "lock", "backup"),
        ):
            pass
    assert not is_locked(tmp_path / "lock")


def test_settings(tmp_path: Path) -> None:
    text = json.dumps({"postgres_major": 17, "somebody_elses": 1, "postgres_data_dir": None})
    settings = parse_settings(text, "x")
    assert str(settings.pgdata) == "/data/postgres/17"
    with pytest.raises(ZmanimError, match="bake the image again"):
        load_settings(tmp_path / "absent.json")
    for text in ("{", "[]", "null"):
        with pytest.raises(ZmanimError):
            parse_site_config(text, "/zmanim/lab/config")


def test_programs_end_and_fail_in_one_line() -> None:
    runner = Runner()
    assert (
        runner.run(["sh", "-c", "cat; printenv SECRET"], stdin="in ", env={"SECRET": "x"}).stdout == "in x\n"
    )
    with pytest.raises(CommandFailed, match=r"^sh -c exit 3.* ended with status 3") as failed:
        runner.run(["sh", "-c", "exit 3", "secretword"])
    assert "secretword" not in str(failed.value)
    with pytest.raises(CommandFailed, match="did not end within"):
        runner.run(["sleep", "5"], timeout=0.1)
    with pytest.raises(CommandFailed, match="could not be started"):
        runner.run(["/nonexistent/program"])
    assert describe(["runuser", "-u", "postgres", "--", "/bin/psql", "-h", "x", "-d"]) == "psql -h x"


def test_pipes_need_both_ends(tmp_path: Path) -> None:
    runner = Runner()
    runner.pipe(["echo", "hello"], ["tee", str(tmp_path / "out")], timeout=5)
    assert (tmp_path / "out").read_text() == "hello\n"
    with pytest.raises(CommandFailed, match="found broken"):
        runner.pipe(["sh", "-c", "echo broken >&2; exit 1"], ["cat"], timeout=5)
    with pytest.raises(CommandFailed, match="status 4"):
        runner.pipe(["echo", "x"], ["sh", "-c", "exit 4"], timeout=5)


def test_a_session_answers_line_by_line() -> None:
    program = (
        'while read line; do case $line in *echo*) echo "--end of answer--";; *) echo "$line";; esac; done'
    )
    session = Runner().session(["sh", "-c", program])
    assert session.ask("one") == "one"
    assert session.ask("two") == "two"
    session.close()
    with pytest.raises(CommandFailed, match="ended early: found words"):
        Runner().session(["sh", "-c", "echo words >&2"]).ask("one")


def test_deadlines() -> None:
    ticks = iter([0.0, 1.0, 2.0, 3.0, 99.0, 99.0, 99.0])
    deadline = Deadline(10, "x", clock=lambda: next(ticks), sleep=lambda _seconds: None)
    answers = iter([None, "y"])
    assert deadline.poll(lambda: next(answers)) == "y"
    with pytest.raises(DeadlineExceeded, match="x did not happen within 10 s"):
        deadline.poll(lambda: None)
    assert [backoff(attempt) for attempt in (0, 1, 2, 30)] == [0.2, 0.4, 0.8, 5.0]


def test_systemd_failures_carry_the_units_words() -> None:
    runner = FakeRunner()
    runner.on("systemctl", "start", status=1, stderr="Job failed.")
    runner.on("journalctl", "_SYSTEMD_UNIT=x.service", stdout="FATAL: no memory\n")
    runner.on("systemctl", "show", stdout="Id=a\nActiveState=active\n\nId=b\nActiveState=failed\n")
    systemd = Systemd(runner)  # type: ignore[arg-type]
    with pytest.raises(ZmanimError, match=r"systemctl start x\.service failed: found FATAL: no memory"):
        systemd.start("x.service")
    assert systemd.states(["a", "b"]) == {"a": "active", "b": "failed"}


@pytest.mark.parametrize(
    ("body", "version"),
    [('{"data": {"version": "1"}}', "1"), ('{"version": 2}', "2"), ("[]", None), ("ok", None), ("{}", None)],
)
def test_versions_in_health(body: str, version: str | None) -> None:
    assert parse_version(body) == version


def test_the_command_line(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def wiring(_verb: str) -> Any:
        return rig.machine

    assert cli.main(["status", "--json"], wiring) == 0
    document = json.loads(capsys.readouterr().out)
    keys = {
        "phase",
        "role",
        "environment",
        "instance_id",
        "ami_id",
        "volume",
        "postgres",
        "redis",
        "api",
        "front",
    }
    assert keys | {"boot", "error"} <= set(document)
    assert cli.main(["status"], wiring) == 0
    assert "is booting" in capsys.readouterr().out
    assert cli.main(["release"], wiring) == 1
    assert cli.main(["release", "1", "--json"], wiring) == 1
    shown = capsys.readouterr()
    assert len(shown.err.strip().splitlines()) == 2
    assert "error" in json.loads(shown.out)
    assert cli.main(["secrets", "check"], wiring) == 0
    assert "planted" not in capsys.readouterr().out
    assert cli.main(["handover", "release"], wiring) == 1
    with pytest.raises(SystemExit):
        cli.main(["dance"], wiring)


def test_what_the_system_refuses_is_one_line_too(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    def wiring(_verb: str) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "/run/zmanim/state.json")

    assert cli.main(["status", "--json"], wiring) == 1
    shown = capsys.readouterr()
    assert shown.err == (
        "zmanimctl status: /run/zmanim/state.json could not be written or read: "
        "found No space left on device; free space on that disk, then run this again\n"
    )
    assert "No space left" in json.loads(shown.out)["error"]
