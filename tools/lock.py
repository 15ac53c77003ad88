#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write requirements/dev.txt from dev.in: versions and hashes, no addresses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = (
    "--quiet",
    "--generate-hashes",
    "--strip-extras",
    "--allow-unsafe",
    "--no-header",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
    "--no-emit-options",
)


def main() -> int:
    """Compile in a throw-away environment, so that pip-tools is no requirement of its own."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        binaries = Path(folder) / "bin"
        subprocess.run([binaries / "pip", "install", "--quiet", "pip-tools"], check=True, timeout=300)
        command = [
            str(binaries / "pip-compile"),
            *OPTIONS,
            "-o",
            "requirements/dev.txt",
            "requirements/dev.in",
        ]
        return subprocess.run(command, cwd=ROOT, check=False, timeout=1200).returncode


if __name__ == "__main__":
    sys.exit(main())
