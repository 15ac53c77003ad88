"""Releases of the API: fetched from S3, verified, started in the idle slot, switched to, and undone the same
way.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from zmanimctl.deadline import Deadline
from zmanimctl.errors import AwsFailed, ZmanimError, refusal
from zmanimctl.front import Front
from zmanimctl.slots import Record, Slots, after_release, idle_slot, parse_record
from zmanimctl.state import StateFile

PROGRAM = "zmanim-api"
VERSION = re.compile(r"^[0-9A-Za-z][0-9A-Za-z._+-]{0,63}$")
KEEP = 3
SPARE_BYTES = 64 * 1024 * 1024
MISSING = ("404", "NoSuchKey", "NotFound")
DRAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Plan:
    """What a release will do: nothing (``unchanged``), or put ``version`` into ``slot``."""

    version: str
    slot: str
    unchanged: bool = False


def check_version(version: str) -> str:
    """Return the version, or raise ZmanimError when it could be anything but a name."""
    if not VERSION.fullmatch(version) or ".." in version:
        raise ZmanimError(
            "release version", found=repr(version), expected="letters, digits and . _ + - (at most 64)"
        )
    return version


def plan(record: Record, version: str, slots: Sequence[str], serving: Optional[str]) -> Plan:
    """Decide a release; ``serving`` is the slot that answers as recorded, or None."""
    if serving and record.version == version:
        return Plan(version, serving, unchanged=True)
    # Nothing serves: the recorded slot can be filled again, there is nothing in it to protect.
    slot = (
        idle_slot(record.active_slot, list(slots))
        if serving or not record.active_slot
        else record.active_slot
    )
    return Plan(version, slot)


def rollback_version(record: Record, on_disk: Sequence[str]) -> str:
    """Return the version to roll back to, or raise ZmanimError when there is none."""
    if not record.previous:
        raise ZmanimError(
            "there is no release to roll back to",
            found=f"only {record.version or 'none'}",
            remedy="release a version",
        )
    if record.previous not in on_disk:
        raise ZmanimError(
            f"release {record.previous} is no longer on this machine",
            found=", ".join(on_disk) or "none",
            remedy=f"run: zmanimctl release {record.previous}",
        )
    return record.previous


def to_prune(
    on_disk: Sequence[str], history: Sequence[str], linked: Sequence[str], keep: int = KEEP
) -> List[str]:
    """Return the releases to delete: all but the last ``keep`` of the history and what a slot points to."""
    kept = set(history[-keep:]) | set(linked)
    return sorted(one for one in on_disk if one not in kept)


def parse_checksum(text: str) -> str:
    """Return the sha256 in a line of sha256sum."""
    word = text.split()[0].lower() if text.split() else ""
    if not re.match(r"^[0-9a-f]{64}$", word):
        raise ZmanimError(
            "the release's .sha256 object", found=repr(text[:40]), expected="a line of sha256sum"
        )
    return word


class ReleaseBucket:
    """The releases bucket: ``<arch>/<version>/zmanim-api`` and its checksum; ``current.json`` names the
    wanted one.
    """

    def __init__(self, aws: Any, bucket: str, architecture: str) -> None:
        """Remember where releases are."""
        self._aws = aws
        self._bucket = bucket
        self._architecture = architecture

    def key(self, version: str) -> str:
        """Return the object key of a release's program."""
        return f"{self._architecture}/{version}/{PROGRAM}"

    def _text(self, key: str, seconds: float) -> str:
        def read(client: Any) -> str:
            return str(client.get_object(Bucket=self._bucket, Key=key)["Body"].read().decode("utf-8"))

        return str(self._aws.call("s3", f"S3 s3://{self._bucket}/{key}", read, seconds=seconds))

    def wanted(self, seconds: float = 20.0) -> str:
        """Return the version that current.json names."""
        try:
            text = self._text("current.json", seconds)
        except AwsFailed as error:
            if error.code in MISSING:
                raise ZmanimError(
                    f"s3://{self._bucket}/current.json is not there, so no release is wanted",
                    remedy='upload a release and current.json, {"version": "..."}',
                ) from None
            raise
        try:
            return check_version(str(json.loads(text)["version"]))
        except (ValueError, KeyError, TypeError):
            raise ZmanimError(
                f"s3://{self._bucket}/current.json", found=text[:80], expected='{"version": "..."}'
            ) from None

    def versions(self, seconds: float = 20.0) -> List[str]:
        """Return the versions in the bucket for this architecture."""

        def pages(client: Any) -> List[str]:
            found: List[str] = []
            paginator = client.get_paginator("list_objects_v2")
            for page in paginator.paginate(
                Bucket=self._bucket, Prefix=f"{self._architecture}/", Delimiter="/"
            ):
                found += [one["Prefix"].split("/")[1] for one in page.get("CommonPrefixes", [])]
            return sorted(found)

        return list(self._aws.call("s3", f"S3 list of s3://{self._bucket}", pages, seconds=seconds))

    def checksum(self, version: str, seconds: float = 20.0) -> str:
        """Return the published sha256 of a release; raise ZmanimError that lists what exists when it is not
        there.
        """
        try:
            return parse_checksum(self._text(self.key(version) + ".sha256", seconds))
        except AwsFailed as error:
            if error.code not in MISSING:
                raise
        raise ZmanimError(
            f"release {version} is not in s3://{self._bucket}/{self._architecture}/",
            found=", ".join(self.versions(seconds)[-10:]) or "no release at all",
            expected=f"{self.key(version)} and its .sha256",
            remedy="nothing was changed; upload it or name another version",
        )

    def open(self, version: str, seconds: float = 20.0) -> Any:
        """Return S3's answer to GetObject of the program (ContentLength and Body)."""
        key = self.key(version)
        return self._aws.call(
            "s3",
            f"S3 s3://{self._bucket}/{key}",
            lambda client: client.get_object(Bucket=self._bucket, Key=key),
            seconds=seconds,
        )


class ReleaseStore:
    """The releases on this machine's disk, each in its own directory, each verified."""

    def __init__(self, home: str) -> None:
        """Remember where releases lie."""
        self._root = Path(home) / "releases"

    def on_disk(self) -> List[str]:
        """Return the complete releases on disk."""
        if not self._root.is_dir():
            return []
        return sorted(
            one.name for one in self._root.iterdir() if (one / PROGRAM).is_file() and one.name[:1] != "."
        )

    def verified(self, version: str) -> bool:
        """Say whether a release is on disk and still has the checksum it was published with."""
        program = self._root / version / PROGRAM
        try:
            expected = parse_checksum((program.with_name(PROGRAM + ".sha256")).read_text(encoding="utf-8"))
            return file_sha256(program) == expected
        except (OSError, ZmanimError):
            return False

    def fetch(self, bucket: ReleaseBucket, version: str, seconds: float = 120.0) -> None:
        """Download a release beside the others, verify size and sha256, and put it in place in one rename."""
        check_version(version)
        deadline = Deadline(seconds, f"download of release {version}")
        expected = bucket.checksum(version, min(20.0, seconds))
        answer = bucket.open(version, min(20.0, seconds))
        size = int(answer["ContentLength"])
        self._root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(str(self._root)).free
        if free < size + SPARE_BYTES:
            raise ZmanimError(
                f"the disk of {self._root} is too full for release {version}",
                found=f"{free // 1048576} MiB free",
                expected=f"{(size + SPARE_BYTES) // 1048576} MiB",
                remedy="nothing was changed; free space on the root volume",
            )
        beside = self._root / f".{version}.partial"
        shutil.rmtree(str(beside), ignore_errors=True)
        beside.mkdir(mode=0o755)
        try:
            self._receive(answer["Body"], beside / PROGRAM, version, size, expected, deadline)
            (beside / f"{PROGRAM}.sha256").write_text(f"{expected}  {PROGRAM}\n", encoding="utf-8")
            self._place(beside, version)
        finally:
            shutil.rmtree(str(beside), ignore_errors=True)

    def _receive(
        self, body: Any, path: Path, version: str, size: int, expected: str, deadline: Deadline
    ) -> None:
        digest, received = hashlib.sha256(), 0
        with open(path, "wb") as stream:
            for chunk in iter(lambda: body.read(1 << 20), b""):
                if deadline.expired():
                    raise deadline.exceeded(f"{received} of {size} bytes")
                digest.update(chunk)
                received += len(chunk)
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
            os.fchmod(stream.fileno(), 0o755)
        if received != size or digest.hexdigest() != expected:
            raise ZmanimError(
                f"release {version} does not match its checksum",
                found=f"sha256 {digest.hexdigest()[:16]}..., {received} bytes",
                expected=f"{expected[:16]}..., {size} bytes",
                remedy="nothing was changed; upload the program and its .sha256 again",
            )

    def _place(self, beside: Path, version: str) -> None:
        place = self._root / version
        if place.exists():
            shutil.rmtree(str(place))
        os.rename(str(beside), str(place))

    def remove(self, version: str) -> None:
        """Delete a release from disk."""
        shutil.rmtree(str(self._root / check_version(version)), ignore_errors=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


class Releaser:
    """Brings a version into service without dropping a request."""

    def __init__(self, slots: Slots, front: Front, store: ReleaseStore, record: StateFile) -> None:
        """Remember the acting parts."""
        self._slots = slots
        self._front = front
        self._store = store
        self._record = record

    def record(self) -> Record:
        """Return what is released now."""
        return parse_record(self._record.read())

    def release(self, bucket: ReleaseBucket, version: str, seconds: float) -> Dict[str, Any]:
        """Release ``version``; see the contract of ``zmanimctl release``."""
        record = self.record()
        todo = plan(record, check_version(version), self._slots.names, self._slots.serving(record))
        started = time.monotonic()
        if todo.unchanged:
            return result("unchanged", record, todo.slot, started)
        if not self._store.verified(version):
            self._store.fetch(bucket, version, seconds)
        self.shift(todo, seconds)
        return result("released", self.record(), todo.slot, started)

    def rollback(self, seconds: float) -> Dict[str, Any]:
        """Shift back to the release before this one."""
        record = self.record()
        version = rollback_version(record, self._store.on_disk())
        if not self._store.verified(version):
            raise ZmanimError(
                f"release {version} on this disk no longer matches its checksum",
                remedy=f"run: zmanimctl release {version} after removing it, or release another version",
            )
        started = time.monotonic()
        todo = plan(record, version, self._slots.names, self._slots.serving(record))
        self.shift(todo, seconds)
        return result("rolled-back", self.record(), todo.slot, started)

    def shift(self, todo: Plan, seconds: float) -> None:
        """Start the idle slot, wait for its health, switch, drain, stop the old one, record, prune.

        Anything wrong before the switch stops the idle slot and changes nothing else.
        """
        deadline = Deadline(seconds, f"release {todo.version}")
        record = self.record()
        before = self._slots.version_in(todo.slot)
        try:
            self._slots.stop(todo.slot)
            self._slots.fill(todo.slot, todo.version)
            self._slots.start(todo.slot, todo.version, deadline.remaining())
            with self._record.updated_after(**asdict(after_release(record, todo.slot, todo.version))):
                self._front.to_slot(todo.slot)
        except (ZmanimError, OSError) as error:
            self._undo(todo.slot, before)
            raise ZmanimError(
                f"release {todo.version} was not taken into service: {refusal(error)}",
                remedy=f"nothing else was changed, {record.version or 'no release'} goes on in slot "
                f"{record.active_slot or '-'}",
            ) from None
        self._retire(record.active_slot, todo.slot, deadline)

    def _undo(self, slot: str, before: str) -> None:
        self._slots.stop(slot)
        if before:
            self._slots.fill(slot, before)
        else:
            self._slots.empty(slot)

    def _retire(self, old: str, new: str, deadline: Deadline) -> None:
        if old and old != new:
            self._front.drain(old, min(DRAIN_SECONDS, max(5.0, deadline.remaining())))
            self._slots.stop(old)
        linked = [self._slots.version_in(slot) for slot in self._slots.names]
        for version in to_prune(self._store.on_disk(), self.record().history, linked):
            self._store.remove(version)


def result(kind: str, record: Record, slot: str, started: float) -> Dict[str, Any]:
    """Return the JSON document of a release."""
    return {
        "result": kind,
        "version": record.version,
        "previous": record.previous,
        "slot": slot,
        "seconds": round(time.monotonic() - started, 3),
    }
