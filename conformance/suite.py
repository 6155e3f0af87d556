"""Getting runtime-tools: fetched by Go from its module proxy, built once, kept in a cache."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass

MODULE = "github.com/opencontainers/runtime-tools"
#: Commit 5e63903 of main as the module proxy names it, then what it serves where it has lost that.
VERSIONS = ("v0.9.1-0.20251205004911-5e639034dcdc", "latest")
#: Go's names of the architectures that runtime-tools ships a root file system for.
ARCHITECTURES = {"x86_64": "amd64", "i686": "386"}


class SuiteError(Exception):
    """The suite cannot be had; the text says why in a line."""


@dataclass
class Suite:
    """A built suite: programs, ``runtimetest`` and the root file system's archive in one directory."""

    version: str
    directory: str
    programs: list[str]


def prepare(cache: str) -> Suite:
    """Return the suite, fetching and building it below ``cache`` where it is not there yet.

    Raises SuiteError where Go is missing, the proxy serves no version, or the build fails.
    """
    if not shutil.which("go"):
        raise SuiteError("runtime-tools is built with Go, and there is no `go` in PATH (Debian: golang-go)")
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise SuiteError(f"runtime-tools ships no root file system for {machine}")
    version, source = _download()
    directory = os.path.join(cache, version)
    if not os.path.isdir(directory):
        _build(source, directory, f"rootfs-{ARCHITECTURES[machine]}.tar.gz")
    validation = os.path.join(source, "validation")
    programs = sorted(
        entry.name for entry in os.scandir(validation) if entry.is_dir() and entry.name != "util"
    )
    return Suite(version, directory, programs)


def _download() -> tuple[str, str]:
    """Return the version that the proxy serves and the directory of its source."""
    for version in VERSIONS:
        argv = ["go", "mod", "download", "-json", f"{MODULE}@{version}"]
        answer = json.loads(subprocess.run(argv, capture_output=True, text=True, check=False).stdout or "{}")
        if "Dir" in answer:
            return answer["Version"], answer["Dir"]
    raise SuiteError(f"Go's module proxy serves no {MODULE}: {answer.get('Error', 'no answer')}")


def _build(source: str, directory: str, rootfs: str) -> None:
    """Build every program into ``directory``, which appears only when it is complete."""
    unfinished = f"{directory}.{os.getpid()}"
    os.makedirs(unfinished)
    try:
        # The module's vendor directory is not part of what the proxy serves: resolve by go.mod.
        _go(source, "build", "-mod=readonly", "-o", f"{unfinished}/", "./validation/...")
        # Static, because it is put into a root file system without libraries.
        _go(source, "build", "-mod=readonly", "-o", f"{unfinished}/", "./cmd/runtimetest", CGO_ENABLED="0")
        shutil.copy(os.path.join(source, rootfs), unfinished)
        os.rename(unfinished, directory)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _go(directory: str, *argv: str, **environment: str) -> None:
    done = subprocess.run(
        ["go", *argv],
        cwd=directory,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SuiteError(f"go {' '.join(argv)}: {done.stderr.strip() or done.returncode}")
