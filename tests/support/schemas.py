"""Configs made from a schema, valid and spoiled; and the official schemas as a referee."""

from __future__ import annotations

import copy
import json
import os
import random
import re
from typing import Any

import jsonschema
import pytest
import referencing
import referencing.jsonschema

from naja.config import schemas

Schema = dict[str, Any]

_HERE = os.path.dirname(os.path.abspath(__file__))
_BESIDE = os.path.join(_HERE, "../../../shared/oci/schema")

#: What a mutation puts where it does not belong.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 1.0, 1.5, 511, 512, 2**16, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1),
    *("", "x", "c", "RLIMIT_X", "c\n", "2MB\n", "MB:0=1\n", "shared", [], {}, [1], [""], ["x"], [[]]),
    *({"a": 1}, {"": 1}, {"path": "/x"}, {"type": "pid"}, [{}], [None]),
)


def official_directory() -> str:
    """Return where the official schemas of runtime-spec 1.3.0 are; skip the test where they are not."""
    path = os.environ.get("NAJA_OCI_SCHEMA", _BESIDE)
    if not os.path.exists(f"{path}/config-schema.json"):
        pytest.skip("needs the official schemas: NAJA_OCI_SCHEMA names no directory that has them")
    return path


def official_validator(name: str) -> Any:
    """Return a validator for an official schema ("config", "state", "features")."""
    directory = official_directory()
    registry: Any = referencing.Registry()
    contents = {}
    for file in os.listdir(directory):
        with open(f"{directory}/{file}", encoding="utf-8") as stream:
            # One reference in defs.json lacks its slash.
            text = stream.read().replace('"#definitions/', '"#/definitions/')
        contents[file] = json.loads(text)
        resource = referencing.jsonschema.DRAFT4.create_resource(contents[file])
        registry = registry.with_resource(file, resource)
    kind: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft4Validator, validators={"pattern": _pattern}
    )
    return kind(contents[f"{name}-schema.json"], registry=registry)


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Any:
    # As ECMA-262 has it: $ is the end of the text only.
    if isinstance(value, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), value):
        yield jsonschema.ValidationError("pattern")


class Maker:
    """Makes values of a schema, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files = schemas.read_all()

    def valid(self, name: str) -> Any:
        """Return a valid value of the schema in a file ("config")."""
        return self.value(self.files[f"{name}.json"], f"{name}.json")

    def value(self, schema: Schema, file: str) -> Any:
        if "$ref" in schema:
            target, _, pointer = schema["$ref"].partition("#")
            schema = self.files[target or file]
            for step in pointer.split("/")[1:]:
                schema = schema[step]
            return self.value(schema, target or file)
        if "enum" in schema:
            return self.chance.choice(schema["enum"])
        kind = schema["type"]
        if kind == "object":
            return self.object(schema, file)
        if kind == "array":
            count = self.chance.randint(schema.get("minItems", 0), 2)
            return [self.value(schema["items"], file) for _ in range(count)]
        if kind == "string":
            return self.text(schema.get("pattern"))
        if kind == "boolean":
            return self.chance.random() < 0.5
        low, high = schema["minimum"], schema.get("maximum", 2**64)
        return self.chance.choice([low, high, self.chance.randint(low, high)])

    def object(self, schema: Schema, file: str) -> Any:
        required = schema.get("required", ())
        made = {
            name: self.value(member, file)
            for name, member in schema.get("properties", {}).items()
            if name in required or self.chance.random() < 0.4
        }
        if "additionalProperties" in schema:
            for name in self.chance.sample(["a", "b.c", "d/e~f", "ä"], self.chance.randint(0, 2)):
                made[name] = self.value(schema["additionalProperties"], file)
        return made

    def text(self, pattern: str | None) -> str:
        samples = {
            None: ["", "x", "/a/b", "ä", "\n"],
            "^[0-9, -]*$": ["", "0-3, 7"],
            "^[1-9][0-9]*[KMG]B$": ["2MB"],
        }
        samples |= {"^MB:[^\\n]*$": ["MB:0=20", "MB:"], "^CAP_[A-Z_]+$": ["CAP_KILL"]}
        return self.chance.choice(samples[pattern])

    def spoil(self, value: Any) -> Any:
        """Return a copy in which one thing is replaced, removed or added."""
        value = copy.deepcopy(value)
        places = list(_places(value))
        if not places:
            return self.chance.choice(STRANGE)
        parent, key = self.chance.choice(places)
        match self.chance.randrange(4):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[self.chance.choice(["", "x", "path", "type"])] = self.chance.choice(STRANGE)
            case _:
                parent[key] = self.chance.choice(STRANGE)
        return value


def _places(value: Any) -> Any:
    members: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield value, key
        yield from _places(member)
