# SPDX-License-Identifier: GPL-3.0-or-later
"""What the edge process is told by the lab that starts it: one JSON document on its standard input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

MIRROR = "mirror"
"""Directory of the mirror's files, below the state directory."""


@dataclass(frozen=True)
class EdgeSettings:
    """Addresses ("host:port"), files and limits of the edge process."""

    api: str
    viewer: str
    viewer_tls: str
    gateway: str
    issuer: str
    mirror: str
    state_dir: str
    certificate: str
    key: str
    region: str
    account: str
    aws_endpoint_url: str
    threads: int

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> EdgeSettings:
        """Read what `to_json` wrote; raises TypeError for a missing or an unknown field."""
        return cls(**json.loads(text))
