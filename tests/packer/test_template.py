# SPDX-License-Identifier: GPL-3.0-or-later
"""What the template refuses, each by name and before anything is started; and the pinning of the base."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TEMPLATE = ROOT / "packer"
LAB = ("-var-file", str(ROOT / "inventories/lab/packer.pkrvars.hcl"))


def validate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`packer validate` of the real template."""
    return subprocess.run(
        ["packer", "validate", *arguments, "."],
        cwd=TEMPLATE,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def pin() -> ModuleType:
    """packer/pin.py."""
    spec = importlib.util.spec_from_file_location("pin", TEMPLATE / "pin.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.packer
def test_the_lab_template_is_valid() -> None:
    """The values that `make rehearse` bakes with."""
    done = validate(*LAB, "-var", "image_version=1.0.0")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.packer
@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image_version", "", "image_version"),
        ("architecture", "mips", "architecture must be arm64 or amd64"),
        ("postgres_major", "14", "postgres_major must be 15, 16 or 17"),
        ("source_ami_name", "debian-13-*", "exact name of one AMI"),
        ("source_ami_owner", "self", "account id of 12 digits"),
        ("inventory", "../etc", "directory below inventories"),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: str, said: str) -> None:
    """One message that names the variable and the remedy."""
    done = validate(*LAB, "-var", "image_version=1.0.0", "-var", f"{name}={value}")
    assert done.returncode != 0
    assert said in " ".join((done.stdout + done.stderr).split())


def test_pinning_takes_the_newest(pin: ModuleType) -> None:
    """By the date of its making, not by its name."""
    images = [
        {"Name": "debian-13-amd64-b", "CreationDate": "2026-01-01T00:00:00Z"},
        {"Name": "debian-13-amd64-a", "CreationDate": "2026-02-01T00:00:00Z"},
    ]
    assert pin.newest(images, "debian-13-amd64-*") == "debian-13-amd64-a"


def test_pinning_without_a_match_names_the_pattern(pin: ModuleType) -> None:
    """Nothing is written."""
    with pytest.raises(pin.PinError, match="debian-13-arm64"):
        pin.newest([], "debian-13-arm64-*")


@pytest.mark.parametrize(
    ("base", "architecture", "name"),
    [
        ("amazon-linux-2023", "amd64", "al2023-ami-2023.*-x86_64"),
        ("amazon-linux-2023", "arm64", "al2023-ami-2023.*-arm64"),
        ("debian-13", "amd64", "debian-13-amd64-*"),
    ],
)
def test_names_follow_the_publisher(pin: ModuleType, base: str, architecture: str, name: str) -> None:
    """Amazon says x86_64 where Debian says amd64."""
    assert pin.pattern(base, architecture)[1] == name


def test_an_unknown_base_is_refused(pin: ModuleType) -> None:
    """With the list of what there is."""
    with pytest.raises(pin.PinError, match="debian-13"):
        pin.pattern("ubuntu", "arm64")
