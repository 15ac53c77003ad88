"""Migrations in dbmate's format."""

from __future__ import annotations

from pathlib import Path

import pytest
from zmanimctl import migrations
from zmanimctl.errors import CommandFailed, ZmanimError
from zmanimctl.migrations import Migration, parse, pending, script
from zmanimctl.settings import Settings
from zmanimctl_fakes import FakeCluster

TEXT = "-- migrate:up\nCREATE TABLE a (b int);\n\n-- migrate:down\nDROP TABLE a;\n"


def test_only_the_up_part_is_taken() -> None:
    one = parse("0001_a.sql", TEXT)
    assert one == Migration("0001", "0001_a.sql", "CREATE TABLE a (b int);\n")
    assert not parse("2.sql", "-- migrate:up transaction:false\nVACUUM").transaction


@pytest.mark.parametrize(("name", "text"), [("a.sql", TEXT), ("1_a.sql", "CREATE TABLE x ();")])
def test_other_files_are_refused(name: str, text: str) -> None:
    with pytest.raises(ZmanimError, match=f"migration {name}"):
        parse(name, text)


@pytest.mark.parametrize(
    ("applied", "names"),
    [([], ["1_a.sql", "2_b.sql"]), (["1"], ["2_b.sql"]), (["1", "2"], []), (["2"], ["1_a.sql"])],
)
def test_pending(applied: list[str], names: list[str]) -> None:
    available = [Migration("2", "2_b.sql", ""), Migration("1", "1_a.sql", "")]
    assert [one.name for one in pending(available, applied)] == names


def test_two_of_one_version_are_refused() -> None:
    with pytest.raises(ZmanimError, match="two migrations have version 1"):
        pending([Migration("1", "1_a.sql", ""), Migration("1", "1_b.sql", "")], [])


def test_each_is_one_transaction_as_the_owner() -> None:
    text = script(Migration("1", "1_a.sql", "SELECT 1"))
    assert text.startswith("SET SESSION AUTHORIZATION zmanim;\nBEGIN;\n")
    assert "SELECT 1;\nINSERT INTO public.schema_migrations VALUES ('1');\nCOMMIT;\n" in text
    assert "BEGIN" not in script(Migration("1", "1_a.sql", "VACUUM;\n", transaction=False))


def test_apply_once_and_a_failure_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "1_a.sql").write_text(TEXT)
    cluster = FakeCluster([], Settings())
    assert migrations.apply(cluster, "zmanim", tmp_path) == ["1_a.sql"]  # type: ignore[arg-type]
    cluster.replies["to_regclass"] = "1\n"
    cluster.sqls.clear()
    assert migrations.apply(cluster, "zmanim", tmp_path) == []  # type: ignore[arg-type]
    assert len(cluster.sqls) == 1

    class Refusing(FakeCluster):
        def sql(self, script: str, database: str = "postgres", seconds: float = 30.0) -> str:
            if "CREATE TABLE a" in script:
                raise CommandFailed("SQL failed", found="ERROR: boom")
            return ""

    with pytest.raises(ZmanimError, match=r"migration 1_a.sql failed and was rolled back: found ERROR: boom"):
        migrations.apply(Refusing([], Settings()), "zmanim", tmp_path)  # type: ignore[arg-type]
