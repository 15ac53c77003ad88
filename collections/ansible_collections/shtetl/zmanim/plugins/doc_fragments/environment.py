# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option that names an environment."""

from __future__ import annotations


class ModuleDocFragment:
    """The environment, which the names of everything in AWS are made of."""

    DOCUMENTATION = r"""
options:
  env:
    description: The environment, the C(<env>) in C(zmanim-<env>) and C(/zmanim/<env>/).
    type: str
    required: true
"""
