"""Run zmanimctl as ``python3 -m zmanimctl``."""

from __future__ import annotations

import sys

from zmanimctl.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
