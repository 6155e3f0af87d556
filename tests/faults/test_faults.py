"""A sample of the faults and races of `make faults`; another one each time."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.command import REPOSITORY
from tests.support.needs import requires_command

#: How long a sample may take, in seconds; what was begun is brought to its end.
SECONDS = 60


@requires_command("busybox")
def test_a_sample_of_all_points_and_races() -> None:
    """$NAJA_SEED repeats a run."""
    command = [sys.executable, "-m", "tests.faults", "--sample", "600", "--races", "300"]
    command += ["--seconds", str(SECONDS)]
    if seed := os.environ.get("NAJA_SEED"):
        command += ["--seed", seed]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS + 200, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
