"""What a large config costs: four times as much of anything takes no more than about four times the work.

Work is counted in lines of Python that are executed, so that it is the same on any machine under any load.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any

import pytest

from naja import config
from naja.cgroups import devices
from naja.container import record
from naja.operations.cgroup_limits import AllowDevices
from naja.plan import Request
from naja.plan.creation import compile_plan
from tests.support.bundle import DEFAULT_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Document = dict[str, Any]


def work(function: Callable[[], object]) -> int:
    """Return how many lines a call executes."""
    lines = 0

    def count(_frame: FrameType, event: str, _value: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


def scales(function: Callable[[int], Callable[[], object]], n: int = 80) -> bool:
    """Tell whether the work for four times as much is at most five times the work."""
    function(1)()  # What is loaded once is there.
    one = work(function(1))
    return work(function(4 * n)) - one <= 5 * (work(function(n)) - one)


def _devices(n: int) -> list[Document]:
    return [{"path": f"/dev/d{i}", "type": "c", "major": 1, "minor": i} for i in range(n)]


def _rules(n: int, **more: Any) -> list[Document]:
    deny: Document = {"allow": False, "access": "rwm"}
    return [deny, *({"allow": True, "type": "c", "minor": i, "access": "rwm", **more} for i in range(n))]


def _maps(n: int) -> list[Document]:
    return [{"containerID": i, "hostID": 1000 + 2 * i, "size": 1} for i in range(n)]


def _mounts(n: int, kind: str, *options: str) -> list[Document]:
    return [
        {"destination": f"/mnt/{i}", "type": kind, "source": "/srv", "options": [*options]} for i in range(n)
    ]


def _seccomp(n: int) -> Document:
    arguments = [{"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]
    rule = {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": arguments}
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] * n}


def _kinds(n: int) -> list[str]:
    return [f"{i}" for i in range(n)]


_OWN = [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "user")]

#: Where in a config there may be many of something, and what that is.
MANY: dict[str, Callable[[int], dict[str, Any]]] = {
    "annotations": lambda n: {"annotations": dict.fromkeys(_kinds(n), "text")},
    "unknown": lambda n: {key: {"a": [1]} for key in _kinds(n)},
    "hooks": lambda n: {"hooks": {"poststop": [{"path": f"/bin/{i}"} for i in range(n)]}},
    "args": lambda n: {"process": {"args": ["/bin/true", *_kinds(n)]}},
    "env": lambda n: {"process": {"env": [f"N{i}=text" for i in range(n)]}},
    "groups": lambda n: {"process": {"user": {"uid": 0, "gid": 0, "additionalGids": [*range(n)]}}},
    "capabilities": lambda n: {"process": {"capabilities": {"bounding": ["CAP_KILL"] * n}}},
    "binds": lambda n: {"mounts": _mounts(n, "bind", "rbind", "ro")},
    "file systems": lambda n: {"mounts": _mounts(n, "tmpfs", "mode=755")},
    "binds for a user namespace": lambda n: {
        "mounts": _mounts(n, "bind"),
        "linux": {"namespaces": _OWN, "uidMappings": _maps(1), "gidMappings": _maps(1)},
    },
    "masks": lambda n: {"linux": {"maskedPaths": [f"/no/{i}" for i in range(n)]}},
    "read-only paths": lambda n: {"linux": {"readonlyPaths": [f"/no/{i}" for i in range(n)]}},
    "devices": lambda n: {"linux": {"devices": _devices(n)}},
    "minors": lambda n: {"linux": {"resources": {"devices": _rules(n, major=5)}}},
    "majors": lambda n: {"linux": {"resources": {"devices": _rules(n, type="a")}}},
    "maps": lambda n: {"linux": {"namespaces": _OWN, "uidMappings": _maps(n), "gidMappings": _maps(n)}},
    "parameters": lambda n: {"linux": {"sysctl": {f"net.ipv4.conf.d{i}.forwarding": "1" for i in range(n)}}},
    "system calls": lambda n: {"linux": {"seccomp": _seccomp(n)}},
    "network devices": lambda n: {"linux": {"netDevices": {f"d{i}": {"name": f"e{i}"} for i in range(n)}}},
    "throttled devices": lambda n: {
        "linux": {
            "resources": {
                "blockIO": {
                    "throttleReadBpsDevice": [{"major": 8, "minor": i, "rate": 1000} for i in range(n)]
                }
            }
        }
    },
    "RDMA devices": lambda n: {
        "linux": {"resources": {"rdma": {f"d{i}": {"hcaHandles": 1} for i in range(n)}}}
    },
    "files of v2": lambda n: {"linux": {"resources": {"unified": {f"pids.f{i}": "1" for i in range(n)}}}},
}


def document(more: Document) -> Document:
    """Return a config with more in it."""
    made = copy.deepcopy(DEFAULT_CONFIG)
    for name, value in more.items():
        made[name] = {**made[name], **value} if name in ("process", "linux") else value
    return made


@pytest.mark.parametrize("kind", ["v1", "v2"])
@pytest.mark.parametrize("name", MANY)
def test_a_config_is_checked_and_compiled(name: str, kind: str) -> None:
    where = {"": "/cgroup"} if kind == "v2" else {"devices": "/cgroup/devices", "blkio": "/cgroup/blkio"}

    def make(n: int) -> Callable[[], object]:
        made = document(MANY[name](n))

        def compile() -> None:
            config.check(made)
            paths = dict.fromkeys(where, "/c")
            compile_plan(
                Request(made, id="c", bundle="/b", cgroup_kind=kind, cgroup_mounts=where, cgroup_paths=paths)
            )
            record.traits(made)

        return compile

    if kind == "v1" and name in ("RDMA devices", "files of v2"):
        pytest.skip("these are of v2")
    assert scales(make)


@pytest.mark.parametrize("allowed", [False, True])
def test_device_rules_that_take_a_part_back(allowed: bool) -> None:
    """Each rule is to be compared with those of its own device only."""

    def make(n: int) -> Callable[[], object]:
        given = [
            {"allow": first is not allowed, "type": "c", "major": 5, "minor": i, "access": access}
            for i in range(n)
            for first, access in ((True, "rwm"), (False, "w"))
        ]
        start = [{"allow": allowed, "access": "rwm"}]
        return lambda: devices.exceptions(*devices.rules(start + given))

    assert scales(make)


def test_device_rules_that_are_replaced(tmp_path: Any) -> None:
    """An update that names others withdraws those that were there."""

    def make(n: int) -> Callable[[], object]:
        directory = tmp_path / str(n)
        directory.mkdir(exist_ok=True)
        for name in ("allow", "deny"):
            (directory / f"devices.{name}").touch()
        (directory / "devices.list").write_text("".join(f"c 5:{i} rw\n" for i in range(n)))
        wanted = [f"c 5:{i} r" for i in range(n)]
        operation = AllowDevices(
            str(directory), allow_all=False, exceptions=wanted, optional=False, origin="/x"
        )
        return operation._apply

    assert scales(make)
