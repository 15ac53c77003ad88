# SPDX-License-Identifier: GPL-3.0-or-later
"""Real machines: privileged systemd containers that podman runs in a network namespace of ours.

/sys is read-only inside, so systemd-udevd stays off and mount units do not wait for udev; /sys/block and
/sys/class/block are empty directories of the machine's own, in which lab.devices shows its EBS volumes.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.errors import LabError
from lab.paths import LABEL
from lab.process import attempt, run

LIMITS = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=32768:32768")
SYSTEMD = ("--systemd=always", "--privileged", "-v", "/sys:/sys:ro")
OWN_DISKS = ("--tmpfs", "/sys/block:notmpcopyup", "--tmpfs", "/sys/class/block:notmpcopyup")
_inits: dict[str, tuple[int, str]] = {}
"""Process id and start time of each machine's init: asking podman costs 50 ms of a processor."""

INIT = ("/sbin/init",)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REBOOTED = 128 + signal.SIGHUP
"""How the kernel ends a PID namespace whose init asked for a reboot (reboot(2))."""


@dataclass(frozen=True)
class Machine:
    """A machine by the name of its container, which is its instance id."""

    name: str

    @property
    def pid(self) -> int:
        """The host's number of the machine's init process; 0 when it is off."""
        known = _inits.get(self.name)
        if known is None or not known[1] or known[1] != _start_time(known[0]):
            shown = attempt("podman", "inspect", "--format", "{{.State.Pid}}", self.name)
            pid = int(shown.stdout) if shown.returncode == 0 else 0
            known = _inits[self.name] = (pid, _start_time(pid))
        return known[0] if known[1] else 0

    @property
    def root(self) -> Path:
        """The machine's file system, seen from the host."""
        return Path(f"/proc/{self._running_pid()}/root")

    def command(self, *argv: str, tty: bool = False) -> list[str]:
        """The host's command that runs ``argv`` as root on the machine."""
        term = os.environ.get("TERM", "dumb") if tty else "dumb"
        return [
            "nsenter", f"--target={self._running_pid()}", "--mount", "--uts", "--ipc", "--net", "--pid",
            "--cgroup", "--root", "--",
            "env", "--chdir=/", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={term}", *argv,
        ]  # fmt: skip

    def execute(self, *argv: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine as root; the caller looks at ``returncode``."""
        return attempt(*self.command(*argv), timeout=timeout)

    def start(self) -> None:
        """Power on, and take the host's disks out of the machine's /dev."""
        run("podman", "start", self.name, timeout=60)
        _hide_host_disks(self.root / "dev")

    def stop(self, grace: int = 30) -> None:
        """Shut down as ACPI would; power off after ``grace`` seconds."""
        run("podman", "stop", "--time", str(grace), self.name, timeout=grace + 60)

    def power_off(self) -> None:
        """Cut the power."""
        attempt("podman", "kill", "--signal", "KILL", self.name)

    def remove(self) -> None:
        """Remove the machine with its root file system."""
        attempt("podman", "rm", "--force", "--time", "0", self.name)

    def console(self) -> str:
        """What the machine wrote to its console."""
        return attempt("podman", "logs", self.name).stdout

    def exit_status(self) -> int:
        """How init ended, in the shell's numbering."""
        shown = run("podman", "inspect", "--format", "{{.State.ExitCode}}", self.name)
        return int(shown)

    def wait_booted(self, deadline: float) -> str:
        """Wait until systemd has finished starting; return its verdict (running, degraded, ...)."""
        until = time.monotonic() + deadline
        while time.monotonic() < until:
            verdict = self.execute("systemctl", "is-system-running").stdout.strip()
            if verdict in ("running", "degraded", "maintenance"):
                return verdict
            time.sleep(0.2)
        raise LabError(f"{self.name}: systemd has not finished starting after {deadline:g} s")

    def watch(self, ended: Callable[[], None]) -> None:
        """Call ``ended`` from a thread when the machine goes off, whoever turned it off."""
        descriptor = os.pidfd_open(self._running_pid())

        def wait() -> None:
            try:
                select.select([descriptor], [], [])
            finally:
                os.close(descriptor)
            ended()

        threading.Thread(target=wait, name=f"watch-{self.name}", daemon=True).start()

    def _running_pid(self) -> int:
        pid = self.pid
        if not pid:
            raise LabError(f"{self.name}: the machine is off")
        return pid


def create(
    name: str,
    image: str,
    *,
    namespace: str,
    hostname: str,
    address: str,
    init: Sequence[str] = INIT,
) -> Machine:
    """Make a machine (off) from a podman image in an existing network namespace."""
    run(
        "podman", "create", "--name", name, "--hostname", hostname, "--network", f"ns:/run/netns/{namespace}",
        "--label", f"{LABEL}=1", "--add-host", f"{hostname}:{address}",
        "--tty", "--restart", "no", "--stop-signal", "SIGRTMIN+3", *LIMITS, *SYSTEMD, *OWN_DISKS,
        image, *init,
    )  # fmt: skip
    return Machine(name)


def existing() -> list[str]:
    """Names of all containers that belong to the lab, running or not."""
    return run(
        "podman", "ps", "--all", "--filter", f"label={LABEL}", "--filter", "status=created",
        "--filter", "status=running", "--filter", "status=exited", "--filter", "status=paused",
        "--filter", "status=stopped", "--format", "{{.Names}}",
    ).split()  # fmt: skip


def _start_time(pid: int) -> str:
    """When a process began (field 22 of proc(5)'s stat); empty when it is gone or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def _hide_host_disks(dev: Path) -> None:
    for pattern in ("loop*", "vd*", "sd*", "nvme*", "xvd*", "dm-*", "md*", "zram*"):
        for node in dev.glob(pattern):
            if node.is_block_device() or node.name in ("loop-control",):
                node.unlink()
