# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the reference API: ``python -m lab.api.build [--arch amd64] [--version 1.0.0] [--output build/api]``.

Each binary lands in ``OUTPUT/ARCH/VERSION/zmanim-api`` with a ``zmanim-api.sha256`` beside it, the layout
of the release bucket. A binary is built again only when the sources or the Go release changed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
OUTPUT = SOURCE.parent.parent / "build" / "api"
ARCHITECTURES = ("amd64", "arm64")
BROKEN = "3.0.0-broken"
VERSIONS = ("1.0.0", "2.0.0", BROKEN)
BINARY = "zmanim-api"
BUILD_SECONDS = 600


class BuildError(Exception):
    """The API can't be built; the message says what to do."""


def source_digest(source: Path, go_release: str) -> str:
    """Return the SHA-256 of everything that decides the binary: Go's release, go.mod, go.sum, *.go."""
    digest = hashlib.sha256(go_release.encode())
    for path in sorted([*source.glob("go.*"), *source.glob("*.go")]):
        if not path.name.endswith("_test.go"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def linker_flags(version: str) -> str:
    """Return the -ldflags that make a binary of this version; BROKEN is built never to become healthy."""
    flags = f"-s -w -X main.version={version}"
    return f"{flags} -X main.neverHealthy=yes" if version == BROKEN else flags


def go_release() -> str:
    """Return ``go env GOVERSION``, e.g. ``go1.26.8``; raises BuildError where there is no Go."""
    try:
        found = subprocess.run(
            ["go", "env", "GOVERSION"], cwd=SOURCE, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"go does not run ({error}): install Go 1.26 or newer and put it in PATH") from error
    return found.stdout.strip()


def build(output: Path, arch: str, version: str, digest: str) -> bool:
    """Build one binary unless the one there is of the same sources; returns whether it was built."""
    target = output / arch / version / BINARY
    stamp = target.with_name(".source")
    if target.exists() and stamp.exists() and stamp.read_text() == digest:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", linker_flags(version)]
    environment = os.environ | {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": arch}
    try:
        subprocess.run(
            [*command, "-o", str(target), "."], cwd=SOURCE, env=environment, check=True, timeout=BUILD_SECONDS
        )
    except subprocess.SubprocessError as error:
        raise BuildError(f"{arch} {version} was not built: {error}") from error
    checksum = hashlib.sha256(target.read_bytes()).hexdigest()
    target.with_name(f"{BINARY}.sha256").write_text(f"{checksum}  {BINARY}\n")
    stamp.write_text(digest)
    return True


def build_all(output: Path, architectures: Sequence[str], versions: Sequence[str]) -> None:
    """Build every version for every architecture into ``output``."""
    digest = source_digest(SOURCE, go_release())
    for arch in architectures:
        for version in versions:
            state = "built" if build(output, arch, version, digest) else "up to date"
            print(f"{output / arch / version / BINARY}: {state}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.api.build", description="Build the reference API.")
    parser.add_argument("--arch", action="append", choices=ARCHITECTURES, help="default: all")
    parser.add_argument("--version", action="append", choices=VERSIONS, help="default: all")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: build/api")
    options = parser.parse_args(arguments)
    try:
        build_all(options.output, options.arch or ARCHITECTURES, options.version or VERSIONS)
    except BuildError as error:
        print(f"lab.api.build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
