# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel settings that privileged machines change for the whole host: remembered, and put back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from lab.paths import STATE

ROOT = Path("/proc/sys")
MEMORY = STATE / "kernel-settings.json"
TREES = ("vm", "fs", "kernel", "net/core", "net/ipv4")
PER_DEVICE = ("net/ipv4/conf", "net/ipv4/neigh")
VOLATILE = (
    "kernel/random",
    "kernel/ns_last_pid",
    "fs/binfmt_misc",
    "kernel/keys",
    "vm/drop_caches",
    "vm/compact",
)
"""Counters, and settings that act when they are written."""


def remember() -> None:
    """Note the settings as they are now, unless an interrupted run has noted them before."""
    if not MEMORY.exists():
        MEMORY.parent.mkdir(parents=True, exist_ok=True)
        MEMORY.write_text(json.dumps(dict(_settings())))


def restore() -> None:
    """Put back what has changed since `remember`."""
    if not MEMORY.exists():
        return
    for name, value in changed(json.loads(MEMORY.read_text()), dict(_settings())).items():
        try:
            (ROOT / name).write_text(value)
        except OSError:
            continue  # the kernel refuses some values that it showed itself
    MEMORY.unlink()


def changed(before: dict[str, str], now: dict[str, str]) -> dict[str, str]:
    """The earlier values of settings that differ now."""
    return {name: value for name, value in before.items() if name in now and now[name] != value}


def _settings() -> Iterator[tuple[str, str]]:
    for path in _files():
        name = str(path.relative_to(ROOT))
        value = None if name.startswith((*PER_DEVICE, *VOLATILE)) else _read(path)
        if value is not None:
            yield name, value


def _files() -> Iterator[Path]:
    for tree in TREES:
        for directory, _, names in os.walk(ROOT / tree):
            yield from (Path(directory, name) for name in names)


def _read(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
        return path.read_text() if mode & 0o200 and mode & 0o400 else None
    except (OSError, UnicodeDecodeError):
        return None
