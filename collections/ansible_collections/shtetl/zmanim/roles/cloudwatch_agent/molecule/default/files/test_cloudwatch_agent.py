"""Prove on the machine: the environment is filled into the configuration, the agent starts after boot."""

from __future__ import annotations

import json
import pathlib
import subprocess
import unittest
from typing import Any

UNIT = "amazon-cloudwatch-agent.service"
IDENTITY = pathlib.Path("/run/zmanim/identity.json")
HAS_READ = pathlib.Path("/run/agent-has-read")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said, whatever its exit status."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class Agent(unittest.TestCase):
    """The agent's unit, before and after boot has said where the machine is."""

    def setUp(self) -> None:
        """Stop what an earlier test started."""
        run("systemctl", "stop", UNIT)
        run("systemctl", "reset-failed", UNIT)
        IDENTITY.parent.mkdir(mode=0o755, exist_ok=True)
        IDENTITY.unlink(missing_ok=True)
        HAS_READ.unlink(missing_ok=True)

    def started(self) -> dict[str, Any]:
        """Start the agent as boot does and return the configuration that it read."""
        IDENTITY.write_text('{"environment": "staging", "region": "eu-west-1"}', encoding="utf-8")
        self.assertEqual(run("systemctl", "start", UNIT).returncode, 0)
        for _ in range(50):
            if HAS_READ.exists() and HAS_READ.stat().st_size:
                break
            subprocess.run(["sleep", "0.1"], check=True)
        document: dict[str, Any] = json.loads(HAS_READ.read_text(encoding="utf-8"))
        return document

    def test_the_agent_belongs_to_zmanim_target_alone(self) -> None:
        """It starts when boot is over, and not in the bake."""
        wants = [path.parent.name for path in pathlib.Path("/etc/systemd/system").glob(f"*.wants/{UNIT}")]
        self.assertEqual(wants, ["zmanim.target.wants"])
        self.assertEqual(run("systemctl", "is-active", UNIT).stdout.strip(), "inactive")
        self.assertIn("zmanim-boot.service", run("systemctl", "show", "--property=After", UNIT).stdout)
        verified = run("systemd-analyze", "verify", "--man=no", UNIT)
        self.assertEqual((verified.returncode, verified.stderr), (0, ""))

    def test_without_an_environment_it_does_not_start(self) -> None:
        """Its logs would go nowhere; the journal says why."""
        self.assertNotEqual(run("systemctl", "start", UNIT).returncode, 0)
        self.assertFalse(HAS_READ.exists())
        self.assertIn("names no environment", run("journalctl", "-u", UNIT, "-n", "20", "-o", "cat").stdout)

    def test_a_strange_environment_is_refused(self) -> None:
        """It becomes part of names."""
        IDENTITY.write_text('{"environment": "a/../b"}', encoding="utf-8")
        self.assertNotEqual(run("systemctl", "start", UNIT).returncode, 0)

    def test_the_metrics_are_those_of_the_alarms(self) -> None:
        """Processor, memory, both disks; by environment, so that an alarm outlives the instance."""
        metrics = self.started()["metrics"]
        self.assertEqual(metrics["namespace"], "Zmanim")
        self.assertEqual(metrics["endpoint_override"], "http://192.0.2.1:4566")
        self.assertEqual(metrics["append_dimensions"], {"InstanceId": "${aws:InstanceId}"})
        self.assertIn(["Environment"], metrics["aggregation_dimensions"])
        collected = metrics["metrics_collected"]
        self.assertEqual(collected["disk"]["resources"], ["/", "/data"])
        for kind, measurement in (("disk", "used_percent"), ("mem", "used_percent"), ("cpu", "usage_active")):
            self.assertIn(measurement, collected[kind]["measurement"])
            self.assertEqual(collected[kind]["append_dimensions"], {"Environment": "staging"})

    def test_every_log_has_its_group_in_the_environment(self) -> None:
        """No placeholder of ours is left, those of the agent are."""
        logs = self.started()["logs"]["logs_collected"]
        groups = {entry["log_group_name"]: entry for entry in logs["journald"]["collect_list"]}
        names = ("api", "front", "postgresql", "redis", "boot", "backup")
        self.assertEqual(set(groups), {f"/zmanim/staging/{name}" for name in names})
        self.assertEqual(
            groups["/zmanim/staging/api"]["units"], ["zmanim-api@a.service", "zmanim-api@b.service"]
        )
        self.assertEqual(logs["files"]["collect_list"][0]["log_group_name"], "/zmanim/staging/postgresql")
        self.assertEqual(groups["/zmanim/staging/front"]["log_stream_name"], "{instance_id}")
        self.assertNotIn("{environment}", HAS_READ.read_text(encoding="utf-8"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
