#!/usr/bin/env python3
# Copyright: (c) 2026, The shtetl.zmanim authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pin the newest base AMI by its exact name: `python packer/pin.py amazon-linux-2023 arm64 [REGION]`.

It rewrites pins.auto.pkrvars.hcl, which nothing else changes; the commit of that file records the update.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

PINS = Path(__file__).resolve().parent / "pins.auto.pkrvars.hcl"
BASES = {
    "amazon-linux-2023": ("137112412989", "al2023-ami-2023.*-{architecture}"),
    "debian-13": ("136693071363", "debian-13-{architecture}-*"),
    "debian-12": ("136693071363", "debian-12-{architecture}-*"),
}
ARCHITECTURES = {"arm64": ("arm64", "arm64"), "amd64": ("x86_64", "amd64")}


class PinError(Exception):
    """The base AMI can't be named."""


def pattern(base: str, architecture: str) -> tuple[str, str]:
    """Owner and name pattern of a base; Amazon says x86_64 where Debian says amd64."""
    if base not in BASES or architecture not in ARCHITECTURES:
        raise PinError(
            f"found {base} {architecture}, expected one of {', '.join(BASES)} "
            f"and one of {', '.join(ARCHITECTURES)}"
        )
    owner, name = BASES[base]
    of_amazon, of_debian = ARCHITECTURES[architecture]
    return owner, name.format(architecture=of_amazon if base.startswith("amazon") else of_debian)


def newest(images: Sequence[Mapping[str, Any]], name: str) -> str:
    """The name of the image that was made last."""
    if not images:
        raise PinError(f"there is no AMI called {name} here; is the region right?")
    return str(max(images, key=lambda image: image["CreationDate"])["Name"])


def pins(owner: str, name: str) -> str:
    """The content of the pin file."""
    return (
        "# Written by packer/pin.py, by nothing else: the base image, by its exact name.\n"
        f'source_ami_name  = "{name}"\n'
        f'source_ami_owner = "{owner}"\n'
    )


def main(arguments: list[str]) -> int:
    """Ask EC2 and write the pin file; 1 when nothing was written."""
    if len(arguments) not in (2, 3):
        print("usage: pin.py BASE ARCHITECTURE [REGION]", file=sys.stderr)
        return 1
    region = arguments[2] if len(arguments) == 3 else "eu-west-1"
    try:
        owner, wanted = pattern(arguments[0], arguments[1])
        ec2 = boto3.client("ec2", region_name=region)
        named = {"Name": "name", "Values": [wanted]}
        found = ec2.describe_images(Owners=[owner], Filters=[named])["Images"]  # type: ignore[list-item]
        name = newest([dict(image) for image in found], wanted)
    except PinError as error:
        print(f"pin: {error}", file=sys.stderr)
        return 1
    PINS.write_text(pins(owner, name))
    print(f"{name} is pinned in {PINS.name}; commit it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
