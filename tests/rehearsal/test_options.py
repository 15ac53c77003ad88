# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line."""

from __future__ import annotations

import pytest

from tests.rehearsal.options import parse

NAMES = ("lab", "bake", "site", "swap", "down")


@pytest.mark.parametrize(
    ("arguments", "only"),
    [
        ([], NAMES),
        (["--only", "site"], ("site",)),
        (["--only", "swap, bake"], ("bake", "swap")),
        (["--only", "bake..swap"], ("bake", "site", "swap")),
        (["--only", "lab,site..swap"], ("lab", "site", "swap")),
    ],
)
def test_steps_are_chosen_in_their_order(arguments: list[str], only: tuple[str, ...]) -> None:
    assert parse(arguments, NAMES).only == only


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "nothing"],
        ["--only", ""],
        ["--only", "swap..site"],
        ["--profile", "slow"],
        ["--reads", "0"],
        ["--writes", "1000"],
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(arguments, NAMES)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_defaults() -> None:
    found = parse([], NAMES)
    assert (found.keep, found.profile, found.reads_per_second, found.writes_per_second) == (
        False,
        "fast",
        10,
        5,
    )
