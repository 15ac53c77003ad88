# SPDX-License-Identifier: GPL-3.0-or-later
"""The rehearsal: a whole production on this machine, from bake to destroy, with every request counted."""
