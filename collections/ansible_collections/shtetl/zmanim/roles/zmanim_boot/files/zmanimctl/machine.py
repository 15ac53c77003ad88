"""The machine as a set of acting parts, wired once and passed to the verbs; tests wire fakes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from zmanimctl import identity as identities
from zmanimctl.aws import Aws
from zmanimctl.front import Front
from zmanimctl.identity import Identity
from zmanimctl.imds import Imds
from zmanimctl.marker import Marker
from zmanimctl.postgres import Cluster
from zmanimctl.process import Runner
from zmanimctl.redis import Redis
from zmanimctl.release import ReleaseBucket, Releaser, ReleaseStore
from zmanimctl.rendering import parse_environment_file
from zmanimctl.secrets import ParameterStore
from zmanimctl.settings import Settings, SiteConfig
from zmanimctl.slots import Slots
from zmanimctl.state import StateFile
from zmanimctl.systemd import Systemd
from zmanimctl.volume import Ec2Volumes, Volumes


@dataclass
class Machine:
    """Everything a verb acts through."""

    settings: Settings
    identity: Identity
    runner: Runner
    systemd: Systemd
    volumes: Volumes
    ec2: Ec2Volumes
    parameters: ParameterStore
    cluster: Cluster
    redis: Redis
    front: Front
    slots: Slots
    store: ReleaseStore
    record: StateFile
    state: StateFile
    aws: Any

    @property
    def run_dir(self) -> Path:
        """The directory of state and locks."""
        return Path(self.settings.run_dir)

    @property
    def lock(self) -> Path:
        """The lock of every verb that changes services."""
        return self.run_dir / "lock"

    @property
    def backup_lock(self) -> Path:
        """The lock of a backup, seen by the handover's guards."""
        return self.run_dir / "backup.lock"

    @property
    def releaser(self) -> Releaser:
        """The releases' acting part."""
        return Releaser(self.slots, self.front, self.store, self.record)

    def bucket(self, config: SiteConfig) -> ReleaseBucket:
        """Return the releases bucket of this environment."""
        name = config.releases_bucket or f"zmanim-releases-{self.identity.environment}"
        return ReleaseBucket(self.aws, name, self.settings.architecture)

    def expected_marker(self) -> Marker:
        """Return what a volume must say about itself to be started here."""
        return Marker(
            volume_id=self.identity.volume_id,
            environment=self.identity.environment,
            postgres_major=self.settings.postgres_major,
            postgis_version=self.cluster.postgis_version(),
        )


def redis_password(secrets_dir: Path) -> str:
    """Return the Redis password that boot put on tmpfs, '' when there is none."""
    try:
        return (secrets_dir / "redis-password").read_text(encoding="utf-8")
    except OSError:
        return ""


def identity_file(settings: Settings) -> Path:
    """Return where boot keeps the identity."""
    return Path(settings.run_dir) / "identity.json"


def wire(settings: Settings, identity: Identity, runner: Optional[Runner] = None) -> Machine:
    """Wire the real acting parts."""
    runner = runner or Runner()
    systemd = Systemd(runner)
    aws = Aws(identity.region, identity.endpoint_url)
    return Machine(
        settings=settings,
        identity=identity,
        runner=runner,
        systemd=systemd,
        volumes=Volumes(runner, settings.data_dir, settings.unit_dir),
        ec2=Ec2Volumes(aws),
        parameters=ParameterStore(aws, identity.environment),
        cluster=Cluster(runner, systemd, settings),
        redis=Redis(systemd, settings, lambda: redis_password(settings.secrets_dir)),
        front=Front(
            settings.haproxy_socket, settings.haproxy_backend, Path(settings.run_dir) / "front.state"
        ),
        slots=Slots(systemd, settings),
        store=ReleaseStore(settings.api_home),
        record=StateFile(Path(settings.api_home) / "release.json"),
        state=StateFile(Path(settings.run_dir) / "state.json"),
        aws=aws,
    )


def from_metadata(settings: Settings) -> Machine:
    """Wire the machine after asking IMDS, and keep the answer for the other verbs."""
    identity = identities.discover(Imds())
    identities.save(identity, identity_file(settings))
    return wire(settings, identity)


def from_saved(settings: Settings) -> Machine:
    """Wire the machine from what boot learnt; IMDS is asked only when boot has not run."""
    path = identity_file(settings)
    if not path.exists():
        return from_metadata(settings)
    return wire(settings, identities.load(path))


def for_status(settings: Settings) -> Machine:
    """Wire the machine for looking only: works before boot knew who it was, and asks nobody."""
    path = identity_file(settings)
    unknown = Identity("unknown", "", "unknown", "unknown", "unknown", "")
    return wire(settings, identities.load(path) if path.exists() else unknown)


def note_failure(settings: Settings, problem: str) -> None:
    """Leave in the state file why a boot ended before it knew who it was."""
    StateFile(Path(settings.run_dir) / "state.json").update(phase="failed", error=problem)


def with_role(machine: Machine, role: str) -> Machine:
    """Return the machine in another role (a relaying one that becomes a standby)."""
    machine.identity = replace(machine.identity, role=role)
    return machine


def restic_settings(settings: Settings) -> "dict[str, str]":
    """Return the environment of restic from its file; empty when boot has not written it."""
    path = settings.restic_env_file
    if not os.path.exists(path):
        return {}
    return parse_environment_file(Path(path).read_text(encoding="utf-8"))
