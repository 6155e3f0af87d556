"""A copy of the checkout to install from, which may be removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.command import REPOSITORY

_COPIED = (
    "runtime",
    "schemas",
    "hooks",
    "installation",
    "Makefile",
    "pyproject.toml",
    "LICENSE",
    "CHANGELOG.md",
)


def copy_of_checkout(place: Path) -> Path:
    """Copy what `make install` needs; its .venv has the packages of this one: nothing is downloaded."""
    for name in _COPIED:
        source = Path(REPOSITORY, name)
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, place / name)
    venv = place / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python3*/site-packages"))
    hidden = [path for path in sys.path if path.endswith("site-packages")]
    # As plain directories: their own .pth files, one of which leads to the checkout, are not read.
    (packages / "tests.pth").write_text("\n".join(hidden) + "\n")
    for stamp in (".made", ".packages"):
        (venv / stamp).touch()
    return place


def make(checkout: Path, *words: str, tier: str = "", umask: int = 0o022) -> str:
    """Run make there; return what it prints. Raises AssertionError where it fails."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    done = subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=checkout,
        env={**environment, "NAJA_TIER": tier},
        umask=umask,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def everything(root: Path) -> dict[str, str]:
    """Return all that is below a directory: by path its type and mode."""
    found = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        found[str(path.relative_to(root))] = f"{mode:o}"
    return found
