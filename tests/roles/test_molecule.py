# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role through its molecule scenario, in a real systemd machine; ROLES="redis7 ..." chooses some."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROLES = ROOT / "collections/ansible_collections/shtetl/zmanim/roles"
LOGS = ROOT / "build" / "molecule"
DEADLINE_SECONDS = 1200
MACHINE_ROLES = (
    "base_os",
    "postgres16_postgis",
    "redis7",
    "zmanim_api",
    "restic_backup",
    "cloudwatch_agent",
    "zmanim_boot",
    "image_hygiene",
)

pytestmark = pytest.mark.molecule


def chosen_roles() -> list[str]:
    """The roles named in ROLES, or all eight; a name that is none of them is an error, not an empty run."""
    names = os.environ.get("ROLES", "").split() or list(MACHINE_ROLES)
    unknown = sorted(set(names) - set(MACHINE_ROLES))
    if unknown:
        raise ValueError(f"ROLES names {unknown}, expected some of {', '.join(MACHINE_ROLES)}")
    return names


@pytest.fixture(scope="session")
def base_image() -> str:
    """The podman image of the platform that the roles are tested on."""
    distribution = os.environ.get("PLATFORM", "debian-13")
    done = subprocess.run(
        ["python", "-m", "lab", "base-image", distribution],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("role", chosen_roles())
def test_role(role: str, base_image: str) -> None:
    """`molecule test`: check, converge, idempotence, verify; the log is kept in build/molecule."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{role}.log"
    start = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run(
            ["molecule", "test"],
            cwd=ROLES / role,
            env={**os.environ, "MOLECULE_IMAGE": base_image},
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=DEADLINE_SECONDS,
        )
    print(f"{role}: {time.monotonic() - start:.0f} s, {log.relative_to(ROOT)}")
    assert done.returncode == 0, "\n".join(log.read_text().splitlines()[-40:])
