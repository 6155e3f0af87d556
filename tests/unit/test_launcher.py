"""The command that ``python -m naja.startup.launcher`` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from naja.startup import launcher


@pytest.fixture(scope="module", params=[True, False], ids=["program", "script"])
def naja(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param and shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("bin") / "naja"
    launcher.write(str(path), native=request.param)
    return path


def test_it_runs_without_any_environment(naja: Path) -> None:
    result = subprocess.run([naja, "--version"], env={}, cwd="/", capture_output=True, text=True, check=True)
    assert result.stdout.startswith("naja version ")
    assert result.stderr == ""


def test_it_says_the_name_that_it_was_called_by(naja: Path) -> None:
    link = naja.parent / "runc"
    link.symlink_to("naja")
    result = subprocess.run([link, "--version"], env={}, capture_output=True, text=True, check=True)
    assert result.stdout.startswith("runc version ")
    assert "\nnaja: " in result.stdout


def test_it_has_what_help_needs(naja: Path) -> None:
    result = subprocess.run([naja, "help", "run"], env={}, capture_output=True, text=True, check=True)
    assert "--no-pivot" in result.stdout


def test_it_does_not_listen_to_the_environment(naja: Path, tmp_path: Path) -> None:
    (tmp_path / "errno.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "select.py").write_text("raise SystemExit('the wrong module')")
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "/nonexistent", "PYTHONHOME": "/nonexistent"}
    command = [str(naja), "--root", str(tmp_path / "root"), "list", "-q"]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (b"", b"")


@pytest.mark.parametrize("name", ["a path", 'it\'s "$here"\n`false`', "x" * 250])
def test_a_path_of_any_letters_is_no_code(tmp_path: Path, name: str) -> None:
    """Whatever a shell or Python would make of it; Linux would not even take it in a script's first line."""
    python = tmp_path / name
    python.symlink_to(os.path.realpath(sys.executable))
    (tmp_path / "naja").write_text(launcher.script(str(python), f"/packages of {name}"))
    (tmp_path / "naja").chmod(0o755)
    result = subprocess.run([tmp_path / "naja", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("naja version ")


def test_no_file_of_naja_passes_for_a_standard_stream(naja: Path) -> None:
    result = subprocess.run(
        ["/bin/sh", "-c", f"exec {naja} --version <&- 2>&-"], capture_output=True, check=True
    )
    assert result.stdout.startswith(b"naja version ")
    result = subprocess.run(
        ["/bin/sh", "-c", f"exec {naja} --version <&- >&-"], capture_output=True, check=True
    )
    assert result.stderr == b""
