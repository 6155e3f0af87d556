"""Standard streams that are closed, directories, or of the wrong kind, for every verb."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.leaks import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: A shell's redirection by what a standard stream is then; FILE is a file that may be read and written.
KINDS = {
    "directory": "{}< /",
    "closed": "{}<&-",
    "write-only": "{}>> FILE",
    "read-only": "{}< FILE",
    "full": "{}> /dev/full",
    "socket": "{}< /dev/tcp/127.0.0.1/9",
}
_STREAMS = (0, 1, 2)
_SIGKILL = 1 << 8


def redirected(
    argv: list[str], kind: str, stream: int, directory: Path
) -> subprocess.CompletedProcess[bytes]:
    """Run a command with one of its standard streams as named; the others are pipes."""
    file = directory / "file"
    file.touch()
    redirection = KINDS[kind].format(stream).replace("FILE", str(file))
    return subprocess.run(
        ["bash", "-c", f'exec "$@" {redirection}', "bash", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Iterator[Bundle]:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    yield bundle
    naja.delete(bundle, "--force")


@pytest.mark.parametrize("stream", _STREAMS)
@pytest.mark.parametrize("kind", ["directory", "closed", "write-only", "read-only", "full"])
def test_every_verb_starts(naja: Runtime, running: Bundle, tmp_path: Path, kind: str, stream: int) -> None:
    """All do their work; none says more than a line, and none anything of Python's own."""
    verbs = [
        ["exec", running.id, "/bin/true"],
        ["pause", running.id],
        ["resume", running.id],
        ["update", "--pids-limit", "100", running.id],
        ["kill", running.id, "0"],
        ["start", "no-such-container"],
        ["state", "no-such-container"],
        ["delete", "no-such-container"],
    ]
    for verb in verbs:
        done = redirected(naja.command(*verb), kind, stream, tmp_path)
        said = done.stdout + done.stderr
        assert b"Python" not in said and b"Traceback" not in said, verb
        assert said.count(b"\n") <= 1, (verb, said)
        assert done.returncode == (1 if "no-such-container" in verb else 0), (verb, said)


@pytest.mark.parametrize("stream", _STREAMS)
@pytest.mark.parametrize("kind", ["directory", "closed", "write-only", "read-only", "full"])
def test_a_container_runs(naja: Runtime, bundle: Bundle, tmp_path: Path, kind: str, stream: int) -> None:
    """A directory of the host's never comes in as a stream: the null device takes its place."""
    looked = "for fd in 0 1 2; do if test -d /proc/$$/fd/$fd; then exit 9; fi; done"
    # In a subshell, so that the shell's own streams stay as they are.
    bundle.shell(f"(exec ls -l /proc/$$/fd > /out); {looked}")
    done = redirected(naja.command("run", "--bundle", bundle.path, bundle.id), kind, stream, tmp_path)
    assert done.returncode == 0, done
    with open(os.path.join(bundle.rootfs, "out")) as file:
        seen = {line.split()[-3]: line.split()[-1] for line in file if "->" in line}
    if kind in ("directory", "closed"):
        assert seen[str(stream)] == "/dev/null"


def test_output_that_has_no_place(naja: Runtime, tmp_path: Path) -> None:
    done = redirected(naja.command("list"), "full", 1, tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        b"naja: write to stdout: No space left on device (ENOSPC)\n",
    )


@pytest.mark.parametrize(
    "words", [["exec", "no-such-container", "/bin/true"], ["run", "--bundle", "/no/such"]]
)
def test_nothing_outlives_a_quick_failure(naja: Runtime, words: list[str], tag: str) -> None:
    """The process that pays early for the first move into a cgroup ends with the command."""
    if words[0] == "run":
        words = [*words, tag]
    for _ in range(5):
        assert naja.run(*words, check=False).status != 0
        # Killed by the kernel when the command ended, it may not have come to its end.
        assert not [command for pid, command in children().items() if not _is_being_killed(pid)]


def _is_being_killed(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
    except (FileNotFoundError, ProcessLookupError):
        return True
    pending = int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)
    return bool(pending & _SIGKILL) or fields["State"].split()[0] in "ZX"
