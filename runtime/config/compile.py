"""Compile the schema of config.json to Python: ``python -m naja.config.compile``.

Importing jsonschema takes 65 ms, longer than all the rest of ``naja create``; so the question
"valid or not, and where not?" is answered by functions that are written ahead of time, into
verdict.py. Only the keywords that naja's schemas use are known; any other stops the compiler.
"""

from __future__ import annotations

import itertools
import os
import sys

from ..errors import NajaError
from . import schemas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]

_HEADER = '''\
"""Is this a valid config.json? Compiled from schemas/ by runtime/config/compile.py: do not edit.

Every function takes a parsed JSON value and returns None where it is valid, otherwise a JSON
pointer to the first place that is not.
"""
# ruff: noqa: D103, E501, N802, PLR0911, PLR0912
# fmt: off

from __future__ import annotations

from naja.config.pattern import escape, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
'''

_TYPES = {"string": "str", "boolean": "bool", "integer": "int", "object": "dict", "array": "list"}
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}
_KNOWN = _ANNOTATIONS | {
    *("$ref", "type", "enum", "minimum", "maximum", "pattern", "minItems"),
    *("items", "properties", "required", "additionalProperties"),
}


class Compiler:
    """Turns schemas into the text of a Python module."""

    def __init__(self, files: dict[str, Schema]) -> None:
        self.files = files
        #: Text of each function by its name, in the order of need: callees first.
        self.functions: dict[str, str] = {}
        #: Constants (enumerations, patterns) and their names.
        self.constants: dict[str, str] = {}

    def module(self, root: str) -> str:
        """Return the module for the schema in the file ``root``. Raises NajaError."""
        self.function(self.files[root], root, root.removesuffix(".json"))
        constants = "".join(f"\n{name} = {text}\n" for text, name in self.constants.items())
        return _HEADER + constants + "".join(f"\n\n{text}" for text in self.functions.values())

    def resolve(self, schema: Schema, file: str, name: str) -> tuple[Schema, str, str]:
        """Follow references; return the schema, its file, and the name of its function.

        That is ``name`` where nothing is followed, and the same for all who refer to the schema.
        """
        unknown = schema.keys() - _KNOWN
        if unknown:
            raise NajaError(f"{file}: the compiler does not know the keyword {min(unknown)!r}")
        if {"properties", "additionalProperties"} <= schema.keys():
            raise NajaError(f"{file}: the compiler does not know additionalProperties beside properties")
        if "$ref" not in schema:
            return schema, file, name
        if schema.keys() - _ANNOTATIONS != {"$ref"}:
            raise NajaError(f"{file}: $ref with a keyword beside it")
        target, _, pointer = schema["$ref"].partition("#")
        target = target or file
        found, shared = self.files[target], target.removesuffix(".json")
        if pointer:
            key = pointer.removeprefix("/$defs/")
            found = found["$defs"][key]
            shared = key if shared in {"types", "platforms"} else f"{shared}_{key}"
        return self.resolve(found, target, shared)

    def refused(self, schema: Schema, file: str, name: str, value: str) -> tuple[str, str]:
        """Return an expression that is true where ``value`` is invalid, and the pointer to add then.

        ``value`` may be evaluated once only; it is bound to ``item`` where that is not enough.
        """
        schema, file, name = self.resolve(schema, file, name)
        if "enum" in schema:
            return f"{value} not in {self.constant(name, repr(tuple(schema['enum'])))}", ""
        kind = schema["type"]
        if kind in {"object", "array"} and schema.keys() - {"type"} - _ANNOTATIONS:
            self.function(schema, file, name)
            return f"(bad := {name}({value})) is not None", "{bad}"
        further = self.range(schema, file) if kind == "integer" else ""
        if "pattern" in schema:
            further = f" or not matches(item, {self.constant(name, repr(split(schema['pattern'])))})"
        bound = f"item := {value}" if further and value != "item" else value
        return f"type({bound}) is not {_TYPES[kind]}{further}", ""

    def range(self, schema: Schema, file: str) -> str:
        """Return the part of an expression that holds an integer against its limits."""
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is None and high is None:
            return ""
        if low is None:
            raise NajaError(f"{file}: the compiler does not know maximum without minimum")
        return f" or item < {low}" if high is None else f" or not {low} <= item <= {high}"

    def constant(self, name: str, text: str) -> str:
        """Return the name of a constant, made where it is new."""
        return self.constants.setdefault(text.replace("'", '"'), f"_{name}".upper())

    def function(self, schema: Schema, file: str, name: str) -> None:
        """Compile an object or an array."""
        if name in self.functions:
            return
        lines = [f"def {name}(value: Any) -> str | None:"]
        if schema["type"] == "object":
            self.object(schema, file, name, lines)
        else:
            self.array(schema, file, name, lines)
        lines.append("    return None")
        self.functions[name] = "\n".join(lines) + "\n"

    def object(self, schema: Schema, file: str, name: str, lines: list[str]) -> None:
        """Compile the type, the required names, and every property."""
        required = schema.get("required", ())
        missing = "".join(f' or "{key}" not in value' for key in required)
        lines += [f"    if type(value) is not dict{missing}:", '        return ""']
        for key, member in schema.get("properties", {}).items():
            test, bad = self.refused(member, file, f"{name}_{key}", f'value["{key}"]')
            if key not in required:
                test = f'"{key}" in value and ({test})'
            lines += [f"    if {test}:", f'        return {"f" * bool(bad)}"/{key}{bad}"']
        if "additionalProperties" in schema:
            test, bad = self.refused(schema["additionalProperties"], file, f"{name}_value", "item")
            lines += ["    for key, item in value.items():", f"        if {test}:"]
            lines += [f'            return f"/{{escape(key)}}{bad}"']

    def array(self, schema: Schema, file: str, name: str, lines: list[str]) -> None:
        """Compile the type, the least length, and the items."""
        shortest = f" or len(value) < {schema['minItems']}" if "minItems" in schema else ""
        test, bad = self.refused(schema["items"], file, f"{name}_item", "item")
        lines += [f"    if type(value) is not list{shortest}:", '        return ""']
        lines += ["    for index, item in enumerate(value):", f"        if {test}:"]
        lines += [f'            return f"/{{index}}{bad}"']


def split(pattern: str) -> tuple[tuple[str, str], ...]:
    """Split an anchored regular expression into (characters, how often) for ``pattern.matches``.

    Known are literal characters, [classes] with ranges, [^classes], and + or * behind them. Raises
    NajaError for anything else, and where one piece could take what the next one needs.
    """
    if pattern[:1] != "^" or pattern[-1:] != "$":
        raise NajaError(f"pattern {pattern!r} is not anchored")
    pieces: list[tuple[str, str]] = []
    rest = pattern[1:-1]
    while rest:
        if rest[0] == "[":
            characters, _, rest = rest[1:].partition("]")
        else:
            characters, rest = rest[0], rest[1:]
        times = rest[0] if rest[:1] in {"+", "*"} else "1"
        rest = rest.removeprefix(times) if times != "1" else rest
        pieces.append((_expand(characters), times))
    for (characters, times), (following, _) in itertools.pairwise(pieces):
        if times != "1" and ("^" in (characters[:1], following[:1]) or set(characters) & set(following)):
            raise NajaError(f"pattern {pattern!r} needs backtracking")
    return tuple(pieces)


def _expand(characters: str) -> str:
    """Write out the ranges of a class: "a-c" becomes "abc"; a leading ^ stays."""
    if set(characters) & set("\\.(){}|?") - {"\\"} or characters.replace("\\n", "").count("\\"):
        raise NajaError(f"the compiler does not know {characters!r} in a pattern")
    characters = characters.replace("\\n", "\n")
    expanded, index = "", 0
    while index < len(characters):
        if characters[index + 1 : index + 2] == "-" and index + 2 < len(characters):
            first, last = ord(characters[index]), ord(characters[index + 2])
            expanded += "".join(map(chr, range(first, last + 1)))
            index += 3
        else:
            expanded += characters[index]
            index += 1
    return expanded


def compile_config() -> str:
    """Return the text of verdict.py. Raises NajaError."""
    return Compiler(schemas.read_all()).module("config.json")


def main() -> int:
    """Write verdict.py beside this file; with --check only say whether it is as it would be written."""
    path = f"{os.path.dirname(os.path.abspath(__file__))}/verdict.py"
    if sys.argv[1:] == ["--check"]:
        with open(path, encoding="ascii") as file:
            if file.read() == compile_config():
                return 0
        sys.stderr.write("runtime/config/verdict.py is old: python -m naja.config.compile writes it anew\n")
        return 1
    with open(path, "w", encoding="ascii") as file:
        file.write(compile_config())
    return 0


if __name__ == "__main__":
    sys.exit(main())
