"""No room for what naja writes: the line of error names what it was. RLIMIT_FSIZE stands for a full disk."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from tests.support.bundle import Bundle
from tests.support.command import Runtime

_FULL = "File too large (EFBIG): raise the limit of a file's size (ulimit -f)"


def no_files() -> None:
    """Let no file grow."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_state_of_a_container(naja: Runtime, bundle: Bundle, verb: str) -> None:
    words = (verb, "--bundle", bundle.path, bundle.id)
    result = naja.run(*words, check=False, preexec_fn=no_files)
    what = f"write the state of container {bundle.id}: {_FULL}"
    assert (result.status, result.stderr) == (1, f"{naja.name}: {what}\n")
    assert naja.ids() == []


def test_the_log_file(naja: Runtime, tmp_path: Path) -> None:
    log = tmp_path / "log"
    naja.argv.append(f"--log={log}")
    result = naja.run("state", "none", check=False, preexec_fn=no_files)
    assert result.status == 1
    assert result.stderr.splitlines() == [
        f"{naja.name}: container does not exist: none",
        f"{naja.name}: write the log file {log}: {_FULL}",
    ]


@pytest.mark.parametrize("verb", ["list", "state", "ps"])
def test_the_output(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    words = [verb] if verb == "list" else [verb, bundle.id]
    with open(tmp_path / "output", "wb") as output:
        done = subprocess.run(
            naja.command(*words),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            preexec_fn=no_files,
        )
    assert (done.returncode, done.stderr) == (
        1,
        f"{naja.name}: write to stdout: {_FULL}\n",
    )
