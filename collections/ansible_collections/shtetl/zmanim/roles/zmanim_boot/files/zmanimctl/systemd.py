"""systemctl, with a deadline on each call and the journal's words in each failure."""

from __future__ import annotations

from typing import Dict, List, Sequence

from zmanimctl.errors import CommandFailed, ZmanimError
from zmanimctl.process import Runner, last_line


class Systemd:
    """Starts, stops and asks about units."""

    def __init__(self, runner: Runner) -> None:
        """Remember how to run programs."""
        self._runner = runner

    def start(self, unit: str, seconds: float = 60.0) -> None:
        """Start a unit and wait until it says that it is up."""
        self._act("start", unit, seconds)

    def restart(self, unit: str, seconds: float = 60.0) -> None:
        """Restart a unit."""
        self._act("restart", unit, seconds)

    def stop(self, unit: str, seconds: float = 60.0) -> None:
        """Stop a unit and wait until it is down; an unknown unit is as good as stopped."""
        self._act("stop", unit, seconds)

    def _act(self, verb: str, unit: str, seconds: float) -> None:
        try:
            self._runner.run(("systemctl", verb, unit), timeout=seconds)
        except CommandFailed as error:
            raise ZmanimError(
                f"systemctl {verb} {unit} failed",
                found=self.last_words(unit) or error.found or error.what,
                remedy=f"look at: journalctl -u {unit}",
            ) from None

    def start_in_background(self, unit: str) -> None:
        """Ask for a unit without waiting for it."""
        self._runner.run(("systemctl", "start", "--no-block", unit), timeout=15)

    def states(self, units: Sequence[str]) -> Dict[str, str]:
        """Return the ActiveState of each unit in one call."""
        done = self._runner.run(
            ("systemctl", "show", "-p", "Id,ActiveState", *units), timeout=15, check=False
        )
        return _pair_up(units, done.stdout)

    def restarts(self, unit: str) -> int:
        """Return how often systemd has restarted a unit by itself since it was started."""
        command = ("systemctl", "show", "-p", "NRestarts", "--value", unit)
        done = self._runner.run(command, timeout=15, check=False)
        return int(done.stdout) if done.stdout.strip().isdigit() else 0

    def is_active(self, unit: str) -> bool:
        """Say whether a unit is active."""
        return self.states([unit]).get(unit) == "active"

    def last_words(self, unit: str) -> str:
        """Return the last line of a unit's own processes in the journal, or else what systemd said of it."""
        for match in ((f"_SYSTEMD_UNIT={unit}",), ("-u", unit)):
            command = ("journalctl", *match, "-n", "5", "-o", "cat", "--no-pager")
            try:
                words = last_line(self._runner.run(command, timeout=10, check=False).stdout)
            except CommandFailed:
                words = ""
            if words and not words.startswith("-- No entries"):
                return words
        return ""

    def run_detached(self, unit: str, argv: Sequence[str], description: str) -> None:
        """Start ``argv`` as a transient service that outlives the caller; a leftover of the same name is
        replaced.
        """
        self._runner.run(("systemctl", "stop", unit), timeout=30, check=False)
        self._runner.run(("systemctl", "reset-failed", unit), timeout=15, check=False)
        self._runner.run(
            (
                "systemd-run",
                "--quiet",
                "--collect",
                f"--unit={unit}",
                f"--description={description}",
                "--property=Restart=no",
                *argv,
            ),
            timeout=15,
        )


def _pair_up(units: Sequence[str], text: str) -> Dict[str, str]:
    blocks: List[Dict[str, str]] = []
    for block in text.split("\n\n"):
        blocks.append(dict(line.split("=", 1) for line in block.splitlines() if "=" in line))
    # systemctl show answers in the order of the question; an alias has another Id.
    return {unit: block.get("ActiveState", "unknown") for unit, block in zip(units, blocks)}
