"""Backups: what is kept, what is chosen, what a restore refuses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from zmanimctl import contents
from zmanimctl.backup import SPARE_BYTES, Backup
from zmanimctl.errors import ZmanimError
from zmanimctl.process import CommandFailed
from zmanimctl.restic import Restic, Snapshot, choose, kept_runs, parse_snapshots, to_forget
from zmanimctl.restore import EMPTY_BYTES, Restore, check_target, find_database, rename_sql
from zmanimctl.state import locked
from zmanimctl_fakes import SECRETS, FakeRunner, Rig

NOON = datetime(2026, 6, 30, 12, tzinfo=timezone.utc)


def whole(days_ago: float) -> list[Snapshot]:
    time = NOON - timedelta(days=days_ago)
    run = f"{days_ago}"
    return [
        Snapshot(f"part{run}", time, (f"run-{run}", "database")),
        Snapshot(f"set{run}", time, (f"run-{run}", "zmanim-set")),
    ]


def test_a_quarter_of_daily_backups_keeps_days_weeks_and_months() -> None:
    snapshots = [one for day in range(90) for one in whole(day)]
    kept = kept_runs(snapshots)
    assert {str(day) for day in range(7)} <= kept
    # 2026-06-30 is a Tuesday: the Sundays 2, 9 and 16 days ago end the earlier weeks;
    # months end 0, 30 and 61 days ago.
    assert kept == {"0", "1", "2", "3", "4", "5", "6", "9", "16", "30", "61"}
    assert len(to_forget(snapshots)) == 2 * (90 - len(kept))


def test_parts_of_a_failed_backup_go_and_strangers_stay() -> None:
    orphan = Snapshot("orphan", NOON, ("run-x", "database"))
    stranger = Snapshot("stranger", NOON, ("by-hand",))
    assert to_forget([*whole(1), orphan, stranger]) == ["orphan"]


def test_the_newest_of_a_day_stands_for_it() -> None:
    assert kept_runs([*whole(0.0), *whole(0.1)]) == {"0.0"}
    assert kept_runs([]) == set()


@pytest.mark.parametrize(("wanted", "found"), [("latest", "set0"), ("set1", "set1")])
def test_choose(wanted: str, found: str) -> None:
    assert choose([*whole(1), *whole(0)], wanted).snapshot_id == found


@pytest.mark.parametrize("wanted", ["nope", "set", "part0"])
def test_choose_lists_what_there_is(wanted: str) -> None:
    with pytest.raises(ZmanimError, match=r"there are: set1 of 2026-06-29 12:00, set0 of"):
        choose([*whole(1), *whole(0)], wanted)
    with pytest.raises(ZmanimError, match="there are: none"):
        choose([], "latest")


def test_times_of_restic() -> None:
    text = json.dumps(
        [
            {"id": "b", "time": "2026-06-30T12:00:00.123456789Z", "tags": ["zmanim-set", "run-1"]},
            {"id": "a", "time": "2026-06-30T12:00:00.5+02:00"},
        ]
    )
    first, second = parse_snapshots(text)
    assert (first.snapshot_id, second.run, second.complete) == ("a", "1", True)
    assert parse_snapshots("null") == []


ENV = {"RESTIC_REPOSITORY": "s3:http://x/y", "RESTIC_PASSWORD_FILE": "/run/zmanim/secrets/restic-password"}


@pytest.mark.parametrize(
    ("status", "stderr", "made"),
    [
        (0, "", False),
        (10, "", True),
        (1, "Fatal: unable to open config file: x\nIs there a repository at the following location?", True),
    ],
)
def test_the_repository_is_made_once(status: int, stderr: str, made: bool) -> None:
    runner = FakeRunner()
    runner.on("restic", "--cleanup-cache", "cat", "config", status=status, stderr=stderr)
    assert Restic(runner, ENV, "zmanim-lab", "/usr/bin/restic").open_repository() is made  # type: ignore[arg-type]
    assert runner.ran("restic", "--cleanup-cache", "init") is made


def test_a_wrong_password_never_makes_a_repository() -> None:
    runner = FakeRunner()
    runner.on("restic", "--cleanup-cache", "cat", status=12, stderr="Fatal: wrong password or no key found")
    with pytest.raises(CommandFailed, match="wrong password"):
        Restic(runner, ENV, "zmanim-lab", "restic").open_repository()  # type: ignore[arg-type]
    assert not runner.ran("restic", "--cleanup-cache", "init")
    with pytest.raises(ZmanimError, match="restic has no repository"):
        Restic(runner, {}, "zmanim-lab", "restic")  # type: ignore[arg-type]


class Session:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    def ask(self, script: str) -> str:
        self.asked.append(script)
        if "pg_export_snapshot" in script:
            return "00000003-1"
        if "pg_class" in script:
            return '[["public", "writes"], ["audit", "log"]]'
        return '{"writes": 5, "audit.log": 2}' if "count(*)" in script else ""

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def serving(rig: Rig) -> Rig:
    from zmanimctl import preparation

    preparation.render(rig.machine, rig.parameters.fetch())
    rig.machine.state.update(phase="serving")
    rig.cluster.up = rig.volumes.is_mounted = True
    rig.cluster.replies["pg_database"] = '["zmanim"]'
    rig.runner.sessions.append(Session())
    summary = json.dumps({"message_type": "summary", "snapshot_id": "abc", "total_bytes_processed": 10})
    rig.runner.answers[("restic",)] = lambda words, _stdin: (0, "[]" if "snapshots" in words else summary, "")
    return rig


def test_backup_counts_in_the_snapshot_that_it_dumps(serving: Rig) -> None:
    session = serving.runner.sessions[0]
    answer = Backup(serving.machine).run()
    assert (answer["snapshot_id"], answer["databases"], answer["bytes"]) == ("abc", ["zmanim"], 20)
    assert answer["rows"] == {"zmanim": 7}
    dump = next(call for call in serving.runner.calls if "--stdin-from-command" in call)
    assert "--snapshot=00000003-1" in dump
    assert session.closed
    assert not (serving.machine.run_dir / "backup").exists()
    for secret in SECRETS.values():
        assert secret not in serving.everything_said()


def test_backup_refusals(serving: Rig) -> None:
    with (
        locked(serving.machine.backup_lock, "backup"),
        pytest.raises(ZmanimError, match="another one running"),
    ):
        Backup(serving.machine).run()
    serving.volumes.free = SPARE_BYTES - 1
    with pytest.raises(ZmanimError, match="too full for a backup: found 15 MiB free, expected 16 MiB"):
        Backup(serving.machine).run()
    assert not serving.runner.ran("restic")
    serving.machine.state.update(phase="relaying")
    with pytest.raises(ZmanimError, match="nothing to back up on this machine: found phase relaying"):
        Backup(serving.machine).run()


@pytest.mark.parametrize(
    ("into", "existing", "drop"),
    [
        ("zmanim_restore", {}, False),
        ("zmanim_restore", {"zmanim_restore": "zmanimctl restore: scratch of abc"}, True),
    ],
)
def test_scratch(into: str, existing: dict[str, str], drop: bool) -> None:
    assert check_target(into, "zmanim", existing) is drop


@pytest.mark.parametrize(
    ("into", "message"),
    [
        ("zmanim", "is not a scratch"),
        ("postgres", "is not a scratch"),
        ("mine", "was not made by"),
        ('a"b', "name of"),
    ],
)
def test_what_is_not_a_scratch_database_is_refused(into: str, message: str) -> None:
    with pytest.raises(ZmanimError, match=message):
        check_target(into, "zmanim", {"mine": ""})


@pytest.mark.parametrize("confirm", ["", "production", "yes"])
def test_live_needs_the_environments_name(serving: Rig, confirm: str) -> None:
    with pytest.raises(ZmanimError, match="expected --confirm lab; nothing was changed"):
        Restore(serving.machine).live("latest", "", confirm)
    assert serving.cluster.sqls == []


def restorable(rig: Rig, rows: int) -> None:
    manifest = {
        "databases": [{"name": "zmanim", "snapshot_id": "part", "bytes": 10, "tables": {"writes": rows}}]
    }
    listed = [{"id": "abc", "time": "2026-06-30T12:00:00Z", "tags": ["zmanim-set", "run-1"]}]
    rig.runner.answers[("restic",)] = lambda words, _stdin: (
        0,
        json.dumps(listed if "snapshots" in words else manifest),
        "",
    )
    rig.cluster.replies = {
        "json_object_agg": "{}",
        "pg_class": '[["public", "writes"]]',
        "count(*)": '{"writes": 5}',
    }


def test_restore_counts_and_compares(serving: Rig) -> None:
    restorable(serving, 5)
    answer = Restore(serving.machine).scratch("latest", "", "")
    assert (answer["into"], answer["tables"], answer["rows"]) == ("zmanim_restore", {"writes": 5}, 5)
    restorable(serving, 6)
    with pytest.raises(ZmanimError, match="writes: 5 instead of 6"):
        Restore(serving.machine).scratch("latest", "", "")


def test_a_full_volume_refuses_before_anything_is_made(serving: Rig) -> None:
    restorable(serving, 5)
    # The backup's few bytes would fit, the database that is to take them would not.
    serving.volumes.free = EMPTY_BYTES
    with pytest.raises(ZmanimError, match="too full for a restore: found 64 MiB free, expected 64 MiB"):
        Restore(serving.machine).scratch("latest", "", "")
    assert not [sql for _, sql in serving.cluster.sqls if "CREATE DATABASE" in sql]


def test_live_replaces_while_requests_wait(serving: Rig) -> None:
    restorable(serving, 5)
    serving.machine.record.update(active_slot="b", version="1")
    answer = Restore(serving.machine).live("latest", "", "lab")
    assert answer["into"] == "zmanim"
    assert answer["kept"].startswith("zmanim_before_")
    assert serving.log[-3:] == ["front hold", "drain b", "front b"]


def test_small_parts() -> None:
    with pytest.raises(ZmanimError, match="database x is not in this backup: found a, b"):
        find_database({"databases": [{"name": "a"}, {"name": "b"}]}, "x")
    assert contents.differences({"a": 1, "b": 2}, {"a": 1, "c": 3}) == [
        "b: absent instead of 2",
        "c: 3 instead of absent",
    ]
    assert contents.counting_sql([]) == "SELECT '{}';"
    assert '(SELECT count(*) FROM "s"."t""x")' in contents.counting_sql([("s", 't"x')])
    sql = rename_sql("zmanim", "zmanim_incoming", "zmanim_before_1")
    assert sql.index("ALLOW_CONNECTIONS false") < sql.index("pg_terminate_backend") < sql.index("RENAME")


def test_every_table_is_counted_in_slices() -> None:
    tables = [["public", f"t{number}"] for number in range(95)]
    asked: list[str] = []

    def ask(sql: str) -> Any:
        asked.append(sql)
        return json.dumps(tables) if "pg_class" in sql else "{}"

    contents.row_counts(ask)
    assert len(asked) == 4
