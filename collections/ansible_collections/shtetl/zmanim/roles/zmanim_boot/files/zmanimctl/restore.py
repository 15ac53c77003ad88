"""A restore: into a scratch database beside the live one, or, confirmed by name, in its place."""

from __future__ import annotations

import json
import re
import time
from typing import Any, Dict, Mapping, Tuple

from zmanimctl import contents
from zmanimctl.backup import DUMP_SECONDS, SCRATCH_COMMENT, restic_of, staging
from zmanimctl.errors import ZmanimError
from zmanimctl.machine import Machine
from zmanimctl.postgres import OWNER, quote_identifier, quote_literal
from zmanimctl.restic import Restic, Snapshot, choose
from zmanimctl.slots import parse_record
from zmanimctl.state import locked

NAME = re.compile(r"^[a-z_][a-z0-9_]{0,62}$")

EXISTING = """
SELECT json_object_agg(datname, coalesce(shobj_description(oid, 'pg_database'), '')) FROM pg_database;
"""

# A database without a row: PostgreSQL's template, the extensions' objects, and the WAL of both.
EMPTY_BYTES = 64 * 1024 * 1024

# Neither scratch nor live: backups leave it out, and only a person drops it.
FORMER_COMMENT = "zmanimctl restore: the live database before a restore"

CLOSE_SESSIONS = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = NAME;
"""


def check_target(into: str, live: str, existing: Mapping[str, str]) -> bool:
    """Return whether a scratch database of this name has to be dropped first; raise ZmanimError when it is
    not ours.

    ``existing`` maps database names to their comments: the comment is how a scratch database is known.
    """
    if not NAME.fullmatch(into):
        raise ZmanimError("name of the scratch database", found=repr(into), expected="a-z, 0-9 and _")
    if into == live or into in ("postgres", "template0", "template1"):
        raise ZmanimError(
            f"database {into} is not a scratch database",
            remedy="nothing was changed; choose another --into, or --live to replace the live one",
        )
    if into not in existing:
        return False
    if not existing[into].startswith(SCRATCH_COMMENT):
        raise ZmanimError(
            f"database {into} exists and was not made by a restore",
            remedy="nothing was changed; drop it yourself or choose another --into",
        )
    return True


def find_database(manifest: Mapping[str, Any], name: str) -> Dict[str, Any]:
    """Return the manifest's entry of a database; ZmanimError lists what the backup holds."""
    for one in manifest.get("databases", []):
        if one["name"] == name:
            return dict(one)
    names = ", ".join(str(one["name"]) for one in manifest.get("databases", []))
    raise ZmanimError(
        f"database {name} is not in this backup", found=names or "none", remedy="name one with --database"
    )


class Restore:
    """The verb ``zmanimctl restore``."""

    def __init__(self, machine: Machine) -> None:
        """Remember the machine."""
        self._machine = machine

    def scratch(self, snapshot: str, database: str, into: str) -> Dict[str, Any]:
        """Restore into a scratch database, count every table and compare with the manifest."""
        database = database or self._live_name()
        into = into or f"{database}_restore"
        with locked(self._machine.backup_lock, "restore"):
            self._guard()
            return self._into(snapshot, database, into)

    def live(self, snapshot: str, database: str, confirm: str) -> Dict[str, Any]:
        """Replace the live database by a restored one; the former stays beside it under another name."""
        environment = self._machine.identity.environment
        if confirm != environment:
            raise ZmanimError(
                "restore --live replaces the live database",
                found=f"--confirm {confirm or '(nothing)'}",
                expected=f"--confirm {environment}",
                remedy="nothing was changed",
            )
        database = database or self._live_name()
        with locked(self._machine.backup_lock, "restore"), locked(self._machine.lock, "restore"):
            self._guard()
            incoming = f"{database}_incoming"
            answer = self._into(snapshot, database, incoming)
            answer["kept"] = self._swap(database, incoming)
        return {**answer, "into": database}

    def _live_name(self) -> str:
        return str(self._machine.state.read().get("database") or "zmanim")

    def _guard(self) -> None:
        if self._machine.volumes.mounted() is None or not self._machine.cluster.answers():
            raise ZmanimError(
                "nothing can be restored on this machine",
                found=f"phase {self._machine.state.read().get('phase', 'booting')}",
                expected="the data volume mounted and PostgreSQL running",
                remedy="run the restore on the machine that serves",
            )

    def _into(self, snapshot: str, database: str, into: str) -> Dict[str, Any]:
        started = time.monotonic()
        cluster = self._machine.cluster
        drop = check_target(into, self._live_name(), json.loads(cluster.sql(EXISTING)))
        restic = restic_of(self._machine)
        chosen, manifest = self._manifest(restic, snapshot)
        entry = find_database(manifest, database)
        self._check_space(int(entry["bytes"]))
        self._create(into, drop, chosen)
        dump = restic.argv("dump", "--no-lock", str(entry["snapshot_id"]), f"/{database}.dump")
        load = cluster.client("pg_restore", into, "--exit-on-error", "--no-password")
        self._machine.runner.pipe(dump, load, timeout=DUMP_SECONDS, producer_env=restic.env)
        tables = contents.row_counts(lambda sql: cluster.sql(sql, into, 600))
        wrong = contents.differences(entry["tables"], tables)
        if wrong:
            raise ZmanimError(
                f"the restore into {into} does not equal the backup's manifest",
                found="; ".join(wrong[:5]),
                remedy=f"database {into} is kept for inspection; try another snapshot",
            )
        return {
            "snapshot_id": chosen.snapshot_id,
            "database": database,
            "into": into,
            "tables": tables,
            "rows": sum(tables.values()),
            "seconds": round(time.monotonic() - started, 3),
        }

    def _manifest(self, restic: Restic, snapshot: str) -> Tuple[Snapshot, Dict[str, Any]]:
        chosen = choose(restic.snapshots(), snapshot)
        path = str(staging(self._machine) / "manifest.json")
        return chosen, dict(json.loads(restic.text(chosen.snapshot_id, path)))

    def _check_space(self, needed: int) -> None:
        free = self._machine.volumes.free_bytes()
        # Indexes and WAL come on top of the dump's bytes.
        wanted = needed * 2 + EMPTY_BYTES
        if free < wanted:
            raise ZmanimError(
                f"{self._machine.settings.data_dir} is too full for a restore",
                found=f"{free // 1048576} MiB free",
                expected=f"{wanted // 1048576} MiB",
                remedy="nothing was changed; enlarge the volume or drop old scratch databases",
            )

    def _create(self, into: str, drop: bool, chosen: Snapshot) -> None:
        name = quote_identifier(into)
        comment = quote_literal(f"{SCRATCH_COMMENT} of {chosen.snapshot_id[:8]}")
        if drop:
            self._machine.cluster.sql(f"DROP DATABASE {name} WITH (FORCE);")
        self._machine.cluster.sql(f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE template0;")
        self._machine.cluster.sql(f"COMMENT ON DATABASE {name} IS {comment};")

    def _swap(self, database: str, incoming: str) -> str:
        """Rename the live database away and the restored one into its place while requests wait."""
        machine = self._machine
        kept = f"{database}_before_{time.strftime('%Y%m%d%H%M%S', time.gmtime())}"
        machine.cluster.sql("ANALYZE;", incoming, 600)
        slot = parse_record(machine.record.read()).active_slot
        machine.front.hold()
        try:
            machine.front.drain(slot, 5.0)
            machine.cluster.sql(rename_sql(database, incoming, kept), seconds=60)
        except ZmanimError:
            machine.cluster.sql(f"ALTER DATABASE {quote_identifier(database)} ALLOW_CONNECTIONS true;")
            raise
        finally:
            machine.front.to_slot(slot)
        return kept


def rename_sql(database: str, incoming: str, kept: str) -> str:
    """Return the SQL that lets two databases change places; ALTER DATABASE RENAME allows no session on
    either.
    """
    live, new, old = (quote_identifier(name) for name in (database, incoming, kept))
    close = CLOSE_SESSIONS.replace("NAME", quote_literal(database))
    return (
        f"ALTER DATABASE {live} ALLOW_CONNECTIONS false;\n{close}"
        "BEGIN;\n"
        f"ALTER DATABASE {live} RENAME TO {old};\n"
        f"ALTER DATABASE {new} RENAME TO {live};\n"
        f"COMMENT ON DATABASE {live} IS NULL;\n"
        f"COMMENT ON DATABASE {old} IS {quote_literal(FORMER_COMMENT)};\n"
        "COMMIT;\n"
        f"ALTER DATABASE {old} ALLOW_CONNECTIONS true;\n"
    )
