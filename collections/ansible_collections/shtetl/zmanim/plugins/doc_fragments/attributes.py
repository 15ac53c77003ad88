# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module behaves in check and diff mode."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes of a module that declares something, and of one that only reads."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Predicts exactly what a run would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the state before and after.
    support: full
"""

    INFO_MODULE = r"""
attributes:
  check_mode:
    description: Works the same in check mode.
    support: full
  diff_mode:
    description: Changes nothing, so it shows nothing.
    support: none
"""
