# SPDX-License-Identifier: GPL-3.0-or-later
"""The baked image, at rest and booted: the one that ZMANIM_IMAGE names to podman, else the last baked."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import testinfra

ROOT = Path(__file__).resolve().parent.parent.parent
MANIFEST = ROOT / "build" / "image" / "manifest.json"
BOOT_DEADLINE_SECONDS = 90
SETTLED = "systemctl is-active ssh.service haproxy.service zmanim-boot.service"
MACHINE = (
    "--runtime", "runc", "run", "--detach", "--systemd=always", "--privileged", "--network", "none",
    "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768", "-v", "/sys:/sys:ro",
    "--env", "KERNEL_CMDLINE=cloud-init=disabled",
)  # fmt: skip


def podman(*arguments: str) -> str:
    """Run podman and return its output; a failure shows what it said."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"podman {arguments[0]}: {done.stderr.strip()}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def image() -> str:
    """podman's name of the image under test."""
    named = os.environ.get("ZMANIM_IMAGE", "")
    if not named and MANIFEST.exists():
        builds = json.loads(MANIFEST.read_text())["builds"]
        named = f"localhost/zlab-ami/{builds[-1]['artifact_id'].rpartition(':')[2]}:latest"
    if not named or subprocess.run(["podman", "image", "exists", named], check=False).returncode != 0:
        pytest.fail(f"there is no image {named!r}: bake one in the lab, or name one in ZMANIM_IMAGE")
    return named


@pytest.fixture(scope="session")
def at_rest(image: str) -> Iterator[Path]:
    """The image's file system as the AMI has it, before any boot."""
    container = podman("create", image, "/bin/true")
    try:
        yield Path(podman("mount", container))
    finally:
        podman("umount", container)
        podman("rm", container)


@contextmanager
def booted(image: str, name: str) -> Iterator[Any]:
    """A machine of the image, alone in the world: no cloud answers it and it has no data volume."""
    subprocess.run(["podman", "rm", "--force", "--time", "0", name], capture_output=True, check=False)
    podman(*MACHINE, "--name", name, "--hostname", name, image, "/sbin/init")
    try:
        host = testinfra.get_host(f"podman://{name}")
        until = time.monotonic() + BOOT_DEADLINE_SECONDS
        while host.run(SETTLED).stdout.split() not in (["active", "active", "failed"], ["active"] * 3):
            assert time.monotonic() < until, host.run("systemctl list-jobs; systemctl --failed").stdout
            time.sleep(0.5)
        yield host
    finally:
        podman("rm", "--force", "--time", "2", name)


@pytest.fixture(scope="session")
def machine(image: str) -> Iterator[Any]:
    """The image, booted for the first time."""
    with booted(image, "zmanim-image-a") as host:
        yield host


@pytest.fixture(scope="session")
def other_machine(image: str) -> Iterator[Any]:
    """The image, booted a second time beside the first."""
    with booted(image, "zmanim-image-b") as host:
        yield host


@pytest.fixture(scope="session")
def facts(at_rest: Path) -> dict[str, Any]:
    """What the image says it is."""
    found: dict[str, Any] = json.loads((at_rest / "etc/zmanim/zmanimctl.json").read_text())
    return found
