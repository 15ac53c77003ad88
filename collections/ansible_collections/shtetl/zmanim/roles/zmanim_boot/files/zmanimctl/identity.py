"""Who this machine is: the instance's facts from IMDS and the KEY=VALUE lines of its user-data."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Protocol

from zmanimctl.errors import ZmanimError

REQUIRED = ("ZMANIM_ENV", "ZMANIM_REGION", "ZMANIM_VOLUME_ID")
VOLUME_ID = re.compile(r"^vol-(?:[0-9a-f]{8}|[0-9a-f]{17})$")
ROLES = ("active", "standby")


class Metadata(Protocol):
    """What identity needs of the instance metadata service."""

    def get(self, path: str) -> str:
        """Return the text at ``path``."""
        ...

    def find(self, path: str, default: str) -> str:
        """Return the text at ``path`` or ``default`` when there is none."""
        ...


@dataclass(frozen=True)
class Identity:
    """The machine's name in AWS and what its user-data told it. Holds no secret."""

    environment: str
    region: str
    volume_id: str
    role: str
    instance_id: str
    ami_id: str
    private_ip: str = ""
    endpoint_url: str = ""


def parse_user_data(text: str) -> Dict[str, str]:
    """Return the KEY=VALUE pairs of user-data; comments and anything else are skipped, quotes removed.

    Raises ZmanimError that names the first missing or malformed key.
    """
    values: Dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"^\s*(ZMANIM_[A-Z_]+)=(.*?)\s*$", line)
        if match:
            values[match.group(1)] = match.group(2).split(" #", 1)[0].strip().strip("\"'")
    for key in REQUIRED:
        if not values.get(key):
            raise ZmanimError(
                f"user-data has no {key}",
                expected=f"lines {', '.join(REQUIRED)}",
                remedy="launch from the launch template that site.yml makes",
            )
    if not VOLUME_ID.fullmatch(values["ZMANIM_VOLUME_ID"]):
        raise ZmanimError(
            "ZMANIM_VOLUME_ID in user-data",
            found=values["ZMANIM_VOLUME_ID"],
            expected="an EBS volume id, vol-...",
        )
    return values


def discover(metadata: Metadata) -> Identity:
    """Ask IMDS who we are."""
    values = parse_user_data(metadata.find("user-data", ""))
    role = metadata.find("meta-data/tags/instance/ZmanimRole", "active")
    if role not in ROLES:
        raise ZmanimError(
            "instance tag ZmanimRole",
            found=role,
            expected=" or ".join(ROLES),
            remedy="correct the tag and boot again",
        )
    return Identity(
        environment=values["ZMANIM_ENV"],
        region=values["ZMANIM_REGION"],
        volume_id=values["ZMANIM_VOLUME_ID"],
        role=role,
        instance_id=metadata.get("meta-data/instance-id"),
        ami_id=metadata.find("meta-data/ami-id", ""),
        private_ip=metadata.find("meta-data/local-ipv4", ""),
        endpoint_url=values.get("ZMANIM_AWS_ENDPOINT_URL", ""),
    )


def save(identity: Identity, path: Path) -> None:
    """Keep the identity for verbs that must not depend on IMDS (status, the handover's watcher)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(identity), indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> Identity:
    """Return the identity that boot saved; raise ZmanimError when boot has not run."""
    try:
        return Identity(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise ZmanimError(
            f"{path} is not there or cannot be read",
            expected="the file that boot writes",
            remedy="run: zmanimctl boot",
        ) from None
