# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are full, and the room given back.

A volume's file system is filled by one file. A machine's root is the host's own disk, which must stay as it
is: there the directory moves to a file system in memory that has room for its content and for no more.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from lab.errors import LabError
from lab.machines import Machine

FILLER = ".full-disk"
LARGEST_PIECE = 1 << 30
SMALLEST_PIECE = 4096
MOVE_SECONDS = 120
KIND = "zmanim-full-disk"

# In both, $1 is the directory; its programs are in their place at every moment.
TO_MEMORY = f"""
mkdir -p /run/{KIND}
mount -t tmpfs -o size=2g {KIND} /run/{KIND}
cp -a "$1/." /run/{KIND}/
mount --bind /run/{KIND} "$1"
umount /run/{KIND}
"""
TO_ROOT = f"""
mount --bind / /run/{KIND}
find "/run/{KIND}$1" -mindepth 1 -delete
cp -a "$1/." "/run/{KIND}$1/"
umount --lazy "$1"
umount /run/{KIND}
"""


class FullDisks:
    """The disks that are full now."""

    def __init__(self) -> None:
        self._give_back: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def fill(self, argument: str) -> None:
        """Fill the disk that ``INSTANCE:/DIRECTORY`` names; raises LabError when there is no such one."""
        instance, _, directory = argument.partition(":")
        if not PurePosixPath(directory).is_absolute() or ".." in PurePosixPath(directory).parts:
            raise LabError(f"fault full-disk: {argument!r} is not of the form INSTANCE:/DIRECTORY")
        machine = Machine(instance)
        place = machine.root / directory.lstrip("/")
        if not place.is_dir():
            raise LabError(f"fault full-disk: {instance} has no directory {directory}")
        with self._lock:
            if place.stat().st_dev == machine.root.stat().st_dev:
                _move(machine, TO_MEMORY, directory)
                _leave_no_room(machine, directory)
                self._give_back.append(lambda: _return(machine, directory))
            else:
                self._give_back.append(lambda: _remove_filler(machine, directory))
                _write_filler(place / FILLER)

    def clear(self) -> None:
        """Give all room back; a machine that is off or gone has none to give."""
        with self._lock:
            while self._give_back:
                self._give_back.pop()()


def _move(machine: Machine, script: str, directory: str) -> None:
    done = machine.execute("sh", "-ec", script, "sh", directory, timeout=MOVE_SECONDS)
    if done.returncode:
        raise LabError(f"fault full-disk: {machine.name}:{directory}: {done.stderr.strip()}")


def _leave_no_room(machine: Machine, directory: str) -> None:
    facts = os.statvfs(machine.root / directory.lstrip("/"))
    size = (facts.f_blocks - facts.f_bfree) * facts.f_frsize
    _move(machine, f'mount -o remount,size={size} "$1"', directory)


def _return(machine: Machine, directory: str) -> None:
    if machine.pid and _in_memory(machine, directory):
        _move(machine, TO_ROOT, directory)


def _in_memory(machine: Machine, directory: str) -> bool:
    """Whether the directory is still the one in memory: it is not after a reboot."""
    mounts = Path(f"/proc/{machine.pid}/mounts").read_text().splitlines()
    return f"{KIND} {directory}" in [" ".join(line.split()[:2]) for line in mounts]


def _remove_filler(machine: Machine, directory: str) -> None:
    if machine.pid:
        (machine.root / directory.lstrip("/") / FILLER).unlink(missing_ok=True)


def _write_filler(path: Path) -> None:
    """Take all blocks of a file system, in ever smaller pieces; on a sparse volume that costs nothing."""
    size, piece = 0, LARGEST_PIECE
    with path.open("wb") as filler:
        while piece >= SMALLEST_PIECE:
            try:
                os.posix_fallocate(filler.fileno(), size, piece)
                size += piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece //= 2
