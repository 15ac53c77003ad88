# SPDX-License-Identifier: GPL-3.0-or-later
"""An emulated AWS on one Debian machine whose EC2 instances are real systemd machines."""
