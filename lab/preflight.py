# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can be a lab, told in one line before anything starts."""

from __future__ import annotations

import ipaddress
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab.errors import LabError
from lab.process import run

TOOLS = {
    "podman": "podman",
    "runc": "runc",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "losetup": "mount",
    "nsenter": "util-linux",
    "mkfs.xfs": "xfsprogs",
}
RELEASES = ("12", "13")
ENOUGH_GIB = 10


def require() -> None:
    """Raise LabError with the first reason why this machine can't serve."""
    for reason in reasons():
        raise LabError(f"this machine can't be the lab: {reason}")


def reasons() -> Iterator[str]:
    """Every reason why this machine can't serve, with the remedy."""
    if platform.system() != "Linux":
        yield f"it runs {platform.system()}; use Debian 12 or 13 (a virtual machine will do)"
        return
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or release.get("VERSION_ID") not in RELEASES:
        yield f"it runs {release.get('PRETTY_NAME', 'an unknown system')}; use Debian 12 or 13"
    if os.geteuid() != 0:
        yield "you are not root; machines, loop devices and addresses need it (sudo)"
        return
    missing = sorted({package for tool, package in TOOLS.items() if not _installed(tool)})
    if missing:
        yield f"missing tools; apt-get install {' '.join(missing)}"
        return
    if not Path("/dev/loop-control").exists():
        yield "no loop devices (/dev/loop-control is missing); modprobe loop, or use a virtual machine"
    free = shutil.disk_usage("/var/lib").free // 1024**3
    if free < ENOUGH_GIB:
        yield f"{free} GiB are free under /var/lib; at least {ENOUGH_GIB} are needed"
    yield from _taken_networks()


def _installed(tool: str) -> bool:
    return shutil.which(tool, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None


def _taken_networks() -> Iterator[str]:
    """The lab's VPC routes are /32, so only the host's own addresses can collide."""
    ours = [ipaddress.ip_network("169.254.169.0/24")]
    for link in json.loads(run("ip", "-j", "address", "show") or "[]"):
        for entry in link.get("addr_info", []):
            address = ipaddress.ip_address(entry["local"])
            if any(address in network for network in ours) and link["ifname"] != "zlab0":
                yield f"{link['ifname']} has {address}, which IMDS needs (is this an EC2 instance?)"
