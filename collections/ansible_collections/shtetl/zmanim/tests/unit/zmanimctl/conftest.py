"""The machine of fakes as a fixture; makes zmanimctl and the fakes importable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "roles/zmanim_boot/files")]

from zmanimctl_fakes import Rig  # noqa: E402 - the paths above come first


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return Rig(tmp_path, monkeypatch)
