# SPDX-License-Identifier: GPL-3.0-or-later
"""requirements.yml names exactly the collections that the pinned ansible package brings."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
GALAXY = ROOT / "collections/ansible_collections/shtetl/zmanim/galaxy.yml"


def required() -> dict[str, str]:
    document = yaml.safe_load((ROOT / "requirements.yml").read_text())
    return {entry["name"]: str(entry["version"]) for entry in document["collections"]}


def bundled(name: str) -> str:
    specification = importlib.util.find_spec("ansible_collections")
    assert specification is not None and specification.submodule_search_locations
    for place in specification.submodule_search_locations:
        manifest = Path(place) / name.replace(".", "/") / "MANIFEST.json"
        if manifest.exists():
            return str(json.loads(manifest.read_text())["collection_info"]["version"])
    return "not bundled"


@pytest.mark.parametrize("name", sorted(required()))
def test_version_is_the_bundled_one(name: str) -> None:
    assert required()[name] == bundled(name)


def test_every_dependency_of_the_collection_is_required() -> None:
    dependencies = yaml.safe_load(GALAXY.read_text())["dependencies"]
    assert set(dependencies) <= set(required())


def test_a_collection_that_is_not_there_would_be_noticed() -> None:
    assert bundled("no.such_collection") == "not bundled"
