"""A backup: every database as pg_dump sees it in one exported snapshot, the globals, Redis and /etc/zmanim.

Each database is a restic snapshot of its own; the last one, tagged as the set, holds the manifest that names
them
and the rows of every table. A backup without that last one does not exist for a restore.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

from zmanimctl import contents
from zmanimctl.errors import ZmanimError
from zmanimctl.machine import Machine, restic_settings
from zmanimctl.process import as_user
from zmanimctl.restic import RUN_TAG, SET_TAG, Restic, environment_name, stored_bytes, to_forget
from zmanimctl.state import locked, write_atomically

DUMP_SECONDS = 6 * 3600.0
# The snapshot that PostgreSQL exports and the dump that Redis writes lie on the data volume.
SPARE_BYTES = 16 * 1024 * 1024
SCRATCH_COMMENT = "zmanimctl restore: scratch"

DATABASES = """
SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM pg_database
WHERE NOT datistemplate AND datallowconn AND datname <> 'postgres'
  AND coalesce(shobj_description(oid, 'pg_database'), '') NOT LIKE 'zmanimctl restore:%';
"""


def restic_of(machine: Machine) -> Restic:
    """Return restic with this environment's repository."""
    env = restic_settings(machine.settings)
    if env:
        env["RESTIC_CACHE_DIR"] = "/var/cache/restic"
    return Restic(
        machine.runner, env, environment_name(machine.identity.environment), machine.settings.restic_binary
    )


def staging(machine: Machine) -> Path:
    """Return the directory of the small files, on tmpfs; its path is part of every backup."""
    return machine.run_dir / "backup"


class Backup:
    """The verb ``zmanimctl backup``."""

    def __init__(self, machine: Machine) -> None:
        """Remember the machine."""
        self._machine = machine

    def run(self) -> Dict[str, Any]:
        """Back everything up and return the contract's document."""
        machine = self._machine
        started = time.monotonic()
        with locked(machine.backup_lock, "backup"):
            self._guard()
            restic = restic_of(machine)
            restic.open_repository()
            run = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            tags = [f"{RUN_TAG}{run}"]
            databases = [
                self._dump(restic, name, tags) for name in json.loads(machine.cluster.sql(DATABASES))
            ]
            summary = self._close(restic, run, databases, tags)
            restic.forget(to_forget(restic.snapshots()))
        document = {
            "snapshot_id": summary["snapshot_id"],
            "databases": [one["name"] for one in databases],
            "rows": {one["name"]: sum(one["tables"].values()) for one in databases},
            "bytes": stored_bytes(summary) + sum(one["bytes"] for one in databases),
            "seconds": round(time.monotonic() - started, 3),
        }
        machine.state.update(backup={**document, "at": run})
        return document

    def _guard(self) -> None:
        machine = self._machine
        phase = machine.state.read().get("phase", "booting")
        if phase != "serving" or machine.volumes.mounted() is None or not machine.cluster.answers():
            raise ZmanimError(
                "there is nothing to back up on this machine",
                found=f"phase {phase}",
                expected="phase serving with the data volume mounted",
                remedy="run the backup on the machine that serves",
            )
        free = machine.volumes.free_bytes()
        if free < SPARE_BYTES:
            raise ZmanimError(
                f"{machine.settings.data_dir} is too full for a backup",
                found=f"{free // 1048576} MiB free",
                expected=f"{SPARE_BYTES // 1048576} MiB for what PostgreSQL and Redis write meanwhile",
                remedy="nothing was stored; enlarge the volume or drop old scratch databases",
            )

    def _dump(self, restic: Restic, database: str, tags: List[str]) -> Dict[str, Any]:
        """Store one database; the rows are counted in the very snapshot that pg_dump reads."""
        cluster, runner = self._machine.cluster, self._machine.runner
        session = runner.session(cluster.client("psql", database, *cluster.PLAIN))
        try:
            # The house's idle limit would end a transaction that only waits for pg_dump.
            session.ask("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")
            session.ask("SET LOCAL idle_in_transaction_session_timeout = 0;")
            exported = session.ask("SELECT pg_export_snapshot();")
            command = cluster.client("pg_dump", database, "-Fc", "--compress=0", f"--snapshot={exported}")
            summary = restic.backup_output(command, f"{database}.dump", [*tags, "database"], DUMP_SECONDS)
            tables = contents.row_counts(session.ask)
        finally:
            session.close()
        return {
            "name": database,
            "snapshot_id": summary["snapshot_id"],
            "bytes": stored_bytes(summary),
            "tables": tables,
        }

    def _close(
        self, restic: Restic, run: str, databases: List[Dict[str, Any]], tags: List[str]
    ) -> Dict[str, Any]:
        """Store globals, Redis, configuration and the manifest: the snapshot that makes the backup a
        whole.
        """
        machine, directory = self._machine, staging(self._machine)
        machine.redis.save_in_background()
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        settings = machine.settings
        argv = [
            f"{settings.postgres_bin_dir}/pg_dumpall",
            "-h",
            settings.postgres_socket_dir,
            "-p",
            str(settings.postgres_port),
            "--globals-only",
        ]
        try:
            roles = machine.runner.run(as_user(settings.postgres_user, argv), timeout=120).stdout
            write_atomically(directory / "globals.sql", roles, mode=0o600)
            manifest = json.dumps(self._manifest(run, databases), indent=2, sort_keys=True) + "\n"
            write_atomically(directory / "manifest.json", manifest, mode=0o600)
            paths = [str(directory), settings.config_dir, *rdb_files(settings.redis_data_dir)]
            return restic.backup_paths(paths, [*tags, SET_TAG], 3600.0)
        finally:
            shutil.rmtree(str(directory), ignore_errors=True)

    def _manifest(self, run: str, databases: List[Dict[str, Any]]) -> Dict[str, Any]:
        machine = self._machine
        return {
            "format": 1,
            "run": run,
            "environment": machine.identity.environment,
            "volume_id": machine.identity.volume_id,
            "postgres_major": machine.settings.postgres_major,
            "system_identifier": machine.state.read().get("system_identifier"),
            "databases": databases,
        }


def rdb_files(directory: str) -> List[str]:
    """Return Redis' dump files."""
    return sorted(
        os.path.join(directory, name)
        for name in (os.listdir(directory) if os.path.isdir(directory) else [])
        if name.endswith(".rdb") and not name.startswith("temp-")
    )
