"""Each verb while the container ends or is deleted: it succeeds, or says so in words that engines know."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from tests.support.bundle import Bundle
from tests.support.command import Result, Runtime
from tests.support.needs import requires_command
from tests.support.traced import interrupted, points
from tests.support.wait import wait_until

#: How many of a verb's system calls are tried, other ones each time.
_SAMPLE = 8

_VERBS = {
    "state": ["state", "ID"],
    "kill": ["kill", "ID", "TERM"],
    "kill all": ["kill", "--all", "ID", "KILL"],
    "start": ["start", "ID"],
    "pause": ["pause", "ID"],
    "resume": ["resume", "ID"],
    "update": ["update", "--pids-limit", "100", "ID"],
    "ps": ["ps", "--format=json", "ID"],
    "events": ["events", "--stats", "ID"],
    "delete": ["delete", "--force", "ID"],
}

_WORDS = (
    "container does not exist",
    "container not running",
    "container not paused",
    "cannot start a container that has stopped",
)


def make(naja: Runtime, bundle: Bundle, verb: str) -> None:
    """Make the container anew, with the status that the verb is for."""
    naja.delete(bundle, "--force")
    if verb == "start":
        naja.create(bundle)
        return
    naja.run_detached(bundle)
    if verb == "resume":
        naja.run("pause", bundle.id)


def check(result: Result) -> None:
    if result.status != 0:
        assert result.stderr.count("\n") == 1, str(result)
        assert any(words in result.stderr for words in _WORDS), str(result)


@requires_command("strace")
@pytest.mark.parametrize("end", ["kill", "delete"])
@pytest.mark.parametrize("verb", _VERBS)
def test_words_of_a_race(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str, end: str) -> None:
    bundle.args("/bin/sleep", "1000")
    argv = naja.command(*(bundle.id if word == "ID" else word for word in _VERBS[verb]))
    ending = {"kill": ["kill", bundle.id, "KILL"], "delete": ["delete", "--force", bundle.id]}[end]

    def act() -> None:
        """Have it end; where the verb holds the lock, ``delete`` waits until it goes on."""
        silent = subprocess.DEVNULL
        going.append(subprocess.Popen(naja.command(*ending), stdout=silent, stderr=silent))
        with contextlib.suppress(subprocess.TimeoutExpired):
            going[-1].wait(0.5)
        if end == "kill":
            with contextlib.suppress(AssertionError):
                naja.wait_for(bundle, "stopped", timeout=0.5)

    going: list[subprocess.Popen[bytes]] = []
    make(naja, bundle, verb)
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    found = points(argv, tmp_path / "strace", after=bundle.id)
    for point in random.Random(seed).sample(found, min(_SAMPLE, len(found))):
        make(naja, bundle, verb)
        result = interrupted(argv, tmp_path / "strace", point, act)
        for each in going:
            each.wait(10)
        try:
            check(result)
        except AssertionError as error:
            raise AssertionError(f"at {point}: {error}") from None


def test_a_container_that_another_command_deletes_ends_its_run(naja: Runtime, bundle: Bundle) -> None:
    """Attached, and deleted by others: what counts is how its process ended."""
    bundle.args("/bin/sleep", "1000")
    for _ in range(5):
        run = subprocess.Popen(
            naja.command("run", "--bundle", bundle.path, bundle.id),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        wait_until(lambda: bundle.id in naja.ids() and naja.status(bundle) == "running", what="the container")
        naja.delete(bundle, "--force")
        assert (*run.communicate(timeout=10), run.returncode) == (b"", b"", 137)
