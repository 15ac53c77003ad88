# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a swap and the lock of an environment, each in one SSM parameter.

The state is written before every transition and its Version is checked, so two runs can never both believe
  that
they wrote last.  The lock is a parameter that only one run can create; its owner renews it, and it is taken
over only when the owner is known to be dead or has not renewed it for its lease.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

from ansible_collections.shtetl.zmanim.plugins.module_utils.declared_resource import (
    DeclaredResourceError,
    call,
)

from .phases import SwapError

State = Dict[str, Any]
Clock = Callable[[], float]
FORMAT = 1
# Seconds that a handover may take to end, or to undo itself, after its playbook was killed
ORPHAN_DEADLINE = 60.0


class Stored(NamedTuple):
    """A parameter's JSON document and SSM's version of it; (None, 0) when there is no parameter."""

    document: Optional[State]
    version: int


def timestamp(now: Optional[float] = None) -> str:
    """Return a moment (default: now) as UTC in ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


class JsonParameter:
    """One SSM String parameter that holds a JSON object."""

    def __init__(self, ssm: Any, name: str) -> None:
        self._ssm = ssm
        self.name = name

    def read(self) -> Stored:
        """Return what is stored.  Raises SwapError when it is not a JSON object."""
        found = call(
            "read parameter {0}".format(self.name),
            self._ssm.get_parameter,
            missing=("ParameterNotFound",),
            Name=self.name,
        )
        if found is None:
            return Stored(None, 0)
        text = found["Parameter"]["Value"]
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise SwapError(
                "parameter {0} holds no JSON object (found {1!r}): look at which instance has "
                "the data volume, "
                "and delete the parameter when no swap is going on".format(self.name, text[:60])
            )
        return Stored(document, int(found["Parameter"]["Version"]))

    def create(self, document: State) -> bool:
        """Create the parameter; False when it is already there (SSM decides, atomically)."""
        try:
            self._put(document, overwrite=False)
        except DeclaredResourceError as error:
            if error.code == "ParameterAlreadyExists":
                return False
            raise
        return True

    def replace(self, document: State, version: int) -> int:
        """Write C(document) over version C(version) and return the new version.

        SSM cannot refuse a write by version, but it numbers them: a gap tells that somebody else wrote
          between.
        """
        if version == 0:
            if not self.create(document):
                raise self._conflict()
            return 1
        written = self._put(document, overwrite=True)
        if written != version + 1:
            raise self._conflict()
        return written

    def delete(self) -> None:
        """Delete the parameter if it is there."""
        call(
            "delete parameter {0}".format(self.name),
            self._ssm.delete_parameter,
            missing=("ParameterNotFound",),
            Name=self.name,
        )

    def _put(self, document: State, overwrite: bool) -> int:
        answer = call(
            "write parameter {0}".format(self.name),
            self._ssm.put_parameter,
            Name=self.name,
            Value=json.dumps(document, sort_keys=True),
            Type="String",
            Overwrite=overwrite,
        )
        return int((answer or {}).get("Version", 0))

    def _conflict(self) -> SwapError:
        return SwapError(
            "another run wrote parameter {0} at the same time; this one stops here: "
            "see who it is with 'swap' step status, and run again when it has ended".format(self.name)
        )


class StateParameter:
    """The state of the environment's swap: C(/zmanim/<env>/swap)."""

    def __init__(self, ssm: Any, environment: str) -> None:
        self._parameter = JsonParameter(ssm, "/zmanim/{0}/swap".format(environment))
        self._version = 0

    def load(self) -> State:
        """Return the stored state, {} when there was never a swap.  Raises SwapError for an unknown
        format.
        """
        document, self._version = self._parameter.read()
        if document and document.get("version") != FORMAT:
            raise SwapError(
                "parameter {0} has format {1}, this release of the collection reads format {2}: "
                "use the release that "
                "wrote it".format(self._parameter.name, document.get("version"), FORMAT)
            )
        return document or {}

    def save(self, state: State) -> None:
        """Write the state, having read it before; raises SwapError when somebody else wrote since."""
        state.update(version=FORMAT, updated_at=timestamp())
        self._version = self._parameter.replace(state, self._version)


class Owner(NamedTuple):
    """Who runs a playbook.  C(process) and C(process_start) are 0 when unknown."""

    host: str
    boot: str
    process: int
    process_start: int


def this_owner() -> Owner:
    """Return the C(ansible-playbook) process that this module runs under, as far as /proc tells."""
    process, found = os.getpid(), 0
    while process > 1:
        command, parent, _start = _process_facts(process)
        if "ansible-playbook" in command:
            found = process  # the worker first, then the playbook that forked it
        elif found:
            break
        process = parent
    return Owner(socket.gethostname(), _boot_id(), found, _process_facts(found)[2] if found else 0)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as source:
            return source.read().strip()
    except OSError:
        return ""


def _process_facts(process: int) -> Tuple[str, int, int]:
    """Return (command line, parent, start time in ticks) of a process, ("", 0, 0) when it is not there."""
    try:
        with open("/proc/{0}/stat".format(process), encoding="utf-8", errors="replace") as source:
            fields = source.read().rpartition(")")[2].split()  # see proc(5): the name may hold spaces
        with open("/proc/{0}/cmdline".format(process), encoding="utf-8", errors="replace") as source:
            command = source.read().replace("\0", " ")
    except OSError:
        return "", 0, 0
    if fields[0] in "ZX":  # dead, and only not yet asked after by its parent
        return "", 0, 0
    return command, int(fields[1]), int(fields[19])


def owner_lives(owner: Owner, here: Owner) -> Optional[bool]:
    """Say whether a lock's owner still runs; None when that cannot be known from this machine."""
    if not owner.process or not owner.boot or owner.boot != here.boot:
        return None
    return _process_facts(owner.process)[2] == owner.process_start


def this_step(here: Owner) -> Owner:
    """Return this very process: a step outlives its playbook when only the playbook is killed."""
    return here._replace(process=os.getpid(), process_start=_process_facts(os.getpid())[2])


def _owner_in(document: State, key: str) -> Owner:
    found = document.get(key) or {}
    return Owner(
        str(found.get("host", "")),
        str(found.get("boot", "")),
        int(found.get("process", 0)),
        int(found.get("process_start", 0)),
    )


class EnvironmentLock:
    """At most one operation at a time on an environment: C(/zmanim/<env>/lock)."""

    def __init__(
        self,
        ssm: Any,
        environment: str,
        here: Owner,
        clock: Clock = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._parameter = JsonParameter(ssm, "/zmanim/{0}/lock".format(environment))
        self._here = here
        self._clock = clock
        self._pause = pause
        self._renewed = clock()

    def holder(self) -> State:
        """Return the lock's document, {} when nobody holds it."""
        return self._parameter.read().document or {}

    def take(self, operation: str, run: str, lease: float) -> None:
        """Take the lock for C(run), waiting at most C(lease) seconds for a silent owner to prove it is dead.

        Raises SwapError while a live run holds it.
        """
        document = self._document(operation, run, lease)
        for _attempt in range(3):
            if self._parameter.create(document):
                return
            self._evict()
        raise self._refusal(self.holder())

    def renew(self, run: str, every: float = 5.0) -> None:
        """Tell the others that C(run) lives, at most once in C(every) seconds; raises SwapError when
        the lock is lost.
        """
        if self._clock() - self._renewed < every:
            return
        self.confirm(run)

    def confirm(self, run: str) -> None:
        """Renew the lock now; raises SwapError unless C(run) holds it."""
        document, version = self._parameter.read()
        if not document or document.get("run") != run:
            holder = self._who(document) if document else "nobody"
            raise SwapError(
                "this run no longer holds the lock {0} ({1} does): it stops without touching anything more; "
                "run swap.yml again, it finishes or rolls back what is left".format(
                    self._parameter.name, holder
                )
            )
        document.update(renewed_at=timestamp(), step=dict(this_step(self._here)._asdict()))
        self._parameter.replace(document, version)
        self._renewed = self._clock()

    def require_playbook(self) -> None:
        """Raise SwapError when the playbook that took this step was killed: a wait has no use any more."""
        if self._here.process and not owner_lives(self._here, self._here):
            raise SwapError("the playbook that took this step was killed: run swap.yml again")

    def drop(self, run: str) -> None:
        """Give the lock up, if C(run) holds it."""
        if self.holder().get("run") == run:
            self._parameter.delete()

    def refuse_if_held(self) -> None:
        """Raise SwapError when a run that is not known to be dead holds the lock (for check mode)."""
        document = self.holder()
        if document and owner_lives(_owner_in(document, "owner"), self._here) is not False:
            raise self._refusal(document)

    def _evict(self) -> None:
        """Delete the lock of a dead owner, or raise SwapError."""
        document, version = self._parameter.read()
        if document is None:
            return
        lives = owner_lives(_owner_in(document, "owner"), self._here)
        if lives is None:
            lives = self._renews(version, float(document.get("lease", 30)))
        if lives or self._step_goes_on(document):
            raise self._refusal(document)
        again = self._parameter.read()
        if (again.document or {}).get("run") == document.get("run"):
            self._parameter.delete()

    def _renews(self, version: int, lease: float) -> bool:
        """Watch the lock for one lease: no machine's clock has to agree with another's."""
        end = self._clock() + lease
        while self._clock() < end:
            self._pause(min(2.0, lease))
            if self._parameter.read().version != version:
                return True
        return False

    def _step_goes_on(self, document: State) -> bool:
        """Wait for the step that a killed playbook left behind; True when it has not ended in time."""
        end = self._clock() + ORPHAN_DEADLINE
        while owner_lives(_owner_in(document, "step"), self._here):
            if self._clock() > end:
                return True
            self._pause(0.5)
        return False

    def _document(self, operation: str, run: str, lease: float) -> State:
        return {
            "operation": operation,
            "run": run,
            "lease": lease,
            "owner": dict(self._here._asdict()),
            "step": dict(this_step(self._here)._asdict()),
            "taken_at": timestamp(),
            "renewed_at": timestamp(),
        }

    def _refusal(self, document: State) -> SwapError:
        return SwapError(
            "{0} holds the lock {1}: expected no other operation on this environment; wait for it to end. "
            "A dead run's lock is taken over by itself".format(self._who(document), self._parameter.name)
        )

    @staticmethod
    def _who(document: Optional[State]) -> str:
        held = document or {}
        owner = held.get("owner") or {}
        return "{0} (run {1}, on {2} process {3}, since {4}, last heard of {5})".format(
            held.get("operation", "another operation"),
            held.get("run"),
            owner.get("host"),
            owner.get("process"),
            held.get("taken_at"),
            held.get("renewed_at"),
        )
