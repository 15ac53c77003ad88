"""What needs no data volume: secrets, rendered files, the API's program, PostgreSQL's binaries in the page
cache.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import List, Optional

from zmanimctl import rendering, sizing
from zmanimctl.errors import ZmanimError
from zmanimctl.machine import Machine
from zmanimctl.secrets import Parameters
from zmanimctl.slots import parse_record
from zmanimctl.state import write_atomically


@dataclass
class Prepared:
    """The outcome: parameters, the release to run ('' = none to be had), and which rendered files changed."""

    parameters: Parameters
    version: str = ""
    release_problem: Optional[ZmanimError] = None
    changed: List[str] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)


def prepare(machine: Machine, seconds: float = 45.0) -> Prepared:
    """Fetch, render and download; raises ZmanimError when the environment's parameters are not complete."""
    parameters = machine.parameters.fetch(seconds)
    _check_major(machine, parameters)
    prepared = Prepared(parameters)
    prepared.changed = render(machine, parameters)
    choose_release(machine, prepared)
    warm(machine)
    return prepared


def _check_major(machine: Machine, parameters: Parameters) -> None:
    wanted = parameters.config.postgres_major
    if wanted is not None and wanted != machine.settings.postgres_major:
        raise ZmanimError(
            "this image has another PostgreSQL major than the environment's config",
            found=str(machine.settings.postgres_major),
            expected=str(wanted),
            remedy="nothing was started; boot an image of that major, or correct zmanim_postgres_major",
        )


def render(machine: Machine, parameters: Parameters) -> List[str]:
    """Write every file made from secrets, config and the machine's size; return the names of those that
    changed.
    """
    settings, config, secrets = machine.settings, parameters.config, parameters.secrets
    memory, cpus = sizing.machine_memory_mib(), sizing.machine_cpus()
    _secrets_directory(settings.secrets_dir)
    password_file = settings.secrets_dir / "restic-password"
    private = {
        settings.secrets_dir / "api.env": rendering.environment_file(
            rendering.api_environment(
                settings, config, secrets, machine.identity.environment, machine.identity.region
            )
        ),
        Path(settings.redis_config_include): rendering.redis_config(
            secrets["redis-password"], sizing.redis_memory_mib(memory)
        ),
        settings.secrets_dir / "pgpass": rendering.pgpass(
            settings.postgres_port, secrets["postgres-password"]
        ),
        settings.secrets_dir / "redis-password": secrets["redis-password"],
        password_file: secrets["restic-password"],
        Path(settings.restic_env_file): rendering.restic_environment(
            config.restic_repository, str(password_file), machine.identity.region
        ),
    }
    changed = [path.name for path, text in private.items() if write_atomically(path, text, mode=0o600)]
    _give_to(Path(settings.redis_config_include), settings.redis_user)
    generated = Path(settings.postgres_config_dir) / "conf.d/10-generated.conf"
    sizes = sizing.postgres_sizes(memory, cpus)
    text = rendering.postgres_config(sizes, str(settings.pgdata), config.database, settings.postgres_preload)
    if write_atomically(generated, text):
        changed.append(generated.name)
    return changed


def _secrets_directory(directory: Path) -> None:
    """Make the directory: others may pass through to the one file that is theirs, and list nothing."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)


def _give_to(path: Path, user: str) -> None:
    try:
        owner = pwd.getpwnam(user)
    except KeyError:
        raise ZmanimError(
            f"user {user} does not exist", remedy="bake the image again with role redis7"
        ) from None
    if path.stat().st_uid != owner.pw_uid:
        os.chown(str(path), owner.pw_uid, grp.getgrgid(owner.pw_gid).gr_gid)


def choose_release(machine: Machine, prepared: Prepared) -> None:
    """Find the release to run: the wanted one, or the last verified one on disk when S3 can't be had (and say
    so).
    """
    bucket = machine.bucket(prepared.parameters.config)
    try:
        wanted = prepared.parameters.config.wanted_release or bucket.wanted()
        if not machine.store.verified(wanted):
            machine.store.fetch(bucket, wanted)
        prepared.version = wanted
    except ZmanimError as error:
        prepared.version = last_verified(machine)
        if prepared.version:
            prepared.warnings.append(f"release {prepared.version} from disk is used: {error}")
        else:
            prepared.release_problem = error


def last_verified(machine: Machine) -> str:
    """Return the newest release of the history that is on disk and whole, '' when there is none."""
    history = parse_record(machine.record.read()).history
    return next((version for version in reversed(history) if machine.store.verified(version)), "")


def warm(machine: Machine) -> None:
    """Read PostgreSQL's and Redis' programs once, so that their start does not wait for a cold root disk."""
    programs = [Path(machine.settings.postgres_bin_dir) / name for name in ("postgres", "psql", "pg_ctl")]
    programs.append(Path(machine.settings.redis_binary))
    libraries = Path(machine.settings.postgres_bin_dir).parent / "lib"
    for path in programs + sorted(libraries.glob("*.so")):
        _read_through(path)


def _read_through(path: Path) -> None:
    try:
        with open(path, "rb") as stream:
            while stream.read(1 << 20):
                pass
    except OSError:
        # Warming is a courtesy: what is missing will be named by the step that needs it.
        return


def summary(prepared: Prepared) -> "dict[str, object]":
    """Return what may be shown of the preparation: no secret is in it."""
    return {
        "release": prepared.version,
        "changed": prepared.changed,
        "warnings": prepared.warnings,
        "config": asdict(prepared.parameters.config),
    }
