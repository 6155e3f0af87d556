"""Fixtures of the tests that run in a guest only: both cgroup managers, and what the kernel says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.vm.cgroup import VARIANT, Cgroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

HERE = os.path.dirname(os.path.abspath(__file__))


#: Tests of checkpoints that depend on the kind of cgroups; the others run on v2 only.
CHECKPOINTS = ("test_a_container_goes_on_where_it_was", "test_another_name_and_cgroup")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if item.path.name != "test_vm_checkpoint.py" or _worth_it(item)]
    for item in items:
        if str(item.path).startswith(HERE + os.sep):
            item.add_marker(pytest.mark.root)
            if not VARIANT:
                item.add_marker(pytest.mark.skip(reason="runs in a guest: make test-vm"))


def _worth_it(item: pytest.Item) -> bool:
    """Say whether a test of checkpoints shows more in this guest: they take half a minute each."""
    names, name = getattr(item, "fixturenames", ()), getattr(item, "originalname", "")
    if VARIANT == "systemd" and "cgroupfs" in item.name:
        return False
    return "criu" in names and (VARIANT == "v2" or name in CHECKPOINTS)


@pytest.fixture(params=["cgroupfs", "systemd"] if VARIANT == "systemd" else ["cgroupfs"])
def manager(request: pytest.FixtureRequest) -> str:
    """Who makes the cgroup: the runtime itself, or systemd at its request."""
    return str(request.param)


@pytest.fixture
def naja(naja: Runtime, manager: str) -> Runtime:
    """The runtime under test, told which manager to use."""
    if naja.name == "crun" and VARIANT == "hybrid":
        pytest.skip("crun 1.8 refuses v1 hierarchies beside a v2 tree that has controllers")
    if manager == "systemd":
        naja.argv = [*naja.argv, "--systemd-cgroup"]
    return naja


@pytest.fixture
def bundle(bundle: Bundle, manager: str) -> Bundle:
    """A busybox bundle whose cgroup the manager can name."""
    if manager == "systemd":
        bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
    return bundle.save()


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Callable[[dict[str, object]], Cgroup]:
    """Start a sleeping container with the given ``linux.resources``, and return its cgroup."""

    def run(resources: dict[str, object]) -> Cgroup:
        bundle.linux["resources"] |= resources
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        return Cgroup(naja.state(bundle)["pid"], bundle.id)

    return run
