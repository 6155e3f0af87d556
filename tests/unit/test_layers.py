"""The order in which imports may point, types included (pyproject.toml), and that it is held."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="needs import-linter")

_HOME = Path(__file__).parents[2]
_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(home: Path) -> subprocess.CompletedProcess[str]:
    """Hold the package in a directory against the contracts."""
    command = [sys.executable, "-c", _LINT, "--config", str(_HOME / "pyproject.toml"), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(home), "COLUMNS": "200"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=home)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a directory with a copy of the package."""
    shutil.copytree(_HOME / "runtime", tmp_path / "naja", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_point_downwards_and_there_is_no_circle(home: Path) -> None:
    result = lint(home)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("linux/files.py", "from ..operations import base"),
        ("systemd/bus.py", "if TYPE_CHECKING:\n    from ..cgroups.base import Manager"),
        ("plan/mount.py", "def late() -> None:\n    from ..process import launch"),
        ("errors.py", "import naja.config"),
        ("plan/request.py", "from . import mounts"),
    ],
)
def test_an_import_upwards_or_in_a_circle_is_found(home: Path, module: str, statement: str) -> None:
    with (home / "naja" / module).open("a") as file:
        file.write(f"\n{statement}\n")
    result = lint(home)
    assert result.returncode == 1
    assert "naja" in result.stdout
