"""The data volume's guards: each table row is a way somebody once lost data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from zmanimctl.errors import ZmanimError
from zmanimctl.volume import (
    Device,
    EbsVolume,
    Signatures,
    Volumes,
    decide_action,
    mount_options,
    mount_unit_name,
    mounted_with_uuid,
    parse_ebs,
    parse_lsblk,
    parse_mountinfo,
    parse_wipefs,
    render_mount_unit,
    select_device,
    serial_of,
)
from zmanimctl_fakes import GIB, SERIAL, VOLUME, FakeRunner

DEVICE = Device("/dev/nvme1n1", SERIAL, 2 * GIB, "259:1")
FRESH = EbsVolume(VOLUME, 2 * GIB, fresh=True, from_snapshot=False)
USED = EbsVolume(VOLUME, 2 * GIB, fresh=False, from_snapshot=False)
EMPTY = Signatures()
OURS = Signatures("xfs", "zmanim-data", "uuid-1")


def lsblk(*disks: dict[str, object]) -> str:
    return json.dumps({"blockdevices": list(disks)})


def disk(name: str, serial: str | None, **more: object) -> dict[str, object]:
    return {
        "name": name,
        "path": f"/dev/{name}",
        "serial": serial,
        "size": 2 * GIB,
        "mountpoints": [None],
        "maj:min": "259:1",
        **more,
    }


@pytest.mark.parametrize("serial", [SERIAL, VOLUME, f" {SERIAL} "])
def test_the_serial_comes_with_or_without_a_dash(serial: str) -> None:
    devices = parse_lsblk(lsblk(disk("nvme0n1", "vol0ffffffffffffffff"), disk("loop3", serial)))
    found = select_device(devices, VOLUME)
    assert found is not None
    assert found.path == "/dev/loop3"


@pytest.mark.parametrize("others", [[], [disk("nvme0n1", None)], [disk("nvme1n1", SERIAL + "0")]])
def test_a_decoy_is_never_chosen(others: list[dict[str, object]]) -> None:
    assert select_device(parse_lsblk(lsblk(*others)), VOLUME) is None


def test_two_devices_with_the_serial_are_refused() -> None:
    with pytest.raises(ZmanimError, match="2 devices show the serial"):
        select_device(parse_lsblk(lsblk(disk("a", SERIAL), disk("b", SERIAL))), VOLUME)


@pytest.mark.parametrize(
    ("signatures", "ebs", "action"),
    [
        (OURS, None, "mount"),
        (OURS, FRESH, "mount"),
        (OURS, USED, "mount"),
        (EMPTY, FRESH, "mkfs"),
    ],
)
def test_what_may_be_done(signatures: Signatures, ebs: EbsVolume | None, action: str) -> None:
    assert decide_action(DEVICE, signatures, ebs) == action


@pytest.mark.parametrize(
    ("device", "signatures", "ebs", "message"),
    [
        (DEVICE, EMPTY, USED, "not tagged Fresh=true"),
        (DEVICE, EMPTY, None, "EC2 could not be asked"),
        (Device("/dev/x", SERIAL, GIB, "1:1"), EMPTY, FRESH, "another size"),
        (DEVICE, Signatures("ext4", "zmanim-data"), FRESH, "found ext4"),
        (DEVICE, Signatures("xfs", "home"), FRESH, "label home"),
        (DEVICE, Signatures("xfs", ""), FRESH, r"label \(none\)"),
        (DEVICE, Signatures("gpt"), FRESH, "found gpt"),
        (DEVICE, Signatures("", "", "", ("LVM2_member",)), FRESH, "found LVM2_member"),
        (Device("/dev/x", SERIAL, 2 * GIB, "1:1", (), ("/dev/x1",)), OURS, FRESH, "partition table"),
    ],
)
def test_everything_else_is_refused(
    device: Device, signatures: Signatures, ebs: EbsVolume | None, message: str
) -> None:
    with pytest.raises(ZmanimError, match=message) as refused:
        decide_action(device, signatures, ebs)
    assert "nothing was" in str(refused.value)


def test_mount_options_and_unit() -> None:
    assert "nouuid" not in mount_options(False)
    assert "nouuid" in mount_options(True)
    assert mount_unit_name("/data") == "data.mount"
    assert mount_unit_name("/srv/my-data") == "srv-my\\x2ddata.mount"
    unit = render_mount_unit("/dev/nvme1n1", "/data", mount_options(False))
    assert "What=/dev/nvme1n1\n" in unit
    assert "nofail" in unit
    assert "TimeoutSec=" in unit


def test_mountinfo_names_what_is_mounted_last() -> None:
    text = (
        "22 1 259:0 / / rw shared:1 - ext4 /dev/root rw\n"
        "40 22 7:1 / /data rw,noatime shared:9 - xfs /dev/loop1 rw\n"
        "41 22 7:2 / /data rw - xfs /dev/loop2 rw\n"
    )
    assert parse_mountinfo(text, "/data") == ("7:2", "/dev/loop2")
    assert parse_mountinfo(text, "/dat") is None


def test_parsers_of_what_is_written() -> None:
    assert parse_wipefs("") == ()
    assert parse_wipefs('{"signatures": [{"type": "xfs"}]}') == ("xfs",)
    text = json.dumps(
        {"blockdevices": [{"uuid": "u", "mountpoint": None}, {"uuid": "v", "mountpoint": "/x"}]}
    )
    assert mounted_with_uuid(text, "v")
    assert not mounted_with_uuid(text, "u")


def test_ebs_facts() -> None:
    volume = parse_ebs(
        {
            "VolumeId": VOLUME,
            "Size": 2,
            "SnapshotId": "",
            "Tags": [{"Key": "Fresh", "Value": "true"}],
            "Attachments": [{"State": "detaching", "InstanceId": "i-1"}],
        }
    )
    assert volume == EbsVolume(VOLUME, 2 * GIB, True, False, "", "detaching", "i-1")
    assert not parse_ebs({"VolumeId": VOLUME, "Size": 2}).fresh


# -- the acting part ----------------------------------------------------------------------------------


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    runner = FakeRunner()
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("22 1 259:0 / / rw - ext4 /dev/root rw\n")
    made = Volumes(runner, "/data", str(tmp_path / "units"), mountinfo=mountinfo)  # type: ignore[arg-type]
    made.fake = runner  # type: ignore[attr-defined]
    return made


def test_a_volume_that_never_comes_is_named_with_what_is_there(volumes: Volumes) -> None:
    volumes.fake.on("lsblk", stdout=lsblk(disk("nvme0n1", "vol0bad")))  # type: ignore[attr-defined]
    with pytest.raises(ZmanimError) as absent:
        volumes.wait_for(VOLUME, 0.3)
    message = str(absent.value)
    assert f"data volume {VOLUME} did not appear" in message
    assert "/dev/nvme0n1 (vol0bad)" in message
    assert SERIAL in message
    assert not volumes.fake.ran("mkfs.xfs")  # type: ignore[attr-defined]


def test_a_device_that_is_not_the_one_of_the_serial_is_refused_after_open(
    volumes: Volumes, tmp_path: Path
) -> None:
    impostor = tmp_path / "device"
    impostor.write_text("")
    with pytest.raises(ZmanimError, match="is not the device that showed the serial"):
        volumes.signatures(Device(str(impostor), SERIAL, 1, "259:1"))


def test_mkfs_is_refused_when_the_device_changed_meanwhile(volumes: Volumes) -> None:
    volumes.fake.on("lsblk", stdout=lsblk(disk("nvme2n1", SERIAL)))  # type: ignore[attr-defined]
    with pytest.raises(ZmanimError, match="changed while it was being looked at"):
        volumes.make_file_system(DEVICE, VOLUME)
    assert not volumes.fake.ran("mkfs.xfs")  # type: ignore[attr-defined]


def test_another_mount_on_the_directory_is_refused(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("40 22 7:1 / /data rw - xfs /dev/loop1 rw\n")
    with pytest.raises(ZmanimError, match="/data is not the data volume"):
        volumes.mount(DEVICE, "noatime")


def test_a_mount_that_did_nothing_is_an_error(volumes: Volumes) -> None:
    with pytest.raises(ZmanimError, match="nothing mounted"):
        volumes.mount(DEVICE, "noatime")


def test_serial() -> None:
    assert serial_of(VOLUME) == SERIAL
