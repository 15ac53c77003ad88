#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install what the checks, the lab and the rehearsal need; every step is skipped when it is already done.

`setup.py python` makes build/venv from the hashed lock file, `setup.py packer` provides Packer and plugins,
`setup.py system` installs Debian packages (root). Nothing is installed before the machine is known to serve.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VENV = BUILD / "venv"
TOOLS = BUILD / "tools"
CACHE = Path(
    os.environ.get("ZMANIM_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shtetl-zmanim"
)
PYTHON_MINIMUM = (3, 11)
PACKER_MINIMUM = (1, 15)
GO_MINIMUM = (1, 26)  # what lab/api and the plugins' go.mod ask for
PLUGINS = {"amazon": "1.8.2", "ansible": "1.0.0"}
APT_PACKAGES = (
    "podman",
    "runc",
    "mmdebstrap",
    "xfsprogs",
    "nftables",
    "iproute2",
    "shellcheck",
    "openssh-client",
    "util-linux",
    "restic",
    "unzip",
    "dpkg-dev",
)


class SetupError(Exception):
    """The machine or a tool is not what is needed; the message says what was found and what to do."""


def say(text: str) -> None:
    """Print one progress line."""
    print(f"setup: {text}", flush=True)


def run(
    *command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, seconds: int = 1800
) -> None:
    """Run a command to its end within a deadline; SetupError when it fails."""
    try:
        subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=True, timeout=seconds)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, FileNotFoundError) as error:
        raise SetupError(f"{' '.join(str(part) for part in command[:3])} ... failed: {error}") from error


def digest(*paths: Path) -> str:
    """Hash of the files' contents, to know when a step is out of date."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def up_to_date(stamp: Path, wanted: str) -> bool:
    """Whether the step that wrote `stamp` was done for the same inputs."""
    return stamp.exists() and stamp.read_text() == wanted


def set_up_python() -> None:
    """Make build/venv with exactly the locked requirements."""
    if tuple(map(int, platform.python_version_tuple()[:2])) < PYTHON_MINIMUM:
        raise SetupError(f"Python 3.11 or newer is needed, found {platform.python_version()}: install it")
    lock = ROOT / "requirements" / "dev.txt"
    stamp = VENV / ".lock-hash"
    if up_to_date(stamp, digest(lock)):
        return
    say("Python environment in build/venv (about two minutes)")
    run(sys.executable, "-m", "venv", "--clear", VENV)
    run(
        VENV / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        lock,
    )
    stamp.write_text(digest(lock))


def version_of(command: str, pattern: str) -> tuple[int, ...]:
    """The version that a command on PATH reports, () when it is absent."""
    if not shutil.which(command.split()[0]):
        return ()
    found = subprocess.run(command.split(), capture_output=True, text=True, check=False, timeout=60).stdout
    match = re.search(pattern, found)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def on_path(name: str) -> str | None:
    """Where PATH has a program, our own build/tools/bin aside: that is a link to what this finds."""
    places = [place for place in os.get_exec_path() if Path(place) != TOOLS / "bin"]
    return shutil.which(name, path=os.pathsep.join(places))


def go_build(name: str) -> Path:
    """Build the tool that tools/<name>/go.mod pins, or take it from the cache."""
    source = ROOT / "tools" / name
    binary = CACHE / "tools" / digest(source / "go.mod", source / "go.sum") / name
    if binary.exists():
        return binary
    go = version_of("go version", r"go(\d+\.\d+(?:\.\d+)?)")
    if go < GO_MINIMUM:
        found = ".".join(map(str, go)) or "none"
        wanted = ".".join(map(str, GO_MINIMUM))
        raise SetupError(
            f"Go {wanted} or newer is needed to build {name}, found {found}: "
            "install it, or put packer >= 1.15 and the plugins on the machine"
        )
    say(f"building {name} from pinned Go modules (once; about two minutes)")
    binary.parent.mkdir(parents=True, exist_ok=True)
    partial = binary.with_suffix(".partial")
    run("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", partial, "tool", cwd=source)
    partial.rename(binary)
    return binary


def set_up_packer() -> None:
    """Provide build/tools/bin/packer and its plugins in build/tools/plugins."""
    target = TOOLS / "bin" / "packer"
    found = on_path("packer")
    if found and version_of(f"{found} version", r"v(\d+\.\d+\.\d+)") >= PACKER_MINIMUM:
        packer = Path(found)
    else:
        packer = go_build("packer")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(packer)
    plugins = TOOLS / "plugins"
    env = {**os.environ, "PACKER_PLUGIN_PATH": str(plugins), "CHECKPOINT_DISABLE": "1"}
    for name, version in PLUGINS.items():
        source = ROOT / "tools" / f"packer-plugin-{name}"
        stamp = plugins / f".{name}-hash"
        wanted = digest(source / "go.mod", source / "go.sum")
        if up_to_date(stamp, wanted):
            continue
        say(f"installing packer-plugin-{name} {version}")
        run(
            target,
            "plugins",
            "install",
            "--path",
            go_build(source.name),
            f"github.com/hashicorp/{name}",
            env=env,
        )
        stamp.write_text(wanted)


def set_up_system() -> None:
    """Install the Debian packages that the lab runs on."""
    missing = [package for package in APT_PACKAGES if not installed(package)]
    if not shutil.which("node"):  # CloudFront's functions are JavaScript
        missing.append("nodejs")
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", env=env)
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=env)


def installed(package: str) -> bool:
    """Whether dpkg says that the package is installed."""
    command = ["dpkg-query", "-W", "-f=${Status}", package]
    return (
        "ok installed"
        in subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    )


def require_reference_machine() -> None:
    """SetupError in one line when this machine cannot host the lab: Debian, root, loop devices."""
    release = Path("/etc/os-release")
    name = release.read_text() if release.exists() else ""
    if "ID=debian" not in name:
        raise SetupError("the lab runs on Debian 12 or newer, found another system: use a Debian machine")
    if os.geteuid() != 0:
        raise SetupError("the lab boots machines and attaches disks, so it needs root: run it as root")
    if not Path("/dev/loop-control").exists():
        raise SetupError("no /dev/loop-control: load the kernel's loop module (modprobe loop)")


STEPS: dict[str, tuple[Callable[[], None], ...]] = {
    "python": (set_up_python,),
    "packer": (set_up_packer,),
    "system": (require_reference_machine, set_up_system),
    "all": (require_reference_machine, set_up_system, set_up_python, set_up_packer),
}


def main(arguments: list[str]) -> int:
    """Run the named groups of steps; 1 with one line on failure."""
    names = arguments or ["all"]
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        print(f"setup: unknown step {unknown[0]!r}, expected one of {', '.join(STEPS)}", file=sys.stderr)
        return 2
    try:
        for name in names:
            for step in STEPS[name]:
                step()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
