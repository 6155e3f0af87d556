"""Standing between the suite and a runtime that knows only an older release of the specification."""

from __future__ import annotations

import os
import shlex
import subprocess

#: The last release before `features` (features.md): what a runtime without that command knows.
OLD = "1.0.2"

#: The suite gives `create --bundle DIRECTORY`; the version "invalid" is a test, and stays.
SHIM = """#!/bin/sh
if [ "$1" = create ]; then
    for word; do
        config=$word/config.json
        [ -f "$config" ] && sed -i 's/\\("ociVersion": *"\\)1[^"]*/\\1{version}/' "$config"
    done
fi
exec {runtime} "$@"
"""


def write(directory: str, runtime: str, version: str) -> str:
    """Write a program that runs ``runtime`` with config.json claiming ``version``; return its path."""
    path = os.path.join(directory, f"{os.path.basename(runtime)}-{version}")
    with open(path, "w") as file:
        file.write(SHIM.format(runtime=shlex.quote(runtime), version=version))
    os.chmod(path, 0o755)
    return path


def needed(runtime: str) -> str:
    """Return the version that config.json has to claim for an old runtime; "" where any will do."""
    done = subprocess.run([runtime, "features"], capture_output=True, check=False)
    return OLD if done.returncode else ""
