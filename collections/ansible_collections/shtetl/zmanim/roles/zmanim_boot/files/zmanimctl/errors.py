"""The one exception of zmanimctl: a line that names the thing, what was found, what was expected and the
remedy.
"""

from __future__ import annotations

import errno
from typing import Union


class ZmanimError(Exception):
    """A refusal or failure that a person can act upon.

    ``what`` names the thing; ``found``, ``expected`` and ``remedy`` are optional parts of the same line.
    """

    def __init__(self, what: str, *, found: str = "", expected: str = "", remedy: str = "") -> None:
        """Compose the line from its parts."""
        self.what = what
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(one_line(what, found, expected, remedy))


class DeadlineExceeded(ZmanimError):
    """A wait that reached its deadline."""


class CommandFailed(ZmanimError):
    """A program that ended with a non-zero status, could not be started, or ran past its deadline."""


class AwsFailed(ZmanimError):
    """An AWS call that failed for good; ``code`` is the service's error code ('' when there was no
    answer).
    """

    def __init__(self, what: str, *, code: str = "", found: str = "", remedy: str = "") -> None:
        """Keep the service's error code beside the line."""
        self.code = code
        super().__init__(what, found=found, remedy=remedy)


def refusal(error: Union[ZmanimError, OSError]) -> ZmanimError:
    """Return the error as a line that a person can act upon; a ZmanimError is one already."""
    if isinstance(error, ZmanimError):
        return error
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return ZmanimError(
        f"{error.filename or 'a file of this machine'} could not be written or read",
        found=error.strerror or str(error),
        remedy="free space on that disk, then run this again" if full else "",
    )


def one_line(what: str, found: str, expected: str, remedy: str) -> str:
    """Join the parts of a message into one line without line breaks."""
    middle = ", ".join(
        part for part in (found and f"found {found}", expected and f"expected {expected}") if part
    )
    line = what
    if middle:
        line += f": {middle}"
    if remedy:
        line += f"; {remedy}"
    return " ".join(line.split())
