# SPDX-License-Identifier: GPL-3.0-or-later
"""What the image does when it boots where no cloud answers and no data volume is attached."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.packer


STARTED = ("zmanim.target", "zmanim-boot.service", "haproxy.service", "nftables.service")


@pytest.mark.parametrize("unit", STARTED)
def test_starts_by_itself(machine: Any, unit: str) -> None:
    """Enabled in the image."""
    assert machine.run(f"systemctl is-enabled {unit}").stdout.strip() == "enabled"


def test_database_and_cache_wait_for_boot(machine: Any, facts: dict[str, Any]) -> None:
    """Disabled: zmanimctl starts them once the volume is mounted."""
    for unit in (facts["postgres_service"], facts["redis_service"]):
        assert machine.run(f"systemctl is-enabled {unit}").stdout.strip() == "disabled"
        assert machine.run(f"systemctl is-active {unit}").stdout.strip() != "active"


def test_database_and_cache_refuse_the_root_disk(machine: Any, facts: dict[str, Any]) -> None:
    """Even when someone starts them by hand: nothing may ever write to /data on the root volume."""
    for unit in (facts["postgres_service"], facts["redis_service"]):
        assert machine.run(f"systemctl start {unit}").rc != 0
        assert machine.run(f"systemctl show --value --property AssertResult {unit}").stdout.strip() == "no"
    assert machine.file("/data").listdir() == []


def test_boot_without_a_cloud_fails_in_so_many_words(machine: Any) -> None:
    """One clear line on the journal, and a status that says failed."""
    assert machine.run("systemctl is-active zmanim-boot.service").stdout.strip() == "failed"
    assert json.loads(machine.run("zmanimctl status --json").stdout)["phase"] == "failed"


def test_front_lets_a_request_wait(machine: Any) -> None:
    """No slot serves yet: a request waits instead of being refused (curl's 28 is its own deadline)."""
    assert machine.run("curl --silent --max-time 2 http://127.0.0.1:8080/health").rc == 28


def test_packet_filter_lets_in_only_the_front_and_ssh(machine: Any) -> None:
    """What nothing allows is dropped."""
    rules = machine.run("nft list chain inet zmanim inbound").stdout
    assert "policy drop" in rules
    ports = {line.split("tcp dport ")[1].split()[0] for line in rules.splitlines() if "tcp dport" in line}
    assert ports == {"8080", "22"}


def test_ssh_takes_neither_passwords_nor_root(machine: Any) -> None:
    """sshd's own view of its configuration."""
    settings = machine.run("/usr/sbin/sshd -T").stdout.splitlines()
    assert "passwordauthentication no" in settings
    assert "permitrootlogin no" in settings


def test_nothing_updates_packages_by_itself(machine: Any) -> None:
    """A production changes by a new image only."""
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert machine.run(f"systemctl is-enabled {timer}").stdout.strip() == "masked"


def test_only_boot_has_failed(machine: Any) -> None:
    """Everything else that the image starts, starts."""
    failed = machine.run("systemctl list-units --failed --plain --no-legend --type=service").stdout
    assert {line.split()[0] for line in failed.splitlines()} <= {"zmanim-boot.service"}
