"""What two configs, and two plans, differ in: each property of the schemas is named, and no other."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from naja.config.difference import ABSENT, differences
from naja.errors import NajaError
from naja.plan import difference
from tests.support import audited
from tests.unit.test_schemas_documented import FILES, PLATFORMS, properties

_DATA = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "full.json")
_V1 = ("memory", "pids", "cpu", "cpuset", "blkio", "hugetlb", "net_cls", "net_prio", "rdma", "devices")
ON_V1 = {
    "cgroup_kind": "v1",
    "cgroup_mounts": {name: f"/cgroup/{name}" for name in _V1},
    "cgroup_paths": dict.fromkeys(_V1, "/c"),
}


def full() -> dict[str, Any]:
    """Return a config that has every property, but those of other platforms."""
    with open(_DATA, encoding="utf-8") as file:
        config: dict[str, Any] = json.load(file)
    hook = {"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}
    config["hooks"] = {kind: [copy.deepcopy(hook)] for kind in config["hooks"]}
    process, linux, resources = config["process"], config["linux"], config["linux"]["resources"]
    process["commandLine"] = "true x"
    process["user"]["username"] = "somebody"
    process["scheduler"].update(nice=0, runtime=0, deadline=0, period=0)
    linux["timeOffsets"]["boottime"]["nanosecs"] = 5
    linux["personality"]["flags"] = []
    for name in ("throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"):
        resources["blockIO"][name] = [{"major": 8, "minor": 0, "rate": 600}]
    resources["blockIO"]["weightDevice"][0]["leafWeight"] = 100
    resources["rdma"]["mlx5_1"]["hcaObjects"] = 5
    return config


def places(value: Any, way: list[str]) -> Iterator[list[str]]:
    """Yield the places in a config of a property of the schemas, with "*" for any member."""
    if not way:
        yield []
        return
    names = [way[0]]
    if way[0] == "*":
        names = [str(index) for index in range(len(value))] if isinstance(value, list) else [*value]
    for name in names:
        if isinstance(value, dict) and name not in value:
            continue
        member = value[int(name)] if isinstance(value, list) else value[name]
        for rest in places(member, way[1:]):
            yield [name, *rest]


PROPERTIES = [
    name for name in properties(FILES["config.json"], "config.json") if not name.startswith(PLATFORMS)
]


def place(name: str) -> list[str]:
    """Return the first place of a property."""
    return next(places(full(), name[1:].split("/")))


def pointer(way: list[str]) -> str:
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in way)


def member(config: dict[str, Any], way: list[str]) -> tuple[Any, Any]:
    """Return what has the member at a place, and its name or index there."""
    at: Any = config
    for name in way[:-1]:
        at = at[int(name)] if isinstance(at, list) else at[name]
    return at, int(way[-1]) if isinstance(at, list) else way[-1]


def other(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value[:-1] if value else ["x"]
    return {}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_that_is_only_in_one(name: str) -> None:
    old, new, way = full(), full(), place(name)
    where, key = member(new, way)
    taken = where.pop(key)
    (change,) = differences(old, new)
    assert (change.origin, change.old) == (pointer(way), taken)
    assert change.new is ABSENT
    (change,) = differences(new, old)
    assert (change.origin, change.new) == (pointer(way), taken)
    assert change.old is ABSENT


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_property_that_is_another(name: str) -> None:
    old, new, way = full(), full(), place(name)
    where, key = member(new, way)
    if isinstance(where[key], dict | list):
        return  # Told by its members, each of which is a property itself, or stands for one.
    where[key] = other(where[key])
    (change,) = differences(old, new)
    assert (change.origin, change.new) == (pointer(way), where[key])
    assert differences(new, new) == []


#: A value that a plan can be made of, where one more, or another letter, will not do.
VALUES: dict[str, Any] = {
    "/mounts/*/type": "ramfs",
    "/mounts/*/destination": "/elsewhere",
    "/process/rlimits/*/type": "RLIMIT_AS",
    "/process/ioPriority/class": "IOPRIO_CLASS_IDLE",
    "/process/scheduler/policy": "SCHED_FIFO",
    "/linux/resources/devices/*/type": "b",
    "/linux/resources/devices/*/access": "m",
    "/linux/rootfsPropagation": "private",
    "/linux/memoryPolicy/mode": "MPOL_INTERLEAVE",
    "/linux/memoryPolicy/nodes": "1",
    "/linux/personality/domain": "LINUX",
}
#: Properties of which the first place is of no consequence.
SECOND = ("/mounts/*/type", "/linux/resources/devices/*/access")
#: Properties of which a plan can only be made with them.
NEEDED = ("/root", "/linux", "/linux/gidMappings")
#: Properties that no operation of a creation depends on, and who does.
ELSEWHERE = {
    "/process/commandLine": "Windows",
    "/process/user/username": "Windows",
    "/process/execCPUAffinity": "exec",
    "/hooks/poststart": "start",
    "/hooks/poststop": "delete",
    "/linux/cgroupsPath": "the paths of cgroups, which are found out before the plan is made",
    "/linux/personality/flags": "refused: the specification names none",
}


def for_plan(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a config that has a property and that a plan can be made of, and the host that it is for."""
    config = full()
    linux = config["linux"]
    del linux["personality"]["flags"]
    if name.startswith("/linux/resources/unified"):
        linux["resources"] = {"unified": linux["resources"]["unified"]}
        return config, {}
    del linux["resources"]["unified"]
    return config, ON_V1


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_plan_differs(name: str) -> None:
    elsewhere = any(f"{name}/".startswith(f"{other}/") for other in ELSEWHERE)
    if name in NEEDED or name == "/linux/personality/flags":
        return
    (old, host), (new, _) = for_plan(name), for_plan(name)
    found_at = [*places(new, name[1:].split("/"))]
    where, key = member(new, found_at[1 if name in SECOND else 0])
    if isinstance(where[key], dict):
        del where[key]
    else:
        where[key] = VALUES.get(name, other(where[key]))
    found = difference.differences(audited.compiled(old, **host), audited.compiled(new, **host))
    assert bool(found) is not elsewhere, [change.text() for change in found]
    for change in found:
        assert change.fields or change.kind != difference.CHANGED


def test_what_is_put_before_makes_nothing_else_differ() -> None:
    old, new = audited.docker(), audited.docker()
    new["mounts"].insert(1, audited.bind("/srv", "/data", "ro"))
    new["process"]["capabilities"]["bounding"].remove("CAP_KILL")
    found = [(change.origin, change.old is ABSENT) for change in differences(old, new)]
    assert found == [("/process/capabilities/bounding/5", False), ("/mounts/1", True)]
    plans = [audited.compiled(config) for config in (old, new)]
    lines = [change.text() for change in difference.differences(*plans)]
    assert [line[0] for line in lines] == ["+", "-", "+"]
    assert lines[0] == "+ init: bind /srv on /data: ro  [/mounts/1]"


def test_what_a_description_does_not_tell() -> None:
    old, new = audited.docker(), audited.docker()
    new["linux"]["seccomp"]["syscalls"][0]["names"][0] = "readv"
    changes = difference.differences(*(audited.compiled(config) for config in (old, new)))
    assert [(change.kind, change.fields) for change in changes] == [(difference.CHANGED, ["profile"])]


def test_json_is_compared_as_json() -> None:
    assert [change.origin for change in differences({"a": 1, "b": 0}, {"a": True, "b": 0})] == ["/a"]
    assert differences({"a": None}, {}) == differences({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []
    assert [change.origin for change in differences({"a/b": 1}, {})] == ["/a~1b"]


def test_a_plan_that_cannot_be_made() -> None:
    config = full()
    with pytest.raises(NajaError, match="swappiness"):
        audited.compiled(config)


def test_plans_of_the_same_config() -> None:
    plans = [audited.compiled(audited.docker(), **ON_V1) for _ in range(2)]
    assert difference.differences(*plans) == []
