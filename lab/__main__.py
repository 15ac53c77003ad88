# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry point of ``python -m lab``."""

from lab.cli import main

raise SystemExit(main())
