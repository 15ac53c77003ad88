# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the rehearsal."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """What the user asked for."""

    only: tuple[str, ...]  # names of steps in their order; all when nothing was named
    keep: bool
    profile: str
    reads_per_second: float
    writes_per_second: float


def rate(text: str) -> float:
    """A rate of at most 50 a second: the machine is shared with what is measured."""
    number = float(text)
    if not 0 < number <= 50:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 and at most 50 a second")
    return number


def span(text: str, names: Sequence[str]) -> Sequence[str]:
    """One step by its name, or a range ``first..last``."""
    first, _, last = text.partition("..")
    for name in (first, last or first):
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name}: no such step; there are {', '.join(names)}")
    return names[names.index(first) : names.index(last or first) + 1]


def chosen(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Steps of a comma-separated list of names and of ranges ``first..last``, in the rehearsal's order."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    wanted = {name for part in parts for name in span(part, names)}
    if not wanted:
        raise argparse.ArgumentTypeError(f"no step is named; there are {', '.join(names)}")
    return tuple(name for name in names if name in wanted)


def parse(arguments: Sequence[str] | None, names: Sequence[str]) -> Options:
    """Read the command line; ``names`` are the steps in their order."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.rehearsal",
        description="Rehearse a whole production on this machine.",
        epilog=f"Steps: {', '.join(names)}.",
    )
    parser.add_argument(
        "--only", metavar="STEPS", type=lambda text: chosen(text, names), default=tuple(names),
        help="run these steps, e.g. swap,rollback or bake..check; the lab of an earlier --keep run is used",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="leave the lab up, also after a failure")
    parser.add_argument(
        "--profile", choices=("fast", "aws"), default="fast", help="delays of the emulated AWS"
    )
    parser.add_argument("--reads", metavar="PER_SECOND", type=rate, default=10.0, help="default: 10")
    parser.add_argument("--writes", metavar="PER_SECOND", type=rate, default=5.0, help="default: 5")
    found = parser.parse_args(arguments)
    return Options(found.only, found.keep, found.profile, found.reads, found.writes)
