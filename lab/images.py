# SPDX-License-Identifier: GPL-3.0-or-later
"""Machine images: Debian base images that stand for Debian's AMIs, and images committed from machines."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import BASE_PREFIX, CACHE, IMAGE_PREFIX, LABEL
from lab.process import attempt, run

RECIPE = 4
"""Raise it when what a base image contains changes: an older cached image is then built anew."""

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "libpam-systemd",
    "openssh-server",
    "sudo",
    "cloud-init",
    "python3",
    "python3-apt",
    "procps",
    "iproute2",
    "nftables",
    "xfsprogs",
    "e2fsprogs",
    "ca-certificates",
    "curl",
    "gnupg",
    "less",
    "kmod",
    "adduser",
    "passwd",
    "tzdata",
    "netbase",
    "apt-utils",
)

CLOUD_CFG = """\
# What Debian's EC2 images set, plus what a machine without a hypervisor must not try.
datasource_list: [Ec2]
datasource:
  Ec2: {strict_id: false, max_wait: 30, timeout: 5, metadata_urls: ['http://169.254.169.254']}
system_info:
  default_user:
    {name: admin, lock_passwd: true, shell: /bin/bash, groups: [adm, sudo], sudo: ['ALL=(ALL) NOPASSWD:ALL']}
network: {config: disabled}
updates: {network: {when: [boot-new-instance]}}
growpart: {mode: 'off'}
resize_rootfs: false
preserve_hostname: true
manage_etc_hosts: false
locale: false
apt: {preserve_sources_list: true}
"""

DATASOURCE = """\
# A machine without firmware has no DMI by which cloud-init would know EC2, and no DHCP before the network.
from cloudinit import sources
from cloudinit.sources import DataSourceEc2 as ec2

ec2.identify_platform = lambda *_: ec2.CloudNames.AWS
ec2.datasources = [(ec2.DataSourceEc2, (sources.DEP_FILESYSTEM, sources.DEP_NETWORK))]
get_datasource_list = ec2.get_datasource_list
"""
"""cloud-init looks for a top-level module before its own package, and takes the rest from there."""

SETUP = """\
set -eu
systemctl mask getty.target console-getty.service getty@tty1.service systemd-networkd-wait-online.service \
  e2scrub_reap.service e2scrub_all.timer >/dev/null 2>&1 || true
systemctl disable systemd-networkd.service >/dev/null 2>&1 || true
systemctl enable ssh.service >/dev/null 2>&1
rm -f /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id
: > /etc/machine-id
passwd -l root >/dev/null
touch -r /usr /etc/.updated /var/.updated
if ls /usr/local/share/ca-certificates/*.crt >/dev/null 2>&1; then update-ca-certificates >/dev/null; fi
"""


@dataclass(frozen=True)
class Base:
    """A base image and the AMI it stands for."""

    distribution: str
    suite: str
    ami_id: str

    @property
    def image(self) -> str:
        """podman's name of the image."""
        return f"{BASE_PREFIX}{self.distribution}:{RECIPE}"

    @property
    def ami_name(self) -> str:
        """Debian's naming scheme; the date is fixed, so that inventories can pin it."""
        return f"{self.distribution}-amd64-20260101-0000"


BASES = {
    "debian-13": Base("debian-13", "trixie", "ami-0deb13a0000000001"),
    "debian-12": Base("debian-12", "bookworm", "ami-0deb12a0000000001"),
}


def exists(image: str) -> bool:
    """Whether podman has the image."""
    return attempt("podman", "image", "exists", image).returncode == 0


def base_image(distribution: str) -> str:
    """Return the podman image of a base distribution, building it when it is missing."""
    base = BASES.get(distribution)
    if base is None:
        raise LabError(f"unknown base image {distribution!r}; there are: {', '.join(BASES)}")
    with _lock(distribution):
        if not exists(base.image):
            _import(base, _tarball(base))
    return base.image


@contextmanager
def _lock(distribution: str) -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f".{distribution}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _tarball(base: Base) -> Path:
    tarball = CACHE / f"{base.distribution}-{RECIPE}.tar"
    if tarball.exists():
        return tarball
    partial = tarball.with_suffix(".partial.tar")
    with tempfile.TemporaryDirectory(prefix="zmanim-base-") as scratch:
        run(*_mmdebstrap(base, Path(scratch), partial), timeout=900)
    partial.rename(tarball)
    return tarball


def _mmdebstrap(base: Base, scratch: Path, target: Path) -> list[str]:
    (scratch / "90_lab.cfg").write_text(CLOUD_CFG)
    (scratch / "DataSourceEc2.py").write_text(DATASOURCE)
    (scratch / "setup.sh").write_text(SETUP)
    authorities = scratch / "ca"
    authorities.mkdir()
    for certificate in Path("/usr/local/share/ca-certificates").glob("**/*.crt"):
        shutil.copy(certificate, authorities)
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        *(f"--aptopt={line}" for line in _proxy_settings()),
        f"--customize-hook=copy-in {scratch}/90_lab.cfg /etc/cloud/cloud.cfg.d",
        f"--customize-hook=copy-in {scratch}/DataSourceEc2.py /usr/lib/python3/dist-packages",
        f"--customize-hook=sync-in {authorities} /usr/local/share/ca-certificates",
        f'--customize-hook=chroot "$1" sh < {scratch}/setup.sh',
        base.suite,
        str(target),
    ]


def _proxy_settings() -> list[str]:
    """The host's apt proxy, so that machines reach the same package sources."""
    dump = run("apt-config", "dump", "Acquire::http::Proxy") + run(
        "apt-config", "dump", "Acquire::https::Proxy"
    )
    return [line for line in dump.splitlines() if '""' not in line]


def _import(base: Base, tarball: Path) -> None:
    run("podman", "import", "--change", 'CMD ["/sbin/init"]', str(tarball), base.image, timeout=300)


def commit(container: str, ami_id: str) -> str:
    """Commit a machine's file system as the image of an AMI and return podman's name for it."""
    image = f"{IMAGE_PREFIX}{ami_id}:latest"
    run(
        "podman", "commit", "--quiet", "--change", f"LABEL {LABEL}=1", container, image,
        timeout=600,
    )  # fmt: skip
    return image


def tag(image: str, ami_id: str) -> str:
    """Give an image a second name, for a copy of its AMI."""
    name = f"{IMAGE_PREFIX}{ami_id}:latest"
    run("podman", "tag", image, name)
    return name


def remove(image: str) -> None:
    """Remove an image unless a machine still runs from it; `down` removes that one."""
    attempt("podman", "rmi", image)


def made_in_runs() -> list[str]:
    """The images that `down` has to remove."""
    listed = json.loads(run("podman", "images", "--format", "json", "--filter", f"label={LABEL}") or "[]")
    return sorted({name for image in listed for name in image.get("Names") or [image["Id"]]})


def stamp() -> str:
    """A UTC time for names: 20260131-093000."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())
