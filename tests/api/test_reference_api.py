# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference API: its own Go tests, and what its build writes."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from lab.api import build


@pytest.mark.parametrize("command", [["go", "vet", "./..."], ["go", "test", "./..."], ["gofmt", "-l", "."]])
def test_go_is_content(command: list[str]) -> None:
    found = subprocess.run(
        command, cwd=build.SOURCE, capture_output=True, text=True, timeout=300, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    if command[0] == "gofmt":
        assert found.stdout == ""


def test_digest_follows_sources_and_go_but_not_tests(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text("package main\n")
    first = build.source_digest(tmp_path, "go1.26")
    (tmp_path / "main_test.go").write_text("package main\n")
    assert build.source_digest(tmp_path, "go1.26") == first
    assert build.source_digest(tmp_path, "go1.27") != first
    (tmp_path / "main.go").write_text("package main // changed\n")
    assert build.source_digest(tmp_path, "go1.26") != first


def test_only_the_broken_version_is_never_healthy() -> None:
    flags = {version: "neverHealthy" in build.linker_flags(version) for version in build.VERSIONS}
    assert flags == {"1.0.0": False, "2.0.0": False, "3.0.0-broken": True}


def test_build_writes_binary_and_checksum_once(tmp_path: Path) -> None:
    digest = build.source_digest(build.SOURCE, build.go_release())
    assert build.build(tmp_path, "amd64", "2.0.0", digest)
    binary = tmp_path / "amd64" / "2.0.0" / "zmanim-api"
    checksum, name = binary.with_name("zmanim-api.sha256").read_text().split()
    assert (checksum, name) == (hashlib.sha256(binary.read_bytes()).hexdigest(), "zmanim-api")
    assert (
        subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout == "2.0.0\n"
    )
    assert not build.build(tmp_path, "amd64", "2.0.0", digest)
    assert build.build(tmp_path, "amd64", "2.0.0", "other sources")
