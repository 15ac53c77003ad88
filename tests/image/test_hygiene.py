# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of the builder is in the image, and each instance gets an identity of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.packer

TRACES = (
    "etc/ssh/ssh_host_*",
    "root/.ssh",
    "home/*/.ssh",
    "root/.bash_history",
    "home/*/.bash_history",
    "home/*/.ansible",
    "root/.ansible",
    "root/.cache",
    "var/lib/cloud/instance*",
    "var/lib/apt/lists/*_Packages*",
    "var/cache/apt/archives/*.deb",
    "var/lib/systemd/random-seed",
    "var/log/journal/*/*",
    "var/log/**/*.log",
    "tmp/*.sh",
    "tmp/ansible*",
    "etc/shadow-",
)


@pytest.mark.parametrize("pattern", TRACES)
def test_no_trace_of_the_builder(at_rest: Path, pattern: str) -> None:
    """Keys, histories, caches, logs and states are gone."""
    assert [str(path.relative_to(at_rest)) for path in at_rest.glob(pattern)] == []


def test_identity_is_empty(at_rest: Path) -> None:
    """Empty, not absent: an absent one would make systemd enable what the image disables."""
    assert (at_rest / "etc/machine-id").read_text() == ""


def test_no_secret_and_no_data(at_rest: Path) -> None:
    """Secrets arrive at boot, data is on the volume."""
    assert list((at_rest / "data").iterdir()) == []
    assert not (at_rest / "etc/restic/env").exists()
    assert not (at_rest / "run/zmanim/secrets").exists()
    assert list((at_rest / "var/lib/postgresql").glob("**/PG_VERSION")) == []


def test_no_key_material(at_rest: Path) -> None:
    """No access key and no private key in what the bake wrote."""
    forbidden = re.compile(rb"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----")
    areas = ("etc/zmanim", "etc/systemd/system", "opt/zmanim", "etc/postgresql", "etc/redis")
    written = [path for area in areas for path in (at_rest / area).rglob("*") if path.is_file()]
    assert len(written) > 10
    assert [str(path) for path in written if forbidden.search(path.read_bytes())] == []


def test_nobody_has_a_password(at_rest: Path) -> None:
    """A hash in /etc/shadow would be the same on every instance."""
    lines = (at_rest / "etc/shadow").read_text().splitlines()
    assert [line.split(":")[0] for line in lines if line.split(":")[1].startswith("$")] == []


def test_each_instance_has_its_own_host_key(machine: Any, other_machine: Any) -> None:
    """Made at the first boot, before SSH starts."""
    public = "/etc/ssh/ssh_host_ed25519_key.pub"
    keys = [host.file(public).content_string for host in (machine, other_machine)]
    assert all(key.startswith("ssh-ed25519 ") for key in keys)
    assert keys[0] != keys[1]


def test_each_instance_has_its_own_identity(machine: Any, other_machine: Any) -> None:
    """journald and systemd tell machines apart by it."""
    identities = [host.file("/etc/machine-id").content_string.strip() for host in (machine, other_machine)]
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in identities)
    assert identities[0] != identities[1]
