# Copyright: (c) 2026, The shtetl.zmanim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tags that say something about a data volume's life."""

from __future__ import annotations

# Names the snapshot that holds all the volume does; attaching the volume removes the tag.
FINAL_SNAPSHOT = "FinalSnapshot"
