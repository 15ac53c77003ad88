# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that CloudFront's functions, policies and access controls have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """A name, a comment, and the selections of C(module_utils/cloudfront.py)."""

    NAME = r"""
options:
  name:
    description: Name, unique in the account.
    type: str
    required: true
"""

    COMMENT = r"""
options:
  comment:
    description: What it is for.
    type: str
    default: ''
"""

    SELECTIONS = r"""
options:
  cookies:
    type: dict
    default: {}
    suboptions:
      behavior:
        description: Which are taken.
        type: str
        choices: [none, whitelist, allExcept, all]
        default: none
      names:
        description: Names that O(cookies.behavior) refers to.
        type: list
        elements: str
        default: []
  query_strings:
    type: dict
    default: {}
    suboptions:
      behavior:
        description: Which are taken.
        type: str
        choices: [none, whitelist, allExcept, all]
        default: none
      names:
        description: Names that O(query_strings.behavior) refers to.
        type: list
        elements: str
        default: []
"""
