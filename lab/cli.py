# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m lab``: up, down, status, shell, logs, events, fault, base-image, register-image, token."""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

from lab import cleanup, control, kernel_settings, moto_settings, preflight
from lab.errors import LabError
from lab.faults import FAULTS
from lab.images import BASES, base_image
from lab.machines import Machine
from lab.paths import ENV_FILE, EVENTS_FILE, LOCK_FILE, LOG_FILE, PID_FILE, ROOT, STATE
from lab.profile import PROFILES, profile_named

READY = 120.0
MARK = "lab is up"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors are one line on standard error."""
    parsed = _parser().parse_args(arguments)
    verb: Callable[[argparse.Namespace], int] = parsed.verb
    try:
        return verb(parsed)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, run: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=summary, description=summary)
        sub.set_defaults(verb=run)
        return sub

    up = verb("up", _up, "start the lab and wait until it answers")
    up.add_argument("--profile", choices=sorted(PROFILES), default="fast", help="delays (default: fast)")
    up.add_argument("--foreground", action="store_true", help="stay in the foreground")
    verb("down", _down, "stop the lab and remove all it made")
    status = verb("status", _status, "what runs, and what is left over when nothing does")
    status.add_argument("--json", action="store_true")
    shell = verb("shell", _shell, "run a command (default: a shell) as root on an instance")
    shell.add_argument("instance")
    shell.add_argument("command", nargs=argparse.REMAINDER)
    logs = verb("logs", _logs, "an instance's journal, or its console when it is off")
    logs.add_argument("instance")
    events = verb("events", _events, "the journal of API calls and of what the lab did")
    events.add_argument("--follow", action="store_true")
    fault = verb("fault", _fault, "set a fault; without a name list them")
    fault.add_argument("name", nargs="?")
    fault.add_argument("argument", nargs="?", default="")
    fault.add_argument("--clear", action="store_true", help="clear all faults")
    base = verb(
        "base-image", _base_image, "print the podman image of a base distribution, building it when missing"
    )
    base.add_argument("distribution", choices=sorted(BASES))
    register = verb("register-image", _register, "register a podman image as an AMI and print its id")
    register.add_argument("name")
    register.add_argument("image")
    token = verb("token", _token, "print a signed JWT of the lab's issuer")
    token.add_argument("--aud", dest="audience", help="another audience")
    token.add_argument(
        "--no-aud", dest="no_audience", action="store_true", help="no audience claim, as Clerk"
    )
    token.add_argument("--expired", action="store_true", help="one that has expired")
    return parser


@contextmanager
def _locked() -> Iterator[IO[str]]:
    """Hold the machine-wide lock while the lab runs."""
    LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
    with LOCK_FILE.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            raise LabError(f"a lab is already running here ({_owner()}); `make lab-down` ends it") from held
        handle.truncate(0)
        handle.write(f"pid {os.getpid()} of {ROOT}")
        handle.flush()
        yield handle
        handle.truncate(0)


def _owner() -> str:
    try:
        return LOCK_FILE.read_text().strip() or "owner unknown"
    except OSError:
        return "owner unknown"


def _up(parsed: argparse.Namespace) -> int:
    preflight.require()
    STATE.mkdir(parents=True, exist_ok=True)
    return _serve(parsed.profile) if parsed.foreground else _spawn(parsed.profile)


def _serve(profile: str) -> int:
    with _locked():
        PID_FILE.unlink(missing_ok=True)
        cleanup.clean()
        kernel_settings.remember()
        EVENTS_FILE.unlink(missing_ok=True)
        PID_FILE.write_text(str(os.getpid()))
        moto_settings.apply()
        daemon = importlib.import_module("lab.daemon")
        lab = daemon.Lab(profile_named(profile))
        try:
            lab.start()
            print(MARK, flush=True)
            lab.wait()
        finally:
            lab.stop()
            PID_FILE.unlink(missing_ok=True)
    return 0


def _spawn(profile: str) -> int:
    with _locked():
        pass  # refuse at once, with the reason, when another lab runs
    with LOG_FILE.open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "lab", "up", "--foreground", "--profile", profile],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    until = time.monotonic() + READY
    while time.monotonic() < until:
        if MARK in LOG_FILE.read_text(errors="replace"):
            print(f"The lab is up (profile {profile}). A controller's settings: . {ENV_FILE}")
            return 0
        if child.poll() is not None:
            raise LabError(f"it ended while starting: {_last_line()}")
        time.sleep(0.1)
    cleanup.stop_process(child.pid)
    raise LabError(f"not ready after {READY:g} s; see {LOG_FILE}")


def _last_line() -> str:
    lines = LOG_FILE.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("lab: ") if lines else f"see {LOG_FILE}"


def _down(parsed: argparse.Namespace) -> int:
    if pid := cleanup.daemon_pid():
        cleanup.stop_process(pid)
    with _locked():
        cleanup.clean()
        PID_FILE.unlink(missing_ok=True)
        left = cleanup.leftovers()
    if left:
        raise LabError(f"left over: {'; '.join(left)}")
    return 0


def _status(parsed: argparse.Namespace) -> int:
    if cleanup.daemon_pid():
        report: dict[str, Any] = {**control.ask("status"), "leftovers": 0}
    else:
        left = cleanup.leftovers()
        report = {"running": False, "leftovers": len(left), "left": left}
    if parsed.json:
        print(json.dumps(report, indent=2))
    else:
        _print_status(report)
    return 0


def _print_status(report: dict[str, Any]) -> None:
    if not report["running"]:
        print(f"The lab is down; {report['leftovers']} leftovers.")
        for name in report["left"]:
            print(f"  {name}")
        return
    print(f"The lab is up: {report['endpoint']}, profile {report['profile']}, pid {report['pid']}")
    for name, argument in report["faults"].items():
        print(f"  fault {name} {argument}")
    for instance in report["instances"]:
        print("  {id}  {state:<13} {private:<15} {public!s:<15} {ami}  {name}".format(**instance))
    for volume in report["volumes"]:
        print("  {id}  {state:<13} {size} GiB".format(**volume))


def _shell(parsed: argparse.Namespace) -> int:
    interactive = not parsed.command
    argv = Machine(parsed.instance).command(*(parsed.command or ["bash", "-l"]), tty=interactive)
    return subprocess.run(argv, check=False).returncode


def _logs(parsed: argparse.Namespace) -> int:
    machine = Machine(parsed.instance)
    if machine.pid:
        return subprocess.run(machine.command("journalctl", "--no-pager", "--boot"), check=False).returncode
    sys.stdout.write(machine.console())
    return 0


def _events(parsed: argparse.Namespace) -> int:
    if not EVENTS_FILE.exists():
        raise LabError("there are no events yet; start the lab with `make lab`")
    argv = ["tail", "--lines=+1", *(["--follow"] if parsed.follow else []), str(EVENTS_FILE)]
    return subprocess.run(argv, check=False).returncode


def _fault(parsed: argparse.Namespace) -> int:
    if parsed.clear:
        control.ask("clear-faults")
    elif parsed.name:
        control.ask("fault", parsed.name, parsed.argument)
    else:
        for fault in FAULTS.values():
            print(f"{fault.name + ' ' + fault.argument:<30} {fault.effect}")
    return 0


def _base_image(parsed: argparse.Namespace) -> int:
    print(base_image(parsed.distribution))
    return 0


def _register(parsed: argparse.Namespace) -> int:
    print(control.ask("register-image", parsed.name, parsed.image))
    return 0


def _token(parsed: argparse.Namespace) -> int:
    control.ask("status")
    tokens = importlib.import_module("lab.edge.tokens")
    audience = parsed.audience or (None if parsed.no_audience else tokens.AUDIENCE)
    print(tokens.mint(STATE, audience=audience, expired=parsed.expired))
    return 0
