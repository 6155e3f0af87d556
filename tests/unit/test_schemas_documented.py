"""docs/properties.md has a row for every property of the schemas, and none that is not there."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from naja.config import schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = schemas.read_all()
PLATFORMS = ("/freebsd", "/solaris", "/vm", "/windows", "/zos")


def properties(schema: Any, file: str, at: str = "") -> Iterator[str]:
    """Yield the pointers of all properties below a schema; of other platforms the sections only."""
    if "$ref" in schema:
        target, _, pointer = schema["$ref"].partition("#")
        file = target or file
        schema = FILES[file]
        for step in pointer.split("/")[1:]:
            schema = schema[step]
        yield from properties(schema, file, at)
        return
    for name, member in schema.get("properties", {}).items():
        yield f"{at}/{name}"
        if f"{at}/{name}" not in PLATFORMS:
            yield from properties(member, file, f"{at}/{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from properties(schema[key], file, f"{at}/*")


def test_every_property_has_its_row() -> None:
    with open(os.path.join(os.path.dirname(__file__), "../../docs/properties.md"), encoding="utf-8") as file:
        config, features = file.read().split("\n## Features\n")
    for name, text in (("config.json", config), ("features.json", features)):
        rows = re.findall(r"^\| `(/[^`]*)` \|", text, re.MULTILINE)
        assert sorted(rows) == sorted(properties(FILES[name], name))
