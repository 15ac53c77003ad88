"""The command line: one verb each, one clear line on failure, one JSON document with --json."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Callable, Dict, List, Optional

from zmanimctl import machine as machines
from zmanimctl.errors import ZmanimError, refusal
from zmanimctl.machine import Machine
from zmanimctl.settings import Settings, load_settings

Verb = Callable[[Machine, argparse.Namespace], Dict[str, Any]]


def boot_verb(machine: Machine, arguments: argparse.Namespace) -> Dict[str, Any]:
    """Bring the machine into service."""
    from zmanimctl import boot

    if arguments.standby:
        machine = machines.with_role(machine, "standby")
    return boot.boot(machine)


def status_verb(machine: Machine, _arguments: argparse.Namespace) -> Dict[str, Any]:
    """Say what the machine is doing."""
    from zmanimctl import status

    return status.collect(machine)


def volume_verb(machine: Machine, arguments: argparse.Namespace) -> Dict[str, Any]:
    """Show, verify or adopt the data volume."""
    from zmanimctl import inspection

    if arguments.action == "adopt":
        return inspection.adopt(machine, arguments.confirm)
    return inspection.volume(machine, verify=arguments.action == "verify")


def secrets_verb(machine: Machine, _arguments: argparse.Namespace) -> Dict[str, Any]:
    """Check that every required parameter is there."""
    from zmanimctl import inspection

    return inspection.secrets(machine)


def release_verb(machine: Machine, arguments: argparse.Namespace) -> Dict[str, Any]:
    """Release a version, or roll back."""
    from zmanimctl import inspection
    from zmanimctl.state import locked

    if bool(arguments.version) == bool(arguments.rollback):
        raise ZmanimError("release", found="both or neither", expected="a VERSION or --rollback")
    with locked(machine.lock, "release"):
        inspection.refuse_release(machine)
        if arguments.rollback:
            answer = machine.releaser.rollback(arguments.deadline)
        else:
            config = inspection.site_config(machine)
            answer = machine.releaser.release(machine.bucket(config), arguments.version, arguments.deadline)
        inspection.after_release(machine)
        return answer


def handover_verb(machine: Machine, arguments: argparse.Namespace) -> Dict[str, Any]:
    """Hand the volume over, watch, take it back, or wait for it."""
    from zmanimctl.handover import Handover

    handover = Handover(machine)
    if arguments.action == "release":
        if not arguments.target or not arguments.swap_id:
            raise ZmanimError("handover release", expected="--swap-id and --target")
        return handover.release(arguments.swap_id, arguments.target, arguments.deadline)
    if arguments.action == "prepare":
        return handover.prepare(arguments.target)
    actions = {"watch": handover.watch, "reclaim": handover.reclaim, "standby": handover.standby}
    return actions[arguments.action]()


def backup_verb(machine: Machine, _arguments: argparse.Namespace) -> Dict[str, Any]:
    """Back everything up."""
    from zmanimctl.backup import Backup

    return Backup(machine).run()


def restore_verb(machine: Machine, arguments: argparse.Namespace) -> Dict[str, Any]:
    """Restore a backup."""
    from zmanimctl.restore import Restore

    restore = Restore(machine)
    if arguments.live:
        return restore.live(arguments.snapshot, arguments.database, arguments.confirm)
    return restore.scratch(arguments.snapshot, arguments.database, arguments.into)


# Verbs that must not depend on IMDS use what boot saved.
VERBS: Dict[str, Verb] = {
    "boot": boot_verb,
    "status": status_verb,
    "volume": volume_verb,
    "secrets": secrets_verb,
    "release": release_verb,
    "handover": handover_verb,
    "backup": backup_verb,
    "restore": restore_verb,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="zmanimctl",
        description="Boot, look at, release on, hand over, back up and restore this machine.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    one = verbs.add_parser("boot", parents=[shared], help="bring the machine into service")
    one.add_argument(
        "--standby", action="store_true", help="wait for the volume, whatever the instance's tag says"
    )
    verbs.add_parser("status", parents=[shared], help="say what the machine is doing")
    one = verbs.add_parser("volume", parents=[shared], help="show, verify or adopt the data volume")
    one.add_argument("action", choices=("show", "verify", "adopt"))
    one.add_argument("--confirm", default="", metavar="ENV", help="adopt: the environment's name")
    one = verbs.add_parser("secrets", parents=[shared], help="check the required parameters")
    one.add_argument("action", choices=("check",))
    one = verbs.add_parser("release", parents=[shared], help="release a version of the API")
    one.add_argument("version", nargs="?", default="", metavar="VERSION")
    one.add_argument("--rollback", action="store_true", help="go back to the release before this one")
    one.add_argument("--deadline", type=float, default=120.0, metavar="SECONDS")
    _handover_parser(verbs, shared)
    verbs.add_parser("backup", parents=[shared], help="back everything up with restic")
    one = verbs.add_parser(
        "restore", parents=[shared], help="restore a backup, into a scratch database by default"
    )
    one.add_argument("--snapshot", default="latest", metavar="ID")
    one.add_argument(
        "--database", default="", metavar="NAME", help="the database in the backup (default: config's)"
    )
    one.add_argument("--into", default="", metavar="NAME", help="scratch database (default: NAME_restore)")
    one.add_argument("--live", action="store_true", help="replace the live database")
    one.add_argument("--confirm", default="", metavar="ENV", help="--live: the environment's name")
    return top


def _handover_parser(verbs: Any, shared: argparse.ArgumentParser) -> None:
    one = verbs.add_parser("handover", parents=[shared], help="hand the data volume to another machine")
    one.add_argument("action", choices=("prepare", "release", "watch", "reclaim", "standby"))
    one.add_argument("--swap-id", default="", metavar="ID")
    one.add_argument(
        "--target", default="", metavar="ADDRESS", help="private address of the machine that takes over"
    )
    one.add_argument("--deadline", type=float, default=20.0, metavar="SECONDS")


def text_of(verb: str, answer: Dict[str, Any]) -> str:
    """Return an answer as a person reads it."""
    if verb == "status":
        from zmanimctl import status

        return status.screen(answer)
    lines = []
    for key, value in answer.items():
        shown = json.dumps(value) if isinstance(value, (dict, list)) else value
        lines.append(f"{key:12} {shown}")
    return "\n".join(lines) + "\n"


def wire(verb: str, settings: Settings) -> Machine:
    """Wire the machine for a verb: boot asks IMDS anew, the others use what it saved."""
    ways = {"boot": machines.from_metadata, "status": machines.for_status}
    return ways.get(verb, machines.from_saved)(settings)


def main(argv: List[str], wiring: Optional[Callable[[str], Machine]] = None) -> int:
    """Run a verb and return the exit status: 0 done, 1 refused or failed (one line on stderr), 2 bad
    usage.
    """
    arguments = parser().parse_args(argv)
    try:
        machine = (wiring or _wire_or_note)(arguments.verb)
        answer = VERBS[arguments.verb](machine, arguments)
    except (ZmanimError, OSError) as error:
        problem = refusal(error)
        if arguments.json:
            print(json.dumps({"error": str(problem)}))
        print(f"zmanimctl {arguments.verb}: {problem}", file=sys.stderr)
        return 1
    print(
        json.dumps(answer) if arguments.json else text_of(arguments.verb, answer),
        end="\n" if arguments.json else "",
    )
    return 0


def _wire_or_note(verb: str) -> Machine:
    """Wire the machine; a boot that fails before it knows who it is leaves its reason in the state file."""
    if os.geteuid() != 0:
        raise ZmanimError("zmanimctl", found="an ordinary user", expected="root", remedy="run it with sudo")
    settings = load_settings()
    try:
        return wire(verb, settings)
    except ZmanimError as error:
        if verb == "boot":
            machines.note_failure(settings, str(error))
        raise
