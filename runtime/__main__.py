"""``python -m runtime`` is ``naja``."""

from __future__ import annotations

import sys

from runtime.cli.main import main

sys.argv[0] = "naja"
main()
