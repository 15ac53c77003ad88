# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-doc shows of a module, fragments included, is what the module accepts."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

COLLECTIONS = Path(__file__).resolve().parents[6]
MODULES = sorted((Path(__file__).resolve().parents[3] / "plugins/modules").glob("*.py"))
NAMES = [path.stem for path in MODULES]
SAID = ("type", "elements", "choices", "default", "required", "aliases")
UNSAID = {"type": "str", "required": False, "aliases": []}


class SpecRead(Exception):
    """Ends a module where it would read its arguments."""


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """What ansible-doc shows of every module."""
    done = subprocess.run(
        ["ansible-doc", "--type", "module", "--json", *(f"shtetl.zmanim.{name}" for name in NAMES)],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {name.rpartition(".")[2]: document for name, document in json.loads(done.stdout).items()}


def accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The argument spec that a module gives to AnsibleModule, with what AnsibleAWSModule adds."""

    def stop(_self: Any, argument_spec: dict[str, Any], **_more: Any) -> None:
        raise SpecRead(argument_spec)

    monkeypatch.setattr(AnsibleModule, "__init__", stop)
    module = importlib.import_module(f"ansible_collections.shtetl.zmanim.plugins.modules.{name}")
    with pytest.raises(SpecRead) as caught:
        module.main()
    spec: dict[str, Any] = caught.value.args[0]
    return spec


def outline(options: dict[str, Any], children: str) -> dict[str, Any]:
    """Options as far as a documentation and an argument spec say the same of them."""
    found = {}
    for name, option in options.items():
        facts = {key: option.get(key, UNSAID.get(key)) for key in SAID}
        facts["aliases"] = sorted(facts["aliases"] or [])
        found[name] = {**facts, "options": outline(option.get(children) or {}, children)}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_documented_is_what_is_accepted(
    shown: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    documented = outline(shown[name]["doc"]["options"], "suboptions")
    spec = outline(accepted(name, monkeypatch), "options")
    assert sorted(documented) == sorted(spec)
    assert documented == spec


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_both_modes_are_described(shown: dict[str, Any], name: str) -> None:
    document = shown[name]["doc"]
    assert [option for option, facts in document["options"].items() if not facts.get("description")] == []
    modes = {mode: facts for mode, facts in document["attributes"].items() if facts.get("description")}
    assert {"check_mode", "diff_mode"} <= modes.keys()
    assert shown[name]["examples"] and shown[name]["return"]


def test_the_comparison_finds_an_option_that_only_one_side_knows(shown: dict[str, Any]) -> None:
    documented = outline(shown["swap"]["doc"]["options"], "suboptions")
    assert documented["env"]["required"]
    assert documented != outline({**shown["swap"]["doc"]["options"], "other": {}}, "suboptions")
    assert outline({"size": {"type": "int", "default": 1}}, "options") != outline(
        {"size": {"type": "int", "default": 2}}, "options"
    )
