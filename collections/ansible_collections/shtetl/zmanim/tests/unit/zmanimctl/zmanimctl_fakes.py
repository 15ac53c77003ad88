"""Fakes of the acting parts: programs, systemd, the front, volumes, AWS; and a machine wired of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from zmanimctl.front import Server
from zmanimctl.health import Health
from zmanimctl.identity import Identity
from zmanimctl.machine import Machine
from zmanimctl.process import Completed, failure
from zmanimctl.release import ReleaseStore
from zmanimctl.settings import Settings
from zmanimctl.slots import Slots
from zmanimctl.state import StateFile
from zmanimctl.volume import Device, EbsVolume

VOLUME = "vol-0123456789abcdef0"
SERIAL = "vol0123456789abcdef0"
GIB = 1024**3

# Planted values: none of them may ever show up in an argv, a message, the state or a log.
SECRETS = {
    "postgres-password": "planted-pg:/@?#\"$x\\y'",
    "redis-password": 'planted-rd%/@:"x',
    "restic-password": "planted-re s",
    "jwt-secret": 'planted-jwt"$q`',
    "origin-verify-key": "planted-ov",
}


class FakeRunner:
    """Answers programs by the longest matching beginning of their argv, and records what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.stdins: list[str] = []
        self.envs: list[dict[str, str]] = []
        self.answers: dict[tuple[str, ...], Any] = {}
        self.sessions: list[Any] = []

    def on(self, *words: str, stdout: str = "", stderr: str = "", status: int = 0) -> None:
        """Answer argv that begin with ``words`` (program names without their directory)."""
        self.answers[words] = (status, stdout, stderr)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 30.0,
        stdin: str = "",
        env: dict[str, str] | None = None,
        check: bool = True,
    ) -> Completed:
        assert timeout > 0, "every program has a deadline"
        self.calls.append(tuple(argv))
        self.stdins.append(stdin)
        self.envs.append(dict(env or {}))
        status, stdout, stderr = self._answer(self.short(argv), stdin)
        done = Completed(tuple(argv), status, stdout, stderr)
        if check and status != 0:
            raise failure(done)
        return done

    @staticmethod
    def short(argv: Sequence[str]) -> tuple[str, ...]:
        words = list(argv)
        if words[:1] == ["runuser"]:
            words = words[words.index("--") + 1 :]
        return (words[0].rsplit("/", 1)[-1], *words[1:])

    def _answer(self, words: tuple[str, ...], stdin: str) -> tuple[int, str, str]:
        for size in range(len(words), 0, -1):
            if words[:size] in self.answers:
                answer = self.answers[words[:size]]
                return answer(words, stdin) if callable(answer) else answer
        return (0, "", "")

    def pipe(self, producer: Sequence[str], consumer: Sequence[str], **_options: Any) -> None:
        self.calls += [tuple(producer), tuple(consumer)]

    def session(self, argv: Sequence[str]) -> Any:
        self.calls.append(tuple(argv))
        return self.sessions.pop(0)

    def ran(self, *words: str) -> bool:
        return any(self.short(call)[: len(words)] == words for call in self.calls)


class FakeSystemd:
    """Units as a dictionary; a unit in ``broken`` refuses to start."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.active: dict[str, str] = {}
        self.broken: set[str] = set()
        self.detached: list[tuple[str, ...]] = []
        self.restarted: dict[str, int] = {}

    def start(self, unit: str, seconds: float = 60.0) -> None:
        from zmanimctl.errors import ZmanimError

        assert seconds > 0
        self.log.append(f"start {unit}")
        if unit in self.broken:
            self.active[unit] = "failed"
            raise ZmanimError(f"systemctl start {unit} failed")
        self.active[unit] = "active"

    restart = start

    def stop(self, unit: str, seconds: float = 60.0) -> None:
        self.log.append(f"stop {unit}")
        self.active[unit] = "inactive"

    def start_in_background(self, unit: str) -> None:
        self.log.append(f"background {unit}")

    def states(self, units: Sequence[str]) -> dict[str, str]:
        return {unit: self.active.get(unit, "inactive") for unit in units}

    def is_active(self, unit: str) -> bool:
        return self.active.get(unit) == "active"

    def restarts(self, unit: str) -> int:
        return self.restarted.get(unit, 0)

    def last_words(self, unit: str) -> str:
        return f"last words of {unit}"

    def run_detached(self, unit: str, argv: Sequence[str], description: str) -> None:
        self.detached.append((unit, *argv))


class FakeFront:
    """The front's four servers without HAProxy."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.now = "hold"
        self.address = ""
        self.broken = False

    def _switch(self, target: str) -> None:
        from zmanimctl.errors import ZmanimError

        if self.broken:
            raise ZmanimError("the front does not answer")
        self.log.append(f"front {target}")
        self.now = target

    def to_slot(self, slot: str) -> None:
        self._switch(slot)

    def hold(self) -> None:
        self._switch("hold")

    def relay(self, address: str, port: int) -> None:
        self.address = f"{address}:{port}"
        self._switch("relay")

    def servers(self) -> dict[str, Server]:
        return {}

    def mode(self) -> dict[str, str]:
        kind = self.now if self.now in ("hold", "relay") else "slot"
        return {"mode": kind, "target": self.address if kind == "relay" else self.now}

    def drain(self, slot: str, seconds: float) -> bool:
        self.log.append(f"drain {slot}")
        return True

    def wait(self, seconds: float) -> None:
        assert seconds > 0


class FakeVolumes:
    """A volume that is there or not, mounted or not; ``device`` None is a detached one."""

    def __init__(self, log: list[str], data_dir: Path) -> None:
        self.log = log
        self.data_dir = data_dir
        self.device: Device | None = Device("/dev/nvme1n1", SERIAL, 2 * GIB, "259:1")
        self.is_mounted = False
        self.unmount_fails = False
        self.written: Any = None
        self.free = 10 * GIB

    def find(self, volume_id: str) -> Device | None:
        return self.device

    def wait_for(self, volume_id: str, seconds: float, give_up: Callable[[], bool] = lambda: False) -> Device:
        from zmanimctl.errors import ZmanimError

        if self.device is None:
            give_up()
            raise ZmanimError(f"data volume {volume_id} did not appear within {seconds:g} s")
        return self.device

    def signatures(self, device: Device) -> Any:
        return self.written

    def make_file_system(self, device: Device, volume_id: str) -> None:
        self.log.append("mkfs")

    def is_copy(self, uuid: str) -> bool:
        return False

    def mounted(self) -> tuple[str, str] | None:
        return (self.device.numbers, self.device.path) if self.is_mounted and self.device else None

    def assert_mounted(self, device: Device) -> None:
        assert self.is_mounted

    def mount(self, device: Device, options: str) -> bool:
        self.log.append(f"mount {options}")
        self.is_mounted = True
        return True

    def unmount(self, device: Device, seconds: float = 10.0) -> None:
        from zmanimctl.errors import ZmanimError

        if self.unmount_fails:
            raise ZmanimError("unmount of /data did not happen within 10 s")
        self.log.append("unmount")
        self.is_mounted = False

    def free_bytes(self) -> int:
        return self.free


class FakeEc2:
    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.volume = EbsVolume(VOLUME, 2 * GIB, True, False)
        self.problem: Exception | None = None

    def describe(self, volume_id: str, seconds: float = 20.0) -> EbsVolume:
        if self.problem:
            raise self.problem
        return self.volume

    def remove_fresh_tag(self, volume_id: str) -> None:
        if self.problem:
            raise self.problem
        self.log.append("fresh tag removed")


class FakeParameters:
    def __init__(self) -> None:
        self.document: dict[str, str] = {**SECRETS, "config": json.dumps({"restic_repository": "/repo"})}

    def values(self, seconds: float = 30.0) -> dict[str, str]:
        return dict(self.document)

    def fetch(self, seconds: float = 30.0) -> Any:
        from zmanimctl.secrets import sort_out

        return sort_out("lab", self.document)


class FakeCluster:
    PLAIN = ("-f", "-")

    def __init__(self, log: list[str], settings: Settings) -> None:
        self.log = log
        self.settings = settings
        self.up = False
        self.identifier = "7000000000000000001"
        self.exists = False
        self.postgis: str | None = "3.5.2"
        self.sqls: list[tuple[str, str]] = []
        self.replies: dict[str, str] = {}
        self.broken = False

    def make(self, marker: Any) -> bool:
        from zmanimctl.postgres import Directory, decide_cluster

        made = decide_cluster(
            Directory([] if not self.exists else ["PG_VERSION"], self.exists), marker, "/data"
        )
        if made == "initdb":
            self.log.append("initdb")
        self.exists = True
        return made == "initdb"

    def system_identifier(self) -> str:
        return self.identifier

    def postgis_version(self) -> str | None:
        return self.postgis

    def start(self, seconds: float = 60.0) -> None:
        from zmanimctl.errors import ZmanimError

        if self.broken:
            raise ZmanimError("start of PostgreSQL did not happen within 60 s")
        self.log.append("start postgres")
        self.up = True

    def stop(self, seconds: float = 60.0) -> None:
        self.log.append("stop postgres")
        self.up = False

    def answers(self) -> bool:
        return self.up

    running = answers

    def provision(self, database: str, password: str) -> list[str]:
        assert password == SECRETS["postgres-password"]
        self.log.append(f"provision {database}")
        return []

    def checkpoint(self, seconds: float = 60.0) -> None:
        self.log.append("checkpoint")

    def sql(self, script: str, database: str = "postgres", seconds: float = 30.0) -> str:
        self.sqls.append((database, script))
        return next((reply for words, reply in self.replies.items() if words in script), "")

    def client(self, program: str, database: str, *arguments: str) -> list[str]:
        return [program, "-d", database, *arguments]


class FakeRedis:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    def start(self, seconds: float = 60.0) -> None:
        self.log.append("start redis")

    def stop(self, seconds: float = 30.0) -> None:
        self.log.append("stop redis")

    def save(self, seconds: float = 60.0) -> None:
        self.log.append("save redis")

    def save_in_background(self, seconds: float = 300.0) -> None:
        self.log.append("bgsave redis")


class FakeBucket:
    """Releases as a dictionary version -> program."""

    def __init__(self) -> None:
        self.programs: dict[str, bytes] = {"1.0.0": b"one", "2.0.0": b"two"}
        self.current = "1.0.0"
        self.problem: Exception | None = None
        self.checksums: dict[str, str] = {}

    def wanted(self, seconds: float = 20.0) -> str:
        if self.problem:
            raise self.problem
        return self.current

    def checksum(self, version: str, seconds: float = 20.0) -> str:
        import hashlib

        from zmanimctl.errors import ZmanimError

        if version not in self.programs:
            raise ZmanimError(f"release {version} is not in s3://releases", found=", ".join(self.programs))
        return self.checksums.get(version) or hashlib.sha256(self.programs[version]).hexdigest()

    def open(self, version: str, seconds: float = 20.0) -> dict[str, Any]:
        import io

        body = self.programs[version]
        return {"ContentLength": len(body), "Body": io.BytesIO(body)}


class Rig:
    """A machine of fakes with the log of everything that acted."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.data_dir = tmp_path / "data"
        self.data_dir.mkdir()
        self.settings = Settings(
            postgres_major=17,
            data_dir=str(self.data_dir),
            run_dir=str(tmp_path / "run"),
            api_home=str(tmp_path / "opt"),
            config_dir=str(tmp_path / "etc"),
            redis_data_dir=str(self.data_dir / "redis"),
            redis_config_include=str(tmp_path / "run/secrets/redis.conf"),
            restic_env_file=str(tmp_path / "etc/restic-env"),
            postgres_config_dir=str(tmp_path / "etc/postgresql"),
            redis_user="root",
            postgres_user="root",
            redis_binary="/nonexistent",
            postgres_bin_dir="/nonexistent/bin",
        )
        self.runner = FakeRunner()
        self.systemd = FakeSystemd(self.log)
        self.front = FakeFront(self.log)
        self.volumes = FakeVolumes(self.log, self.data_dir)
        self.ec2 = FakeEc2(self.log)
        self.parameters = FakeParameters()
        self.cluster = FakeCluster(self.log, self.settings)
        self.redis = FakeRedis(self.log)
        self.bucket = FakeBucket()
        self.sick: set[str] = set()
        self.slots = Slots(self.systemd, self.settings, self._health)  # type: ignore[arg-type]
        self.machine = self._machine()
        monkeypatch.setattr(Machine, "bucket", lambda _self, _config: self.bucket)

    def _machine(self) -> Any:
        parts: Any = {
            name: getattr(self, name)
            for name in (
                "runner",
                "systemd",
                "volumes",
                "ec2",
                "parameters",
                "cluster",
                "redis",
                "front",
                "slots",
            )
        }
        return Machine(
            settings=self.settings,
            identity=Identity("lab", "eu-west-1", VOLUME, "active", "i-1", "ami-1", "10.0.1.5"),
            store=ReleaseStore(self.settings.api_home),
            record=StateFile(Path(self.settings.api_home) / "release.json"),
            state=StateFile(Path(self.settings.run_dir) / "state.json"),
            aws=FakeAws(),
            **parts,
        )

    def _health(self, _address: str, port: int, _timeout: float) -> Health:
        slot = {number: name for name, number in self.settings.slots.items()}[port]
        version = self.slots.version_in(slot)
        if not self.systemd.is_active(Slots.unit(slot)):
            return Health(0, None, "connection refused")
        return Health(503, None, "HTTP 503") if version in self.sick else Health(200, version)

    def everything_said(self) -> str:
        """Every argv, environment and state that this machine showed to the outside."""
        state = self.machine.state.read()
        return json.dumps([self.runner.calls, self.runner.envs, self.log, state])


class FakeAws:
    def call(self, service: str, what: str, act: Any, *, seconds: float = 30.0) -> Any:
        return {}
