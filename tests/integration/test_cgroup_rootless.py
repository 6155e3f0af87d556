"""What a caller without privileges gets: a container without cgroups, or an error that says why."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.errors import NajaError
from naja.operations.base import RUNTIME, Context
from naja.plan import cgroup as plan
from naja.plan.request import Request
from tests.support.child import ChildFailed, in_child
from tests.support.rootless import AS_NOBODY, NOBODY, nobodys_bundle, nobodys_runtime
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.command import Result, Runtime

HIERARCHIES = cgroups.detect()

pytestmark = pytest.mark.skipif(not HIERARCHIES.mounts, reason="needs cgroups")


def attempt(**linux: Any) -> dict[str, Any]:
    """Make and enter the cgroups as nobody, in a child; return what the manager knows then."""

    def work() -> dict[str, Any]:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        path = linux.get("cgroupsPath", "")
        manager = cgroups.manager(path, "ID", systemd=False, rootless=True, hierarchies=HIERARCHIES)
        where = cgroups.describe(manager, HIERARCHIES)
        request = Request({"linux": linux}, id="ID", rootless=True, **where)
        context = Context(RUNTIME, print)
        context.pid = os.getpid()
        manager.intend()
        manager.follow(context)
        for operation in plan.prepare(request) + plan.enter(request):
            operation.apply(context)
        restored = cgroups.restore(manager.record())
        restored.kill(15)
        restored.delete()
        return {"paths": restored.paths, "frozen": restored.frozen(), "processes": restored.processes()}

    answer: dict[str, Any] = in_child(work)
    return answer


def test_without_limits_and_without_a_path_it_goes_on_without_cgroups() -> None:
    assert attempt() == {"paths": {}, "frozen": False, "processes": []}


def test_device_rules_are_not_needed() -> None:
    assert attempt(resources={"devices": [{"allow": False, "access": "rwm"}]})["paths"] == {}


@pytest.mark.skipif("pids" not in HIERARCHIES.mounts, reason="needs the pids controller of v1")
def test_a_limit_that_cannot_be_set_is_an_error() -> None:
    with pytest.raises(NajaError, match="without privileges the cgroup could not be made") as caught:
        attempt(resources={"pids": {"limit": 5}})
    assert caught.value.origin == "/linux/resources/pids/limit"


def test_a_path_that_was_asked_for_must_be_made() -> None:
    with pytest.raises(ChildFailed, match="Permission denied"):
        attempt(cgroupsPath="/somewhere")


@pytest.fixture
def users(naja: Runtime, busybox_rootfs: str, tag: str) -> Iterator[Callable[..., Result]]:
    """Call naja as nobody, who has a container without cgroups: ``users(verb, *words)``."""
    with tempfile.TemporaryDirectory() as directory:
        bundle = nobodys_bundle(directory, tag, busybox_rootfs)
        bundle.shell("sleep 1000 & trap 'exit 7' TERM; wait")
        runtime = nobodys_runtime(naja, directory)

        def call(verb: str, *words: str) -> Result:
            return runtime.run(verb, *words, tag, check=False, **AS_NOBODY)

        made = runtime.detached("run", "--detach", "--bundle", bundle.path, tag, check=False, **AS_NOBODY)
        if made.status:
            pytest.skip(f"nobody can have no container here: {made.stderr}")
        yield call
        assert call("delete", "--force").status == 0


def test_processes_that_no_cgroup_knows(users: Callable[..., Result]) -> None:
    """An empty list would not be true."""
    result = users("ps", "--format", "json")
    assert (result.status, result.stdout) == (1, "")
    assert "it has no cgroup that knows them" in result.stderr


def test_kill_all_without_a_cgroup(users: Callable[..., Result]) -> None:
    """The first process is known all the same, and the others of its namespace end with it."""

    def stopped() -> bool:
        # Its shell ignores the signal before it has set the trap.
        assert users("kill", "--all").status == 0
        return bool(json.loads(users("state").stdout)["status"] == "stopped")

    wait_until(stopped)
    assert json.loads(users("ps", "--format", "json").stdout) == []
    assert users("kill", "--all").status == 0
