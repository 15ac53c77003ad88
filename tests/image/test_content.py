# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs, their configuration and their owners."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.packer


def test_the_image_says_what_it_is(at_rest: Path, facts: dict[str, Any]) -> None:
    """image.json and zmanimctl's facts agree."""
    identity = json.loads((at_rest / "etc/zmanim/image.json").read_text())
    assert identity["version"]
    assert identity["postgres_major"] == facts["postgres_major"]


def test_postgres_is_of_the_major_that_boot_expects(machine: Any, facts: dict[str, Any]) -> None:
    """The programs that zmanimctl will call are where its facts say."""
    version = machine.run(f"{facts['postgres_bin_dir']}/postgres --version").stdout
    assert f" {facts['postgres_major']}." in version
    assert machine.file(f"{facts['postgres_bin_dir']}/initdb").is_file


def test_every_extension_is_there(machine: Any, facts: dict[str, Any]) -> None:
    """Each extension that boot creates has its control file."""
    share = machine.run(f"{facts['postgres_bin_dir']}/pg_config --sharedir").stdout.strip()
    share = share or f"/usr/share/postgresql/{facts['postgres_major']}"
    missing = [
        name
        for name in [*facts["extensions"], "pg_cron", "pg_stat_statements"]
        if not machine.file(f"{share}/extension/{name}.control").exists
    ]
    assert missing == []


def test_redis_restic_and_haproxy_answer(machine: Any) -> None:
    """Versions that the product needs: Redis 7, restic 0.17, HAProxy 2.6, or newer."""

    def version(command: str) -> tuple[int, ...]:
        found = re.search(r"(\d+)\.(\d+)", machine.run(command).stdout)
        assert found, command
        return tuple(int(part) for part in found.groups())

    assert version("redis-server --version") >= (7, 0)
    assert version("restic version") >= (0, 17)
    assert version("haproxy -v") >= (2, 6)


def test_numbers_of_the_users_are_fixed(machine: Any) -> None:
    """The files on the data volume outlive the image that wrote them."""
    assert {name: machine.user(name).uid for name in ("zmanim", "postgres", "redis")} == {
        "zmanim": 900,
        "postgres": 901,
        "redis": 902,
    }
    assert machine.user("zmanim").shell.endswith("nologin")


def test_migrations_are_aboard(machine: Any) -> None:
    """Boot applies them; the image brings all that the repository has."""
    here = sorted(path.name for path in (Path(__file__).resolve().parents[2] / "migrations").glob("*.sql"))
    assert here
    assert sorted(machine.file("/opt/zmanim/migrations").listdir()) == here


def test_the_clock_is_amazons(machine: Any) -> None:
    """The Amazon Time Sync Service, on the instance's own link."""
    assert "server 169.254.169.123" in machine.file("/etc/chrony/chrony.conf").content_string
