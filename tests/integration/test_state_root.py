"""A state root that is full, read-only or gone: what cannot be written down is not done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.leaks import cgroups_named
from tests.support.small import fill, remount, tmpfs
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture
def small_root(naja: Runtime) -> Iterator[str]:
    """The state root is a small file system of its own."""
    with tmpfs(naja.root, "size=256k", "mode=700"):
        yield naja.root


def marked(bundle: Bundle) -> Callable[[], bool]:
    """Have the container leave a mark; return what tells whether it is there."""
    bundle.shell("echo > /mark; exec sleep 1000")
    return lambda: os.path.exists(os.path.join(bundle.rootfs, "mark"))


@pytest.mark.usefixtures("small_root")
def test_start_on_a_full_root_starts_nothing(naja: Runtime, bundle: Bundle) -> None:
    runs = marked(bundle)
    naja.create(bundle)
    filler = fill(naja.root)
    result = naja.start(bundle, check=False)
    assert (result.status, "No space left on device" in result.stderr) == (1, True), result
    assert naja.status(bundle) == "created"
    assert not runs()
    os.unlink(filler)
    naja.start(bundle)
    wait_until(runs)
    assert naja.status(bundle) == "running"
    naja.delete(bundle, "--force")


@pytest.mark.usefixtures("small_root")
def test_start_on_a_read_only_root_starts_nothing(naja: Runtime, bundle: Bundle) -> None:
    runs = marked(bundle)
    naja.create(bundle)
    remount(naja.root, "ro")
    result = naja.start(bundle, check=False)
    assert (result.status, "Read-only file system" in result.stderr) == (1, True), result
    assert naja.status(bundle) == "created"
    assert not runs()
    remount(naja.root, "rw")
    naja.delete(bundle, "--force")


@pytest.mark.parametrize("room", range(2, 10))
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_root_that_gets_full_at_some_point(naja: Runtime, bundle: Bundle, verb: str, room: int) -> None:
    """With room for so many files: what failed has run nothing and left nothing, and the rest goes on."""
    runs = marked(bundle)
    with tmpfs(naja.root, f"nr_inodes={room}", "mode=700"):
        make = naja.create if verb == "create" else naja.run_detached
        made = make(bundle, check=False)
        if made.status:
            assert len(made.stderr.splitlines()) == 1, made
            assert "No space left on device" in made.stderr
            assert naja.ids() == []
            assert not runs()
            return
        assert naja.status(bundle) == {"create": "created", "run": "running"}[verb]
        started = naja.start(bundle, check=False) if verb == "create" else made
        assert naja.status(bundle) == ("running" if started.status == 0 else "created")
        naja.delete(bundle, "--force")
        assert naja.ids() == []


@pytest.mark.usefixtures("small_root")
def test_what_needs_no_room_works_on_a_full_root(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    fill(naja.root)
    assert naja.exec(bundle, "/bin/echo", "in").stdout == "in\n"
    naja.run("pause", bundle.id)
    assert naja.status(bundle) == "paused"
    naja.run("resume", bundle.id)
    naja.run("update", "--pids-limit", "50", bundle.id)
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_delete_on_a_read_only_root_says_what_stays(naja: Runtime, bundle: Bundle, tag: str) -> None:
    """The container has ended; its state is what cannot be removed."""
    with tmpfs(naja.root, "size=256k", "mode=700"):
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        remount(naja.root, "ro")
        refused = naja.delete(bundle, "--force", check=False)
        assert (refused.status, len(refused.stderr.splitlines())) == (1, 1)
        assert f"{naja.root}/{bundle.id}: Read-only file system" in refused.stderr
        assert naja.status(bundle) == "stopped"
        assert cgroups_named(tag) == []
        remount(naja.root, "rw")
        naja.delete(bundle, "--force")


def test_a_root_that_is_removed_under_it(naja: Runtime, bundle: Bundle, tag: str) -> None:
    """Nobody knows the container any more, and every verb says so."""
    naja.create(bundle.args("/bin/sleep", "1000"))
    pid = naja.state(bundle)["pid"]
    shutil.rmtree(naja.root)
    for words in (("state",), ("start",), ("kill",), ("delete",), ("pause",)):
        refused = naja.run(*words, bundle.id, check=False)
        assert (refused.status, len(refused.stderr.splitlines())) == (1, 1)
        assert "container does not exist" in refused.stderr
    naja.delete(bundle, "--force")
    assert naja.run("list").stderr == ""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    for path in reversed(cgroups_named(tag)):
        os.rmdir(path)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_too_few_descriptors(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    """Whatever cannot be opened, one line names it and nothing is left: the way back needs some, too."""
    command = naja.command(verb, "--bundle", bundle.path, bundle.id)
    for limit in range(6, 19):
        with open(tmp_path / "stderr", "w") as file:  # A container that is made after all would hold a pipe.
            status = subprocess.call(["prlimit", f"--nofile={limit}", *command], stdout=file, stderr=file)
        if status == 0:
            return
        told = (tmp_path / "stderr").read_text()
        assert (status, told.count("\n"), ".py:" in told) == (1, 1, False), told
        assert (naja.ids(), cgroups_named(bundle.id)) == ([], []), (limit, told)
