# SPDX-License-Identifier: GPL-3.0-or-later
"""The files behind EBS volumes and snapshots: sparse, so a 30 GiB volume costs what is written to it."""

from __future__ import annotations

from pathlib import Path

from lab.paths import VOLUMES
from lab.process import run

GIB = 1024**3


class VolumeStore:
    """Files of volumes and snapshots by their EC2 ids."""

    def __init__(self, directory: Path = VOLUMES) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, identifier: str) -> Path:
        """The file of a volume or a snapshot."""
        return self._directory / f"{identifier}.img"

    def create(self, volume_id: str, size_gib: int, snapshot_id: str | None = None) -> None:
        """Make a volume, empty or from a snapshot, which may be smaller."""
        if snapshot_id and self.path(snapshot_id).exists():
            self._copy(snapshot_id, volume_id)
        self.resize(volume_id, size_gib)

    def resize(self, volume_id: str, size_gib: int) -> None:
        """Give a volume its size; never shrinks."""
        path = self.path(volume_id)
        path.touch()
        if path.stat().st_size < size_gib * GIB:
            with path.open("r+b") as handle:
                handle.truncate(size_gib * GIB)

    def snapshot(self, volume_id: str, snapshot_id: str) -> None:
        """Copy a volume as it is now."""
        self._copy(volume_id, snapshot_id)

    def delete(self, identifier: str) -> None:
        """Delete a volume or a snapshot."""
        self.path(identifier).unlink(missing_ok=True)

    def _copy(self, source: str, target: str) -> None:
        run(
            "cp", "--sparse=always", "--reflink=auto", str(self.path(source)), str(self.path(target)),
            timeout=600,
        )  # fmt: skip
