"""Where the hook programs that ship with naja find it, and that they find nothing that was planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_HOOKS = Path(__file__).parents[2] / "hooks"
_LOOK = "import sys; sys.path.insert(0, sys.argv[1]); import hooklib; import naja; print(naja.__file__)"


def found(hooks: Path) -> str:
    """Return where the programs of a directory find the package, "" for nowhere."""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", _LOOK, str(hooks)], capture_output=True, text=True, check=False
    )
    assert not done.returncode or "No module named 'naja'" in done.stderr, done.stderr
    return done.stdout.strip()


def place(directory: Path) -> Path:
    """Copy the programs to a directory; return that."""
    shutil.copytree(_HOOKS, directory, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def plant(directory: Path, name: str = "runtime") -> str:
    """Make what looks like naja, in a checkout or (``name``) installed; return its file."""
    (directory / name).mkdir(parents=True)
    (directory / name / "errors.py").touch()
    file = directory / name / "__init__.py"
    file.touch()
    return str(file)


def test_in_a_checkout(tmp_path: Path) -> None:
    package = plant(tmp_path)
    assert found(place(tmp_path / "hooks")) == package


def test_where_naja_is_installed(tmp_path: Path) -> None:
    package = plant(tmp_path, "naja")
    assert found(place(tmp_path / "naja" / "share" / "hooks")) == package


def test_three_directories_up(tmp_path: Path) -> None:
    plant(tmp_path)
    assert found(place(tmp_path / "opt" / "naja" / "hooks")) == ""


@pytest.mark.parametrize("below", ["hooks", "naja/share/hooks"])
def test_beside_programs_that_lie_where_everybody_may_write(tmp_path: Path, below: str) -> None:
    plant(tmp_path)
    plant(tmp_path, "naja")
    place(tmp_path / below)
    tmp_path.chmod(0o1777)
    assert found(tmp_path / below) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_package_of_somebody_else(tmp_path: Path) -> None:
    plant(tmp_path)
    hooks = place(tmp_path / "hooks")
    os.chown(tmp_path / "runtime", 1000, 1000)
    assert found(hooks) == ""


def test_a_link_in_the_place_of_the_package(tmp_path: Path) -> None:
    plant(tmp_path / "elsewhere")
    (tmp_path / "runtime").symlink_to(tmp_path / "elsewhere" / "runtime")
    assert found(place(tmp_path / "hooks")) == ""
