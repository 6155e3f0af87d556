"""naja.types says what the schemas say, and a type checker finds wrong uses of the Python API."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest

from naja import types
from naja.config import schemas

_FILES = schemas.read_all()
_HOME = Path(__file__).parents[2]
_EXAMPLES = [str(path) for path in sorted((_HOME / "docs" / "examples").glob("*.py"))]


def resolved(file: str, node: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Follow a reference of a schema."""
    while "$ref" in node:
        name, _, pointer = node["$ref"].partition("#")
        file = name or file
        node = _FILES[file]
        for part in filter(None, pointer.split("/")):
            node = node[part]
    return file, node


def required(type: Any) -> set[str]:
    """Return the members that may not be left out; __required_keys__ does not know of those in text."""
    members = typing.get_type_hints(type, include_extras=True)
    return {
        name
        for name, member in members.items()
        if type.__total__ and typing.get_origin(member) is not typing.NotRequired
    }


def compare(file: str, node: dict[str, Any], type: Any, where: str) -> None:
    """Hold a type against the part of a schema that it is for."""
    file, node = resolved(file, node)
    if typing.get_origin(type) in (typing.NotRequired, typing.Required):
        type = typing.get_args(type)[0]
    if file == "platforms.json":
        assert type == dict[str, Any], where
    elif "enum" in node:
        assert list(typing.get_args(type)) == node["enum"], where
    elif node["type"] == "array":
        assert typing.get_origin(type) is list, where
        compare(file, node["items"], typing.get_args(type)[0], f"{where}/0")
    elif "properties" in node:
        assert typing.is_typeddict(type), where
        members = typing.get_type_hints(type, include_extras=True)
        assert set(members) == set(node["properties"]), where
        assert required(type) == set(node.get("required", ())), where
        for name, member in members.items():
            compare(file, node["properties"][name], member, f"{where}/{name}")
    elif node["type"] == "object":
        assert typing.get_origin(type) is dict, where
        compare(file, node["additionalProperties"], typing.get_args(type)[1], f"{where}/NAME")
    else:
        assert type is {"string": str, "boolean": bool, "integer": int}[node["type"]], where


@pytest.mark.parametrize(
    ("file", "type"),
    [("config.json", types.Config), ("process.json", types.Process), ("resources.json", types.Resources)],
)
def test_types_are_those_of_the_schemas(file: str, type: Any) -> None:
    compare(file, _FILES[file], type, "")


def test_the_state_has_what_the_schema_has() -> None:
    schema = _FILES["state.json"]
    members = typing.get_type_hints(types.State)
    assert set(schema["properties"]) <= set(members)
    assert set(schema["required"]) <= required(types.State)
    assert set(schema["properties"]["status"]["enum"]) < set(typing.get_args(members["status"]))


def test_mypy_finds_each_wrong_use(tmp_path: Path) -> None:
    """Every line of wrong_uses.txt that says so is wrong, and no other; nothing in the examples is."""
    pytest.importorskip("mypy", reason="needs mypy")
    file = tmp_path / "wrong_uses.py"
    shutil.copyfile(_HOME / "tests" / "data" / "wrong_uses.txt", file)
    wrong = [
        number for number, line in enumerate(file.read_text().splitlines(), 1) if line.endswith("# wrong")
    ]
    assert len(wrong) == 20
    environment = {**os.environ, "MYPYPATH": str(_HOME / "build" / "import")}
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--no-incremental",
        "--no-error-summary",
        str(file),
        *_EXAMPLES,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd="/", env=environment, timeout=280, check=False
    )
    found = [int(match[1]) for match in re.finditer(r"wrong_uses\.py:(\d+): error", done.stdout)]
    assert "examples" not in done.stdout, done.stdout
    assert found == wrong, done.stdout + done.stderr
