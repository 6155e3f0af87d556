"""Tests for in between: the quick unit tests, and the integration tests of what has changed, in a minute.

    python -m tests.fast [COMMIT]

What has changed is what differs from COMMIT (HEAD) in the working tree. An integration test belongs to
a module where their names have a beginning in common: operations/mounts.py is tested by test_mounts*.py.
What there is no time for is named, and left to ``make test``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

#: Seconds for all; hypothesis gets few examples (tests/conftest.py).
BUDGET = 60
_PYTEST = [sys.executable, "-m", "pytest", "-q", "--exitfirst", "--hypothesis-profile=fast"]
_INTEGRATION = "tests/integration"
#: Unit tests that build, install or compile the whole package; ``make test`` has them.
_SLOW = ("test_installation.py", "test_launcher.py", "test_precompiled.py")
#: Letters that two names have to have in common: "exec" stands in execution.py and in test_exec.py.
_ALIKE = 4
#: What timeout(1) says of a command that it had to end.
_CUT_OFF = 124


def changed(commit: str) -> list[str]:
    """Return the files that differ from a commit, and those that git does not know yet."""
    paths: list[str] = []
    for command in (["diff", "--name-only", commit], ["ls-files", "--others", "--exclude-standard"]):
        done = subprocess.run(["git", *command], check=True, capture_output=True, text=True)
        paths += done.stdout.split()
    return paths


def words(path: str) -> set[str]:
    """Return the beginnings of the words in a file's name."""
    name = os.path.basename(path).removesuffix(".py").removeprefix("test_")
    return {word[:_ALIKE] for word in re.split(r"[_.]", name) if len(word) >= _ALIKE}


def tests_of(paths: list[str], tests: list[str]) -> list[str]:
    """Return the tests that belong to files: those that have changed themselves come first."""
    sources = [path for path in paths if path.startswith("runtime/") and path.endswith(".py")]
    wanted = set[str]().union(*(words(path) for path in sources))
    own = [test for test in tests if test in paths]
    return own + [test for test in tests if test not in paths and words(test) & wanted]


def main() -> int:
    """Run them; returns pytest's exit status."""
    end = time.monotonic() + BUDGET
    commit = sys.argv[1] if len(sys.argv) > 1 else "HEAD"
    quick = [f"--ignore=tests/unit/{name}" for name in _SLOW]
    status = subprocess.run([*_PYTEST, "-n", "2", *quick, "tests/unit"], check=False).returncode
    tests = sorted(f"{_INTEGRATION}/{name}" for name in os.listdir(_INTEGRATION) if name.startswith("test_"))
    waiting = tests_of(changed(commit), tests)
    while waiting and not status and (left := end - time.monotonic()) > 0:
        # Interrupted, pytest cleans up; a test that was cut off has not failed.
        command = ["timeout", "--signal=INT", f"{left:.0f}", *_PYTEST, waiting[0]]
        status = subprocess.run(command, check=False).returncode
        if status == _CUT_OFF:
            status = 0
            break
        waiting.pop(0)
    if waiting and not status:
        print(f"no time was left for {' '.join(waiting)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
