#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every linter, print one line each, and the whole output of those that complain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = Path("collections/ansible_collections/shtetl/zmanim")
ZMANIMCTL = COLLECTION / "roles/zmanim_boot/files/zmanimctl"
PLUGIN_KINDS = ("doc_fragments", "module_utils", "modules")
DEADLINE_SECONDS = 900


def tracked(*patterns: str) -> list[str]:
    """Files that git tracks or would, matching the patterns."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    found = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    return sorted({name for name in found if (ROOT / name).exists()})


def linters() -> dict[str, list[str]]:
    """Each linter's command, the longest first; the collection is linted as Ansible sees it."""
    shell = [name for name in tracked("*.sh", ".ci/run") if (ROOT / name).exists()]
    return {
        "ansible-lint": ["ansible-lint", "--offline", "-q"],
        "ruff check": ["ruff", "check", "."],
        "ruff format": ["ruff", "format", "--check", "."],
        "mypy": ["mypy", "lab", "tools", "tests/rehearsal", "tests/living"],
        "mypy zmanimctl": ["mypy", "--python-version", "3.10", str(ZMANIMCTL)],
        "mypy plugins": [
            "mypy",
            *tracked(*(f"{COLLECTION}/plugins/{kind}/*.py" for kind in PLUGIN_KINDS)),
        ],
        "complexity": [
            "complexipy",
            "--max-complexity-allowed",
            "10",
            "--failed",
            "lab",
            "tools",
            str(COLLECTION / "plugins"),
            str(ZMANIMCTL),
        ],
        "yamllint": ["yamllint", "--strict", "."],
        "shellcheck": ["shellcheck", *shell],
        "packer fmt": ["packer", "fmt", "-check", "-diff", "packer"],
        "packer validate": ["packer", "validate", "-syntax-only", "packer"],
    }


def lint(name: str, command: list[str]) -> tuple[str, float, int, str]:
    """Run one linter: its name, seconds, exit status and output."""
    start = time.monotonic()
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    return name, time.monotonic() - start, done.returncode, done.stdout


def main(names: list[str]) -> int:
    """Run the named linters (all without names); 1 when any complains."""
    chosen = {name: command for name, command in linters().items() if not names or name in names}
    if not chosen:
        print(f"lint: no linter named {names}, expected one of {', '.join(linters())}", file=sys.stderr)
        return 2
    failed = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        running = [pool.submit(lint, name, command) for name, command in chosen.items()]
        for done in as_completed(running):
            name, seconds, status, output = done.result()
            print(f"{'ok    ' if status == 0 else 'FAILED'} {name} ({seconds:.0f} s)", flush=True)
            if status:
                failed += 1
                print(output)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
