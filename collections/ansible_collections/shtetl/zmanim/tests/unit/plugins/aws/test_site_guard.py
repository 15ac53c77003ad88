# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong variables, credentials, regions, images and unfinished swaps are named before anything changes."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Callable

import boto3
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[8]
INVENTORIES = ROOT / "inventories"


def sample(name: str = "production") -> dict[str, Any]:
    variables = yaml.safe_load((INVENTORIES / name / "group_vars/all.yml").read_text())
    return {key: value for key, value in variables.items() if key.startswith("zmanim_")}


@pytest.fixture
def guard() -> Any:
    return importlib.import_module("ansible_collections.shtetl.zmanim.plugins.modules.site_guard")


@pytest.mark.parametrize("name", ["production", "lab"])
def test_the_inventories_are_right(guard: Any, name: str) -> None:
    assert guard.faults(sample(name)) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("zmanim_env", "Production!", "lower-case"),
        ("zmanim_region", "europe", "eu-west-1"),
        ("zmanim_availability_zone", "us-east-1a", "zmanim_region eu-west-1"),
        ("zmanim_domain", "https://x", "domain name"),
        ("zmanim_base_path", "backend/", "/backend"),
        ("zmanim_architecture", "x86", "arm64 or amd64"),
        ("zmanim_instance_type", "medium", "m7g.medium"),
        ("zmanim_postgres_major", 14, "15, 16 or 17"),
        ("zmanim_vpc_cidr", "10.0.0.1/16", "10.0.0.0/16"),
        ("zmanim_subnet_cidr", "192.168.0.0/24", "inside zmanim_vpc_cidr"),
        ("zmanim_admin_cidrs", "10.0.0.0/8", "list of networks"),
        ("zmanim_ingress_cidrs", ["everybody"], "list of networks"),
        ("zmanim_data_volume_gib", 0, "16384 GiB"),
        ("zmanim_frontend_mode", "spa", "static or ssr"),
        ("zmanim_clerk_issuer", "clerk", "URL"),
        ("zmanim_restic_repository", "/srv/restic", "restic repository"),
        ("zmanim_admin_email", "nobody", "e-mail"),
        ("zmanim_ami_id", "latest", "AMI id"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_found_and_expected(
    guard: Any, name: str, value: Any, expected: str
) -> None:
    lines = guard.faults({**sample(), name: value})
    assert len(lines) == 1 and lines[0].startswith(f"{name}: found ") and expected in lines[0], lines


def test_a_missing_and_a_misspelt_variable_are_both_named(guard: Any) -> None:
    settings = sample()
    settings["zmanim_domian"] = settings.pop("zmanim_domain")
    lines = guard.faults(settings)
    assert len(lines) == 2
    assert "zmanim_domian: found an unknown variable, expected perhaps zmanim_domain" in lines
    assert any(line.startswith("zmanim_domain: found nothing") for line in lines)


def test_a_secret_of_the_wrong_form_is_not_shown(guard: Any) -> None:
    lines = guard.faults({**sample(), "zmanim_optional_secrets": "planted"})
    assert len(lines) == 1 and "planted" not in lines[0]


def settings_for(image: str = "") -> dict[str, Any]:
    return {**sample(), "zmanim_env": "unit", "zmanim_architecture": "amd64", "zmanim_ami_id": image}


def test_an_image_that_does_not_exist_is_named(aws: Any) -> None:
    message = aws("site_guard", settings=settings_for("ami-00000000"), image="required", fails=True)["msg"]
    assert message.startswith("zmanim_ami_id: found ami-00000000, expected an AMI that exists in eu-west-1")


def test_no_image_at_all_is_refused_only_where_one_is_needed(aws: Any) -> None:
    message = aws("site_guard", settings=settings_for(), image="required", fails=True)["msg"]
    assert "zmanim_ami_id: found ''" in message and "/zmanim/unit/ami-id" in message
    assert aws("site_guard", settings=settings_for())["image_id"] == ""


def test_an_image_of_another_architecture_is_refused(aws: Any, bake: Callable[[str], str]) -> None:
    image = bake("amd64")
    assert aws("site_guard", settings=settings_for(image), image="required")["image_id"] == image
    other = {**settings_for(image), "zmanim_architecture": "arm64"}
    message = aws("site_guard", settings=other, image="required", fails=True)["msg"]
    assert "expected arm64 because of zmanim_architecture" in message


def test_no_credentials_are_reported_with_the_remedy(aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    message = aws("site_guard", settings=settings_for(), fails=True)["msg"]
    assert message.startswith("AWS credentials: found none") and "AWS_PROFILE" in message


def test_a_region_that_does_not_exist_is_named(aws: Any) -> None:
    wrong = {**settings_for(), "zmanim_region": "eu-wset-1", "zmanim_availability_zone": "eu-wset-1a"}
    message = aws("site_guard", settings=wrong, fails=True)["msg"]
    assert message.startswith("zmanim_region: found 'eu-wset-1'") and "eu-west-1" in message


def test_a_zone_that_the_region_does_not_have_is_named(aws: Any) -> None:
    message = aws(
        "site_guard", settings={**settings_for(), "zmanim_availability_zone": "eu-west-1z"}, fails=True
    )
    assert message["msg"].startswith(
        "zmanim_availability_zone: found 'eu-west-1z', expected one of eu-west-1a"
    )


def test_an_unfinished_swap_is_refused_unless_accepted(aws: Any) -> None:
    state = json.dumps({"phase": "moving"})
    boto3.client("ssm").put_parameter(Name="/zmanim/unit/swap", Value=state, Type="String")
    message = aws("site_guard", settings=settings_for(), fails=True)["msg"]
    assert "phase moving" in message and "playbooks/swap.yml" in message
    aws("site_guard", settings=settings_for(), unfinished_swap="accepted")
