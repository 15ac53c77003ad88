"""Prove on the machine what the role promises: timers that wait for boot, a check that notices damage."""

from __future__ import annotations

import os
import pathlib
import shutil
import stat
import subprocess
import unittest

TIMERS = ("restic-backup.timer", "restic-check.timer")
SERVICES = ("restic-backup.service", "restic-check.service")
REPOSITORY = pathlib.Path("/var/cache/restic/test-repository")
CALLED = pathlib.Path("/run/backup-was-called")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said, whatever its exit status."""
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


class Bake(unittest.TestCase):
    """The machine as the image is taken from it."""

    def test_the_timers_belong_to_zmanim_target_and_do_not_run(self) -> None:
        """They start when the machine serves, so neither in the bake nor on a machine that only booted."""
        self.assertEqual(run("systemctl", "is-enabled", *TIMERS).stdout.split(), ["enabled", "enabled"])
        self.assertEqual(run("systemctl", "is-active", *TIMERS).stdout.split(), ["inactive", "inactive"])
        wanted = sorted(path.name for path in pathlib.Path("/etc/systemd/system").glob("*.wants/restic-*"))
        self.assertEqual(wanted, sorted(TIMERS))
        for timer in TIMERS:
            self.assertTrue(pathlib.Path(f"/etc/systemd/system/zmanim.target.wants/{timer}").is_symlink())

    def test_the_units_are_valid(self) -> None:
        """Systemd finds no mistake of ours; zmanimctl belongs to another role and is not installed here."""
        with CommandInPlace():
            verified = run("systemd-analyze", "verify", "--man=no", *TIMERS, *SERVICES)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_the_backup_begins_at_three_give_or_take_five_minutes(self) -> None:
        """In universal time, once a day, and made up for when the machine was off."""
        shown = run(
            "systemctl",
            "show",
            "restic-backup.timer",
            "--property=TimersCalendar,RandomizedDelayUSec,Persistent",
        )
        self.assertIn("OnCalendar=*-*-* 02:55:00 UTC", shown.stdout)
        self.assertIn("RandomizedDelayUSec=10min", shown.stdout)
        self.assertIn("Persistent=yes", shown.stdout)

    def test_only_root_reads_the_environment(self) -> None:
        """The directory is closed before boot writes a secret into it."""
        found = os.stat("/etc/restic")
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (0o700, 0, 0))

    def test_restic_tells_a_failed_dump_from_an_empty_one(self) -> None:
        """Which is what 0.17 brought: no snapshot when the command fails."""
        with Repository() as environment:
            command = ("restic", "backup", "--stdin-from-command", "--stdin-filename=dump", "--")
            failed = subprocess.run([*command, "false"], env=environment, capture_output=True, timeout=60)
            self.assertNotEqual(failed.returncode, 0)
            listed = subprocess.run(
                ["restic", "snapshots", "--json"], env=environment, capture_output=True, timeout=60
            )
            self.assertIn(listed.stdout.strip(), (b"[]", b"null"))


class CommandInPlace:
    """A stand-in for zmanimctl that leaves its words behind."""

    path = pathlib.Path("/usr/local/bin/zmanimctl")

    def __enter__(self) -> None:
        """Write it, unless the real one is there."""
        self.path.write_text(f'#!/bin/sh\necho "$@" > {CALLED}\n', encoding="utf-8")
        self.path.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self.path.unlink()
        CALLED.unlink(missing_ok=True)


class Repository:
    """A real repository on the disk, reached through /etc/restic/env as boot writes it."""

    def __enter__(self) -> dict[str, str]:
        """Make the repository and return the environment that names it."""
        password = pathlib.Path("/run/test-restic-password")
        password.write_text("planted", encoding="utf-8")
        password.chmod(0o600)
        values = {"RESTIC_REPOSITORY": str(REPOSITORY), "RESTIC_PASSWORD_FILE": str(password)}
        text = "".join(f"{key}={value}\n" for key, value in values.items())
        pathlib.Path("/etc/restic/env").write_text(text, encoding="utf-8")
        environment = {**os.environ, **values, "RESTIC_CACHE_DIR": "/var/cache/restic"}
        subprocess.run(["restic", "init", "--quiet"], env=environment, check=True, timeout=60)
        return environment

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        shutil.rmtree(REPOSITORY)
        pathlib.Path("/etc/restic/env").unlink()


class Life(unittest.TestCase):
    """The services, started as the timers start them."""

    @classmethod
    def setUpClass(cls) -> None:
        """Mount something where the data volume would be."""
        pathlib.Path("/data").mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/data"], check=True, timeout=10)

    @classmethod
    def tearDownClass(cls) -> None:
        """Take it away."""
        subprocess.run(["umount", "/data"], check=True, timeout=10)

    def test_the_backup_is_zmanimctls(self) -> None:
        """With the volume mounted the service calls it; without, it does nothing and does not fail."""
        with CommandInPlace():
            self.assertEqual(run("systemctl", "start", "restic-backup.service").returncode, 0)
            self.assertEqual(CALLED.read_text(encoding="utf-8").strip(), "backup")
            CALLED.unlink()
            subprocess.run(["umount", "/data"], check=True, timeout=10)
            try:
                self.assertEqual(run("systemctl", "start", "restic-backup.service").returncode, 0)
                self.assertFalse(CALLED.exists(), "a machine without the volume made a backup")
            finally:
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/data"], check=True, timeout=10)

    def test_the_check_reads_the_repository_and_notices_damage(self) -> None:
        """A sound repository passes; one flipped byte in a pack fails the unit."""
        with Repository() as environment:
            subprocess.run(
                ["restic", "backup", "--quiet", "/etc/ssl"], env=environment, check=True, timeout=120
            )
            checked = run("systemctl", "start", "restic-check.service")
            self.assertEqual(checked.returncode, 0, run("journalctl", "-u", "restic-check", "-n5").stdout)
            pack = max(
                (REPOSITORY / "data").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
            )
            content = bytearray(pack.read_bytes())
            content[100] ^= 0xFF
            pack.chmod(0o600)
            pack.write_bytes(content)
            self.assertNotEqual(run("systemctl", "start", "restic-check.service").returncode, 0)
            run("systemctl", "reset-failed", "restic-check.service")


if __name__ == "__main__":
    unittest.main(verbosity=2)
