"""Say in words what is wrong with the form of a config, with the help of jsonschema.

Only a refusal, and people's verbs, come here: importing jsonschema takes 65 ms.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from ..errors import package_missing
from . import json, schemas
from .pattern import escape

try:
    import jsonschema
except ImportError as error:
    raise package_missing("telling what a config has to be like", "jsonschema", error) from None

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema.exceptions import ValidationError

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


def _is_integer(_checker: object, value: object) -> bool:
    # JSON Schema counts 1.0 as an integer; the kernel's interfaces, and Go, do not.
    return type(value) is int


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[ValidationError]:
    # In the patterns of JSON Schema $ is the end of the text, in re also before a last line break.
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _required(_validator: object, names: list[str], value: Any, _schema: object) -> Iterator[ValidationError]:
    for name in names if isinstance(value, dict) else ():
        if name not in value:
            close = difflib.get_close_matches(name, value, 1)
            hint = f" (is {close[0]!r} misspelled?)" if close else ""
            yield jsonschema.ValidationError(f"{name!r} is missing{hint}")


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    validators={"pattern": _pattern, "required": _required},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def validator(name: str) -> Any:
    """Return a jsonschema validator for one of naja's schemas ("config", "process", "state" …)."""
    return validator_of(schemas.read_all(), name)


def validator_of(files: dict[str, dict[str, Any]], name: str) -> Any:
    """Return the same for schemas that were read already."""
    # How schemas in several files find each other depends on jsonschema's version: so they are one.
    definitions = {file: _within(schema, file) for file, schema in files.items()}
    return _Validator({"$ref": f"#/$defs/{name}.json", "$defs": definitions})


def _within(schema: Any, file: str) -> Any:
    """Return a schema of a file as it is below "$defs" of one that holds them all."""
    if isinstance(schema, list):
        return [_within(item, file) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # Where a schema names its dialect, jsonschema leaves _Validator for the plain one of that dialect.
    found = {key: _within(value, file) for key, value in schema.items() if key not in ("$schema", "$id")}
    reference = schema.get("$ref")
    if isinstance(reference, str):
        named, _, pointer = reference.partition("#")
        found["$ref"] = f"#/$defs/{named or file}{pointer}"
    return found


def problems(value: Any, name: str) -> list[Problem]:
    """Return all places where a value breaks the schema ``name``, in the order of the schema."""
    return problems_of(validator(name), value)


def problems_of(validator: Any, value: Any) -> list[Problem]:
    """Return the same for a validator that there is already."""
    return [Problem(_pointer(error), _sentence(error)) for error in validator.iter_errors(value)]


def why(value: Any, name: str, pointer: str) -> str:
    """Return a sentence for the place that the compiled verdict found."""
    found = [problem.why for problem in problems(value, name) if problem.origin == pointer]
    return found[0] if found else "not what the schema asks for"


def _pointer(error: ValidationError) -> str:
    return "".join(f"/{escape(str(step))}" for step in error.absolute_path)


def _sentence(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    match error.validator:
        case "type":
            expected = _ARTICLES[wanted] + (_bytes(error.instance) if wanted == "integer" else "")
        case "enum":
            near = _near(error.instance, wanted)
            choices = f"{len(wanted)} words" if near else ", ".join(map(repr, wanted[:_MOST]))
            more = " …" if len(wanted) > _MOST and not near else ""
            return f"expected one of {choices}{more}, found {_show(error.instance)}{near}"
        case "minimum" | "maximum":
            schema: Any = error.schema
            low, high = schema.get("minimum"), schema.get("maximum")
            expected = f"an integer from {low} to {high}" if high is not None else f"at least {low}"
        case "minItems":
            return "expected at least one item, found none"
        case "pattern":
            expected = f"text like {wanted}"
        case _:
            return error.message
    return f"expected {expected}, found {_show(error.instance)}"


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
