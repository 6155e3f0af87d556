"""The second try of tests that failed: tests/again.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TESTS = """
import pathlib

def test_sound():
    pass

def test_shaky():
    note = pathlib.Path(__file__).with_name("note")
    tried = note.exists()
    note.touch()
    assert tried

{more}
"""


def _run(place: Path, most: int, more: str = "") -> subprocess.CompletedProcess[str]:
    (place / "test_shaky.py").write_text(_TESTS.format(more=more))
    command = [sys.executable, "-m", "tests.again", str(most), "-q", "--rootdir=.", "test_shaky.py"]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, check=False)


def test_what_failed_once_is_run_again_and_named(tmp_path: Path) -> None:
    done = _run(tmp_path, 3)
    assert done.returncode == 0, done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("passed alone, after they had failed: ")
    assert last.endswith("test_shaky.py::test_shaky")


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    done = _run(tmp_path, 3, "def test_wrong(): assert not 1")
    assert done.returncode == 1
    assert "failed twice: " in done.stdout


@pytest.mark.parametrize("most", [0, 1])
def test_many_failures_are_no_accident(tmp_path: Path, most: int) -> None:
    done = _run(tmp_path, most, "def test_wrong(): assert not 1")
    assert done.returncode == 1
    assert "once more" not in done.stdout
