"""Say in words what is wrong with the form of a config, by a walk through naja's own JSON Schemas.

Only a refusal, and people's verbs, come here. The walk knows the keywords of JSON Schema (2020-12) that those
schemas use; the tests compare it with the package jsonschema.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from . import json, schemas
from .pattern import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ARTICLES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "object": "an object",
    "string": "a string",
}
#: How much of what was found, and how many choices, fit on a line.
_LONGEST, _MOST = 60, 10


class Problem:
    """One thing that is wrong: where (a JSON pointer), and what, in a sentence without a full stop."""

    def __init__(self, origin: str, why: str) -> None:
        self.origin = origin
        self.why = why

    def __str__(self) -> str:
        return f"{self.origin or '/'}: {self.why}"

    def __repr__(self) -> str:
        return f"Problem({self.origin!r}, {self.why!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and (self.origin, self.why) == (other.origin, other.why)

    __hash__ = None  # type: ignore[assignment]


class Schemas:
    """Schemas that refer to each other, by file name."""

    def __init__(self, files: dict[str, dict[str, Any]]) -> None:
        self._files = files

    def problems(self, value: Any, file: str) -> Iterator[Problem]:
        """Yield what breaks the schema of a file, in its order."""
        yield from self._walk(value, self._files[file], file, "")

    def _walk(self, value: Any, schema: dict[str, Any], file: str, origin: str) -> Iterator[Problem]:
        for keyword, wanted in schema.items():
            if keyword == "$ref":
                yield from self._walk(value, *self._resolved(wanted, file), origin)
            elif keyword in _MEMBERS:
                for name, member, below in _MEMBERS[keyword](value, schema):
                    yield from self._walk(member, below, file, f"{origin}/{escape(name)}")
            elif keyword == "required":
                for why in _missing(value, wanted):
                    yield Problem(origin, why)
            elif keyword in _CHECKS and not _CHECKS[keyword](value, wanted):
                yield Problem(origin, _sentence(keyword, value, schema))

    def _resolved(self, reference: str, file: str) -> tuple[dict[str, Any], str]:
        """Return the schema that ``$ref`` names, and the file that it is in."""
        named, _, pointer = reference.partition("#")
        schema = self._files[named or file]
        for step in pointer.split("/")[1:]:
            schema = schema[step]
        return schema, named or file


#: JSON Schema counts 1.0 as an integer; the kernel's interfaces, and Go, do not.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: type(value) is int,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_pattern(value: Any, pattern: str) -> bool:
    # In the patterns of JSON Schema $ is the end of the text, in re also before a last line break.
    return not isinstance(value, str) or bool(re.search(re.sub(r"\$$", r"\\Z", pattern), value))


#: By keyword: whether a value is as it is to be. What is of another type is the affair of "type".
_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, wanted: _TYPES[wanted](value),
    "enum": lambda value, wanted: isinstance(value, str) and value in wanted,
    "minimum": lambda value, wanted: not _is_number(value) or value >= wanted,
    "maximum": lambda value, wanted: not _is_number(value) or value <= wanted,
    "minItems": lambda value, wanted: not isinstance(value, list) or len(value) >= wanted,
    "pattern": _has_pattern,
}

#: What goes one step down: its name, the value there, its schema.
Member = tuple[str, Any, dict[str, Any]]


def _properties(value: Any, schema: dict[str, Any]) -> Iterator[Member]:
    for name, below in schema["properties"].items():
        if isinstance(value, dict) and name in value:
            yield name, value[name], below


def _additional(value: Any, schema: dict[str, Any]) -> Iterator[Member]:
    for name, member in value.items() if isinstance(value, dict) else ():
        if name not in schema.get("properties", {}):
            yield name, member, schema["additionalProperties"]


def _items(value: Any, schema: dict[str, Any]) -> Iterator[Member]:
    for index, item in enumerate(value) if isinstance(value, list) else ():
        yield str(index), item, schema["items"]


_MEMBERS = {"properties": _properties, "additionalProperties": _additional, "items": _items}


def _missing(value: Any, names: list[str]) -> Iterator[str]:
    for name in names if isinstance(value, dict) else ():
        if name not in value:
            close = difflib.get_close_matches(name, value, 1)
            yield f"{name!r} is missing" + (f" (is {close[0]!r} misspelled?)" if close else "")


def problems(value: Any, name: str) -> list[Problem]:
    """Return all places where a value breaks a schema of naja's ("config", "process", "state" …).

    They are in the order of the schema. Raises NajaError where the schemas are not there.
    """
    return list(Schemas(schemas.read_all()).problems(value, f"{name}.json"))


def why(value: Any, name: str, pointer: str) -> str:
    """Return a sentence for the place that the compiled verdict found."""
    found = [problem.why for problem in problems(value, name) if problem.origin == pointer]
    return found[0] if found else "not what the schema asks for"


def _sentence(keyword: str, value: Any, schema: dict[str, Any]) -> str:
    wanted = schema[keyword]
    match keyword:
        case "type":
            expected = _ARTICLES[wanted] + (_bytes(value) if wanted == "integer" else "")
        case "enum":
            near = _near(value, wanted)
            choices = f"{len(wanted)} words" if near else ", ".join(map(repr, wanted[:_MOST]))
            more = " …" if len(wanted) > _MOST and not near else ""
            return f"expected one of {choices}{more}, found {_show(value)}{near}"
        case "minItems":
            return "expected at least one item, found none"
        case "pattern":
            expected = f"text like {wanted}"
        case _:
            low, high = schema.get("minimum"), schema.get("maximum")
            expected = f"an integer from {low} to {high}" if high is not None else f"at least {low}"
    return f"expected {expected}, found {_show(value)}"


def _bytes(value: Any) -> str:
    """Return a hint where a value is a size with a unit."""
    text = value if isinstance(value, str) else ""
    found = re.fullmatch(r"(\d{1,12}) ?([kmgt])(i?b)?", text, re.IGNORECASE)
    return f" (of bytes: {int(found[1]) << 10 * ('kmgt'.index(found[2].lower()) + 1)})" if found else ""


def _near(name: Any, choices: list[str]) -> str:
    """Return a hint where one of the choices is nearly ``name``."""
    close = difflib.get_close_matches(name, choices, 1) if isinstance(name, str) else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def _show(value: Any) -> str:
    """Return a value as JSON in at most a few words."""
    text = json.dumps(value)
    if isinstance(value, dict | list):
        return ("an empty " if not value else "") + ("object" if isinstance(value, dict) else "array")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
