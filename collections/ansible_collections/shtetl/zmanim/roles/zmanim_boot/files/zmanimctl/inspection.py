"""Looking at the volume and the parameters without changing a service, and the guards of a release."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Dict, Optional

from zmanimctl import marker as markers
from zmanimctl.errors import ZmanimError
from zmanimctl.machine import Machine
from zmanimctl.marker import Marker
from zmanimctl.secrets import OPTIONAL, REQUIRED, missing, prefix_of, put_back
from zmanimctl.settings import SiteConfig, parse_site_config


def volume(machine: Machine, *, verify: bool) -> Dict[str, Any]:
    """Return what is known of the volume; with ``verify`` every guard must hold, else ZmanimError."""
    volume_id = machine.identity.volume_id
    device = machine.volumes.wait_for(volume_id, 0) if verify else machine.volumes.find(volume_id)
    mounted = machine.volumes.mounted()
    found = markers.read(machine.settings.data_dir) if mounted else None
    document: Dict[str, Any] = {
        "id": volume_id,
        "device": asdict(device) if device else None,
        "mounted": mounted[1] if mounted else None,
        "free_bytes": machine.volumes.free_bytes() if mounted else None,
        "marker": asdict(found) if found else None,
    }
    if verify and device is not None:
        machine.volumes.assert_mounted(device)
        _verify_marker(machine, found)
        document["verified"] = True
    return document


def _verify_marker(machine: Machine, found: Optional[Marker]) -> None:
    if found is None:
        raise ZmanimError(
            f"volume {machine.identity.volume_id} has no marker {markers.NAME}", remedy="run: zmanimctl boot"
        )
    markers.compare(found, machine.expected_marker())
    markers.check_cluster(found, machine.cluster.system_identifier())


def adopt(machine: Machine, confirm: str) -> Dict[str, Any]:
    """Make the mounted volume's marker name this volume and this image's PostGIS: for copies made from
    snapshots.

    The environment and the PostgreSQL major can't be adopted away.
    """
    environment = machine.identity.environment
    if confirm != environment:
        raise ZmanimError(
            "volume adopt", found=f"--confirm {confirm or '(nothing)'}", expected=f"--confirm {environment}"
        )
    device = machine.volumes.wait_for(machine.identity.volume_id, 0)
    machine.volumes.assert_mounted(device)
    found = markers.read(machine.settings.data_dir)
    if found is None:
        raise ZmanimError(
            "the mounted volume has no marker", remedy="nothing was changed; this is no data volume"
        )
    expected = machine.expected_marker()
    adopted = replace(found, volume_id=expected.volume_id, postgis_version=expected.postgis_version)
    markers.compare(adopted, expected)
    markers.write(machine.settings.data_dir, adopted)
    return {"result": "unchanged" if adopted == found else "adopted", "marker": asdict(adopted)}


def secrets(machine: Machine) -> Dict[str, Any]:
    """Return which parameters exist, by name only; raise ZmanimError when a required one is missing."""
    values = machine.parameters.values()
    absent = missing(values)
    prefix = prefix_of(machine.identity.environment)
    if absent:
        raise ZmanimError(
            f"required SSM parameter {', '.join(prefix + name for name in absent)} is missing or blank",
            expected="a SecureString",
            remedy=put_back(absent),
        )
    parse_site_config(values.get("config", ""), f"{prefix}config")
    return {"required": sorted(REQUIRED), "optional": sorted(name for name in OPTIONAL if values.get(name))}


def site_config(machine: Machine) -> SiteConfig:
    """Return the environment's plain settings, without asking for any secret."""
    name = f"{prefix_of(machine.identity.environment)}config"
    answer = machine.aws.call(
        "ssm", f"SSM GetParameter {name}", lambda client: client.get_parameter(Name=name), seconds=20
    )
    return parse_site_config(str(answer["Parameter"]["Value"]), name)


def refuse_release(machine: Machine) -> None:
    """A release needs a machine with its data: raise ZmanimError elsewhere."""
    phase = machine.state.read().get("phase", "booting")
    if (
        phase not in ("serving", "failed")
        or machine.volumes.mounted() is None
        or not machine.cluster.answers()
    ):
        raise ZmanimError(
            "this machine cannot take a release",
            found=f"phase {phase}",
            expected="phase serving, the data volume mounted and PostgreSQL running",
            remedy="nothing was changed; run: zmanimctl status",
        )


def after_release(machine: Machine) -> None:
    """A release heals a machine whose boot failed only for want of one."""
    if machine.state.read().get("phase") == "failed" and machine.front.mode()["mode"] == "slot":
        machine.state.update(phase="serving", error=None)
