# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator can get wrong: one message with the remedy, and the production as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.living.production import Production
from tests.rehearsal.commands import ROOT
from tests.rehearsal.steps import FAILED, FIRST, SECOND, SNAPSHOT

pytestmark = pytest.mark.living
ELSEWHERE = "eu-central-1"


def test_a_version_that_is_not_in_the_bucket(production: Production) -> None:
    with production.unchanged():
        production.refused(
            "release",
            "Release 9.9.9 did not happen",
            f"s3://{production.bucket}/amd64/9.9.9/ should hold zmanim-api and zmanim-api.sha256, "
            "found nothing",
            "name a version that was uploaded",
            "version from before still serves",
            release_version="9.9.9",
        )


def test_a_program_that_does_not_match_its_checksum(production: Production) -> None:
    production.play("publish", **production.release_of("4.0.0", SECOND))
    s3, key = production.operator.client("s3"), "amd64/4.0.0/zmanim-api"
    program = s3.get_object(Bucket=production.bucket, Key=key)["Body"].read()
    s3.put_object(Bucket=production.bucket, Key=key, Body=bytes([program[0] ^ 1]) + program[1:])
    published = s3.get_object(Bucket=production.bucket, Key=f"{key}.sha256")["Body"].read(16).decode()
    with production.unchanged():
        production.refused(
            "release",
            "Release 4.0.0 did not happen",
            "release 4.0.0 does not match its checksum: found sha256 ",
            f"expected {published}",
            "upload the program and its .sha256 again",
            "version from before still serves",
            release_version="4.0.0",
        )


def test_a_full_root_disk_keeps_the_release(production: Production) -> None:
    production.play("publish", **production.release_of(SECOND))
    with production.full_disk("/opt/zmanim"), production.unchanged():
        production.refused(
            "release",
            "the disk of /opt/zmanim/releases is too full for release 2.0.0: found 0 MiB free, expected ",
            "free space on the root volume",
            "version from before still serves",
            release_version=SECOND,
        )
    production.play("release", release_version=SECOND)
    assert production.version() == SECOND
    with production.full_disk("/opt/zmanim"), production.unchanged():
        production.refused(
            "release",
            "The roll-back did not happen",
            "/opt/zmanim/.release.json.",
            "found No space left on device; free space on that disk",
            "2.0.0 goes on in slot",
            release_rollback="true",
        )
    production.play("release", release_rollback="true")
    assert production.version() == FIRST


def test_a_full_data_disk_keeps_the_data(production: Production) -> None:
    production.play("backup")
    with production.full_disk("/data"), production.unchanged():
        production.refused(
            "backup",
            "/data is too full for a backup: found 0 MiB free, expected 16 MiB",
            "enlarge the volume",
        )
        production.refused(
            "restore", "/data is too full for a restore: found 0 MiB free, expected ", "enlarge the volume"
        )
        production.refused(
            "swap",
            "nothing was touched, because",
            "/data has 0 MiB free, expected 64 MiB",
            "enlarge the volume",
            swap_ami_id=production.ami,
            swap_force="true",
        )
    with production.unchanged("databases"):
        assert SNAPSHOT.search(production.play("backup"))
        production.play("restore")
    restored = production.ask("select count(*) from places", "zmanim_restore")
    assert restored == production.ask("select count(*) from places") != ["0"]


@pytest.mark.parametrize(
    ("playbook", "variables", "words"),
    [
        (
            "swap",
            {"swap_ami_id": "ami-0123456789abcdef0"},
            ["AMI ami-0123456789abcdef0 does not exist in this account and region", "nothing was touched"],
        ),
        (
            "swap",
            {"swap_amy_id": "ami-0123456789abcdef0"},
            ["Unknown variable swap_amy_id", "swap_ami_id", "nothing was touched"],
        ),
        (
            "release",
            {"release_version": FIRST, "zmanim_architecture": ""},
            ["Variable zmanim_architecture is missing or empty", "group_vars/all.yml", "nothing was touched"],
        ),
    ],
    ids=["no-such-ami", "unknown-variable", "missing-variable"],
)
def test_a_wrong_variable(
    production: Production, playbook: str, variables: dict[str, str], words: list[str]
) -> None:
    with production.unchanged():
        production.refused(playbook, *words, **variables)


def test_a_region_where_nothing_is(production: Production) -> None:
    with production.unchanged():
        production.refused(
            "swap",
            f"tagged Name=zmanim-data-lab, Persistent=true in {ELSEWHERE}, found none",
            "check zmanim_region",
            "Nothing was touched",
            swap_ami_id=production.ami,
            zmanim_region=ELSEWHERE,
        )
    there = production.operator.client("ssm", ELSEWHERE).describe_parameters()["Parameters"]
    assert there == []


@pytest.mark.parametrize("playbook", ["swap", "site"])
def test_no_credentials(production: Production, playbook: str) -> None:
    nowhere = {"AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent"}
    without = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_PROFILE": None}
    with production.unchanged(), production.environment(**nowhere, **without):
        production.refused(playbook, "credentials", "AWS_PROFILE")


def test_a_setting_that_the_inventory_lacks(production: Production, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/lab", inventory)
    settings = inventory / "group_vars/all.yml"
    kept = [line for line in settings.read_text().splitlines() if not line.startswith("zmanim_domain:")]
    settings.write_text("\n".join(kept) + "\n")
    command = ["ansible-playbook", "-i", str(inventory), "playbooks/site.yml"]
    with production.unchanged():
        production.refusal(
            production.operator.run(command, 2, expected=FAILED),
            "zmanim_domain: found nothing, expected a domain name such as ",
            "correct it in the inventory's group_vars/all.yml or on the command line",
        )
