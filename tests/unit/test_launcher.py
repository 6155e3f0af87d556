"""The command that ``make install`` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
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


def test_the_first_line_fits(tmp_path: Path) -> None:
    naja = tmp_path / "naja"
    launcher.write(str(naja), native=False)
    first = naja.read_text().splitlines()[0]
    assert first.startswith("#!/")
    assert first.endswith(" -IS")
    assert len(first) < 255
    assert os.access(naja, os.X_OK)


@pytest.mark.parametrize("python", ["/a path/python3", "/" + "x" * 250])
def test_a_path_that_linux_would_not_take(python: str) -> None:
    with pytest.raises(ValueError, match="the path of Python"):
        launcher.script(python, "/packages")


def test_a_path_with_quotes_is_no_code() -> None:
    text = launcher.script("/usr/bin/python3", '/it\'s "here"\n')
    compile(text, "naja", "exec")
    assert len(text.splitlines()) == 1 + len(launcher._body("").splitlines())


def test_no_file_of_naja_passes_for_a_standard_stream(naja: Path) -> None:
    result = subprocess.run(
        ["/bin/sh", "-c", f"exec {naja} --version <&- 2>&-"], capture_output=True, check=True
    )
    assert result.stdout.startswith(b"naja version ")
    result = subprocess.run(
        ["/bin/sh", "-c", f"exec {naja} --version <&- >&-"], capture_output=True, check=True
    )
    assert result.stderr == b""
