"""What the machine is doing: /run/zmanim/state.json, its lock, and the record of releases on the root
disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

from zmanimctl.errors import ZmanimError

PHASES = ("booting", "standby-ready", "serving", "released", "relaying", "failed")


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> bool:
    """Replace ``path`` by ``text`` in one rename; return False when it already was so."""
    try:
        if path.read_text(encoding="utf-8") == text and (path.stat().st_mode & 0o7777) == mode:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    with written_beside(path, text, mode=mode):
        return True


@contextmanager
def written_beside(path: Path, text: str, *, mode: int = 0o644) -> Iterator[None]:
    """Write ``text`` beside ``path``; it takes that place when the block ends well, else it is gone.

    What can fail, such as a full disk, fails before the block.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=str(path.parent), prefix=f".{path.name}.")
    try:
        _fill(handle, beside, text, mode)
        yield
        os.replace(beside, str(path))
    except BaseException:
        os.unlink(beside)
        raise


def _fill(handle: int, path: str, text: str, mode: int) -> None:
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        # A write does not know the file's name, and the name says which disk is full.
        error.filename = error.filename or path
        raise


class StateFile:
    """A small JSON document that is always whole."""

    def __init__(self, path: Path) -> None:
        """Remember where the document is."""
        self.path = path

    def read(self) -> Dict[str, Any]:
        """Return the document, or an empty one."""
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def update(self, **changes: Any) -> Dict[str, Any]:
        """Merge ``changes`` into the document; a value of None removes the key."""
        document = self._merged(changes)
        write_atomically(self.path, as_text(document))
        return document

    @contextmanager
    def updated_after(self, **changes: Any) -> Iterator[None]:
        """Merge ``changes`` into the document once the block has ended well; a full disk fails before it."""
        with written_beside(self.path, as_text(self._merged(changes))):
            yield

    def _merged(self, changes: Dict[str, Any]) -> Dict[str, Any]:
        document = {**self.read(), **changes}
        return {key: value for key, value in document.items() if value is not None}


def as_text(document: Dict[str, Any]) -> str:
    """Return a document as its file holds it."""
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


@contextmanager
def locked(path: Path, verb: str) -> Iterator[None]:
    """Hold the lock file ``path`` for ``verb``; raise ZmanimError naming who has it when it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            stream.seek(0)
            holder = stream.read().strip() or "unknown"
            raise ZmanimError(
                f"zmanimctl {verb} cannot start",
                found=f"another one running ({holder})",
                remedy="wait for it to end, then run this again",
            ) from None
        stream.seek(0)
        stream.truncate()
        stream.write(f"{verb}, process {os.getpid()}, since {time.strftime('%H:%M:%S', time.gmtime())} UTC")
        stream.flush()
        yield
        stream.seek(0)
        stream.truncate()


def is_locked(path: Path) -> bool:
    """Say whether somebody holds the lock file ``path``."""
    try:
        with open(path, "r", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
