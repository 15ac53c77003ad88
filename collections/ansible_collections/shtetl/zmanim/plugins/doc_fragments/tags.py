# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of tags that are declared, and of those that are not."""

from __future__ import annotations


class ModuleDocFragment:
    """Tags that are all the tags, that are added to others, or that are only given at creation."""

    DOCUMENTATION = r"""
options:
  tags:
    description: All its tags; others are removed. Left alone when not given.
    type: dict
"""

    ADDED = r"""
options:
  tags:
    description: Its tags. Tags that are not declared are kept.
    type: dict
    default: {}
"""

    INITIAL = r"""
options:
  tags:
    description: Tags that it is given when it is created; later they are left alone.
    type: dict
    default: {}
"""
