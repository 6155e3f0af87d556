"""Times commands in a sandbox: who runs them is there already, so that nothing else is measured.

    python -m tests.engines.stopwatch

To enter a sandbox is to move into cgroups, which takes up to 16 ms, or next to nothing where somebody else
has just done so. Reads command lines from stdin (JSON, a line each) and says for each [milliseconds, exit
status, stderr].
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.engines.sandbox import Sandbox


class Stopwatch:
    """One that is at work in a sandbox; it ends with ``close``."""

    def __init__(self, sandbox: Sandbox) -> None:
        words = ["env", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"]
        self._process = subprocess.Popen(
            sandbox.command([*words, sys.executable, "-m", "tests.engines.stopwatch"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def time(self, words: list[str]) -> float:
        """Run a command that is looked for in PATH, and return the milliseconds that it took.

        Raises CalledProcessError.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{json.dumps(words)}\n")
        self._process.stdin.flush()
        took, status, errors = json.loads(self._process.stdout.readline())
        if status:
            raise subprocess.CalledProcessError(status, words, stderr=errors)
        return float(took)

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=30)


def _serve() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for line in sys.stdin:
        words = json.loads(line)
        with tempfile.TemporaryFile() as errors:
            streams = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
            streams.append((os.POSIX_SPAWN_DUP2, errors.fileno(), 2))
            begun = time.perf_counter()
            pid = os.posix_spawnp(words[0], words, os.environ, file_actions=streams)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            took = (time.perf_counter() - begun) * 1000
            errors.seek(0)
            print(json.dumps([took, status, errors.read().decode(errors="replace")]), flush=True)


if __name__ == "__main__":
    _serve()
