# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference API of the lab (Go) and what builds it."""
