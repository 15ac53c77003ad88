"""Prove on the machine what the role promises: zmanimctl runs, knows the image, and only boot starts it."""

from __future__ import annotations

import json
import os
import pathlib
import stat
import subprocess
import unittest

LIBRARY = pathlib.Path("/usr/local/lib/zmanimctl/zmanimctl")
SETTINGS = pathlib.Path("/etc/zmanim/zmanimctl.json")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said, whatever its exit status."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class Bake(unittest.TestCase):
    """The machine as the image is taken from it."""

    def test_the_units_are_enabled_and_nothing_runs(self) -> None:
        """Boot begins with the next start of the machine, not in the bake."""
        units = ("zmanim-boot.service", "zmanim.target")
        self.assertEqual(run("systemctl", "is-enabled", *units).stdout.split(), ["enabled", "enabled"])
        self.assertEqual(run("systemctl", "is-active", *units).stdout.split(), ["inactive", "inactive"])

    def test_the_units_are_valid(self) -> None:
        """Systemd finds no mistake."""
        verified = run("systemd-analyze", "verify", "--man=no", "zmanim-boot.service", "zmanim.target")
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_multi_user_does_not_wait_for_a_standby(self) -> None:
        """A standby waits half an hour for its volume; getty and the rest must not."""
        after = run("systemctl", "show", "--property=After", "--value", "multi-user.target").stdout.split()
        wants = run("systemctl", "show", "--property=Wants", "--value", "multi-user.target").stdout.split()
        self.assertIn("zmanim.target", wants)
        self.assertNotIn("zmanim.target", after)

    def test_zmanimctl_runs(self) -> None:
        """It prints its verbs with the distribution's Python alone."""
        done = run("zmanimctl", "--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        for verb in ("boot", "status", "release", "handover", "backup", "restore"):
            self.assertIn(verb, done.stdout)

    def test_zmanimctl_knows_the_facts_of_the_image(self) -> None:
        """Its own reader accepts the file that the role wrote and sees the values."""
        facts = json.loads(SETTINGS.read_text(encoding="utf-8"))
        self.assertEqual(facts["postgres_major"], 17)
        self.assertEqual(facts["postgres_bin_dir"], "/usr/lib/postgresql/17/bin")
        self.assertEqual(facts["postgres_service"], "postgresql@17-main.service")
        self.assertEqual(facts["postgres_data_dir"], "/data/postgres/17")
        self.assertEqual(facts["slots"], {"a": 8081, "b": 8082})
        self.assertIn(facts["architecture"], ("amd64", "arm64"))
        program = (
            "import json, sys; sys.path.insert(0, sys.argv[1]);"
            "from dataclasses import asdict; from zmanimctl.settings import load_settings;"
            "print(json.dumps(asdict(load_settings())))"
        )
        done = run("/usr/bin/python3", "-I", "-c", program, str(LIBRARY.parent))
        self.assertEqual(done.returncode, 0, done.stderr)
        read = json.loads(done.stdout)
        self.assertEqual({key: read.get(key) for key in facts}, facts)

    def test_boot_without_metadata_fails_with_one_line(self) -> None:
        """A machine that cannot know who it is says so and starts nothing."""
        done = run("timeout", "50", "zmanimctl", "boot")
        self.assertNotIn(done.returncode, (0, 124))
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(run("systemctl", "is-active", "zmanim.target").stdout.strip(), "inactive")

    def test_the_directories_on_tmpfs_come_with_every_start(self) -> None:
        """They are declared to systemd, with the modes that boot expects."""
        self.assertEqual(run("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/zmanim.conf").returncode, 0)
        for path, mode in (("/run/zmanim", 0o755), ("/run/zmanim/secrets", 0o711)):
            found = os.stat(path)
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid), (mode, 0), path)

    def test_nobody_but_root_can_change_the_program(self) -> None:
        """It runs as root."""
        for path in (pathlib.Path("/usr/local/bin/zmanimctl"), SETTINGS, LIBRARY, *LIBRARY.glob("*.py")):
            found = os.stat(path)
            self.assertEqual((found.st_uid, found.st_mode & 0o022), (0, 0), path)


if __name__ == "__main__":
    unittest.main(verbosity=2)
