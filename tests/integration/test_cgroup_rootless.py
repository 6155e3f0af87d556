"""What a caller without privileges gets: a container without cgroups, or an error that says why."""

from __future__ import annotations

import os
from typing import Any

import pytest

from runtime import cgroups
from runtime.errors import NajaError
from runtime.operations.base import RUNTIME, Context
from runtime.plan import cgroup as plan
from runtime.plan.request import Request
from tests.support.child import ChildFailed, in_child

HIERARCHIES = cgroups.detect()
NOBODY = 65534

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
