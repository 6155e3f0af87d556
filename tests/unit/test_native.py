"""The programs in C: small, and without a word from any compiler; what can be run with its sanitizers is."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

import pytest

from naja.startup import launcher

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = sorted(glob.glob(f"{launcher._NATIVE}/*.c"))
HEADERS_OF_OURS = glob.glob(f"{launcher._NATIVE}/*.h")
#: Lines of code of all together.
MOST = 900
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CROSS = "aarch64-linux-gnu"
COMPILERS = ("gcc", "clang", f"{CROSS}-gcc")
HEADERS = os.path.join(sysconfig.get_path("include"), "Python.h")


def test_it_stays_small() -> None:
    lines = 0
    for source in SOURCES + HEADERS_OF_OURS:
        with open(source, encoding="utf-8") as file:
            code = COMMENT.sub("", file.read())
        lines += sum(1 for line in code.splitlines() if line.strip())
    assert lines < MOST


@pytest.fixture(scope="module")
def options() -> dict[str, list[list[str]]]:
    """The options that each file is compiled with, in the ways that are tried."""
    found: dict[str, list[list[str]]] = {}

    def note(source: str, ways: list[list[str]]) -> None:
        for way in ways:
            for name in (source, *(os.path.basename(word) for word in way if word.endswith(".c"))):
                found.setdefault(name, []).append(way)

    where = os.path.realpath(sys.executable), "/nowhere"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "_compiled", note)
        launcher.program(*where)
        for dumps in (False, True):
            launcher.interpreter(*where, dumps=dumps)
        launcher.library()
    return found


def headers_of_another_machine(directory: Path) -> list[str]:
    """Return an option by which Debian's pyconfig.h, one for each machine, is found for another one."""
    version = os.path.basename(sysconfig.get_path("include"))
    for path in glob.glob(f"/usr/include/*-linux-gnu/{version}"):
        (directory / CROSS).mkdir()
        (directory / CROSS / version).symlink_to(path)
    return [f"-I{directory}"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("source", [os.path.basename(path) for path in SOURCES])
def test_no_compiler_has_anything_to_say(
    options: dict[str, list[list[str]]], tmp_path: Path, compiler: str, source: str
) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    if source not in ("kernel.c", "launcher.c", "steps.c") and not (
        "interpreter.c" in options and os.path.exists(HEADERS)
    ):
        pytest.skip("needs Python's headers and its static archive (python3-dev)")
    more = headers_of_another_machine(tmp_path) if compiler.startswith(CROSS) else []
    for way in options.get(source, options["interpreter.c"]):
        command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-c", "-o", os.devnull, *more]
        # The rest is for the linker.
        command += [*(option for option in way if option.startswith(("-D", "-I", "-f")))]
        command.append(os.path.join(launcher._NATIVE, source))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
