# SPDX-License-Identifier: GPL-3.0-or-later
"""Show loop devices to a machine as EBS volumes: with their serial, and no other disk of the host.

lsblk and blkid read three places, all of them the machine's own here: the nodes in /dev, the names in
/sys/block and /sys/class/block, and udev's database in /run/udev/data, where serial and model come from
(on EC2 the NVMe controller reports them). udev's library insists on the kernel's own name, so lsblk says
loopN; the same disk also has an NVMe node and the by-id link that EC2's udev rules make.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.machines import Machine
from lab.process import attempt, run

MODEL = "Amazon Elastic Block Store"
BLOCK_NAMES = ("sys/block", "sys/class/block")


@dataclass(frozen=True)
class Disk:
    """An attached volume: the host's loop device and what the machine calls it."""

    loop: str
    serial: str
    node: str = ""

    @property
    def number(self) -> tuple[int, int]:
        """Major and minor number."""
        device = Path(self.loop).stat().st_rdev
        return os.major(device), os.minor(device)

    @property
    def kernel_name(self) -> str:
        """The kernel's name of the device."""
        return Path(self.loop).name

    @property
    def by_id(self) -> str:
        """Name of udev's stable link."""
        return f"nvme-{MODEL.replace(' ', '_')}_{self.serial}"


def serial_of(volume_id: str) -> str:
    """The NVMe serial of a volume: its id without the dash."""
    return volume_id.replace("-", "")


def bind(image: Path) -> str:
    """Put a volume's file behind a loop device and return the device's path."""
    return run("losetup", "--find", "--show", "--direct-io=off", str(image)).strip()


def release(loop: str) -> None:
    """Free a loop device."""
    attempt("losetup", "--detach", loop)


def grow(loop: str) -> None:
    """Tell the kernel that the file behind a loop device has grown."""
    run("losetup", "--set-capacity", loop)


def show(machine: Machine, disk: Disk) -> Disk:
    """Make the disk appear in a running machine; returns it with the node's name."""
    root = machine.root
    shown = Disk(disk.loop, disk.serial, _free_node(root))
    major, minor = shown.number
    for node in (shown.kernel_name, shown.node):
        os.mknod(root / "dev" / node, stat.S_IFBLK | 0o660, os.makedev(major, minor))
    by_id = root / "dev/disk/by-id"
    by_id.mkdir(parents=True, exist_ok=True)
    _link(by_id / shown.by_id, f"../../{shown.node}")
    describe(machine, shown)
    for directory in BLOCK_NAMES:
        up = "../" * directory.count("/")
        _link(root / directory / shown.kernel_name, f"{up}devices/virtual/block/{shown.kernel_name}")
    return shown


def describe(machine: Machine, disk: Disk) -> None:
    """Write what udev would know of the disk now: serial, model and the file system on it."""
    major, minor = disk.number
    record = machine.root / "run/udev/data" / f"b{major}:{minor}"
    text = udev_record(disk, _probe(disk.loop))
    if not record.exists() or record.read_text() != text:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(text)


def udev_record(disk: Disk, filesystem: dict[str, str]) -> str:
    """udev's database entry for a disk."""
    lines = [
        f"S:disk/by-id/{disk.by_id}",
        "I:1",
        f"E:ID_SERIAL={MODEL.replace(' ', '_')}_{disk.serial}",
        f"E:ID_SERIAL_SHORT={disk.serial}",
        f"E:ID_MODEL={MODEL}",
        *(f"E:ID_FS_{key}={value}" for key, value in sorted(filesystem.items())),
        "",
    ]
    return "\n".join(lines)


def hide(machine: Machine, disk: Disk) -> None:
    """Make the disk disappear from a running machine."""
    root = machine.root
    major, minor = disk.number
    gone = [root / directory / disk.kernel_name for directory in BLOCK_NAMES]
    gone += [root / "dev" / disk.node, root / "dev" / disk.kernel_name, root / "dev/disk/by-id" / disk.by_id]
    gone.append(root / "run/udev/data" / f"b{major}:{minor}")
    for path in gone:
        path.unlink(missing_ok=True)


def is_mounted(disk: Disk) -> bool:
    """Whether any process of the host, in whatever mount namespace, has the disk mounted."""
    wanted = " {}:{} ".format(*disk.number)
    return any(wanted in table for table in _mount_tables())


def mount_point(machine: Machine, disk: Disk) -> str | None:
    """Where the machine has the disk mounted."""
    wanted = "{}:{}".format(*disk.number)
    for line in Path(f"/proc/{machine.pid}/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == wanted:
            return fields[4]
    return None


def bound_files() -> dict[str, str]:
    """All loop devices in use with the file behind each."""
    listed = run("losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE")
    pairs = (line.split(maxsplit=1) for line in listed.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _mount_tables() -> list[str]:
    tables: dict[str, str] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            namespace = str((process / "ns/mnt").readlink())
            if namespace not in tables:
                tables[namespace] = (process / "mountinfo").read_text()
        except OSError:
            continue
    return list(tables.values())


def _free_node(root: Path) -> str:
    for number in range(1, 27):
        name = f"nvme{number}n1"
        if not (root / "dev" / name).exists():
            return name
    raise LabError("no free device name is left on the machine; detach a volume")


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _probe(loop: str) -> dict[str, str]:
    found = attempt("blkid", "--probe", "--output", "export", loop).stdout
    keys = {"TYPE": "TYPE", "UUID": "UUID", "LABEL": "LABEL", "USAGE": "USAGE"}
    return {
        keys[match[1]]: match[2]
        for match in re.finditer(r"^(TYPE|UUID|LABEL|USAGE)=(.*)$", found, re.MULTILINE)
    }
