# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command of the host; a failure becomes one line that says which command and why."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from lab.errors import LabError
from lab.paths import CONTAINERS_CONF

_ENVIRONMENT = {**os.environ, "CONTAINERS_CONF": str(CONTAINERS_CONF)}


def run(*argv: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Run a command and return its standard output.

    Raises LabError with the command's last error line when it exits non-zero or takes longer than
    ``timeout`` seconds.
    """
    done = attempt(*argv, stdin=stdin, timeout=timeout)
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise LabError(f"{' '.join(_shorten(argv))}: {reason[0]}")
    return done.stdout


def attempt(*argv: str, stdin: str | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail; the caller looks at ``returncode``."""
    try:
        return subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=_ENVIRONMENT
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{' '.join(_shorten(argv))}: still running after {timeout:g} s") from late
    except FileNotFoundError as missing:
        raise LabError(f"{argv[0]}: not installed; run `make setup`") from missing


def _shorten(argv: Sequence[str]) -> list[str]:
    return [*argv[:4], "..."] if len(argv) > 5 else list(argv)
