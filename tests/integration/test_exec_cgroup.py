"""exec into a container whose first process has left the cgroup that it was put into.

Each test is run with the host's own hierarchies, and with a v2 tree alone in a mount namespace of naja's.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from naja import cgroups
from naja.linux.cgroupfs import read, write
from tests.support.cgroups import ONLY_V2, clear, places
from tests.support.command import Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle

HIERARCHIES = cgroups.detect()

#: Controllers of v2 that work for whole processes only.
_OF_PROCESSES = ("memory", "io", "hugetlb", "rdma", "misc")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif("" not in HIERARCHIES.mounts, reason="needs a v2 tree"),
]


@pytest.fixture(params=["host", "v2 alone"])
def runtime(request: pytest.FixtureRequest, naja: Runtime, tag: str) -> Iterator[Runtime]:
    """The runtime under test, on a host of either kind."""
    if request.param == "host":
        yield naja
    elif HIERARCHIES.kind == "v2":
        pytest.skip("the host has v2 alone")
    else:
        yield Runtime(naja.root, [*ONLY_V2, *naja.argv])
    for number in range(2):
        for place in places(f"{tag}{number}away") + places(f"{tag}{number}"):
            clear(place)


def move(pid: int, cgroup: str) -> None:
    """Move a process, as the container's root may who sees the host's tree, in all hierarchies."""
    for place in places(cgroup):
        os.makedirs(place, exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(f"{place}/{file}") and place.startswith("/sys/fs/cgroup/cpuset"):
                write(f"{place}/{file}", read(f"{os.path.dirname(place)}/{file}"))
        write(f"{place}/cgroup.procs", str(pid))


def leave(runtime: Runtime, bundle: Bundle) -> int:
    """Start the container, and have its first process leave its cgroups for others. Return its pid."""
    runtime.run_detached(bundle.args("/bin/sleep", "1000"))
    pid: int = runtime.state(bundle)["pid"]
    move(pid, f"{bundle.id}away")
    return pid


@contextlib.contextmanager
def handed_down(tree: str, controller: str) -> Iterator[None]:
    """Enable a controller for the children of a tree's root, for the time of a ``with``."""
    if controller in read(f"{tree}/cgroup.subtree_control").split():
        yield
        return
    write(f"{tree}/cgroup.subtree_control", f"+{controller}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Somebody else uses it by now.
            write(f"{tree}/cgroup.subtree_control", f"-{controller}")


def remove(bundle: Bundle) -> None:
    for place in filter(os.path.isdir, places(bundle.id)):
        os.rmdir(place)


def together(runtime: Runtime, bundle: Bundle, pid: int, prefix: str = "") -> bool:
    """Tell whether a process that is added is where another one is, in all the runtime's hierarchies."""
    added = runtime.exec(bundle, "cat", "/proc/self/cgroup").stdout
    texts = (read(f"/proc/{pid}/cgroup").split("\n"), added.rstrip().split("\n"))
    prefix = "0::" if runtime.argv[0] == "unshare" else prefix
    there, here = ({line for line in lines if line.startswith(prefix)} for lines in texts)
    return there == here


def test_the_old_cgroup_is_removed(runtime: Runtime, bundle: Bundle) -> None:
    pid = leave(runtime, bundle)
    remove(bundle)
    assert together(runtime, bundle, pid)


def test_a_cgroup_that_is_asked_for_is_not_another_one(runtime: Runtime, bundle: Bundle) -> None:
    leave(runtime, bundle)
    remove(bundle)
    for named in ("/", "below"):
        refused = runtime.run("exec", "--cgroup", named, bundle.id, "true", check=False)
        assert refused.status == 255
        assert f"/{bundle.id}" in refused.stderr
        assert "asked for by --cgroup" in refused.stderr


def test_the_old_cgroup_is_another_containers(runtime: Runtime, busybox_bundle: Callable[[], Bundle]) -> None:
    """Of the same path, made anew: what is added to the first container does not count there."""
    bundle, later = busybox_bundle(), busybox_bundle()
    pid = leave(runtime, bundle)
    remove(bundle)
    later.linux["cgroupsPath"] = f"/{bundle.id}"
    runtime.run_detached(later.args("/bin/sleep", "1000"))
    assert together(runtime, bundle, pid)
    assert together(runtime, later, runtime.state(later)["pid"])
    assert runtime.run("exec", "--cgroup", "/", bundle.id, "true", check=False).status == 255


def test_the_old_cgroup_is_somebody_elses(runtime: Runtime, bundle: Bundle) -> None:
    """Who is no container of naja's, and leaves no mark on it."""
    pid = leave(runtime, bundle)
    remove(bundle)
    for place in places(bundle.id):
        os.mkdir(place)
    assert together(runtime, bundle, pid)
    remove(bundle)


def test_the_old_cgroup_has_controllers_for_its_children(runtime: Runtime, bundle: Bundle) -> None:
    """Then it takes no process (cgroup-v2, no internal processes)."""
    tree = HIERARCHIES.mounts[""]
    controllers = [name for name in read(f"{tree}/cgroup.controllers").split() if name in _OF_PROCESSES]
    if not controllers:
        pytest.skip(f"the v2 tree has none of {', '.join(_OF_PROCESSES)}")
    pid = leave(runtime, bundle)
    own = f"{tree}/{bundle.id}"
    with handed_down(tree, controllers[0]):
        write(f"{own}/cgroup.subtree_control", f"+{controllers[0]}")
        assert together(runtime, bundle, pid, "0::")
        refused = runtime.run("exec", "--cgroup", "/", bundle.id, "true", check=False)
        assert (refused.status, "it takes no processes of its own" in refused.stderr) == (255, True)
        assert "asked for by --cgroup" in refused.stderr
        clear(f"{tree}/{bundle.id}away")
        runtime.delete(bundle, "--force")
