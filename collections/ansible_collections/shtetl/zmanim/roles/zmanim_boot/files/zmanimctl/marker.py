"""The marker on the volume, /data/.zmanim-volume.json: which volume this is and what it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional, Sequence

from zmanimctl.errors import ZmanimError
from zmanimctl.state import write_atomically

NAME = ".zmanim-volume.json"


@dataclass(frozen=True)
class Marker:
    """What a volume says about itself; ``fresh`` until the cluster exists and EC2's tag is gone."""

    volume_id: str
    environment: str
    postgres_major: int
    postgis_version: Optional[str] = None
    system_identifier: Optional[str] = None
    fresh: bool = False


def parse(text: str, where: str) -> Marker:
    """Return the marker in ``text``; a marker that cannot be read is a refusal, not a missing one."""
    try:
        values = json.loads(text)
        return Marker(
            **{key: values.get(key) for key in Marker.__dataclass_fields__ if values.get(key) is not None}
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise ZmanimError(
            f"{where} cannot be read",
            found=str(error),
            expected="the marker of a data volume",
            remedy="nothing was started; restore the file from a backup of the volume",
        ) from None


def read(data_dir: str) -> Optional[Marker]:
    """Return the marker of the mounted volume, or None when it has none."""
    path = Path(data_dir) / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return parse(text, str(path))


def write(data_dir: str, marker: Marker) -> None:
    """Write the marker in one rename."""
    write_atomically(Path(data_dir) / NAME, json.dumps(asdict(marker), indent=2) + "\n")


def minor(version: Optional[str]) -> str:
    """Return major.minor of a PostGIS version: patch releases share one on-disk format."""
    return ".".join((version or "").split(".")[:2])


def admit(found: Optional[Marker], expected: Marker, entries: Sequence[str], tagged_fresh: bool) -> Marker:
    """Return the marker to go on with, or raise ZmanimError with what to do.

    ``entries`` are the names in the volume's root. Without a marker only an empty volume tagged
    Fresh=true passes.
    """
    if found is None:
        strangers = [name for name in entries if name not in ("lost+found", NAME)]
        if strangers or not tagged_fresh:
            raise ZmanimError(
                f"volume {expected.volume_id} has no marker {NAME}",
                found=f"{', '.join(strangers[:5]) or 'nothing'}, tag Fresh={str(tagged_fresh).lower()}",
                expected="a marker, or an empty volume tagged Fresh=true",
                remedy="nothing was started; attach the right volume",
            )
        return replace(expected, fresh=True, system_identifier=None)
    compare(found, expected)
    return found


def compare(found: Marker, expected: Marker) -> None:
    """Raise ZmanimError on the first difference between the volume and this machine."""
    checks = (
        (
            "environment",
            found.environment,
            expected.environment,
            "this volume belongs to another environment; attach the right one",
        ),
        (
            "volume id",
            found.volume_id,
            expected.volume_id,
            f"if it is a copy made from a snapshot: zmanimctl volume adopt --confirm {expected.environment}",
        ),
        (
            "PostgreSQL major",
            str(found.postgres_major),
            str(expected.postgres_major),
            "boot an image of the volume's major; a new major needs the replica swap or pg_upgrade on a copy",
        ),
    )
    for name, is_value, should_be, remedy in checks:
        if is_value != should_be:
            raise ZmanimError(
                f"the volume's marker has another {name}",
                found=is_value,
                expected=should_be,
                remedy=f"nothing was started; {remedy}",
            )
    _compare_postgis(found, expected)


def _compare_postgis(found: Marker, expected: Marker) -> None:
    if found.postgis_version is None:
        return
    if minor(found.postgis_version) != minor(expected.postgis_version):
        raise ZmanimError(
            "the volume's marker has another PostGIS version",
            found=found.postgis_version,
            expected=expected.postgis_version or "none in this image",
            remedy=(
                "nothing was started; boot an image with the volume's version, or accept this one: "
                f"zmanimctl volume adopt --confirm {expected.environment}"
            ),
        )


def check_cluster(marker: Marker, system_identifier: str) -> None:
    """Raise ZmanimError when the cluster on the volume is not the one that the marker names."""
    if marker.system_identifier not in (None, system_identifier):
        raise ZmanimError(
            "the cluster on the volume is not the one of its marker",
            found=f"system identifier {system_identifier}",
            expected=str(marker.system_identifier),
            remedy="PostgreSQL was not started; somebody replaced the data directory: put the right one back",
        )
