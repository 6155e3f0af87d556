"""Containers' lives with the programs in C watched by the compiler's sanitizers: no address goes wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import REPOSITORY, Runtime
from tests.support.namespaces import map_ids, namespaces
from tests.support.needs import need_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle

#: A child in its parent's memory never returns: what it noted about its stack has to be forgotten.
_CLONE = """\
#define _GNU_SOURCE
#include <sanitizer/asan_interface.h>
#include <sched.h>
static inline int clone_and_forget(int (*life)(void *), char *top, int flags, void *argument)
{
    int pid = clone(life, top, flags, argument);
    __asan_unpoison_memory_region(top - (512 << 10), 512 << 10);
    return pid;
}
#define clone clone_and_forget
"""

#: Writes a command whose launcher has a C library, as the sanitizers are libraries.
_WRITE = """\
import sys
from naja.startup import launcher
watched = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
launcher._BARE = watched
launcher._SHARED = ["-shared", "-fPIC", "-include", "clone.h", *watched]
launcher.interpreter = lambda *where, **how: None
launcher.write(sys.argv[1])
"""


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What makes Python, which is not watched itself, load the sanitizers; it never frees all that it has."""
    need_command("cc")
    asking = ["cc", "-print-file-name=libasan.so"]
    library = subprocess.run(asking, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.exists(library):
        pytest.skip("needs a compiler with the address sanitizer")
    return {**os.environ, "LD_PRELOAD": os.path.realpath(library), "ASAN_OPTIONS": "detect_leaks=0"}


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> str:
    home = tmp_path_factory.mktemp("home")
    for name, copy in (("runtime", "naja"), ("schemas", "schemas")):
        shutil.copytree(
            os.path.join(REPOSITORY, name), home / copy, ignore=shutil.ignore_patterns("__pycache__")
        )
    (home / "clone.h").write_text(_CLONE)
    path = str(home / "command")
    subprocess.run([sys.executable, "-c", _WRITE, path], cwd=home, check=True)
    [library] = (home / "naja" / "__pycache__").glob("kernel.*")
    for program in (path, library):
        with open(program, "rb") as file:
            assert b"__asan_init" in file.read(), program
    return path


class Watched(Runtime):
    """The runtime with the sanitizers; where they find anything, they end it and say so."""

    def __init__(self, root: str, command: str, environment: dict[str, str]) -> None:
        super().__init__(root, [command])
        self.environment = environment

    def run(self, *words: str, **options: Any) -> Any:
        return super().run(*words, env=self.environment, **options)

    def detached(self, *words: str, **options: Any) -> Any:
        return super().detached(*words, env=self.environment, **options)


@pytest.fixture
def watched(command: str, tmp_path: Path, environment: dict[str, str]) -> Runtime:
    return Watched(str(tmp_path / "root"), command, environment)


def test_a_birth_in_the_runtimes_memory(watched: Runtime, bundle: Bundle) -> None:
    done = watched.run_attached(bundle.shell("echo inside; exit 7"), check=False)
    assert (done.status, done.stdout, done.stderr) == (7, "inside\n", "")


def test_a_life_with_a_user_namespace(watched: Runtime, bundle: Bundle) -> None:
    namespaces(bundle, user="")
    map_ids(bundle)
    watched.create(bundle.args("/bin/sleep", "1000"))
    watched.start(bundle)
    done = watched.exec(bundle, "/bin/echo", "inside")
    assert (done.stdout, done.stderr) == ("inside\n", "")
    assert watched.delete(bundle, "--force").stderr == ""


def test_a_program_that_is_not_there(watched: Runtime, bundle: Bundle) -> None:
    done = watched.run_attached(bundle.args("/no/such/program"), check=False)
    assert done.status == 1
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr
    assert "no such file or directory" in done.stderr
