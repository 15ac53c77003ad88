# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no machine: faults, profiles, volume files, udev records, jobs..."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lab import cli, control, kernel_settings, paths, preflight
from lab.devices import Disk, serial_of, udev_record
from lab.errors import LabError
from lab.faults import FAULTS, Faults
from lab.full_disks import FullDisks
from lab.imds import lookup
from lab.jobs import Workers
from lab.profile import PROFILES, profile_named
from lab.ssm import RunCommand, SsmError
from lab.volumes import GIB, VolumeStore


def test_an_unknown_fault_names_the_known_ones() -> None:
    with pytest.raises(LabError, match="unknown fault 'meteor'; there are: ssm-throttle"):
        Faults().set("meteor")


@pytest.mark.parametrize(
    ("name", "argument"), [("detach-hang", ""), ("detach-hang", "soon"), ("s3-error", "-1")]
)
def test_a_fault_without_a_usable_argument_is_refused(name: str, argument: str) -> None:
    with pytest.raises(LabError, match=name):
        Faults().set(name, argument)


@pytest.mark.parametrize("argument", ["i-1", "i-1:data", "i-1:/data/../etc"])
def test_a_full_disk_needs_an_instance_and_a_directory(argument: str) -> None:
    with pytest.raises(LabError, match="is not of the form INSTANCE:/DIRECTORY"):
        FullDisks().fill(argument)


def test_faults_count_hold_strike_once_and_clear() -> None:
    faults = Faults()
    faults.set("s3-error", "1")
    faults.set("imds-down")
    faults.set("decoy-disk")
    faults.set("detach-hang", "2.5")
    faults.set("boot-fail", "ami-1")
    assert [faults.strikes("s3-error"), faults.strikes("s3-error")] == [True, False]
    assert [faults.strikes("imds-down"), faults.strikes("imds-down")] == [True, True]
    assert [faults.once("decoy-disk"), faults.once("decoy-disk")] == [True, False]
    assert faults.seconds("detach-hang") == 2.5
    assert [faults.names("boot-fail", "ami-1"), faults.names("boot-fail", "ami-2")] == [True, False]
    faults.clear()
    assert faults.listed() == {}


def test_every_fault_says_what_it_does() -> None:
    assert all(fault.effect and fault.name == name for name, fault in FAULTS.items())


def test_the_fast_profile_waits_for_nothing_and_an_unknown_one_is_refused() -> None:
    fast = PROFILES["fast"]
    assert [fast.boot, fast.stop, fast.attach, fast.detach, fast.address, fast.snapshot] == [0] * 6
    with pytest.raises(LabError, match="unknown profile 'slow'; there are: fast, aws"):
        profile_named("slow")


def test_a_volume_is_sparse_grows_and_never_shrinks(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    store.create("vol-1", 2)
    store.resize("vol-1", 3)
    store.resize("vol-1", 1)
    facts = store.path("vol-1").stat()
    assert facts.st_size == 3 * GIB
    assert facts.st_blocks * 512 < GIB // 100


def test_a_volume_from_a_snapshot_has_its_content_and_its_own_size(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    store.create("vol-1", 1)
    with store.path("vol-1").open("r+b") as handle:
        handle.write(b"content")
    store.snapshot("vol-1", "snap-1")
    with store.path("vol-1").open("r+b") as handle:
        handle.write(b"changed")
    store.create("vol-2", 2, "snap-1")
    with store.path("vol-2").open("rb") as handle:
        assert handle.read(7) == b"content"
    assert store.path("vol-2").stat().st_size == 2 * GIB
    store.delete("snap-1")
    assert not store.path("snap-1").exists()


def test_udev_says_the_serial_of_the_volume_and_its_file_system() -> None:
    assert serial_of("vol-0123456789abcdef0") == "vol0123456789abcdef0"
    record = udev_record(Disk("/dev/loop1", "vol0123", "nvme1n1"), {"TYPE": "xfs"})
    assert "E:ID_SERIAL_SHORT=vol0123\n" in record
    assert "E:ID_FS_TYPE=xfs\n" in record
    assert "S:disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0123\n" in record


def test_metadata_lists_directories_and_reads_leaves() -> None:
    tree = {"meta-data": {"ami-id": "ami-1", "tags": {"instance": {"Name": "x"}}, "late": lambda: "computed"}}
    assert lookup(tree, "/meta-data/") == (200, "ami-id\ntags/\nlate")
    assert lookup(tree, "/meta-data/tags/instance/Name") == (200, "x")
    assert lookup(tree, "/meta-data/late") == (200, "computed")
    assert lookup(tree, "/meta-data/spot/instance-action")[0] == 404
    assert lookup(tree, "/meta-data/ami-id/below")[0] == 404


def test_changed_settings_are_the_earlier_values() -> None:
    assert kernel_settings.changed({"a": "1", "b": "2", "gone": "3"}, {"a": "1", "b": "9"}) == {"b": "2"}


def test_jobs_of_one_subject_run_in_order_and_a_failure_is_told() -> None:
    failed: list[str] = []
    seen: list[int] = []
    done = threading.Event()
    workers = Workers(lambda subject, error: failed.append(f"{subject}: {error}"))

    def fail() -> None:
        raise LabError("broken")

    workers.submit("i-1", fail)
    for number in range(5):
        workers.submit("i-1", lambda number=number: seen.append(number))  # type: ignore[misc]
    workers.submit("i-1", done.set)
    assert done.wait(5)
    assert (failed, seen) == (["i-1: broken"], [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"DocumentName": "AWS-Other", "InstanceIds": ["i-1"]}, "InvalidDocument"),
        ({"DocumentName": "AWS-RunShellScript", "InstanceIds": ["i-1"]}, "InvalidParameters"),
        (
            {
                "DocumentName": "AWS-RunShellScript",
                "InstanceIds": ["i-1"],
                "Parameters": {"commands": ["true"]},
            },
            "InvalidInstanceId",
        ),
    ],
)
def test_run_command_refuses_what_it_cannot_run(
    tmp_path: Path, request_: dict[str, object], code: str
) -> None:
    command = RunCommand(lambda name: None, list, None)  # type: ignore[arg-type,return-value]
    with pytest.raises(SsmError) as refused:
        command.send(request_)
    assert refused.value.code == code


def test_a_machine_that_is_not_root_or_not_debian_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(
        "platform.freedesktop_os_release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora 44"}
    )
    reasons = list(preflight.reasons())
    assert any("Fedora 44" in reason for reason in reasons)
    assert any("not root" in reason for reason in reasons)


def test_missing_tools_are_named_by_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    monkeypatch.setattr("lab.preflight._installed", lambda tool: tool != "mkfs.xfs")
    assert list(preflight.reasons()) == ["missing tools; apt-get install xfsprogs"]


def test_asking_a_lab_that_is_down_says_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "CONTROL_SOCKET", tmp_path / "none")
    assert cli.main(["fault", "imds-down"]) == 1
    assert capsys.readouterr().err == "lab: the lab is not running; start it with `make lab`\n"


def test_a_second_lab_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "LOCK_FILE", tmp_path / "lock")
    monkeypatch.setattr(preflight, "require", lambda: None)
    with cli._locked():
        assert cli.main(["up"]) == 1
    assert "a lab is already running here (pid" in capsys.readouterr().err


def test_the_labs_paths_are_inside_the_tree() -> None:
    assert paths.STATE.relative_to(paths.ROOT) == Path("build/lab")
