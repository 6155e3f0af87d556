"""The modules that the verbs of engines load: each costs, so each is on a list in tests/data/imports.

After a change on purpose, ``python -m tests.unit.test_imports`` writes the lists anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from naja import cgroups
from naja.container.state import StateDirectory, start_time
from naja.linux import libc
from naja.startup import precompile, precompiled

_HOME = Path(__file__).parents[2]
_LISTS = _HOME / "tests" / "data" / "imports"

#: Runs a command line as the installed ``naja`` does (startup/launcher.py), and tells what was loaded.
_RUN = f"""
import sys
before = set(sys.modules)
{precompiled.boot()}
from naja.cli.main import execute
execute("naja", sys.argv[1:], anew=True)
print(*sorted(set(sys.modules) - before))
"""


def _names(text: str) -> list[str]:
    return text.split()


#: What costs milliseconds (docs/cli.md).
FORBIDDEN = _names(
    """
    argparse asyncio click collections contextlib ctypes dataclasses enum functools inspect json jsonschema
    logging os pathlib pyroute2 re shutil signal site socket struct subprocess
    tempfile threading traceback typing
    """
)


@pytest.fixture(scope="module", autouse=True)
def _compiled_as_it_is_now() -> None:
    precompile.build()


def loaded(*words: str) -> list[str]:
    """Return the modules that a command line loads beside those of a bare interpreter."""
    command = [sys.executable, "-IS", "-c", _RUN, *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    # Which of these it is depends on the host's cgroups.
    kinds = ("v1", "v2")
    return [name for name in result.stdout.splitlines()[-1].split() if not name.endswith(kinds)]


def state(directory: str) -> list[str]:
    """Return what ``state`` loads, of a container whose process is this one."""
    container = StateDirectory.create(directory, "c")
    hierarchies = cgroups.detect()
    manager = cgroups.manager("", "no-such-container", systemd=False, rootless=False, hierarchies=hierarchies)
    record = {
        **{"ociVersion": "1.2.0", "id": "c", "bundle": "/b", "rootfs": "/b/rootfs", "created": "then"},
        **{"status": "running", "pid": os.getpid(), "start_time": start_time(os.getpid())},
        **{"annotations": {}, "owner": 0, "rootless": False, "notify": False, "cgroup": manager.record()},
    }
    container.write(record)
    return loaded("--root", directory, "state", "c")


def create(directory: str) -> list[str]:
    """Return what ``create`` loads: its ID is taken, which it finds out after compiling the plan."""
    bundle, root = f"{directory}/bundle", f"{directory}/root"
    os.makedirs(f"{bundle}/rootfs")
    os.makedirs(f"{root}/taken")
    command = [sys.executable, "-m", "naja", "spec", "--bundle", bundle]
    subprocess.run(command + ["--rootless"] * (os.geteuid() != 0), cwd=_HOME, check=True)
    config = Path(bundle, "config.json")
    config.write_text(config.read_text().replace('"terminal": true', '"terminal": false'))
    return loaded("--root", root, "create", "--bundle", bundle, "taken")


@pytest.mark.parametrize("verb", [state, create])
def test_nothing_dear_is_loaded(tmp_path: Path, verb: Callable[[str], list[str]]) -> None:
    assert not set(FORBIDDEN) & set(verb(str(tmp_path)))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the list is that of Python 3.11")
@pytest.mark.skipif(not os.path.exists(libc.FILE), reason="the list is that of a naja with native/kernel.c")
@pytest.mark.parametrize("verb", [state, create])
def test_the_list(tmp_path: Path, verb: Callable[[str], list[str]]) -> None:
    assert verb(str(tmp_path)) == (_LISTS / verb.__name__).read_text().split()


if __name__ == "__main__":
    precompile.build()
    for verb in (state, create):
        with tempfile.TemporaryDirectory() as directory:
            names = verb(directory)
        (_LISTS / verb.__name__).write_text("".join(f"{name}\n" for name in names))
