# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the stand-ins' Debian packages into the mirror, byte for byte the same at every start."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "cloudwatch_agent"
VERSION = "1.300064.0b1337-0lab1"
AGENT_HOME = "opt/aws/amazon-cloudwatch-agent"
PROGRAMS = {"amazon-cloudwatch-agent-ctl": "control.py", "start-amazon-cloudwatch-agent": "agent.py"}
MOMENT = 1767225600  # 2026-01-01, of every file in a package
# As on the agent's own download site; one package serves every architecture.
PLACES = tuple(f"debian/{arch}/latest/amazon-cloudwatch-agent.deb" for arch in ("amd64", "arm64"))

CONTROL = f"""\
Package: amazon-cloudwatch-agent
Version: {VERSION}
Architecture: all
Maintainer: The shtetl.zmanim authors <lab@zmanim.invalid>
Depends: python3, python3-boto3, systemd
Section: devel
Priority: optional
Description: Amazon's CloudWatch Agent, the lab's stand-in
 Reads the real agent's configuration and sends real metrics and logs with the machine's role.
"""
POSTINST = """\
#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
set -e
if ! getent passwd cwagent >/dev/null; then
    useradd --system --user-group --no-create-home --home-dir /home/cwagent --shell /usr/sbin/nologin cwagent
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
"""
PRERM = """\
#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
set -e
if [ -d /run/systemd/system ]; then
    systemctl disable --now amazon-cloudwatch-agent.service || true
fi
"""


class StandinError(Exception):
    """A stand-in could not be built."""


@dataclass(frozen=True)
class PackagedFile:
    """A file of the package: its path, its content and its mode."""

    path: str
    content: bytes
    mode: int


def _files() -> list[PackagedFile]:
    programs = [
        PackagedFile(f"{AGENT_HOME}/bin/{name}", (SOURCES / source).read_bytes(), 0o755)
        for name, source in PROGRAMS.items()
    ]
    unit = SOURCES / "amazon-cloudwatch-agent.service"
    return [
        *programs,
        PackagedFile(f"{AGENT_HOME}/bin/CWAGENT_VERSION", f"{VERSION}\n".encode(), 0o644),
        PackagedFile("usr/lib/systemd/system/amazon-cloudwatch-agent.service", unit.read_bytes(), 0o644),
        PackagedFile("DEBIAN/control", CONTROL.encode(), 0o644),
        PackagedFile("DEBIAN/postinst", POSTINST.encode(), 0o755),
        PackagedFile("DEBIAN/prerm", PRERM.encode(), 0o755),
    ]


def _lay_out(root: Path) -> None:
    for file in _files():
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    for name in ("etc/amazon-cloudwatch-agent.d", "logs", "var"):
        (root / AGENT_HOME / name).mkdir(parents=True)
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
        os.utime(path, (MOMENT, MOMENT))


def build_agent(target: Path) -> None:
    """Build the agent's package as `target`. Raises StandinError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="standin-") as scratch:
        root = Path(scratch) / "root"
        root.mkdir()
        _lay_out(root)
        built = subprocess.run(
            [
                "dpkg-deb",
                "--root-owner-group",
                "--uniform-compression",
                "-Zgzip",
                "--build",
                str(root),
                str(target),
            ],
            env={**os.environ, "SOURCE_DATE_EPOCH": str(MOMENT), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
        )
    if built.returncode != 0:
        raise StandinError(f"the CloudWatch agent's stand-in could not be packed: {built.stderr.strip()}")


def build_mirror(directory: Path) -> Path:
    """Put every package, each with its `.sha256`, below `directory` and return it. Raises StandinError."""
    first = directory / PLACES[0]
    build_agent(first)
    digest = sha256(first.read_bytes()).hexdigest()
    for place in PLACES:
        path = directory / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if path != first:
            shutil.copyfile(first, path)
        path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    return directory
