"""What is in a database: its tables and their exact row counts, for comparing a backup with its restore."""

from __future__ import annotations

import json
from typing import Callable, Dict, List, Sequence

from zmanimctl.postgres import quote_identifier, quote_literal

# Tables that belong to an extension (spatial_ref_sys) come with the extension, not with the backup.
TABLES = """
SELECT coalesce(json_agg(json_build_array(n.nspname, c.relname) ORDER BY 1), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (
    SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
"""


def table_name(schema: str, table: str) -> str:
    """Return a table's name as reports show it: without the schema when that is public."""
    return table if schema == "public" else f"{schema}.{table}"


def counting_sql(tables: Sequence[Sequence[str]]) -> str:
    """Return one query that gives {name: rows} of every table as JSON."""
    if not tables:
        return "SELECT '{}';"
    parts: List[str] = []
    for schema, table in tables:
        source = f"{quote_identifier(schema)}.{quote_identifier(table)}"
        name = quote_literal(table_name(schema, table))
        parts.append(f"{name}, (SELECT count(*) FROM {source})")  # noqa: S608 - both names are quoted
    return f"SELECT json_build_object({', '.join(parts)});"


def row_counts(ask: Callable[[str], str]) -> Dict[str, int]:
    """Return the rows of every table, asked through ``ask`` (one session or one call after the other)."""
    counts: Dict[str, int] = {}
    tables = json.loads(ask(TABLES))
    # A function call takes at most 100 arguments, two for each table.
    for start in range(0, len(tables), 40):
        counts.update(json.loads(ask(counting_sql(tables[start : start + 40]))))
    return counts


def differences(expected: Dict[str, int], found: Dict[str, int]) -> List[str]:
    """Return one phrase for each table whose rows differ."""
    names = sorted(set(expected) | set(found))
    return [
        f"{name}: {found.get(name, 'absent')} instead of {expected.get(name, 'absent')}"
        for name in names
        if found.get(name) != expected.get(name)
    ]
