"""What the machine is doing now, for a script (JSON) and for a tired person (a screen)."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from zmanimctl.errors import ZmanimError
from zmanimctl.machine import Machine
from zmanimctl.slots import parse_record


def collect(machine: Machine) -> Dict[str, Any]:
    """Return the status document; every part that can't be asked is shown as unknown, not guessed."""
    state, settings = machine.state.read(), machine.settings
    units = [settings.postgres_service, settings.redis_service]
    states = machine.systemd.states(units)
    record = parse_record(machine.record.read())
    return {
        "phase": state.get("phase", "booting"),
        "role": state.get("role", machine.identity.role),
        "environment": machine.identity.environment,
        "instance_id": machine.identity.instance_id,
        "ami_id": machine.identity.ami_id,
        "volume": _volume(machine, state),
        "postgres": {
            "major": settings.postgres_major,
            "running": states.get(units[0]) == "active",
            "system_identifier": state.get("system_identifier"),
        },
        "redis": {"running": states.get(units[1]) == "active"},
        "api": {"active_slot": record.active_slot or None, "version": record.version or None},
        "front": _front(machine),
        "boot": state.get("boot", {"steps": [], "seconds": None}),
        "handover": state.get("handover"),
        "warnings": state.get("warnings", []),
        "error": state.get("error"),
    }


def _volume(machine: Machine, state: Dict[str, Any]) -> Dict[str, Any]:
    mounted = machine.volumes.mounted()
    return {
        "id": machine.identity.volume_id,
        "device": mounted[1] if mounted else state.get("device"),
        "mounted": mounted is not None,
        "free_bytes": machine.volumes.free_bytes() if mounted else None,
    }


def _front(machine: Machine) -> Dict[str, str]:
    try:
        return machine.front.mode()
    except ZmanimError as error:
        return {"mode": "unknown", "target": "", "problem": str(error)}


WORDS = {
    "booting": "is booting",
    "standby-ready": "is ready and waits for the data volume",
    "serving": "SERVES",
    "released": "has let go of the data volume; requests wait",
    "relaying": "relays requests to the machine that took over",
    "failed": "FAILED to come up",
}


def screen(status: Dict[str, Any]) -> str:
    """Return the status as a screen: the answer first, then the parts, then what to do."""
    volume, postgres, api, front = status["volume"], status["postgres"], status["api"], status["front"]
    lines = [
        f"{status['environment']}: this machine {WORDS.get(status['phase'], status['phase'])}",
        "",
        f"  instance   {status['instance_id']} ({status['role']}), image {status['ami_id'] or 'unknown'}",
        f"  volume     {volume['id']}  {_volume_words(volume)}",
        f"  postgres   {_up(postgres['running'])}  major {postgres['major']}",
        f"  redis      {_up(status['redis']['running'])}",
        f"  api        {api['version'] or 'no release'}  slot {api['active_slot'] or '-'}",
        f"  front      {front['mode']}  {front['target']}",
    ]
    lines += _boot_words(status["boot"])
    lines += [f"  note       {warning}" for warning in status["warnings"] or []]
    if status["error"]:
        lines += ["", f"  error      {status['error']}", "  look at    journalctl -u zmanim-boot"]
    return "\n".join(lines) + "\n"


def _volume_words(volume: Dict[str, Any]) -> str:
    if not volume["mounted"]:
        return "not mounted"
    return f"mounted from {volume['device']}, {volume['free_bytes'] / 1024**3:.1f} GiB free"


def _up(running: bool) -> str:
    return "running" if running else "STOPPED"


def _boot_words(boot: Dict[str, Any]) -> List[str]:
    if not boot.get("steps"):
        return []
    slow = sorted(boot["steps"], key=lambda step: -step["seconds"])[:3]
    words = ", ".join(f"{step['name']} {step['seconds']:.1f}" for step in slow)
    return [f"  boot       {boot['seconds']:.1f} s ({words})"]


def on_root(path: str) -> bool:
    """Say whether ``path`` lies on the root disk (used to refuse work on an unmounted data directory)."""
    return os.stat(path).st_dev == os.stat("/").st_dev
