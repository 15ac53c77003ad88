"""restic: the repository, its snapshots, and which of them are kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, List, Mapping, Sequence, Set, Tuple

from zmanimctl.errors import CommandFailed, ZmanimError
from zmanimctl.process import Runner, failure

SET_TAG = "zmanim-set"
RUN_TAG = "run-"
DAILY, WEEKLY, MONTHLY = 7, 4, 3
# restic >= 0.17 ends with 10 when there is no repository; older ones only say so.
NO_REPOSITORY = 10
NO_REPOSITORY_WORDS = ("Is there a repository at the following location", "config file does not exist")


@dataclass(frozen=True)
class Snapshot:
    """One restic snapshot; those of one backup share a run, and the one tagged as the set completes it."""

    snapshot_id: str
    time: datetime
    tags: Tuple[str, ...]

    @property
    def run(self) -> str:
        """The backup that this snapshot belongs to, '' when it is not ours."""
        return next((tag[len(RUN_TAG) :] for tag in self.tags if tag.startswith(RUN_TAG)), "")

    @property
    def complete(self) -> bool:
        """This snapshot closes its backup: everything before it was stored."""
        return SET_TAG in self.tags


def parse_time(text: str) -> datetime:
    """Return restic's RFC 3339 time; nanoseconds are cut to what Python 3.9 reads."""
    head, _dot, tail = text.replace("Z", "+00:00").partition(".")
    zone = next((tail[index:] for index, letter in enumerate(tail) if letter in "+-"), "")
    return datetime.fromisoformat(head + zone)


def parse_snapshots(text: str) -> List[Snapshot]:
    """Return the snapshots in ``restic snapshots --json``, oldest first."""
    found = [
        Snapshot(str(one["id"]), parse_time(str(one["time"])), tuple(one.get("tags") or ()))
        for one in json.loads(text or "null") or []
    ]
    return sorted(found, key=lambda one: one.time)


def kept_runs(
    snapshots: Sequence[Snapshot], *, daily: int = DAILY, weekly: int = WEEKLY, monthly: int = MONTHLY
) -> Set[str]:
    """Return the runs to keep: the newest complete one of each of the last days, weeks and months that have
    one.
    """
    newest_first = sorted((one for one in snapshots if one.complete), key=lambda one: one.time, reverse=True)
    periods: List[Tuple[int, Callable[[datetime], object]]] = [
        (daily, lambda time: time.date()),
        (weekly, lambda time: time.isocalendar()[:2]),
        (monthly, lambda time: (time.year, time.month)),
    ]
    kept: Set[str] = set()
    for count, period in periods:
        seen: Set[object] = set()
        for one in newest_first:
            if len(seen) < count and period(one.time) not in seen:
                seen.add(period(one.time))
                kept.add(one.run)
    return kept


def to_forget(snapshots: Sequence[Snapshot]) -> List[str]:
    """Return the ids of our snapshots that no kept backup needs: old sets, and parts of backups that
    failed.
    """
    kept = kept_runs(snapshots)
    return [one.snapshot_id for one in snapshots if one.run and one.run not in kept]


def choose(snapshots: Sequence[Snapshot], wanted: str) -> Snapshot:
    """Return the complete backup called ``wanted`` (an id's beginning, or latest); ZmanimError lists what
    exists.
    """
    sets = [one for one in snapshots if one.complete]
    matches = sets[-1:] if wanted == "latest" else [one for one in sets if one.snapshot_id.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(f"{one.snapshot_id[:8]} of {one.time:%Y-%m-%d %H:%M}" for one in sets[-5:])
    raise ZmanimError(
        f"backup {wanted}",
        found=f"{len(matches)} of that name; there are: {known or 'none'}",
        expected="exactly one",
        remedy="nothing was changed; name one of them, or run: zmanimctl backup",
    )


def parse_summary(text: str) -> Dict[str, Any]:
    """Return the summary line of ``restic backup --json``."""
    for line in reversed(text.splitlines()):
        if '"summary"' in line:
            return dict(json.loads(line))
    return {}


class Restic:
    """The restic program with this environment's repository; its password is in a file, never in an argv."""

    def __init__(self, runner: Runner, env: Mapping[str, str], host: str, binary: str) -> None:
        """Raises ZmanimError when boot has not written restic's environment."""
        if not env.get("RESTIC_REPOSITORY"):
            raise ZmanimError(
                "restic has no repository",
                expected="RESTIC_REPOSITORY in /etc/restic/env (restic_repository in SSM parameter config)",
                remedy="set zmanim_restic_repository, run site.yml, then: zmanimctl boot",
            )
        self._runner = runner
        self.env = dict(env)
        self._host = host
        self._binary = binary

    def argv(self, *words: str) -> List[str]:
        """Return a restic command line."""
        return [self._binary, "--cleanup-cache", *words]

    def _run(self, *words: str, seconds: float) -> str:
        return self._runner.run(self.argv(*words), env=self.env, timeout=seconds).stdout

    def open_repository(self) -> bool:
        """Make the repository when there is none (return True); remove locks of processes that died."""
        asked = self._runner.run(self.argv("cat", "config"), env=self.env, timeout=60, check=False)
        if asked.returncode == 0:
            self._run("unlock", seconds=60)
            return False
        if asked.returncode != NO_REPOSITORY and not any(
            word in asked.stderr for word in NO_REPOSITORY_WORDS
        ):
            raise failure(asked)
        self._run("init", seconds=60)
        return True

    def _backup(self, tags: Sequence[str], words: Sequence[str], seconds: float) -> Dict[str, Any]:
        tagged = [word for tag in tags for word in ("--tag", tag)]
        summary = parse_summary(
            self._run("backup", "--json", "--host", self._host, *tagged, *words, seconds=seconds)
        )
        if not summary.get("snapshot_id"):
            raise CommandFailed("restic backup reported no snapshot")
        return summary

    def backup_output(
        self, command: Sequence[str], name: str, tags: Sequence[str], seconds: float
    ) -> Dict[str, Any]:
        """Store what ``command`` prints as /``name``; a command that fails leaves no snapshot (restic >=
        0.17).
        """
        words = ("--stdin-from-command", "--stdin-filename", name, "--", *command)
        return self._backup(tags, words, seconds)

    def backup_paths(self, paths: Sequence[str], tags: Sequence[str], seconds: float) -> Dict[str, Any]:
        """Store files and directories."""
        return self._backup(tags, paths, seconds)

    def snapshots(self, seconds: float = 60.0) -> List[Snapshot]:
        """Return this environment's snapshots, oldest first."""
        return parse_snapshots(
            self._run("snapshots", "--json", "--no-lock", "--host", self._host, seconds=seconds)
        )

    def forget(self, ids: Sequence[str], seconds: float = 1800.0) -> None:
        """Remove snapshots and the data that only they need."""
        if ids:
            self._run("forget", "--prune", *ids, seconds=seconds)

    def text(self, snapshot_id: str, path: str, seconds: float = 60.0) -> str:
        """Return a small file of a snapshot."""
        return self._run("dump", snapshot_id, path, seconds=seconds)


def environment_name(environment: str) -> str:
    """Return the host name that restic records: the environment's, since instances come and go."""
    return f"zmanim-{environment}"


def stored_bytes(summary: Mapping[str, Any]) -> int:
    """Return the bytes that a backup read."""
    return int(summary.get("total_bytes_processed") or 0)
