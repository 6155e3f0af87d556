"""``python -m naja`` is ``naja``."""

from __future__ import annotations

import sys

from .cli.main import main

sys.argv[0] = "naja"
main()
