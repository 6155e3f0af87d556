"""Two containers that name one cgroup: one has it, and nothing that is done to the other reaches it."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.errors import NajaError
from naja.operations import ownership
from naja.operations.base import RUNTIME, Context
from naja.operations.cgroup import MakeCgroup
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

HIERARCHIES = cgroups.detect()

pytestmark = pytest.mark.skipif(not HIERARCHIES.mounts, reason="needs cgroups")

#: $NAJA_ROUNDS asks for more.
ROUNDS = int(os.environ.get("NAJA_ROUNDS", "8"))

#: What a create is refused with where the cgroup is another container's.
REFUSED = ("it exists and has processes in it", "another container is being made or deleted in it")


@pytest.fixture
def path(tag: str) -> Iterator[str]:
    """A cgroup for two, below one that is this test's own and goes with it."""
    yield f"/{tag}/shared"
    for mount in HIERARCHIES.mounts.values():
        for below, _, _ in os.walk(f"{mount}/{tag}", topdown=False):
            os.rmdir(below)


@pytest.fixture
def sharing(path: str, busybox_bundle: Callable[[], Bundle]) -> Callable[[], Bundle]:
    """Make bundles of sleeping containers that all name the one cgroup."""

    def make() -> Bundle:
        bundle = busybox_bundle().args("/bin/sleep", "1000")
        bundle.linux["cgroupsPath"] = path
        return bundle.save()

    return make


def places(path: str) -> list[str]:
    """Return the directories of a cgroup that are there."""
    every = [f"{mount}{path}" for mount in HIERARCHIES.mounts.values()]
    return [place for place in every if os.path.isdir(place)]


class Halted:
    """A ``create`` that stands still in a hook: its cgroups are there, and nobody is in them yet."""

    def __init__(self, naja: Runtime, bundle: Bundle, directory: Path) -> None:
        self.bundle = bundle
        self.go, reached = str(directory / f"go{bundle.id}"), directory / f"reached{bundle.id}"
        os.mkfifo(self.go)
        script = f"echo $$ > {reached}.new; mv {reached}.new {reached}; read line < {self.go}"
        bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        bundle.save()
        self.error = directory / f"error{bundle.id}"
        with open(self.error, "wb") as error:
            self.process = subprocess.Popen(
                naja.command("create", "--bundle", bundle.path, bundle.id),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=error,
            )
        wait_until(reached.exists, timeout=20, what="the hook")
        self.hook = int(reached.read_text())

    def finish(self) -> int:
        """Let it go on; return its exit status."""
        with open(self.go, "w") as go:
            go.write("go\n")
        return self.process.wait(timeout=20)

    def kill(self) -> None:
        """End the create as the kernel does when memory is short, and its hook with it."""
        self.process.kill()
        self.process.wait(timeout=20)
        os.kill(self.hook, signal.SIGKILL)


@pytest.fixture
def halted(naja: Runtime, tmp_path: Path) -> Iterator[Callable[[Bundle], Halted]]:
    """Begin to create containers; none of the creates outlives the test."""
    begun: list[Halted] = []

    def begin(bundle: Bundle) -> Halted:
        begun.append(Halted(naja, bundle, tmp_path))
        return begun[-1]

    yield begin
    for halt in begun:
        if halt.process.poll() is None:
            halt.kill()


def contend(naja: Runtime, bundles: list[Bundle], verb: list[str]) -> list[Bundle]:
    """Make all containers at once; return those that are there, and check what the others are told."""
    files = [open(f"{bundle.path}/error", "w+b") for bundle in bundles]
    running = [
        subprocess.Popen(
            naja.command(*verb, "--bundle", bundle.path, bundle.id),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
        )
        for bundle, file in zip(bundles, files, strict=True)
    ]
    winners = []
    for bundle, file, process in zip(bundles, files, running, strict=True):
        if process.wait(timeout=60) == 0:
            winners.append(bundle)
        else:
            file.seek(0)
            told = file.read().decode()
            assert any(words in told for words in REFUSED), told
            assert told.count("\n") == 1
        file.close()
    return winners


@pytest.mark.timeout(300 + 10 * ROUNDS)
@pytest.mark.parametrize("verb", [["create"], ["run", "--detach"]], ids=["create", "run"])
def test_one_of_many_wins(naja: Runtime, sharing: Callable[[], Bundle], path: str, verb: list[str]) -> None:
    """Exactly one, which runs on whatever becomes of the others; and nothing is left of any."""
    bundles = [sharing() for _ in range(8)]
    for _ in range(ROUNDS):
        contenders = bundles[: random.randint(2, 8)]
        winners = contend(naja, contenders, verb)
        assert len(winners) == 1
        assert naja.ids() == [winners[0].id]
        assert naja.status(winners[0]) in ("created", "running")
        assert len(places(path)) == len(HIERARCHIES.mounts)
        naja.delete(winners[0], "--force")
        assert naja.ids() == []
        assert places(path) == []


def test_a_container_in_the_making_has_its_cgroup(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted]
) -> None:
    """Though there is nobody in it yet."""
    first, second = halted(sharing()), sharing()
    refused = naja.create(second, check=False)
    assert refused.status != 0
    assert REFUSED[1] in refused.stderr
    assert first.finish() == 0, first.error.read_text()
    naja.start(first.bundle)
    assert naja.status(first.bundle) == "running"
    naja.delete(first.bundle, "--force")


def test_the_cgroup_above_one_in_the_making(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted], path: str
) -> None:
    """Who has that would end the other with itself."""
    inner = sharing()
    inner.linux["cgroupsPath"] = f"{path}/inner"
    first, outer = halted(inner.save()), sharing()
    refused = naja.create(outer, check=False)
    assert refused.status != 0
    assert "another container is being made in " in refused.stderr
    assert first.finish() == 0, first.error.read_text()
    naja.delete(inner, "--force")


def test_the_cgroup_below_one_in_the_making(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted], path: str
) -> None:
    """It could fail, and be undone with all below it; till then nobody comes there."""
    first, inner = halted(sharing()), sharing()
    inner.linux["cgroupsPath"] = f"{path}/inner"
    refused = naja.create(inner.save(), check=False)
    assert refused.status != 0
    assert "another container is being made or deleted in " in refused.stderr
    assert naja.ids() == [first.bundle.id]
    with open(inner.path + "/waits", "wb") as error:
        waiting = subprocess.Popen(
            naja.command("create", "--bundle", inner.path, inner.id),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=error,
        )
    wait_until(lambda: places(f"{path}/inner"))
    os.kill(first.hook, signal.SIGKILL)  # Now it fails, and is undone.
    assert first.process.wait(timeout=20) != 0
    assert waiting.wait(timeout=20) == 0, Path(inner.path, "waits").read_text()
    assert naja.status(inner) == "created"
    naja.start(inner)
    naja.delete(inner, "--force")


def test_the_cgroup_below_a_running_containers(
    naja: Runtime, sharing: Callable[[], Bundle], path: str
) -> None:
    """As in a container in which containers are made: it ends with that."""
    if HIERARCHIES.kind == "v2":
        pytest.skip("needs v1: a cgroup of v2 with processes has no controllers for those below")
    outer, inner = sharing(), sharing()
    inner.linux["cgroupsPath"] = f"{path}/inner"
    naja.run_detached(outer)
    naja.run_detached(inner.save())
    assert naja.status(inner) == naja.status(outer) == "running"
    naja.delete(outer, "--force")
    naja.delete(inner, "--force")


def test_the_cgroup_above_a_running_containers(
    naja: Runtime, sharing: Callable[[], Bundle], path: str
) -> None:
    inner, outer = sharing(), sharing()
    inner.linux["cgroupsPath"] = f"{path}/inner"
    naja.run_detached(inner.save())
    refused = naja.create(outer, check=False)
    assert refused.status != 0
    assert "it exists and has processes in it" in refused.stderr
    assert naja.status(inner) == "running"
    naja.delete(inner, "--force")


def end(naja: Runtime, bundle: Bundle) -> None:
    """Have a container's process end, without deleting the container."""
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")


def test_what_is_done_to_a_stopped_container_is_not_done_to_the_next(
    naja: Runtime, sharing: Callable[[], Bundle], path: str
) -> None:
    """Its cgroup is empty, so another one has it now, and removes it in the end."""
    first, second = sharing(), sharing()
    naja.run_detached(first)
    end(naja, first)
    naja.run_detached(second)
    naja.run("kill", "--all", first.id, "KILL")
    assert json.loads(naja.run("ps", "--format", "json", first.id).stdout) == []
    assert naja.status(second) == "running"
    naja.run("pause", second.id)
    assert "not paused" in naja.run("resume", first.id, check=False).stderr
    assert naja.status(second) == "paused"
    naja.run("resume", second.id)
    naja.delete(first)
    assert naja.status(second) == "running"
    assert len(places(path)) == len(HIERARCHIES.mounts)
    naja.delete(second, "--force")
    assert places(path) == []


def test_containers_take_turns_in_a_cgroup_of_somebody_elses(
    naja: Runtime, sharing: Callable[[], Bundle], path: str
) -> None:
    """It is left as it was, and the one that had it before does not end the one that has it."""
    for mount in HIERARCHIES.mounts.values():
        os.makedirs(f"{mount}{path}")
    first, second, third = sharing(), sharing(), sharing()
    naja.run_detached(first)
    end(naja, first)
    naja.run_detached(second)
    naja.delete(first)
    assert naja.status(second) == "running"
    naja.delete(second, "--force")
    assert len(places(path)) == len(HIERARCHIES.mounts)
    naja.run_detached(third)
    naja.delete(third, "--force")
    assert len(places(path)) == len(HIERARCHIES.mounts)


def test_a_create_that_was_killed_leaves_its_cgroup_to_the_next(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted], path: str
) -> None:
    """Deleting its record does not end who came after; who came after removes the cgroup."""
    first, second = halted(sharing()), sharing()
    first.kill()
    naja.run_detached(second)
    naja.delete(first.bundle, "--force")
    assert naja.status(second) == "running"
    naja.delete(second, "--force")
    assert places(path) == []


def test_a_create_that_was_killed_before_it_made_its_cgroup(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted], path: str
) -> None:
    """All that it had was the intention; another one's cgroup of that name is none of its own."""
    first, second = halted(sharing()), sharing()
    first.kill()
    for place in places(path):
        os.rmdir(place)
    naja.run_detached(second)
    naja.delete(first.bundle, "--force")
    assert naja.status(second) == "running"
    naja.delete(second, "--force")


def test_a_create_that_was_killed_is_deleted_with_its_cgroup(
    naja: Runtime, sharing: Callable[[], Bundle], halted: Callable[[Bundle], Halted], path: str
) -> None:
    first = halted(sharing())
    first.kill()
    assert places(path)
    naja.delete(first.bundle, "--force")
    assert places(path) == []


def test_another_runtimes_cgroup_of_that_name(
    naja: Runtime, sharing: Callable[[], Bundle], path: str
) -> None:
    """A stopped container's cgroup was removed and made anew by somebody who leaves no mark in it."""
    first = sharing()
    naja.run_detached(first)
    end(naja, first)
    for place in places(path):
        os.rmdir(place)
        os.mkdir(place)
    (place,) = [place for place in places(path) if "/freezer/" in place][:1] or places(path)[:1]
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            with open(f"{place}/cgroup.procs", "w") as procs:
                procs.write(str(stranger.pid))
            naja.delete(first)
            assert stranger.poll() is None
            assert len(places(path)) == len(HIERARCHIES.mounts)
        finally:
            stranger.kill()


def test_a_relative_path_that_meets_an_absolute_one_in_some_hierarchies(
    naja: Runtime, sharing: Callable[[], Bundle], tag: str
) -> None:
    """The other hierarchies are as if nobody had been there."""
    first, second = sharing(), sharing()
    first.linux["cgroupsPath"], second.linux["cgroupsPath"] = f"/{tag}/shared", f"{tag}/shared"
    if not [mount for name, mount in HIERARCHIES.mounts.items() if HIERARCHIES.own[name] == "/"]:
        pytest.skip("needs a hierarchy in which the tests run in the root")
    naja.run_detached(first.save())
    refused = naja.run_detached(second.save(), check=False)
    assert "it exists and has processes in it" in refused.stderr
    for name, mount in HIERARCHIES.mounts.items():
        if HIERARCHIES.own[name] != "/":
            own = f"{mount}{HIERARCHIES.own[name]}/{tag}"
            assert not os.path.isdir(f"{own}/shared")
            if os.path.isdir(own):
                os.rmdir(own)
    assert naja.status(first) == "running"
    naja.delete(first, "--force")


def test_a_lock_that_is_held_inside_protects_nobody(naja: Runtime, sharing: Callable[[], Bundle]) -> None:
    """The program locks its own cgroup, as naja does while it makes a container."""
    bundle = sharing()
    bundle.shell("for place in /sys/fs/cgroup/* /sys/fs/cgroup; do flock $place sleep 1000 & done; wait")
    naja.run_detached(bundle.save())
    naja.run("kill", "--all", bundle.id, "KILL")
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_what_creates_of_old_left_is_deleted(
    naja: Runtime, sharing: Callable[[], Bundle], tmp_path: Path, path: str
) -> None:
    """A record of before there were marks names the cgroups, and that has to do."""
    bundle = sharing()
    naja.run_detached(bundle)
    record = tmp_path / "root" / bundle.id / "state.json"
    document = json.loads(record.read_text())
    del document["cgroup"]["word"]
    record.write_text(json.dumps(document))
    for place in places(path):
        os.removexattr(place, "trusted.naja")
    naja.delete(bundle, "--force")
    assert places(path) == []


class Making:
    """As much of a create as its cgroups need; ``rootless`` is one that leaves a user's mark."""

    def __init__(self, path: str, *, rootless: bool = False) -> None:
        self.manager = cgroups.manager(path, "x", systemd=False, rootless=rootless, hierarchies=HIERARCHIES)
        self.context = Context(RUNTIME, print)
        self.manager.intend()
        self.manager.follow(self.context)

    def make(self) -> Making:
        for place in self.manager.places.values():
            MakeCgroup(place, optional=False).apply(self.context)
        return self

    def record(self) -> dict[str, Any]:
        """Let others come, and return what the record of the container says."""
        self.manager.release()
        return self.manager.record()


def delete(record: dict[str, Any]) -> None:
    restored = cgroups.restore(record)
    restored.kill(9)
    restored.delete()


@pytest.mark.parametrize("rootless", [False, True])
def test_an_empty_cgroup_of_a_containers_is_taken_over(path: str, rootless: bool) -> None:
    first = Making(path, rootless=rootless).make().record()
    second = Making(path, rootless=rootless).make().record()
    assert sorted(second["made"]) == sorted(places(path))
    delete(first)
    assert len(places(path)) == len(HIERARCHIES.mounts)
    delete(second)
    assert places(path) == []


@pytest.mark.parametrize("rootless", [False, True])
def test_a_cgroup_of_somebody_elses_bears_no_mark_afterwards(path: str, rootless: bool) -> None:
    for mount in HIERARCHIES.mounts.values():
        os.makedirs(f"{mount}{path}")
    delete(Making(path, rootless=rootless).make().record())
    assert len(places(path)) == len(HIERARCHIES.mounts)
    assert not any("naja" in name for place in places(path) for name in os.listxattr(place))


def test_where_no_mark_can_be_left_the_record_tells(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user before Linux 5.7."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no attributes")

    monkeypatch.setattr(os, "setxattr", refuse)
    record = Making(path, rootless=True).make().record()
    assert cgroups.restore(record).exists()
    delete(record)
    assert places(path) == []


@pytest.fixture
def cut_off(path: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The record of a create that ended when it had made a cgroup, and had not yet left its mark."""

    def cut(*_: object) -> None:
        raise KeyboardInterrupt

    making = Making(path)
    # The one of before anything was made: it is not followed yet.
    record = {**making.manager.record(), "places": making.manager.places}
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "_leave_mark", cut)
        with pytest.raises(KeyboardInterrupt):
            making.make()
    assert len(places(path)) == 1
    return record


def test_a_cgroup_without_its_mark_is_deleted(path: str, cut_off: dict[str, Any]) -> None:
    delete(cut_off)
    assert places(path) == []


def test_a_cgroup_without_its_mark_is_the_next_ones(path: str, cut_off: dict[str, Any]) -> None:
    record = Making(path).make().record()
    delete(cut_off)
    assert len(places(path)) == len(HIERARCHIES.mounts)
    delete(record)
    assert places(path) == []


def test_what_fails_at_a_new_cgroup_lets_go_of_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The undo is the same process's, and has to get the lock that the making had."""

    def fail(*_: object) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    making = Making(path)
    record = {**making.manager.record(), "places": making.manager.places}
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "_is_at", fail)
        with pytest.raises(PermissionError):
            making.make()
    assert len(places(path)) == 1
    delete(record)
    assert places(path) == []


def test_another_is_faster_between_making_and_locking(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the lock has the cgroup, whoever made it."""
    slow, fast = Making(path), Making(path)
    make = ownership._make

    def make_slowly(place: bytes) -> bool:
        monkeypatch.undo()
        made = make(place)
        fast.make()
        return made

    monkeypatch.setattr(ownership, "_make", make_slowly)
    with pytest.raises(NajaError, match="another container is being made or deleted in it"):
        slow.make()
    slow.manager.kill(9)
    slow.manager.delete()
    assert len(places(path)) == len(HIERARCHIES.mounts)
    delete(fast.record())
    assert places(path) == []
