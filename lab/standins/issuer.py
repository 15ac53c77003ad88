# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m lab token`: print a token of the running lab's issuer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lab.edge import tokens
from lab.paths import STATE


def main(arguments: Sequence[str]) -> int:
    """Print one signed token; 1 with a message when no lab is up."""
    parser = argparse.ArgumentParser(prog="python -m lab token", description=__doc__)
    parser.add_argument("--aud", default=tokens.AUDIENCE, help="audience; empty leaves the claim out")
    parser.add_argument("--sub", default="user_lab", help="subject")
    parser.add_argument("--expired", action="store_true", help="a token that is no longer valid")
    options = parser.parse_args(list(arguments))
    try:
        token = tokens.mint(STATE, audience=options.aud or None, expired=options.expired, subject=options.sub)
    except FileNotFoundError:
        print("no lab is up, so there is no issuer: run `make lab`", file=sys.stderr)
        return 1
    print(token)
    return 0
