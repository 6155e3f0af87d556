"""Where naja's JSON Schemas are, in a checkout and when installed."""

from __future__ import annotations

import os

from ..errors import NajaError
from . import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What every ``$id`` begins with; what follows is the name of the file.
BASE = "https://naja.example/schemas/"


def directory() -> str:
    """Return the directory of the schemas. Raises NajaError where there is none."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    for place in (f"{package}/share/schemas", f"{os.path.dirname(package)}/schemas"):
        if os.path.exists(f"{place}/config.json"):
            return place
    raise NajaError("naja's JSON Schemas are not beside its code", why="the installation is incomplete")


def read_all() -> dict[str, dict[str, Any]]:
    """Return all schemas by file name. Raises NajaError."""
    place = directory()
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(os.listdir(place)):
        if name.endswith(".json"):
            with open(f"{place}/{name}", "rb") as file:
                found[name] = json.loads(file.read(), f"{place}/{name}")
    return found
