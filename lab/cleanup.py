# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and remove what a lab leaves on the host: after `down`, and after a run that was interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lab import devices, images, kernel_settings, machines, network
from lab.paths import NETNS_PREFIX, NFT_TABLE, PID_FILE, ROOT, STATE, VOLUMES
from lab.process import attempt

KEPT_FILES = ("events.jsonl", "lab.log", "edge.log")
"""Journals of the last run; the next `up` begins new ones."""


def leftovers() -> list[str]:
    """Everything on the host that belongs to a lab, each with its kind."""
    return [f"{kind} {name}" for kind, find, _ in _KINDS for name in find()]


def clean() -> None:
    """Remove all of it, and put the kernel's settings back."""
    kernel_settings.restore()
    for _, find, remove in _KINDS:
        for name in find():
            remove(name)


def daemon_pid() -> int:
    """Process id of the running lab of this tree; 0 when there is none."""
    try:
        pid = int(PID_FILE.read_text())
    except (OSError, ValueError):
        return 0
    return pid if _is_lab(pid) else 0


def stop_process(pid: int, grace: float = 120) -> None:
    """Ask a process to end, and kill it when it does not."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    until = time.monotonic() + grace
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    if Path(f"/proc/{pid}").exists():
        os.kill(pid, signal.SIGKILL)


def _is_lab(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"lab" in words and b"up" in words


def _processes() -> Iterator[str]:
    if pid := daemon_pid():
        yield str(pid)


def _stop(pid: str) -> None:
    if int(pid) != os.getpid():
        stop_process(int(pid))


def _remove_image(name: str) -> None:
    attempt("podman", "rmi", "--force", name)


def _loops() -> list[str]:
    """Those of any working tree: only one lab runs on a machine."""
    ours = f"/{VOLUMES.relative_to(ROOT)}/"
    return [loop for loop, file in devices.bound_files().items() if ours in file]


def _rules() -> list[str]:
    return [NFT_TABLE] if network.has_rules() else []


def _files() -> list[str]:
    if not STATE.exists():
        return []
    return sorted(str(path) for path in STATE.iterdir() if path.name not in KEPT_FILES and path != PID_FILE)


def _remove_file(name: str) -> None:
    path = Path(name)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_namespace(name: str) -> None:
    network.unplug(name.removeprefix(NETNS_PREFIX))


def _remove_link(name: str) -> None:
    attempt("ip", "link", "delete", name)


def _remove_rules(name: str) -> None:
    attempt("nft", "delete", "table", "ip", name)


Find = Callable[[], "Iterator[str] | list[str]"]
Remove = Callable[[str], None]

_KINDS: tuple[tuple[str, Find, Remove], ...] = (
    ("process", _processes, _stop),
    ("container", machines.existing, lambda name: machines.Machine(name).remove()),
    ("image", images.made_in_runs, _remove_image),
    ("namespace", network.namespaces, _remove_namespace),
    ("interface", network.links, _remove_link),
    ("rules", _rules, _remove_rules),
    ("loop device", _loops, devices.release),
    ("file", _files, _remove_file),
)
