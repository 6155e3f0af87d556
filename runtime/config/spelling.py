"""Find what is no error, but may be meant otherwise: nearly known properties, capabilities, nulls.

The specification wants unknown properties ignored (config.md, "Extensibility"), and capabilities that
cannot be mapped left out with a warning; but whoever asks whether a config is good wants to hear of it.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from ..linux import capabilities
from . import nulls, schemas
from .explain import Problem
from .pattern import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

#: How alike two names must be, of 1: "capabilites" is to be found, "comment" for "command" is not.
_ALIKE = 0.85


def suspects(config: Any) -> list[Problem]:
    """Return properties that the specification does not know, but nearly, unknown capabilities, and nulls."""
    files = schemas.read_all()
    properties = _suspects(config, files["config.json"], "config.json", files, "")
    return [*properties, *_capabilities(config), *_nulls(config)]


def _nulls(config: Any) -> Iterator[Problem]:
    """A null is taken for a property that is absent; whoever wrote it may have meant something else."""
    for _, _, pointer in nulls.find(config):
        yield Problem(pointer, "is null, which is taken to be absent")


def _capabilities(config: Any) -> Iterator[Problem]:
    """A capability that cannot be mapped to one of Linux is left out, with a warning (config.md)."""
    process = config.get("process")
    sets = process.get("capabilities") if isinstance(process, dict) else None
    for kind, names in sets.items() if isinstance(sets, dict) else ():
        for index, name in enumerate(names if isinstance(names, list) else ()):
            if isinstance(name, str) and name not in capabilities.NUMBERS:
                close = difflib.get_close_matches(name.upper(), capabilities.NUMBERS, 1, _ALIKE)
                hint = f" (did you mean {close[0]!r}?)" if close else ""
                why = f"expected a capability of Linux, found {name!r}{hint}: it is left out"
                yield Problem(f"/process/capabilities/{escape(kind)}/{index}", why)


def _suspects(value: Any, schema: Any, file: str, files: dict[str, Any], at: str) -> Iterator[Problem]:
    if "$ref" in schema:
        target, _, pointer = schema["$ref"].partition("#")
        file = target or file
        schema = files[file]
        for step in pointer.split("/")[1:]:
            schema = schema[step]
        yield from _suspects(value, schema, file, files, at)
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        for name, member in value.items():
            below = known.get(name, schema.get("additionalProperties"))
            if below is not None:
                yield from _suspects(member, below, file, files, f"{at}/{escape(name)}")
                continue
            for close in difflib.get_close_matches(name, known, 1, _ALIKE):
                yield Problem(f"{at}/{escape(name)}", f"is unknown, and ignored (did you mean {close!r}?)")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _suspects(item, schema.get("items", {}), file, files, f"{at}/{index}")
