"""The short forms of os and os.path do what the long ones do (runtime/startup/quick)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naja.startup import precompiled, strip
from naja.startup.quick import os as quick

if TYPE_CHECKING:
    from pathlib import Path

PATHS = st.text(alphabet="a./é ", max_size=12)


@given(PATHS)
def test_paths_are_taken_apart(path: str) -> None:
    for name in ("split", "dirname", "basename", "isabs", "normpath", "abspath"):
        assert getattr(quick.path, name)(path) == getattr(os.path, name)(path), name


@given(PATHS, st.lists(PATHS, max_size=3))
def test_paths_are_joined(first: str, others: list[str]) -> None:
    assert quick.path.join(first, *others) == os.path.join(first, *others)


@given(st.text(max_size=8) | st.binary(max_size=8).map(os.fsdecode))
def test_names_of_files(name: str) -> None:
    try:
        expected: bytes | None = os.fsencode(name)
    except UnicodeEncodeError:
        with pytest.raises(UnicodeEncodeError):
            quick.fsencode(name)
        return
    assert quick.fsencode(name) == expected
    assert quick.fsdecode(expected) == os.fsdecode(expected)


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "directory" / "below").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("directory")
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("directory", "file", "link", "link/below/..", "broken", "nothing", "file/x"):
        path = str(tmp_path / name)
        for question in ("exists", "lexists", "isdir", "isfile"):
            assert getattr(quick.path, question)(path) == getattr(os.path, question)(path), (question, name)
        if os.path.exists(path):
            assert quick.path.realpath(path) == os.path.realpath(path)
    assert not quick.path.exists("a\0b")
    assert quick.path.samestat(os.stat(tmp_path), os.stat(f"{tmp_path}/."))
    assert not quick.path.samestat(os.stat(tmp_path), os.stat("/"))


def test_directories_are_made(tmp_path: Path) -> None:
    quick.makedirs(f"{tmp_path}/a/b/c", 0o700)
    assert (tmp_path / "a/b/c").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        quick.makedirs(f"{tmp_path}/a/b")
    quick.makedirs(os.fsencode(f"{tmp_path}/a/b/"), exist_ok=True)
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        quick.makedirs(f"{tmp_path}/file", exist_ok=True)


def test_the_environment() -> None:
    code = "from naja.startup.quick import os; print(os.environ['A'], len(os.environ))"
    environment = {"A": "\udcff", "PYTHONPATH": os.path.dirname(precompiled.PACKAGE), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert done.stdout == b"\xff 3\n"


def _imports(source: str) -> list[str]:
    tree: Any = ast.parse(source)
    return [ast.unparse(node) for node in strip.shortened(tree).body]


@pytest.mark.parametrize(
    ("source", "imports"),
    [
        ("import os\nos.open('a', os.O_RDONLY)", "from naja.startup.quick import os"),
        ("import os\nos.path.join('a', 'b').encode()", "from naja.startup.quick import os"),
        ("import os\nos.fwalk('.')", "import os"),
        ("import os\nos.path.commonpath('.')", "import os"),
        ("import stat", "import _stat as stat"),
        ("from struct import Struct, pack", "from _struct import Struct, pack"),
        ("import os, sys", "import os, sys"),
    ],
)
def test_what_is_replaced(source: str, imports: str) -> None:
    assert _imports(source)[0] == imports
