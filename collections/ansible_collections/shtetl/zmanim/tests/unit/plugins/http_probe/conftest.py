# SPDX-License-Identifier: GPL-3.0-or-later
"""Let the tests import the collection by its full name, wherever the repository is checked out."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = Path(__file__).resolve().parents[7]
if str(COLLECTIONS) not in sys.path:
    sys.path.insert(0, str(COLLECTIONS))
