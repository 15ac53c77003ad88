"""The schema's migrations in dbmate's format, each applied in one transaction as the owner role."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, List, Sequence

from zmanimctl.errors import CommandFailed, ZmanimError
from zmanimctl.postgres import OWNER, Cluster, quote_literal

NAME = re.compile(r"^(\d+)_?.*\.sql$")
UP = re.compile(r"^--\s*migrate:up(?P<options>.*)$", re.MULTILINE)
DOWN = re.compile(r"^--\s*migrate:down", re.MULTILINE)

# dbmate's own table, so that dbmate and zmanimctl can take turns.
TABLE = "CREATE TABLE IF NOT EXISTS public.schema_migrations (version varchar(128) PRIMARY KEY);\n"

APPLIED = """
SELECT to_regclass('public.schema_migrations') IS NOT NULL AS present \\gset
\\if :present
SELECT version FROM public.schema_migrations ORDER BY version;
\\endif
"""


@dataclass(frozen=True)
class Migration:
    """One file: its version (the leading digits), its SQL, and whether it runs in a transaction."""

    version: str
    name: str
    sql: str
    transaction: bool = True


def parse(name: str, text: str) -> Migration:
    """Return the ``migrate:up`` part of a file; raise ZmanimError when it has none."""
    match, up = NAME.match(name), UP.search(text)
    if not match or not up:
        raise ZmanimError(
            f"migration {name}",
            found="no version number in its name" if not match else "no line '-- migrate:up'",
            expected="dbmate's format",
        )
    down = DOWN.search(text, up.end())
    body = text[up.end() : down.start() if down else len(text)]
    return Migration(
        match.group(1), name, body.strip() + "\n", "transaction:false" not in up.group("options")
    )


def pending(migrations: Iterable[Migration], applied: Sequence[str]) -> List[Migration]:
    """Return what is not applied yet, in order; raise ZmanimError when two files share a version."""
    ordered = sorted(migrations, key=lambda one: (one.version, one.name))
    versions = [one.version for one in ordered]
    double = sorted({version for version in versions if versions.count(version) > 1})
    if double:
        raise ZmanimError(
            f"two migrations have version {double[0]}", remedy="give one of them another number"
        )
    return [one for one in ordered if one.version not in applied]


def script(migration: Migration) -> str:
    """Return the SQL that applies a migration as the owner and records it."""
    version = quote_literal(migration.version)
    record = f"INSERT INTO public.schema_migrations VALUES ({version});\n"  # noqa: S608 - quoted above
    body = migration.sql + ("" if migration.sql.rstrip().endswith(";") else ";\n") + record
    start = f"SET SESSION AUTHORIZATION {OWNER};\n"
    return start + (f"BEGIN;\n{body}COMMIT;\n" if migration.transaction else body)


def read_directory(directory: Path) -> List[Migration]:
    """Read every migration of a directory; an absent directory has none."""
    return [parse(path.name, path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.sql"))]


def apply(cluster: Cluster, database: str, directory: Path, seconds: float = 300.0) -> List[str]:
    """Apply what is pending and return the names; the first failure stops and names its file."""
    available = read_directory(directory)
    if not available:
        return []
    todo = pending(available, cluster.sql(APPLIED, database).split())
    if todo:
        cluster.sql(f"SET SESSION AUTHORIZATION {OWNER};\n{TABLE}", database)
    for migration in todo:
        try:
            cluster.sql(script(migration), database, seconds)
        except CommandFailed as error:
            raise ZmanimError(
                f"migration {migration.name} failed and was rolled back",
                found=error.found,
                remedy="correct the file, bake again; the database is as before it",
            ) from None
    return [migration.name for migration in todo]
