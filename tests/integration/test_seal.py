"""What passes for a sealed interpreter: a wrong yes would let a container overwrite Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from naja.errors import NajaError
from naja.process.launch import Launch
from naja.startup import seal
from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PYTHON = os.path.realpath(sys.executable)
_ASK = f"""
import sys
sys.path.insert(0, {REPOSITORY!r} + "/build/import")
from naja.startup import seal
print(seal.is_sealed())
"""


def is_sealed(file: str | int = _PYTHON, name: str = _PYTHON) -> bool:
    """Ask a Python that runs from a file (a path or a descriptor) and believes to be ``name``."""
    descriptors = () if isinstance(file, str) else (file,)
    path = file if isinstance(file, str) else f"/proc/self/fd/{file}"
    done = subprocess.run(
        [name, "-IS", "-c", _ASK],
        executable=path,
        pass_fds=descriptors,
        env={"PYTHONHOME": sys.base_prefix},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout == "True\n"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[str]:
    """A directory on a file system of its own."""
    path = str(tmp_path / "elsewhere")
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_what_naja_makes_is_sealed() -> None:
    path, file = seal.sealed_interpreter()
    assert path == _PYTHON
    assert is_sealed(file)
    os.close(file)


def test_a_sealed_copy_in_memory() -> None:
    file = seal._in_memory(_PYTHON)
    assert is_sealed(file)
    os.close(file)


def test_a_copy_in_memory_that_is_not_sealed() -> None:
    file = os.memfd_create("python")
    with open(_PYTHON, "rb") as source:
        os.write(file, source.read())
    read_only = os.open(f"/proc/self/fd/{file}", os.O_RDONLY)
    os.close(file)
    assert not is_sealed(read_only)
    os.close(read_only)


def test_python_itself() -> None:
    assert not is_sealed()


def test_what_is_not_sealed_makes_nothing() -> None:
    with pytest.raises(NajaError, match="the command naja cannot"):
        Launch()


@pytest.mark.parametrize("name", ["python3", "missing"])
def test_a_python_that_takes_itself_for_another(elsewhere: str, name: str) -> None:
    """sys.executable lies on another file system, or is not there: that says nothing of what runs."""
    shutil.copy2(_PYTHON, f"{elsewhere}/python3")
    assert not is_sealed(_PYTHON, f"{elsewhere}/{name}")


def test_a_python_on_another_file_system(elsewhere: str) -> None:
    shutil.copy2(_PYTHON, f"{elsewhere}/python3")
    assert not is_sealed(f"{elsewhere}/python3")


@pytest.mark.parametrize("detached", [False, True])
def test_an_overlay_that_can_be_written_elsewhere(elsewhere: str, detached: bool) -> None:
    """A read-only mount of it is no seal, not even where nobody can reach it by a path."""
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"{elsewhere}/{name}")
    shutil.copy2(_PYTHON, f"{elsewhere}/lower/python3")
    merged = f"{elsewhere}/merged"
    options = f"lowerdir={elsewhere}/lower,upperdir={elsewhere}/upper,workdir={elsewhere}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", merged], check=True)
    file = os.open(f"{merged}/python3", os.O_PATH)
    try:
        if detached:
            subprocess.run(["umount", "-l", merged], check=True)
        assert not is_sealed(file)
    finally:
        os.close(file)
        if not detached:
            subprocess.run(["umount", "-l", merged], check=True)
