# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of a database, and whether a restored copy has them all.

The database is asked directly, on the machine: the product's own report of its restore is not the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

Tables = Mapping[str, Sequence[str]]  # rows in PostgreSQL's text form, by qualified table name

# A table that belongs to an extension is the extension's to restore.
TABLES = """
select format('%I.%I', n.nspname, c.relname)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')
  and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
order by 1
"""


def read_tables(ask: Callable[[str], Sequence[str]]) -> dict[str, list[str]]:
    """Read every row of every table; ``ask`` takes a query and returns a line for each row."""
    return {table: list(ask(f"select t::text from only {table} t order by 1")) for table in ask(TABLES)}


def missing(wanted: Sequence[str], found: Sequence[str]) -> int:
    """Count the rows of ``wanted`` that ``found`` lacks, duplicates included."""
    return (Counter(wanted) - Counter(found)).total()


def differences(before: Tables, restored: Tables, now: Tables) -> list[str]:
    """Say where a restored copy is wrong.

    The backup was taken between ``before`` and ``now``, while rows were only added: what was there before
    must be in the copy, and what is in the copy must still be there.
    """
    found = []
    if set(restored) != set(before):
        found.append(f"tables: expected {sorted(before)}, found {sorted(restored)}")
    for table in sorted(set(before) & set(restored)):
        lost = missing(before[table], restored[table])
        invented = missing(restored[table], now.get(table, ()))
        if lost:
            found.append(f"{table}: {lost} rows of the time before the backup are not in the copy")
        if invented:
            found.append(f"{table}: {invented} rows of the copy are not in the database")
    if not any(restored.values()):
        found.append("the copy has no rows at all")
    return found
