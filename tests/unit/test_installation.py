"""The package as it is installed: its one name, what it brings, and that nothing of it stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="needs hatchling, which builds the package")

_HOME = Path(__file__).parents[2]

#: Dependencies are those of the tests; nothing is downloaded.
_PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
_OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")


def run(*words: str | Path, cwd: Path = _HOME) -> str:
    """Run a command to its end; return what it prints."""
    done = subprocess.run(words, cwd=cwd, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What can be installed: a checkout, and what is built of it.

    Not this checkout: it would go on with the dependencies of whoever was the last to install it.
    """
    place = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", place)
    (wheel,), (sdist,) = place.glob("*.whl"), place.glob("*.tar.gz")
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "build", "dist", "demo", "__pycache__")
    shutil.copytree(_HOME, place / "checkout", symlinks=True, ignore=ignored)
    return {"editable": place / "checkout", "wheel": wheel, "sdist": sdist}


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment's Python that sees what this one has, pip for one, but for naja."""
    home = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    packages = next((home / "lib").glob("python3*/site-packages"))
    hidden = [path for path in sys.path if path.endswith("site-packages")]
    # As plain directories: their own .pth files, one of which leads to the checkout, are not read.
    (packages / "tests.pth").write_text("\n".join(hidden) + "\n")
    return python


def installed(python: Path) -> set[str]:
    """Return all files of an environment but those that its Python compiles."""
    home = python.parents[1]
    found = {str(path.relative_to(home)) for path in home.rglob("*") if not path.is_dir()}
    return {path for path in found if "/pip" not in path and not path.endswith(".pyc")}


@pytest.mark.parametrize("kind", ["editable", "wheel", "sdist"])
def test_installed_and_removed(kind: str, builds: dict[str, Path], environment: Path, tmp_path: Path) -> None:
    """A project with a runtime/ of its own can import naja; afterwards nothing of naja is left."""
    project = tmp_path / "project"
    (project / "runtime").mkdir(parents=True)
    (project / "runtime" / "__init__.py").write_text("raise ImportError('the runtime of somebody else')\n")
    before = installed(environment)
    option = ["--editable"] if kind == "editable" else []
    run(environment, *_PIP, "install", *_OFFLINE, *option, builds[kind])
    added = installed(environment) - before
    assert not [path for path in added if "/site-packages/runtime" in path]
    assert run(environment, "-c", "import naja; print(naja.Container.__name__)", cwd=project) == "Container"
    command = environment.parent / "naja"
    if kind != "editable":
        assert run(command, "--version", cwd=project).splitlines()[-1] == (
            "start: slower than it could be, as this is not the command that its launcher writes; "
            f"faster after: {environment} -m naja.startup.launcher {command}"
        )
        assert {f"share/man/man8/{page}.8" for page in ("naja", "naja-run")} <= added
    # The command that belongs to this Python.
    assert f"{command} is written" in run(environment, "-m", "naja.startup.launcher", cwd=project)
    told = run(command, "--version", cwd=project)
    assert told.startswith("naja version ")
    assert "slower" not in told
    run(environment, *_PIP, "uninstall", "--yes", "naja")
    assert installed(environment) == before
    assert not list(environment.parents[1].rglob("naja*"))


def test_what_a_wheel_holds(builds: dict[str, Path]) -> None:
    """The package, with schemas and hook programs inside, and nothing else of the repository."""
    names = zipfile.ZipFile(builds["wheel"]).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"naja"}
    assert {"naja/__init__.py", "naja/share/schemas/config.json", "naja/share/hooks/bridge.py"} <= set(names)
    assert "naja/startup/native/launcher.c" in names


def test_the_version_is_said_once(builds: dict[str, Path]) -> None:
    from naja.version import VERSION

    assert os.path.basename(builds["wheel"]).startswith(f"naja-{VERSION}-")
