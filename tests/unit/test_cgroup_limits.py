"""The translation of linux.resources to writes, on v1 and v2: the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from naja.cgroups import limits_v1, limits_v2
from naja.cgroups.v2 import complete
from naja.config import check_resources
from naja.errors import NajaError, Unsupported
from naja.plan.cgroup import prepare
from naja.plan.request import Request

if TYPE_CHECKING:
    from pathlib import Path

V1 = {
    name: f"/v1/{name}"
    for name in (
        "blkio",
        "cpu",
        "cpuset",
        "devices",
        "hugetlb",
        "memory",
        "net_cls",
        "net_prio",
        "pids",
        "rdma",
    )
}


def v1(resources: dict[str, Any]) -> list[str]:
    return [operation.describe() for operation in limits_v1.limits(resources, V1)]


def v2(resources: dict[str, Any]) -> list[str]:
    return [operation.describe() for operation in limits_v2.limits(resources, "/v2")[0]]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"memory": {"limit": 64}}, ["write memory.limit_in_bytes = 64 in /v1/memory"]),
        (
            {"memory": {"limit": 64, "swap": 128}},
            ["write memory.limit_in_bytes = 64, memory.memsw.limit_in_bytes = 128 in /v1/memory"],
        ),
        (
            {"memory": {"limit": -1}},
            [
                "write memory.memsw.limit_in_bytes = -1 in /v1/memory, if there is such a file",
                "write memory.limit_in_bytes = -1 in /v1/memory",
            ],
        ),
        ({"memory": {"limit": 0, "swap": 0}}, []),
        (
            {
                "memory": {
                    "reservation": 5,
                    "swappiness": 0,
                    "kernel": 7,
                    "kernelTCP": 8,
                    "useHierarchy": True,
                }
            },
            [
                "write memory.soft_limit_in_bytes = 5 in /v1/memory",
                "write memory.kmem.limit_in_bytes = 7 in /v1/memory",
                "write memory.kmem.tcp.limit_in_bytes = 8 in /v1/memory",
                "write memory.swappiness = 0 in /v1/memory",
                "write memory.use_hierarchy = 1 in /v1/memory",
                "warn if memory.kmem.limit_in_bytes in /v1/memory is still above 7",
            ],
        ),
        ({"memory": {"disableOOMKiller": True}}, ["write memory.oom_control = 1 in /v1/memory"]),
        (
            {"memory": {"limit": 9, "checkBeforeUpdate": True}},
            [
                "check that memory.usage_in_bytes is below 9 in /v1/memory",
                "write memory.limit_in_bytes = 9 in /v1/memory",
            ],
        ),
        (
            {"cpu": {"quota": 5, "period": 6, "burst": 2, "shares": 7, "idle": 0}},
            [
                "write cpu.shares = 7, cpu.idle = 0 in /v1/cpu",
                "write cpu.cfs_period_us = 6, cpu.cfs_quota_us = 5, cpu.cfs_burst_us = 2 in /v1/cpu",
            ],
        ),
        (
            {"cpu": {"realtimePeriod": 9, "realtimeRuntime": 8}},
            ["write cpu.rt_period_us = 9, cpu.rt_runtime_us = 8 in /v1/cpu"],
        ),
        (
            {"cpu": {"cpus": "0-1", "mems": "0"}},
            ["write cpuset.cpus = 0-1 in /v1/cpuset", "write cpuset.mems = 0 in /v1/cpuset"],
        ),
        ({"cpu": {"cpus": "", "shares": 0}}, []),
        ({"pids": {"limit": 0}}, ["write pids.max = 0 in /v1/pids"]),
        ({"pids": {"limit": -1}}, ["write pids.max = max in /v1/pids"]),
        (
            {"blockIO": {"weight": 500, "leafWeight": 20}},
            [
                "write blkio.bfq.weight = 500, or else blkio.weight = 500 in /v1/blkio",
                "write blkio.leaf_weight = 20 in /v1/blkio",
            ],
        ),
        (
            {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 30, "leafWeight": 40}]}},
            [
                "write blkio.bfq.weight_device = 8:0 30, or else blkio.weight_device = 8:0 30 in /v1/blkio",
                "write blkio.leaf_weight_device = 8:0 40 in /v1/blkio",
            ],
        ),
        (
            {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 100}]}},
            ["write blkio.throttle.write_iops_device = 8:0 100 in /v1/blkio"],
        ),
        (
            {"hugepageLimits": [{"pageSize": "2MB", "limit": 4096}]},
            [
                "write hugetlb.2MB.limit_in_bytes = 4096 in /v1/hugetlb",
                "write hugetlb.2MB.rsvd.limit_in_bytes = 4096 in /v1/hugetlb, if there is such a file",
            ],
        ),
        (
            {"network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}},
            [
                "write net_cls.classid = 1048577 in /v1/net_cls",
                "write net_prio.ifpriomap = eth0 5 in /v1/net_prio",
            ],
        ),
        (
            {"rdma": {"mlx": {"hcaHandles": 3, "hcaObjects": 10}}},
            ["write rdma.max = mlx hca_handle=3 hca_object=10 in /v1/rdma"],
        ),
    ],
)
def test_v1(resources: dict[str, Any], expected: list[str]) -> None:
    assert v1(resources) == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({"memory": {"limit": 64}}, ["write memory.max = 64 in /v2"]),
        (
            {"memory": {"limit": 64, "swap": 192, "reservation": 32}},
            [
                "write memory.swap.max = 128 in /v2",
                "write memory.max = 64 in /v2",
                "write memory.low = 32 in /v2",
            ],
        ),
        (
            {"memory": {"limit": 64, "swap": 64}},
            [
                "write memory.swap.max = 0 in /v2, if there is such a file",
                "write memory.max = 64 in /v2",
            ],
        ),
        (
            {"memory": {"limit": -1}},
            [
                "write memory.swap.max = max in /v2, if there is such a file",
                "write memory.max = max in /v2",
            ],
        ),
        (
            {"cpu": {"shares": 1024, "idle": 1}},
            ["write cpu.weight = 100, cpu.idle = 1 in /v2"],
        ),
        ({"cpu": {"quota": 50000}}, ["write cpu.max = 50000 100000 in /v2"]),
        ({"cpu": {"quota": -1, "period": 20000}}, ["write cpu.max = max 20000 in /v2"]),
        (
            {"cpu": {"quota": 5000, "period": 10000, "burst": 1000}},
            ["write cpu.max = 5000 10000, cpu.max.burst = 1000 in /v2"],
        ),
        ({"cpu": {"cpus": "1"}}, ["write cpuset.cpus = 1 in /v2"]),
        ({"pids": {"limit": 0}}, ["write pids.max = 0 in /v2"]),
        ({"pids": {"limit": -1}}, ["write pids.max = max in /v2"]),
        (
            {"blockIO": {"weight": 500}},
            ["write io.bfq.weight = 500, or else io.weight = 4950 in /v2"],
        ),
        (
            {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 1, "rate": 9}]}},
            ["write io.max = 8:1 rbps=9 in /v2"],
        ),
        (
            {"hugepageLimits": [{"pageSize": "1GB", "limit": 0}]},
            [
                "write hugetlb.1GB.max = 0 in /v2",
                "write hugetlb.1GB.rsvd.max = 0 in /v2, if there is such a file",
            ],
        ),
        ({"unified": {"memory.high": "7"}}, ["write memory.high = 7 in /v2"]),
        (
            {"unified": {"io.max": "8:0 rbps=1\n8:1 rbps=2\n"}},
            ["write io.max = 8:0 rbps=1 in /v2", "write io.max = 8:1 rbps=2 in /v2"],
        ),
        ({"memory": {"useHierarchy": True, "disableOOMKiller": False, "kernel": -1}}, []),
    ],
)
def test_v2(resources: dict[str, Any], expected: list[str]) -> None:
    assert v2(resources) == expected


@pytest.mark.parametrize(
    ("resources", "origin"),
    [
        ({"unified": {"memory.max": "1"}}, "/linux/resources/unified"),
        ({"cpu": {"shares": 1}}, "/linux/resources/cpu/shares"),
        ({"cpu": {"shares": 262145}}, "/linux/resources/cpu/shares"),
        ({"rdma": {"mlx": {}}}, "/linux/resources/rdma/mlx"),
    ],
)
def test_v1_refuses(resources: dict[str, Any], origin: str) -> None:
    with pytest.raises(NajaError) as caught:
        v1(resources)
    assert caught.value.origin == origin


@pytest.mark.parametrize(
    ("resources", "controller"),
    [
        ({"memory": {"limit": 5}}, "memory"),
        ({"pids": {"limit": 5}}, "pids"),
        ({"cpu": {"cpus": "0"}}, "cpuset"),
        ({"blockIO": {"weight": 10}}, "blkio"),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}, "hugetlb"),
        ({"network": {"classID": 1}}, "net_cls"),
        ({"network": {"priorities": [{"name": "lo", "priority": 0}]}}, "net_prio"),
    ],
)
def test_v1_names_a_controller_that_is_not_mounted(resources: dict[str, Any], controller: str) -> None:
    with pytest.raises(Unsupported, match=f"controller {controller} is not mounted"):
        limits_v1.limits(resources, {})


@pytest.mark.parametrize(
    "resources",
    [
        {"network": {"classID": 0, "priorities": []}},
        {"network": {}},
        {"pids": {}},
        {"hugepageLimits": [], "rdma": {}, "unified": {}, "blockIO": {"weightDevice": []}},
    ],
)
def test_nothing_is_asked_for(resources: dict[str, Any]) -> None:
    """So no controller need be there for it."""
    check_resources(resources)
    assert limits_v1.limits(resources, {}) == []
    assert limits_v2.limits(resources, "/v2") == ([], [])


@pytest.mark.parametrize(
    ("change", "configured", "expected"),
    [
        ({"limit": 96}, {}, {"limit": 96, "swap": 128}),
        ({"limit": 128}, {}, {"limit": 128, "swap": 128}),
        ({"swap": 200}, {}, {"limit": 64, "swap": 200}),
        ({"limit": -1}, {}, {"limit": -1}),
        ({"limit": 200}, {"unified": {"memory.swap.max": "64"}}, {"limit": 200}),
        ({"reservation": 5}, {}, {"reservation": 5}),
    ],
)
def test_v2_keeps_the_total_of_memory_and_swap(
    change: dict[str, int], configured: dict[str, Any], expected: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "memory.max").write_text("64\n")
    (tmp_path / "memory.swap.max").write_text("64\n")
    assert complete({"memory": change}, str(tmp_path), configured)["memory"] == expected


def test_v2_keeps_no_total_where_swap_is_limited_by_itself(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("64\n")
    (tmp_path / "memory.swap.max").write_text("0\n")
    change = {"memory": {"limit": 96}, "unified": {"memory.swap.max": "0"}}
    assert complete(change, str(tmp_path), {})["memory"] == {"limit": 96}


def test_v2_has_no_total_to_keep(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("64\n")
    for swap in (None, "max\n"):
        if swap:
            (tmp_path / "memory.swap.max").write_text(swap)
        assert complete({"memory": {"limit": 96}}, str(tmp_path), {})["memory"] == {"limit": 96}
    (tmp_path / "memory.swap.max").write_text("0\n")
    with pytest.raises(NajaError, match=r"memory limit 96.* together are limited to 64"):
        complete({"memory": {"limit": 96}}, str(tmp_path), {})


HUGE = [{"pageSize": "2MB", "limit": 4096}]


def test_what_the_v2_tree_of_a_hybrid_host_holds() -> None:
    resources = {"hugepageLimits": HUGE, "rdma": {"mlx": {"hcaHandles": 1}}, "pids": {"limit": 5}}
    some = {"pids": "/v1/pids", "rdma": "/v1/rdma"}
    pids_and_rdma = {key: resources[key] for key in ("rdma", "pids")}
    assert limits_v1.split(resources, {**some, "": "/v2"}) == (pids_and_rdma, {"hugepageLimits": HUGE})
    # Without such a tree it is a hierarchy of v1 that is missed.
    assert limits_v1.split(resources, some) == (resources, {})
    assert limits_v1.split(resources, {**V1, "": "/v2"}) == (resources, {})


def test_plan_on_a_hybrid_host() -> None:
    config = {"linux": {"resources": {"hugepageLimits": HUGE, "pids": {"limit": 5}}}}
    request = Request(
        config,
        cgroup_kind="v1",
        cgroup_mounts={"devices": "/cg/devices", "pids": "/cg/pids", "": "/cg/unified"},
        cgroup_paths=dict.fromkeys(("devices", "pids", ""), "/c"),
    )
    words = [operation.describe() for operation in prepare(request)]
    assert [line for line in words if "device" not in line] == [
        "make cgroup /cg/pids/c",
        "make cgroup /cg/unified/c",
        "enable the controllers of /cg/unified down to /c, hugetlb at least",
        "write pids.max = 5 in /cg/pids/c",
        "write hugetlb.2MB.max = 4096 in /cg/unified/c",
        "write hugetlb.2MB.rsvd.max = 4096 in /cg/unified/c, if there is such a file",
    ]


@pytest.mark.parametrize(
    ("resources", "origin"),
    [
        ({"memory": {"swappiness": 0}}, "/linux/resources/memory/swappiness"),
        ({"memory": {"kernel": 1}}, "/linux/resources/memory/kernel"),
        ({"memory": {"kernelTCP": 1}}, "/linux/resources/memory/kernelTCP"),
        ({"memory": {"disableOOMKiller": True}}, "/linux/resources/memory/disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "/linux/resources/memory/useHierarchy"),
        ({"memory": {"swap": 5}}, "/linux/resources/memory/swap"),
        ({"memory": {"swap": 5, "limit": 6}}, "/linux/resources/memory/swap"),
        ({"cpu": {"realtimeRuntime": 1}}, "/linux/resources/cpu/realtimeRuntime"),
        ({"blockIO": {"leafWeight": 10}}, "/linux/resources/blockIO/leafWeight"),
        ({"network": {"classID": 1}}, "/linux/resources/network/classID"),
        ({"unified": {"../x": "1"}}, "/linux/resources/unified/../x"),
        ({"unified": {"memory": "1"}}, "/linux/resources/unified/memory"),
    ],
)
def test_v2_refuses(resources: dict[str, Any], origin: str) -> None:
    with pytest.raises(NajaError) as caught:
        v2(resources)
    assert caught.value.origin == origin


def test_v2_tells_which_controllers_are_needed() -> None:
    resources = {"memory": {"limit": 5}, "unified": {"io.latency": "x", "cgroup.max.depth": "3"}}
    assert limits_v2.limits(resources, "/v2")[1] == [
        ("memory", "/linux/resources/memory/limit"),
        ("io", "/linux/resources/unified/io.latency"),
    ]


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(1, 1), (2, 1), (3, 2), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (500000, 10000)],
)
def test_cpu_weight(shares: int, weight: int) -> None:
    assert limits_v2.cpu_weight(shares) == weight


@pytest.mark.parametrize(("weight", "translated"), [(10, 1), (100, 910), (500, 4950), (1000, 10000)])
def test_io_weight(weight: int, translated: int) -> None:
    assert limits_v2.io_weight(weight) == translated


@pytest.mark.parametrize(
    ("limit", "swap", "expected"),
    [
        (None, None, ""),
        (5, None, ""),
        (-1, None, "max"),
        (5, -1, "max"),
        (-1, 7, "7"),
        (5, 5, "0"),
        (5, 12, "7"),
    ],
)
def test_swap(limit: int | None, swap: int | None, expected: str) -> None:
    assert limits_v2.swap_max(limit, swap, "") == expected
