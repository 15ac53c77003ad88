# SPDX-License-Identifier: GPL-3.0-or-later
"""tools/setup.py: what it accepts, what it refuses, and that a done step is not done again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def setup() -> ModuleType:
    specification = importlib.util.spec_from_file_location("zmanim_setup", ROOT / "tools/setup.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_an_unknown_step_is_named_and_nothing_runs(
    setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []
    setup.STEPS = {"python": (lambda: ran.append("python"),)}
    assert setup.main(["python", "pyhton"]) == 2
    assert "'pyhton'" in capsys.readouterr().err
    assert ran == []


def test_a_failing_step_is_one_line_and_a_non_zero_exit(
    setup: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise setup.SetupError("no /dev/loop-control: load the loop module")

    setup.STEPS = {"system": (refuse,)}
    assert setup.main(["system"]) == 1
    assert capsys.readouterr().err == "setup: no /dev/loop-control: load the loop module\n"


@pytest.mark.parametrize(
    ("version", "suitable"), [("v1.15.0", True), ("v1.16.2", True), ("v1.14.3", False), ("v0.9.1", False)]
)
def test_packer_on_path_is_used_only_when_new_enough(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, suitable: bool
) -> None:
    fake = tmp_path / "packer"
    fake.write_text(f"#!/bin/sh\necho Packer {version}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = setup.version_of("packer version", r"v(\d+\.\d+\.\d+)")
    assert (found >= setup.PACKER_MINIMUM) is suitable


def test_an_old_go_is_refused_by_name(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "CACHE", tmp_path)
    monkeypatch.setattr(setup, "version_of", lambda *_: (1, 19, 8))
    with pytest.raises(setup.SetupError, match=r"Go 1\.26 or newer .* packer, found 1\.19\.8"):
        setup.go_build("packer")


def test_a_stamp_of_other_inputs_is_out_of_date(setup: ModuleType, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("a==1")
    stamp = tmp_path / "stamp"
    stamp.write_text(setup.digest(lock))
    assert setup.up_to_date(stamp, setup.digest(lock))
    lock.write_text("a==2")
    assert not setup.up_to_date(stamp, setup.digest(lock))


def test_our_own_link_is_not_taken_for_an_installed_packer(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "tools" / "bin"
    own.mkdir(parents=True)
    (own / "packer").write_text("#!/bin/sh\n")
    (own / "packer").chmod(0o755)
    monkeypatch.setattr(setup, "TOOLS", tmp_path / "tools")
    monkeypatch.setenv("PATH", str(own))
    assert setup.on_path("packer") is None
    monkeypatch.setattr(setup, "TOOLS", tmp_path / "elsewhere")
    assert setup.on_path("packer") == str(own / "packer")
