# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets the tests import the collection by its full name, and reads botocore's models once a process."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import botocore.session

COLLECTIONS = Path(__file__).resolve().parents[6]
if str(COLLECTIONS) not in sys.path:
    sys.path.insert(0, str(COLLECTIONS))

# Every run of a module makes its own session, which would parse megabytes of JSON again.
botocore.session.create_loader = functools.lru_cache(botocore.session.create_loader)
