# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that says whether something is there."""

from __future__ import annotations


class ModuleDocFragment:
    """The documentation of C(STATE) in C(module_utils/declared_resource.py)."""

    DOCUMENTATION = r"""
options:
  state:
    description: Whether it exists.
    type: str
    choices: [present, absent]
    default: present
"""
