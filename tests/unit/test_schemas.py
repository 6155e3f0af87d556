"""naja's schemas: well formed, described, compiled, and of one mind with the official ones."""

from __future__ import annotations

import copy
import os
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naja.config import compile as compiler
from naja.config import explain, pattern, schemas, verdict
from naja.errors import NajaError
from tests.support.schemas import Maker, official_validator

FILES = schemas.read_all()
seeds = st.integers(0, 2**64)
many = settings(max_examples=400, deadline=None)


#: Where naja differs from the official schema on purpose: file, place, what is there officially, why.
DIFFERENCES: list[tuple[str, str, Any, str]] = [
    (
        "process.json",
        "properties/oomScoreAdj",
        {"type": "integer"},
        "stricter: proc(5) has -1000 to 1000",
    ),
    (
        "process.json",
        "properties/user/properties/umask",
        {"$ref": "types.json#/$defs/uint32"},
        "stricter: a mask has nine bits",
    ),
    (
        "process.json",
        "properties/ioPriority/properties/priority",
        {"$ref": "types.json#/$defs/int32"},
        "stricter: config.md has 0 to 7",
    ),
    (
        "process.json",
        "properties/scheduler/properties/nice",
        {"$ref": "types.json#/$defs/int32"},
        "stricter: sched(7) has -20 to 19",
    ),
    (
        "process.json",
        "properties/rlimits/items/properties/type",
        {"type": "string", "pattern": "^RLIMIT_[A-Z]+$"},
        "stricter: config.md wants an error for a limit that the kernel does not have",
    ),
    (
        "seccomp.json",
        "properties/syscalls/items/properties/args/items/properties/index",
        {"$ref": "types.json#/$defs/uint32"},
        "stricter: a system call has six arguments",
    ),
    (
        "resources.json",
        "properties/memory/properties/swappiness",
        {"$ref": "types.json#/$defs/uint64"},
        "stricter: config-linux.md has 0 to 100",
    ),
    (
        "resources.json",
        "properties/pids",
        {**FILES["resources.json"]["properties"]["pids"], "required": ["limit"]},
        "laxer: without a limit there is none, as for Go's types",
    ),
    (
        "linux.json",
        "properties/devices/items/properties/fileMode",
        {"type": "integer", "minimum": 0, "maximum": 511},
        "laxer: engines send the bits of the file type along, and set-id bits exist",
    ),
    (
        "linux.json",
        "properties/rootfsPropagation",
        {"enum": ["private", "shared", "slave", "unbindable"]},
        "laxer: Docker and containerd send rprivate, rshared, rslave",
    ),
    (
        "platforms.json",
        "$defs/vm/properties/hwConfig/properties/iomems",
        # "items" was a list there, which holds for the first item only.
        {
            "type": "array",
            "prefixItems": [
                FILES["platforms.json"]["$defs"]["vm"]["properties"]["hwConfig"]["properties"]["iomems"][
                    "items"
                ]
            ],
        },
        "stricter: all items are checked, not the first only",
    ),
    (
        "types.json",
        "$defs/textMap",
        {"type": "object", "patternProperties": {".{1,}": {"type": "string"}}},
        "stricter: the value of an empty name is text, too",
    ),
    (
        "features.json",
        "properties/linux/properties/memoryPolicy",
        {},
        "stricter: features-linux.md describes it, the schema was forgotten",
    ),
    (
        "features.json",
        "properties/linux/properties/intelRdt/properties/schemata",
        {},
        "stricter: features-linux.md describes it, the schema was forgotten",
    ),
    (
        "features.json",
        "properties/linux/properties/intelRdt/properties/monitoring",
        {},
        "stricter: features-linux.md describes it, the schema was forgotten",
    ),
]


def relaxed(name: str) -> Any:
    """A validator for naja's schema in which every difference on purpose is undone."""
    files = copy.deepcopy(FILES)
    for file, place, official, _ in DIFFERENCES:
        *steps, last = place.split("/")
        parent = files[file]
        for step in steps:
            parent = parent[step]
        assert last in parent, f"{file} has no {place} any more"
        parent[last] = official
    return explain.validator_of(files, name)


@pytest.mark.parametrize("file", FILES)
def test_is_a_schema(file: str) -> None:
    jsonschema.Draft202012Validator.check_schema(FILES[file])
    assert FILES[file]["$id"] == schemas.BASE + file


@pytest.mark.parametrize("file", FILES)
def test_every_property_is_described(file: str) -> None:
    def walk(schema: Any, place: str) -> None:
        for name, member in schema.get("properties", {}).items():
            described = "description" in member or "types.json" in member.get("$ref", "")
            assert described, f"{file}{place}/{name} has no description"
            walk(member, f"{place}/{name}")
        for key in ("items", "additionalProperties"):
            if key in schema:
                walk(schema[key], place)
        for name, member in schema.get("$defs", {}).items():
            walk(member, f"{place}/{name}")

    walk(FILES[file], "")


def test_the_compiled_verdict_is_up_to_date() -> None:
    with open(str(verdict.__file__), encoding="ascii") as file:
        assert file.read() == compiler.compile_config(), "run python -m naja.config.compile"


@given(seeds)
@many
def test_the_compiled_verdict_is_that_of_jsonschema(seed: int) -> None:
    maker = Maker(random.Random(seed))
    validator = explain.validator("config")
    config = maker.valid("config")
    assert verdict.config(config) is None
    for _ in range(3):
        config = maker.spoil(config)
        found = {problem.origin for problem in explain.problems_of(validator, config)}
        first = verdict.config(config)
        assert first in found if found else first is None, config


@pytest.mark.parametrize("name", ["config", "state", "features"])
@given(seeds)
@many
def test_agrees_with_the_official_schema(name: str, seed: int) -> None:
    maker = Maker(random.Random(seed))
    ours, official = relaxed(name), official_validator(name)
    value = maker.valid(name)
    for _ in range(4):
        assert ours.is_valid(value) == official.is_valid(value), (value, *official.iter_errors(value))
        value = maker.spoil(value)


@pytest.mark.parametrize("text", ["", "0", "0-3, 7", "x", "0\n", "1-"])
def test_pattern(text: str) -> None:
    pieces = compiler.split("^[0-9, -]*$")
    assert pattern.matches(text, pieces) == (text.strip("0123456789, -") == "")


@given(st.text("129KMGB\n", max_size=6))
def test_pattern_of_several_pieces(text: str) -> None:
    validator = jsonschema.Draft202012Validator({"pattern": "^[1-9][0-9]*[KMG]B$(?!\n)"})
    assert pattern.matches(text, compiler.split("^[1-9][0-9]*[KMG]B$")) == validator.is_valid(text)


@pytest.mark.parametrize(
    "expression", ["a", "^a", "^a*a$", "^[^a]*b$", "^(a|b)$", "^a{2}$", "^\\d$", "^a.b$"]
)
def test_unknown_patterns_stop_the_compiler(expression: str) -> None:
    with pytest.raises(NajaError):
        compiler.split(expression)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "oneOf": []},
        {"type": "integer", "maximum": 3},
        {"$ref": "x.json", "type": "object"},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"$ref": "#/$defs/hidden"},
    ],
)
def test_unknown_keywords_stop_the_compiler(schema: Any) -> None:
    root = {"type": "object", "properties": {"a": schema}, "$defs": {"hidden": {"not": {}}}}
    with pytest.raises(NajaError):
        compiler.Compiler({"x.json": root}).module("x.json")


def test_the_schemas_are_where_the_code_looks() -> None:
    assert os.path.exists(f"{schemas.directory()}/config.json")
