"""Threaded cgroups of v2 (cgroup-v2, Threads): below one of somebody else's, and where naja would make one.

The latter is for a caller in a cgroup namespace of his own, as in a container of Docker's: what he sees as
the root is a cgroup with processes.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from naja import cgroups
from naja.linux.cgroupfs import read, write
from tests.support.cgroups import ONLY_V2, clear, places
from tests.support.command import Runtime, runtime_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.leaks import Watch

HIERARCHIES = cgroups.detect()
#: Where this host has its v2 tree.
TREE = HIERARCHIES.mounts.get("", "")

pytestmark = pytest.mark.skipif(not TREE, reason="needs a v2 tree")

SHELL = 'umount --recursive --lazy /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


@pytest.fixture
def above(tag: str, leak_check: Watch | None) -> Iterator[str]:
    """The name of a cgroup of the v2 tree, removed with all below it in the end, and from other trees."""
    os.mkdir(f"{TREE}/{tag}")
    yield tag
    for place in places(tag):
        clear(place)


@pytest.fixture(params=["host", "v2 alone"])
def naja_on(request: pytest.FixtureRequest, naja: Runtime) -> Runtime:
    """The runtime under test, on this host as it is, or where only the v2 tree is mounted."""
    if request.param == "host":
        return naja
    if HIERARCHIES.kind == "v2":
        pytest.skip("this host has nothing else")
    return Runtime(naja.root, [*ONLY_V2, *runtime_command()])


def life(naja: Runtime, bundle: Bundle, inside: str) -> None:
    """Let a container live through all verbs; ``inside`` is its cgroup as a process of it sees it."""
    pid = naja.state(bundle)["pid"]
    assert json.loads(naja.run("ps", "--format", "json", bundle.id).stdout) == [pid]
    assert f"0::{inside}\n" in naja.exec(bundle, "cat", "/proc/self/cgroup").stdout
    naja.run("events", "--stats", bundle.id)
    naja.run("pause", bundle.id)
    assert naja.status(bundle) == "paused"
    naja.run("resume", bundle.id)
    naja.run("kill", "--all", bundle.id, "TERM")
    naja.run("kill", "--all", bundle.id, "WINCH")
    assert naja.status(bundle) == "running"  # The first process of a pid namespace gets no other signals.
    naja.delete(bundle, "--force")
    assert naja.ids() == []


def make_threaded(above: str) -> None:
    """Make a cgroup the root of a threaded domain, as one of its children is threaded."""
    os.mkdir(f"{TREE}/{above}/sibling")
    write(f"{TREE}/{above}/sibling/cgroup.type", "threaded")


@pytest.mark.parametrize("path", ["inner", "two/levels"])
def test_a_container_below_a_threaded_cgroup(naja_on: Runtime, bundle: Bundle, above: str, path: str) -> None:
    make_threaded(above)
    bundle.linux["cgroupsPath"] = f"/{above}/{path}"
    naja_on.run_detached(bundle.args("/bin/sleep", "1000"))
    assert read(f"{TREE}/{above}/{path}/cgroup.type") == "threaded"
    life(naja_on, bundle, f"/{above}/{path}")
    assert not os.path.exists(f"{TREE}/{above}/{path}")


def test_created_started_and_in_the_foreground(naja_on: Runtime, bundle: Bundle, above: str) -> None:
    make_threaded(above)
    bundle.linux["cgroupsPath"] = f"/{above}/inner"
    bundle.args("/bin/true")
    naja_on.run_attached(bundle)
    naja_on.create(bundle)
    naja_on.start(bundle)
    naja_on.wait_for(bundle, "stopped")
    naja_on.delete(bundle)
    assert not os.path.exists(f"{TREE}/{above}/inner")


def test_a_limit_that_threads_cannot_have(naja: Runtime, bundle: Bundle, above: str) -> None:
    only_v2 = naja if HIERARCHIES.kind == "v2" else Runtime(naja.root, [*ONLY_V2, *runtime_command()])
    make_threaded(above)
    bundle.linux["cgroupsPath"] = f"/{above}/inner"
    only_v2.run_detached(bundle.args("/bin/sleep", "1000"))
    refused = only_v2.run("update", "--memory", "10000000", bundle.id, check=False)
    assert "memory is not available" in refused.stderr
    assert 'the cgroup is of type "threaded"' in refused.stderr
    only_v2.delete(bundle, "--force")


@pytest.fixture
def nested(naja: Runtime, above: str) -> Runtime:
    """The runtime in a cgroup namespace whose root it is in itself, with nothing mounted but that."""
    enter = (
        f"echo $$ > {TREE}/{above}/cgroup.procs && exec unshare --cgroup --mount sh -c '{SHELL}' sh \"$@\""
    )
    return Runtime(naja.root, ["sh", "-c", enter, "sh", *runtime_command()])


def test_in_a_cgroup_namespace(nested: Runtime, bundle: Bundle, above: str) -> None:
    """The caller's own cgroup stays as it is, and so do others in it."""
    os.mkdir(f"{TREE}/{above}/other")
    nested.run_detached(bundle.args("/bin/sleep", "1000"))
    assert read(f"{TREE}/{above}/cgroup.type") == "domain"
    assert read(f"{TREE}/{above}/other/cgroup.type") == "domain"
    life(nested, bundle, f"/{bundle.id}")


def test_a_limit_on_threads_in_a_cgroup_namespace(nested: Runtime, bundle: Bundle, above: str) -> None:
    if "pids" not in read(f"{TREE}/cgroup.controllers").split():
        pytest.skip("needs the controller pids in the v2 tree")
    write(f"{TREE}/cgroup.subtree_control", "+pids")
    bundle.linux["resources"]["pids"] = {"limit": 50}
    nested.run_detached(bundle.args("/bin/sleep", "1000"))
    assert read(f"{TREE}/{above}/{bundle.id}/cgroup.type") == "threaded"
    assert read(f"{TREE}/{above}/{bundle.id}/pids.max") == "50"
    nested.run("update", "--pids-limit", "60", bundle.id)
    assert read(f"{TREE}/{above}/{bundle.id}/pids.max") == "60"
    life(nested, bundle, f"/{bundle.id}")


def test_a_limit_on_processes_in_a_cgroup_namespace(nested: Runtime, bundle: Bundle, above: str) -> None:
    """It is refused with a reason, and before anything is threaded for it."""
    bundle.linux["resources"].update(memory={"limit": 1 << 28}, pids={"limit": 50})
    refused = nested.run_attached(bundle.save(), check=False)
    assert "is not available" in refused.stderr
    if "memory" in read(f"{TREE}/{above}/cgroup.controllers").split():
        assert "a cgroup with processes of its own has no controllers for its children" in refused.stderr
    assert read(f"{TREE}/{above}/cgroup.type") == "domain"
    assert nested.ids() == []
