# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's one exception: its message names the thing, what was found and what to do."""


class LabError(Exception):
    """Something the person at the keyboard must know; printed as one line."""
