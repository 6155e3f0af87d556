"""A runtime that is containerd's shim itself, as opposed to one that the shim of runc calls."""

from __future__ import annotations

import os

_PREFIX = "containerd-shim-"


def type_of(program: str) -> str:
    """Return what engines call a shim ("io.containerd.naja.v2"), "" for a program that is none."""
    name = os.path.basename(program)
    return f"io.containerd.{name[len(_PREFIX) :].replace('-', '.')}" if name.startswith(_PREFIX) else ""
