# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands and reading their output."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.rehearsal import commands
from tests.rehearsal.commands import CommandError

RECAP = """
PLAY RECAP ***********
localhost          : ok=92   changed=7    unreachable=0    failed=0    skipped=3    rescued=0    ignored=0
"""
PACKER = """
==> Builds finished. The artifacts of successful builds are:
--> image.amazon-ebs.machine: AMIs were created:
eu-west-1: ami-0123456789abcdef0

--> image.amazon-ebs.machine: AMIs were created:
eu-west-1: ami-0123456789abcdef1
"""


def silent(_line: str) -> None:
    pass


def test_changed_tasks_are_those_of_every_recap() -> None:
    assert commands.changed_tasks(RECAP) == 7
    assert commands.changed_tasks(RECAP + RECAP) == 14
    with pytest.raises(CommandError, match="PLAY RECAP"):
        commands.changed_tasks("changed=0")


def test_the_last_ami_is_taken() -> None:
    assert commands.baked_ami(PACKER) == "ami-0123456789abcdef1"
    with pytest.raises(CommandError, match="no AMI"):
        commands.baked_ami("AMIs were created: none")


def test_exports_are_read_with_and_without_quotes() -> None:
    text = "export AWS_REGION=eu-west-1\nAWS_ENDPOINT_URL='http://h:1'\n# export NO=1\n"
    assert commands.exports(text) == {"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://h:1"}


def test_a_command_gives_its_own_output_and_keeps_the_log(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    for word in ("one", "two"):
        found = commands.run(["sh", "-c", f"echo {word}; echo err >&2"], log, 10, os.environ, silent)
        assert found == f"{word}\nerr\n"
    assert log.read_text().count("$ sh -c") == 2


def test_a_failed_command_shows_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"exited with 3:(.|\n)*the reason"):
        commands.run(["sh", "-c", "echo the reason; exit 3"], tmp_path / "log", 10, os.environ, silent)


def test_an_expected_failure_is_none_and_its_absence_is_one(tmp_path: Path) -> None:
    commands.run(["sh", "-c", "exit 2"], tmp_path / "log", 10, os.environ, silent, expected=(1, 2))
    with pytest.raises(CommandError, match="exited with 0"):
        commands.run(["true"], tmp_path / "log", 10, os.environ, silent, expected=(1, 2))


def test_a_command_past_its_deadline_is_stopped_with_its_children(tmp_path: Path) -> None:
    log, started = tmp_path / "log", time.monotonic()
    with pytest.raises(CommandError, match="no end within"):
        commands.run(["sh", "-c", "sleep 60 & echo $! ; wait"], log, 0.3, os.environ, silent)
    assert time.monotonic() - started < 30
    child = int(log.read_text().split()[-1])
    with pytest.raises(ProcessLookupError):
        for _ in range(200):  # init reaps it at its leisure
            os.kill(child, 0)
            time.sleep(0.02)
