"""Where a limit of the caller's is reached one line says which, what failed, and what to do."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Runtime
from tests.support.needs import requires_command
from tests.support.rootless import let_through

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result

pytestmark = requires_command("prlimit")

#: Verbs and what they get beside the options; ID is a running container's, NEW one that is to be made.
VERBS = [
    ["create", "--bundle", "BUNDLE", "NEW"],
    ["run", "--bundle", "BUNDLE", "NEW"],
    ["exec", "ID", "/bin/true"],
    ["state", "ID"],
    ["list"],
    ["ps", "ID"],
    ["events", "--stats", "ID"],
    ["update", "--pids-limit", "100", "ID"],
    ["kill", "ID", "WINCH"],
    ["kill", "--all", "ID", "WINCH"],
    ["pause", "ID"],
    ["resume", "ID"],
    ["features"],
]

#: A user that nobody else is.
_USER = 54321

#: What is said of the limit.
REMEDY = r"raise the limit( of open files| of a file's size)? \(ulimit -[nfv]\)"
START = "cannot start: the limit of memory is too low: raise it (ulimit -v, ulimit -d)"


class Poor:
    """The runtime with little to use, and a container that was started when there was enough."""

    def __init__(self, naja: Runtime, running: Bundle, made: Bundle) -> None:
        self.naja = naja
        self.running = running
        self.made = made

    def run(self, limit: str, words: list[str]) -> Result:
        known = {"ID": self.running.id, "NEW": self.made.id, "BUNDLE": self.made.path}
        poor = Runtime(self.naja.root, ["prlimit", limit, *self.naja.argv])
        return poor.detached(*[known.get(word, word) for word in words], check=False)

    def tidy(self) -> None:
        """Nothing is left of what could not be made; what could is removed."""
        if self.made.id in self.naja.ids():
            self.naja.run("delete", "--force", self.made.id)
        status = self.naja.status(self.running)
        if status == "paused":
            self.naja.run("resume", self.running.id)
            status = self.naja.status(self.running)
        assert status == "running"


@pytest.fixture
def poor(naja: Runtime, busybox_bundle: type[Bundle]) -> Iterator[Poor]:
    running, made = busybox_bundle(), busybox_bundle()  # type: ignore[call-arg]
    for bundle in running, made:
        bundle.process.pop("rlimits", None)  # With few files it would fail at them where it comes so far.
    naja.run_detached(running.args("/bin/sleep", "1000"))
    yield Poor(naja, running, made.args("/bin/true"))
    naja.delete(running, "--force")


def judge(done: Result) -> None:
    assert done.status >= 0, done
    # That is the answer where resume has what it takes.
    if done.status and "container not paused" not in done.stderr:
        assert done.stderr.count("\n") == 1, done
        assert re.search(REMEDY, done.stderr) or START in done.stderr, done
        # What it was about, in words or with its whole path.
        assert not re.match(r"naja: \.?/?[\w.]+: ", done.stderr) or "out of memory" in done.stderr, done
        assert "internal error" not in done.stderr


@pytest.mark.parametrize("files", range(4, 13))
def test_few_files(poor: Poor, files: int) -> None:
    for words in VERBS:
        judge(poor.run(f"--nofile={files}", words))
        poor.tidy()


@requires_command("setpriv")
@pytest.mark.parametrize("verb", ["run", "create"])
def test_no_more_processes(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    """A user's; root has no such limit."""
    let_through(str(tmp_path))
    becoming = ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
    user = Runtime(str(tmp_path / "root"), [*becoming, "prlimit", "--nproc=0", *naja.argv])
    os.mkdir(user.root)
    os.chown(user.root, _USER, _USER)
    done = user.detached(verb, "--bundle", bundle.args("/bin/true").path, bundle.id, check=False)
    assert done.status == 1
    assert done.stderr.count("\n") == 1
    assert "Resource temporarily unavailable (EAGAIN)" in done.stderr
    assert "raise the limit of processes (ulimit -u), or that of the cgroup (pids.max)" in done.stderr
    assert user.ids() == []


@pytest.mark.parametrize("size", [300, 3000])
def test_small_files(poor: Poor, size: int) -> None:
    for words in VERBS:
        done = poor.run(f"--fsize={size}", words)
        judge(done)
        poor.tidy()


@pytest.mark.parametrize("limit", ["--as", "--data"])
@pytest.mark.parametrize("millions", [1, 3, 5, 8, 11, 13, 15, 17])
def test_little_memory(poor: Poor, limit: str, millions: int) -> None:
    if os.path.basename(poor.naja.argv[0]) != "naja" or len(poor.naja.argv) > 1:
        pytest.skip("needs the launcher")
    for words in VERBS:
        judge(poor.run(f"{limit}={millions * 1000000}", words))
        poor.tidy()
