"""The version of naja, and of what it stands on."""

from __future__ import annotations

import os
import sys

__all__ = ["SPECIFICATION", "VERSION", "lines"]

VERSION = "0.1.0"
#: The version of the runtime specification that is implemented.
SPECIFICATION = "1.3.0"


def lines(program: str) -> list[str]:
    """Return what ``--version`` prints, a line each; engines look for the first three."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    commit = _commit(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
    return [
        f"{program} version {VERSION}",
        *([f"commit: {commit}"] if commit else []),
        f"spec: {SPECIFICATION}",
        *([f"naja: {VERSION}"] if program != "naja" else []),
        f"python: {python}",
    ]


def _commit(checkout: str) -> str:
    """Return the commit that a git checkout is at; "" where naja runs from somewhere else."""
    try:
        with open(f"{checkout}/.git/HEAD", "rb") as file:
            head = file.read().decode().strip()
        if not head.startswith("ref: "):
            return head
        with open(f"{checkout}/.git/{head[5:]}", "rb") as file:
            return file.read().decode().strip()
    except OSError:
        return ""
