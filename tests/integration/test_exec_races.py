"""exec while the container ends, is deleted or replaced: the program runs in the container or nowhere.

The command stands still after one of its system calls (tests/support/traced.py), and the container goes.
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.needs import requires_command
from tests.support.traced import interrupted, points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime
    from tests.support.traced import Point

pytestmark = requires_command("strace")

_KINDS = ("mnt", "pid", "net", "ipc", "uts")
_WHERE = f"for kind in {' '.join(_KINDS)}; do readlink /proc/self/ns/$kind; done"

#: Where the container is held, joined and entered, whichever number the call before it has.
_EXACT = [(name, 1) for name in ("pidfd_open", "readlink", "setns", "clone3", "sendmsg", "recvmsg", "execve")]

#: How many more are taken out of those that follow the first look at the container, other ones each time.
_SAMPLE = 20

_WORDS = ("cannot exec in a stopped container", "container does not exist", "container not running")


class Race:
    """A container that goes while ``exec`` stands still."""

    def __init__(self, naja: Runtime, bundle: Bundle, log: Path) -> None:
        self._naja = naja
        self._bundle = bundle
        self._log = log
        self.argv = naja.command("exec", bundle.id, "/bin/sh", "-c", _WHERE)
        self._going: list[subprocess.Popen[bytes]] = []

    def points(self) -> list[Point]:
        """Return all that may be in between: what follows the first look at the container's record."""
        return points(self.argv, self._log, after="state.json")

    def exec(self, point: Point, *verbs: str) -> Result:
        """Make the container anew, and have it go by these verbs when ``exec`` has come to that point."""
        self.end()
        self._naja.run_detached(self._bundle)
        return interrupted(self.argv, self._log, point, lambda: self._go(verbs))

    def _go(self, verbs: tuple[str, ...]) -> None:
        """Begin with it, and wait a moment: where ``exec`` has a child in there, the end waits for that."""
        script = " && ".join(" ".join(self._command(verb)) for verb in verbs)
        going = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._going.append(going)
        with contextlib.suppress(subprocess.TimeoutExpired):
            going.wait(1)

    def _command(self, verb: str) -> list[str]:
        words = {
            "kill": ["kill", self._bundle.id, "KILL"],
            "delete": ["delete", "--force", self._bundle.id],
            "run": ["run", "--detach", "--bundle", self._bundle.path, self._bundle.id],
        }
        return self._naja.command(*words[verb])

    def end(self) -> None:
        for going in self._going:
            going.wait(30)
        self._going.clear()
        self._naja.delete(self._bundle, "--force")


@pytest.fixture
def race(naja: Runtime, bundle: Bundle, tmp_path: Path) -> Iterator[Race]:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    race = Race(naja, bundle, tmp_path / "strace")
    yield race
    race.end()


def host() -> set[str]:
    return {os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS}


def check(result: Result) -> None:
    """The program ran in the container or nowhere; where it did not, one line says why."""
    assert not set(result.stdout.split()) & host(), f"it ran on the host: {result}"
    assert result.status in (0, 137, 255), str(result)
    if result.status == 255:
        assert result.stderr.count("\n") == 1, str(result)
        assert any(words in result.stderr for words in _WORDS), str(result)


@pytest.mark.parametrize("verbs", [("kill",), ("delete",), ("delete", "run")], ids="-".join)
def test_the_program_runs_in_the_container_or_nowhere(race: Race, verbs: tuple[str, ...]) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    sample = random.Random(seed).sample(race.points(), _SAMPLE)
    for point in (*_EXACT, *sample):
        try:
            check(race.exec(point, *verbs))
        except AssertionError as error:
            raise AssertionError(f"at {point}: {error}") from None
