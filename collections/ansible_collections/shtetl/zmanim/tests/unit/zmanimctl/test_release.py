"""Releases: everything that goes wrong leaves the old one serving."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Any

import pytest
from zmanimctl.errors import AwsFailed, ZmanimError
from zmanimctl.release import (
    Plan,
    ReleaseBucket,
    check_version,
    parse_checksum,
    plan,
    rollback_version,
    to_prune,
)
from zmanimctl.slots import Record, after_release, idle_slot
from zmanimctl_fakes import Rig

ONE = Record("a", "1.0.0", "", ["1.0.0"])


@pytest.mark.parametrize(
    ("record", "version", "serving", "expected"),
    [
        (Record(), "1.0.0", None, Plan("1.0.0", "a")),
        (ONE, "2.0.0", "a", Plan("2.0.0", "b")),
        (ONE, "1.0.0", "a", Plan("1.0.0", "a", unchanged=True)),
        (ONE, "1.0.0", None, Plan("1.0.0", "a")),
        (Record("b", "2.0.0", "1.0.0", []), "3.0.0", "b", Plan("3.0.0", "a")),
    ],
)
def test_plan(record: Record, version: str, serving: str | None, expected: Plan) -> None:
    assert plan(record, version, ["a", "b"], serving) == expected


@pytest.mark.parametrize("version", ["", "../x", "a/b", "-rf", "1..2", "x" * 65, "1 2", "1\n"])
def test_bad_versions(version: str) -> None:
    with pytest.raises(ZmanimError, match="release version"):
        check_version(version)


@pytest.mark.parametrize(
    ("on_disk", "history", "linked", "gone"),
    [
        (["1", "2", "3", "4"], ["1", "2", "3", "4"], ["4", "3"], ["1"]),
        (["1", "2"], ["1", "2"], ["1", "2"], []),
        (["1", "2", "3", "4", "x"], ["2", "3", "4"], ["1"], ["x"]),
    ],
)
def test_prune(on_disk: list[str], history: list[str], linked: list[str], gone: list[str]) -> None:
    assert to_prune(on_disk, history, linked) == gone


def test_records() -> None:
    two = after_release(ONE, "b", "2.0.0")
    assert two == Record("b", "2.0.0", "1.0.0", ["1.0.0", "2.0.0"])
    assert after_release(two, "a", "1.0.0") == Record("a", "1.0.0", "2.0.0", ["2.0.0", "1.0.0"])
    assert after_release(ONE, "b", "1.0.0").previous == ""
    assert idle_slot("a", ["a", "b"]) == "b"
    with pytest.raises(ZmanimError, match="no release to roll back to"):
        rollback_version(ONE, ["1.0.0"])
    with pytest.raises(ZmanimError, match=r"release 1\.0\.0 is no longer on this machine"):
        rollback_version(two, ["2.0.0"])


@pytest.mark.parametrize("text", ["", "xyz  zmanim-api", "0" * 63])
def test_bad_checksums(text: str) -> None:
    with pytest.raises(ZmanimError, match="sha256"):
        parse_checksum(text)


@pytest.fixture
def serving(rig: Rig) -> Rig:
    rig.machine.releaser.release(rig.bucket, "1.0.0", 10)  # type: ignore[arg-type]
    rig.log.clear()
    return rig


def release(rig: Rig, version: str, seconds: float = 1.0) -> Any:
    return rig.machine.releaser.release(rig.bucket, version, seconds)  # type: ignore[arg-type]


def test_a_release_shifts_and_comes_back(serving: Rig) -> None:
    assert release(serving, "2.0.0")["result"] == "released"
    assert serving.log == [
        "stop zmanim-api@b.service",
        "start zmanim-api@b.service",
        "front b",
        "drain a",
        "stop zmanim-api@a.service",
    ]
    assert release(serving, "2.0.0")["result"] == "unchanged"
    answer = serving.machine.releaser.rollback(1.0)
    assert (answer["result"], answer["version"], answer["previous"]) == ("rolled-back", "1.0.0", "2.0.0")
    assert serving.front.now == "a"


def goes_on(rig: Rig) -> None:
    assert rig.front.now == "a"
    assert rig.machine.releaser.record().version == "1.0.0"
    assert rig.systemd.is_active("zmanim-api@a.service")
    assert not rig.systemd.is_active("zmanim-api@b.service")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rig: rig.sick.add("2.0.0"), "/health of release 2.0.0 in slot b did not happen"),
        (lambda rig: rig.systemd.broken.add("zmanim-api@b.service"), "systemctl start zmanim-api@b.service"),
        (lambda rig: setattr(rig.front, "broken", True), "the front does not answer"),
        (lambda rig: rig.bucket.checksums.update({"2.0.0": "0" * 64}), "does not match its checksum"),
        (lambda rig: rig.bucket.programs.pop("2.0.0"), "is not in s3://"),
    ],
)
def test_what_goes_wrong_changes_nothing(serving: Rig, spoil: Any, message: str) -> None:
    spoil(serving)
    with pytest.raises(ZmanimError, match=message):
        release(serving, "2.0.0")
    goes_on(serving)


def test_a_program_that_keeps_ending_fails_early(serving: Rig) -> None:
    serving.sick.add("2.0.0")
    serving.systemd.restarted["zmanim-api@b.service"] = 3
    with pytest.raises(ZmanimError, match=r"release 2\.0\.0 ended in slot b: found last words of"):
        release(serving, "2.0.0", 60.0)
    goes_on(serving)


def test_another_version_than_asked_for_is_refused(serving: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from zmanimctl.health import Health

    monkeypatch.setattr(serving.slots, "_ask", lambda *_: Health(200, "1.9.9"))
    with pytest.raises(ZmanimError, match=r"reports another version: found 1\.9\.9, expected 2\.0\.0"):
        release(serving, "2.0.0")


def test_a_full_disk_is_refused_before_the_download(serving: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1))
    with pytest.raises(ZmanimError, match=r"too full for release 2\.0\.0"):
        release(serving, "2.0.0")
    goes_on(serving)


def test_a_disk_too_full_for_the_record_is_found_before_the_requests_move(
    serving: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    release(serving, "2.0.0")
    moved = len(serving.log)

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    words = (
        r"/opt/\.release\.json\..*: found No space left on device; free space on that disk.*2\.0\.0 goes on"
    )
    with pytest.raises(ZmanimError, match=words):
        serving.machine.releaser.rollback(1.0)
    assert [line for line in serving.log[moved:] if line.startswith("front")] == []
    assert serving.machine.releaser.record().version == "2.0.0"
    assert not serving.systemd.is_active("zmanim-api@a.service")


def test_a_record_that_was_not_needed_is_not_left_behind(serving: Rig, tmp_path: Any) -> None:
    serving.front.broken = True
    with pytest.raises(ZmanimError, match="the front does not answer"):
        release(serving, "2.0.0")
    assert [path.name for path in (tmp_path / "opt").iterdir() if path.is_file()] == ["release.json"]


def test_a_cut_download_is_refused(serving: Rig) -> None:
    opened = serving.bucket.open
    serving.bucket.open = lambda *args: {**opened(*args), "ContentLength": 99}  # type: ignore[method-assign]
    with pytest.raises(ZmanimError, match=r"3 bytes, expected .* 99 bytes"):
        release(serving, "2.0.0")
    assert serving.machine.store.on_disk() == ["1.0.0"]


def test_a_program_damaged_on_disk_is_fetched_again(serving: Rig, tmp_path: Any) -> None:
    release(serving, "2.0.0")
    release(serving, "1.0.0")
    (tmp_path / "opt/releases/2.0.0/zmanim-api").write_bytes(b"damaged")
    with pytest.raises(ZmanimError, match="no longer matches its checksum"):
        serving.machine.releaser.rollback(1.0)
    assert release(serving, "2.0.0")["result"] == "released"


class Bucket:
    def __init__(self, code: str) -> None:
        self.code = code

    def call(self, _service: str, what: str, _act: Any, *, seconds: float = 1) -> Any:
        if "list of" in what:
            return ["1.0.0", "1.1.0"]
        raise AwsFailed(what, code=self.code)


def test_a_missing_version_lists_what_exists() -> None:
    with pytest.raises(ZmanimError, match=r"release 9 is not in s3://b/arm64/: found 1\.0\.0, 1\.1\.0"):
        ReleaseBucket(Bucket("NoSuchKey"), "b", "arm64").checksum("9")
    with pytest.raises(AwsFailed):
        ReleaseBucket(Bucket("AccessDenied"), "b", "arm64").checksum("9")
    with pytest.raises(ZmanimError, match=r"current\.json is not there"):
        ReleaseBucket(Bucket("NoSuchKey"), "b", "arm64").wanted()
