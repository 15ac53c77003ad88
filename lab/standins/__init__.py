# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab serves in place of things that one machine without a network can't have.

The CloudWatch agent's package is the one stand-in inside the image; the mirror serves it to the machines.
"""

from __future__ import annotations

from lab.standins.packages import StandinError, build_mirror

__all__ = ["StandinError", "build_mirror"]
