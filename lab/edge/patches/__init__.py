# SPDX-License-Identifier: GPL-3.0-or-later
"""What ministack lacks of the edge, one named patch a file.

Each module has `apply(settings)`, replaces the fewest functions that will do, and says in its first
lines what AWS does.  docs/lab-edge.md lists them.
"""

from __future__ import annotations

from lab.edge.patches import (
    access_log,
    api_endpoint,
    exchange,
    functions,
    gateway_origin,
    http_proxy,
    stage_settings,
    throttling,
)
from lab.edge.settings import EdgeSettings


def apply(settings: EdgeSettings) -> None:
    """Apply every patch to the ministack of this process."""
    for patch in (
        api_endpoint,
        stage_settings,
        exchange,
        functions,
        http_proxy,
        throttling,
        access_log,
        gateway_origin,
    ):
        patch.apply(settings)
