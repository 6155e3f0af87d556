"""A sample of the faults and races of `make faults`; another one each time."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.command import REPOSITORY
from tests.support.needs import requires_command

#: What was not clean once, in the situations that a sample seldom meets.
ONCE = [
    "exec/runtime/getxattr/4/deleted",
    "exec/runtime/getxattr/4/replaced",
    "exec@userns/runtime/getxattr/42/killed",
    "run-detached/runtime/fchmodat/0/replaced",
    "create/runtime/fchmodat/0/deleted",
    "exec/stage/sendmsg/0/end",
    "resume/runtime/openat/27/ENOENT",
    "run@hooks/init/setsid/0/EPERM",
    "start@hooks/runtime/socket/0/killed",
    "run@userns/warm-up/getppid/0/EPERM",
]

#: How many of a sample get a second try where $AGAIN is set (tests/again.py).
MOST = 3

#: How long a sample may take, in seconds; what was begun is brought to its end.
SECONDS = 60


pytestmark = requires_command("busybox")


def try_faults(*options: str) -> list[str]:
    """Run `python -m tests.faults`, show its totals and its seed; returns what was not clean."""
    command = [sys.executable, "-m", "tests.faults", *options]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS + 200, check=False
    )
    print(done.stdout + done.stderr)
    found = [line.split(": ")[1] for line in done.stdout.splitlines() if line.startswith("not clean: ")]
    assert found or done.returncode == 0, done.stdout + done.stderr
    return list(dict.fromkeys(found))


def try_points(names: list[str]) -> list[str]:
    return try_faults(*(word for name in names for word in ("--point", name)))


def test_a_sample_of_all_points_and_races() -> None:
    """$NAJA_SEED repeats a run."""
    seed = os.environ.get("NAJA_SEED")
    repeated = ["--seed", seed] if seed else []
    unclean = try_faults("--sample", "600", "--races", "300", "--seconds", str(SECONDS), *repeated)
    if "AGAIN" in os.environ and 0 < len(unclean) <= MOST:
        unclean = try_points(unclean)
    assert not unclean


def test_what_was_not_clean_once() -> None:
    assert not try_points(ONCE)
