"""`make run` for the first time: however it was cut off, the next one makes .venv whole."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.command import REPOSITORY
from tests.support.needs import requires_command

pytestmark = requires_command("make")

#: Stands for Python, venv and pip: notes what was asked for, and fails as a file beside it says.
_PYTHON = """\
#!/bin/sh
echo "$2" >> calls
case $2 in
    venv)
        rm -rf .venv
        mkdir -p .venv/bin
        cp python .venv/bin/python
        if [ -e no-venv ]; then exit 1; fi
        ;;
    pip)
        if [ -e killed ]; then echo half > .venv/half; kill -9 $$; fi
        if [ -e interrupted ]; then echo half > .venv/half; kill -9 $PPID; fi
        if [ -e no-network ]; then exit 1; fi
        ;;
esac
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A checkout with nothing but the Makefile; no apt-get is asked for anything."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy2(os.path.join(REPOSITORY, name), tmp_path)
    for name in ("runtime", "bin"):
        (tmp_path / name).mkdir()
    for name, text in (
        ("python", _PYTHON),
        ("bin/apt-get", '#!/bin/sh\necho "apt-get $1" >> calls\nexit 1\n'),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make(home: Path, target: str = ".venv/.packages") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{home}/bin:{os.environ['PATH']}"}
    return subprocess.run(
        ["make", target, f"PYTHON={home}/python"],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def calls(home: Path) -> list[str]:
    """Return what was asked for since the last call."""
    file = home / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_made_once(home: Path) -> None:
    assert make(home).returncode == 0
    assert calls(home) == ["venv", "pip"]
    assert make(home).returncode == 0
    assert calls(home) == []


def test_without_venv(home: Path) -> None:
    """Debian's Python leaves a .venv without pip where python3-venv is missing."""
    (home / "no-venv").touch()
    failed = make(home)
    assert failed.returncode != 0
    assert "is Python's venv installed (python3-venv)?" in failed.stderr
    assert not (home / ".venv").exists()
    calls(home)
    (home / "no-venv").unlink()
    assert make(home).returncode == 0
    assert calls(home) == ["venv", "pip"]


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_killed_while_pip_was_at_work(home: Path, how: str) -> None:
    (home / how).touch()
    assert make(home).returncode != 0
    assert (home / ".venv" / "half").exists()
    calls(home)
    (home / how).unlink()
    assert make(home).returncode == 0
    assert calls(home) == ["venv", "pip"]
    assert not (home / ".venv" / "half").exists()


def test_without_the_network(home: Path) -> None:
    """Then pip says why, and is asked once more the next time; what was there already serves on."""
    (home / "no-network").touch()
    assert make(home).returncode != 0
    assert calls(home) == ["venv", "pip"]
    (home / "no-network").unlink()
    assert make(home).returncode == 0
    assert calls(home) == ["pip"]
    (home / "no-network").touch()
    assert make(home, ".venv/.test-packages").returncode != 0
    assert calls(home) == ["pip"]
    assert make(home).returncode == 0
    assert calls(home) == []


def test_one_of_an_older_makefile_serves_on(home: Path) -> None:
    assert make(home).returncode == 0
    (home / ".venv" / ".made").unlink()
    calls(home)
    assert make(home).returncode == 0
    assert calls(home) == []
