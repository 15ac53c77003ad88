# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the product's commands as a user would: from the repository's root, each with a deadline and a log."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
HEARTBEAT_SECONDS = 20.0
STOP_SECONDS = 20.0

RECAP = re.compile(r"^\S+\s+:\s+ok=\d+\s+changed=(\d+)\s+unreachable=\d+\s+failed=\d+", re.MULTILINE)
AMI = re.compile(r"^\S+: (ami-[0-9a-f]+)\s*$", re.MULTILINE)
EXPORT = re.compile(r"^(?:export\s+)?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


class CommandError(Exception):
    """A command failed or passed its deadline; the message has its last lines."""


def changed_tasks(log: str) -> int:
    """Sum of ``changed=`` in the recaps of an ansible-playbook's output."""
    found = [int(number) for number in RECAP.findall(log)]
    if not found:
        raise CommandError("no PLAY RECAP in the output: the playbook did not reach its end")
    return sum(found)


def baked_ami(log: str) -> str:
    """Return the last AMI id that packer names in its list of artefacts."""
    found: list[str] = AMI.findall(log)
    if not found:
        raise CommandError("packer's output names no AMI")
    return found[-1]


def exports(text: str) -> dict[str, str]:
    """Read ``export NAME=value`` lines; quotes around a value are removed."""
    return {name: value.strip().strip("'\"") for name, value in EXPORT.findall(text)}


def last_lines(log: Path, count: int = 15) -> str:
    """Return the end of a log, without empty lines."""
    lines = [line.rstrip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def json_document(output: str) -> Any:
    """Parse the last line of the output that is a JSON document."""
    for line in reversed(output.strip().splitlines()):
        if line.lstrip().startswith(("{", "[")):
            try:
                return json.loads(line)
            except ValueError:
                continue
    try:
        return json.loads(output)
    except ValueError as error:
        raise CommandError(f"expected a JSON document, found: {output[:200]!r}") from error


def shown(command: Sequence[str]) -> str:
    """A command as a message names it: short."""
    text = " ".join([Path(command[0]).name, *command[1:]])
    return text if len(text) <= 100 else f"{text[:97]}..."


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a command, gently first, then whatever children it left."""
    os.killpg(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)


def run(
    command: Sequence[str],
    log: Path,
    deadline_seconds: float,
    environment: Mapping[str, str],
    beat: Callable[[str], None],
    directory: Path = ROOT,
    expected: Sequence[int] = (0,),
) -> str:
    """Run a command, append its output to ``log`` and return that output.

    ``beat`` gets the log's last line now and then. Raises CommandError on an exit status that is not
    ``expected``, and past the deadline, when the command and its children are stopped.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        sink.write(f"$ {' '.join(command)}\n".encode())
        sink.flush()
        offset = sink.tell()
        process = subprocess.Popen(
            command, cwd=directory, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = _wait(process, log, deadline_seconds, beat)
        except BaseException:
            stop(process)
            raise
    if status not in expected:
        raise CommandError(f"{shown(command)} exited with {status}:\n{last_lines(log)}")
    return log.read_bytes()[offset:].decode(errors="replace")


def _wait(
    process: subprocess.Popen[bytes], log: Path, deadline_seconds: float, beat: Callable[[str], None]
) -> int:
    deadline = time.monotonic() + deadline_seconds
    while True:
        left = deadline - time.monotonic()
        try:
            return process.wait(max(0.01, min(left, HEARTBEAT_SECONDS)))
        except subprocess.TimeoutExpired:
            if left <= HEARTBEAT_SECONDS:
                raise CommandError(
                    f"{log.stem}: no end within {deadline_seconds:.0f} s:\n{last_lines(log)}"
                ) from None
            beat(last_lines(log, 1))
