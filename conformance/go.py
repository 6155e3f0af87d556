"""Go's modules, fetched and built in a directory that is removed afterwards, caches and all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def environment(scratch: str) -> dict[str, str]:
    """Return the variables that keep Go to a directory."""
    return {
        **os.environ,
        "GOPATH": os.path.join(scratch, "path"),
        "GOCACHE": os.path.join(scratch, "cache"),
        "GOFLAGS": "-mod=mod -modcacherw",
        "CGO_ENABLED": "0",
    }


def fetch(module: str, version: str, scratch: str) -> str:
    """Return the directory of a module's sources, which may be changed. Raises OSError."""
    command = ["go", "mod", "download", "-json", f"{module}@{version}"]
    done = subprocess.run(command, env=environment(scratch), cwd=scratch, check=False, stdout=subprocess.PIPE)
    answer = json.loads(done.stdout or b"{}")
    if done.returncode:
        raise OSError(answer.get("Error") or f"{' '.join(command)} failed")
    source = os.path.join(scratch, "source")
    shutil.copytree(answer["Dir"], source)
    return source


def build(source: str, scratch: str, package: str, target: str, *flags: str) -> None:
    """Build a package's program as a file. Raises CalledProcessError where Go fails, OSError without it."""
    unfinished = f"{os.path.abspath(target)}.new"
    command = ["go", "build", *flags, "-o", unfinished, package]
    subprocess.run(command, env=environment(scratch), cwd=source, check=True)
    os.rename(unfinished, target)


def main(name: str, make: Callable[[str, str], None]) -> int:
    """Have ``make(target, scratch)`` make what the only argument names; return an exit status."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"usage: python -m conformance.{name} FILE\n")
        return 2
    os.makedirs(os.path.dirname(os.path.abspath(sys.argv[1])), exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            make(sys.argv[1], scratch)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"{name}: {error}\n")
            return 1
    return 0
