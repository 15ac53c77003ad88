# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that no linter knows: specs agree with defaults, READMEs with specs, the product with no lab."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = ROOT / "collections/ansible_collections/shtetl/zmanim"
ROLES = sorted(path.parent.parent for path in (COLLECTION / "roles").glob("*/meta/argument_specs.yml"))
PRODUCT = ("roles", "plugins")


def differences(options: dict, defaults: dict) -> list[str]:
    """Where a role's argument spec and its defaults disagree: keys and values."""
    found = [f"{name}: in defaults, not in the spec" for name in sorted(defaults.keys() - options.keys())]
    for name, option in sorted(options.items()):
        if option.get("required"):
            if name in defaults:
                found.append(f"{name}: required, yet it has a default")
        elif name not in defaults:
            if option.get("default") is not None:
                found.append(f"{name}: default {option['default']!r} in the spec, none in defaults")
        elif option.get("default") != defaults[name]:
            found.append(f"{name}: {option.get('default')!r} in the spec, {defaults[name]!r} in defaults")
    return found


def load(path: Path) -> dict:
    return (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_spec_and_defaults_agree(role: Path) -> None:
    spec = load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert differences(spec, load(role / "defaults/main.yml")) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_option_is_described_typed_and_named_after_its_role(role: Path) -> None:
    options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert [name for name, option in options.items() if not option.get("description")] == []
    assert [name for name, option in options.items() if not option.get("type")] == []
    assert [name for name in options if not name.startswith(f"{role.name}_")] == []


@pytest.mark.parametrize(
    ("options", "defaults", "expected"),
    [
        ({"r_a": {"default": 1}}, {"r_a": 1}, 0),
        ({"r_a": {"default": 1}}, {"r_a": 2}, 1),
        ({"r_a": {"default": 1}}, {}, 1),
        ({}, {"r_a": 1}, 1),
        ({"r_a": {"required": True}}, {"r_a": 1}, 1),
        ({"r_a": {"required": True}}, {}, 0),
    ],
)
def test_the_comparison_itself_finds_each_kind_of_drift(options: dict, defaults: dict, expected: int) -> None:
    assert len(differences(options, defaults)) == expected


def test_role_readmes_are_those_of_their_specs() -> None:
    done = subprocess.run(
        [sys.executable, "tools/docs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


LAB_WORDS = re.compile(
    r"zmanim_lab|\bmoto\b|ministack|169\.254\.169\.1\b|\bin the lab\b|is_lab|podman|127\.77\.", re.IGNORECASE
)


def lab_branches(files: list[Path]) -> list[str]:
    """Lines of the product that know about the lab."""
    found = []
    for path in files:
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if LAB_WORDS.search(line):
                found.append(f"{path}:{number}: {line.strip()}")
    return found


def product_files() -> list[Path]:
    places = [COLLECTION / name for name in PRODUCT] + [ROOT / "playbooks", ROOT / "packer", ROOT / "ansible"]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    return [path for path in files if not {"molecule", "__pycache__", "tests"} & set(path.parts)]


def test_the_product_holds_no_branch_for_the_lab() -> None:
    files = product_files()
    assert len(files) > 50
    assert lab_branches(files) == []


def test_the_search_for_lab_branches_can_fail(tmp_path: Path) -> None:
    planted = tmp_path / "planted.yml"
    planted.write_text("when: zmanim_lab | bool\n")
    assert len(lab_branches([planted])) == 1


def test_make_help_lists_every_target_that_a_person_uses() -> None:
    text = (ROOT / "Makefile").read_text()
    helped = set(re.findall(r"^([a-z][a-z-]*):.*## ", text, re.MULTILINE))
    assert {"help", "setup", "check", "test", "rehearse", "lab", "lab-down"} <= helped


def test_lock_file_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements/dev.txt").read_text()
    assert "://" not in text
    assert text.count("--hash=sha256:") > len(re.findall(r"^[a-z0-9].*==", text, re.MULTILINE)) > 50


def test_every_aws_module_is_in_the_action_group() -> None:
    group = load(COLLECTION / "meta/runtime.yml")["action_groups"]["aws"]
    modules = (COLLECTION / "plugins/modules").glob("*.py")
    assert group == sorted(path.stem for path in modules if "amazon.aws.common.modules" in path.read_text())
    assert len(group) > 20
