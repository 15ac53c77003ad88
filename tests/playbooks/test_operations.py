# SPDX-License-Identifier: GPL-3.0-or-later
"""release.yml, backup.yml, restore.yml and verify.yml: what they check, say and leave behind."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playbooks.conftest import Site

pytestmark = pytest.mark.moto
BUCKET = "zmanim-releases-test"


def upload(site: Site, version: str, content: bytes = b"program") -> None:
    digest = hashlib.sha256(content).hexdigest()
    site.s3.put_object(Bucket=BUCKET, Key=f"amd64/{version}/zmanim-api", Body=content)
    site.s3.put_object(
        Bucket=BUCKET, Key=f"amd64/{version}/zmanim-api.sha256", Body=f"{digest}  zmanim-api\n".encode()
    )


def current(site: Site) -> object:
    try:
        return json.load(site.s3.get_object(Bucket=BUCKET, Key="current.json")["Body"])
    except site.s3.exceptions.NoSuchKey:
        return None


def test_release_and_back(site: Site) -> None:
    upload(site, "2.0.0")
    done = site.play("release", release_version="2.0.0")
    assert done.rc == 0, done.text
    assert current(site) == {"version": "2.0.0"}
    back = site.play("release", release_rollback=True)
    assert back.rc == 0, back.text
    assert current(site) == {"version": "1.0.0"}
    assert site.parameter("lock") is None


def test_check_releases_nothing(site: Site) -> None:
    upload(site, "2.0.0")
    done = site.play("release", "--check", release_version="2.0.0")
    assert done.rc == 0, done.text
    assert "changed=1" in done.text
    assert current(site) is None


def test_release_uploads_a_file_once(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "zmanim-api"
    program.write_bytes(b"first")
    done = site.play("release", release_version="2.0.0", release_file=str(program))
    assert done.rc == 0, done.text
    stored = site.s3.get_object(Bucket=BUCKET, Key="amd64/2.0.0/zmanim-api.sha256")["Body"].read().decode()
    assert stored == f"{hashlib.sha256(b'first').hexdigest()}  zmanim-api\n"
    program.write_bytes(b"second")
    again = site.play("release", release_version="2.0.0", release_file=str(program))
    again.failed_with("already holds amd64/2.0.0 with other content", "choose another release_version")
    assert site.s3.get_object(Bucket=BUCKET, Key="amd64/2.0.0/zmanim-api")["Body"].read() == b"first"


def test_a_release_that_fails_leaves_the_pointer(site: Site) -> None:
    upload(site, "2.0.0")
    site.faults(release_api="sha256 of zmanim-api is aa, zmanim-api.sha256 says bb: upload it again")
    done = site.play("release", release_version="2.0.0")
    done.failed_with("Release 2.0.0 did not happen", "sha256 of zmanim-api is aa", "still serves")
    assert current(site) is None
    assert site.parameter("lock") is None


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, ["Variable release_version is missing"]),
        ({"release_version": "../1"}, ["expected letters, digits"]),
        ({"release_version": "9.9.9"}, ["should hold zmanim-api and zmanim-api.sha256, found nothing"]),
        ({"release_version": "1", "release_fil": "x"}, ["Unknown variable release_fil:"]),
        ({"release_version": "1", "release_file": "/nonexistent"}, ["is not a file"]),
    ],
    ids=["missing", "form", "not-in-bucket", "misspelt", "no-file"],
)
def test_release_refuses(site: Site, variables: dict[str, str], words: list[str]) -> None:
    site.play("release", **variables).failed_with(*words)
    assert current(site) is None
    assert site.parameter("lock") is None


def test_publish_before_there_is_a_bucket_names_what_makes_it(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "zmanim-api"
    program.write_bytes(b"first")
    done = site.play("publish", zmanim_env="new", release_version="1.0.0", release_file=str(program))
    done.failed_with("Bucket zmanim-releases-new could not be listed", "site.yml --tags aws_storage")


def test_a_machine_that_ssm_does_not_know_is_named(site: Site) -> None:
    upload(site, "2.0.0")
    site.faults(deaf=[site.blue])
    site.play("release", release_version="2.0.0").failed_with(f"{site.blue} is not managed by SSM")


def test_backup_says_what_it_kept(site: Site) -> None:
    done = site.play("backup")
    assert done.rc == 0, done.text
    assert "Snapshot c0ffee00 of zmanim" in " ".join(done.text.split())
    site.faults(backup="another backup is running")
    site.play("backup").failed_with("another backup is running")


def test_restore_goes_into_scratch_by_default(site: Site) -> None:
    done = site.play("restore")
    assert done.rc == 0, done.text
    assert "into zmanim_restore" in " ".join(done.text.split())


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"restore_live": True}, ["replaces the live database zmanim of test", "-e restore_confirm=test"]),
        ({"restore_live": True, "restore_confirm": "production"}, ['(found "production")']),
        ({"restore_into": "zmanim"}, ["restore_into is zmanim, the live database"]),
    ],
    ids=["unconfirmed", "wrong-environment", "live-as-scratch"],
)
def test_restore_refuses(site: Site, variables: dict[str, object], words: list[str]) -> None:
    site.play("restore", **variables).failed_with(*words)


def test_verify_says_what_is_missing(site: Site) -> None:
    site.play("verify").failed_with("Expected an HTTP API named zmanim-test", "found no API")
