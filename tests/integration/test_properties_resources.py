"""Properties of linux.resources and cgroupsPath, each read back from the kernel.

A host has some controllers, and each in one version: what is missing here is skipped, and runs in the
guests (``tests/vm/run.py --variant v1 -- python -m pytest tests/integration/test_properties_resources.py``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from tests.support.seen import refused, shown

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

HIERARCHIES = cgroups.detect()
V2 = HIERARCHIES.kind == "v2"
MIB = 1 << 20


def root_disk() -> tuple[int, int]:
    """Return the number of a whole disk; (0, 0) where there is none."""
    for name in sorted(os.listdir("/sys/block") if os.path.isdir("/sys/block") else []):
        with open(f"/sys/block/{name}/size") as file:
            if int(file.read()) and not name.startswith(("zram", "dm")):
                with open(f"/sys/block/{name}/dev") as number:
                    major, minor = number.read().split(":")
                return int(major), int(minor)
    return 0, 0


MAJOR, MINOR = root_disk()
DISK = {"major": MAJOR, "minor": MINOR}
NUMBER = f"{MAJOR}:{MINOR}"

Expected = dict[str, str]

#: By property of linux.resources: what is asked for, the files that say so on v1, and those on v2.
LIMITS: dict[str, tuple[dict[str, Any], Expected, Expected]] = {
    "memory.limit": (
        {"memory": {"limit": 64 * MIB}},
        {"memory.limit_in_bytes": "67108864"},
        {"memory.max": "67108864"},
    ),
    "memory.reservation": (
        {"memory": {"reservation": 32 * MIB}},
        {"memory.soft_limit_in_bytes": "33554432"},
        {"memory.low": "33554432"},
    ),
    "memory.swap": (
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        {"memory.memsw.limit_in_bytes": "100663296"},
        {"memory.swap.max": "33554432"},
    ),
    "memory.kernelTCP": (
        {"memory": {"kernelTCP": 8 * MIB}},
        {"memory.kmem.tcp.limit_in_bytes": "8388608"},
        {},
    ),
    "memory.swappiness": ({"memory": {"swappiness": 7}}, {"memory.swappiness": "7"}, {}),
    # A v2 tree is never otherwise.
    "memory.useHierarchy": (
        {"memory": {"useHierarchy": True}},
        {"memory.use_hierarchy": "1"},
        {"memory.max": "max"},
    ),
    "memory.checkBeforeUpdate": (
        {"memory": {"limit": 64 * MIB, "checkBeforeUpdate": True}},
        {"memory.limit_in_bytes": "67108864"},
        {"memory.max": "67108864"},
    ),
    "cpu.shares": ({"cpu": {"shares": 1024}}, {"cpu.shares": "1024"}, {"cpu.weight": "100"}),
    "cpu.quota": ({"cpu": {"quota": 50000}}, {"cpu.cfs_quota_us": "50000"}, {"cpu.max": "50000 100000"}),
    "cpu.period": (
        {"cpu": {"quota": 20000, "period": 40000}},
        {"cpu.cfs_period_us": "40000"},
        {"cpu.max": "20000 40000"},
    ),
    "cpu.burst": (
        {"cpu": {"quota": 50000, "burst": 20000}},
        {"cpu.cfs_burst_us": "20000"},
        {"cpu.max.burst": "20000"},
    ),
    "cpu.realtimeRuntime": (
        {"cpu": {"realtimeRuntime": 2000, "realtimePeriod": 500000}},
        {"cpu.rt_runtime_us": "2000"},
        {},
    ),
    "cpu.realtimePeriod": (
        {"cpu": {"realtimeRuntime": 2000, "realtimePeriod": 500000}},
        {"cpu.rt_period_us": "500000"},
        {},
    ),
    "cpu.cpus": ({"cpu": {"cpus": "0"}}, {"cpuset.cpus": "0"}, {"cpuset.cpus": "0"}),
    "cpu.mems": ({"cpu": {"mems": "0"}}, {"cpuset.mems": "0"}, {"cpuset.mems": "0"}),
    "cpu.idle": ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}, {"cpu.idle": "1"}),
    "pids.limit": ({"pids": {"limit": 20}}, {"pids.max": "20"}, {"pids.max": "20"}),
    "pids.limit of 0": ({"pids": {"limit": 0}}, {"pids.max": "0"}, {"pids.max": "0"}),
    "pids.limit of -1": ({"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
    "blockIO.weight": (
        {"blockIO": {"weight": 500}},
        {"blkio.bfq.weight": "500"},
        {"io.bfq.weight": "default 500"},
    ),
    "blockIO.weightDevice": (
        {"blockIO": {"weightDevice": [{**DISK, "weight": 300}]}},
        {"blkio.bfq.weight_device": f"{NUMBER} 300"},
        {"io.bfq.weight": f"default 100\n{NUMBER} 300"},
    ),
    "blockIO.leafWeight": ({"blockIO": {"leafWeight": 500}}, {"blkio.leaf_weight": "500"}, {}),
    "blockIO.weightDevice.leafWeight": (
        {"blockIO": {"weightDevice": [{**DISK, "leafWeight": 300}]}},
        {"blkio.leaf_weight_device": f"{NUMBER} 300"},
        {},
    ),
    "blockIO.throttleReadBpsDevice": (
        {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": MIB}]}},
        {"blkio.throttle.read_bps_device": f"{NUMBER} 1048576"},
        {"io.max": f"{NUMBER} rbps=1048576 wbps=max riops=max wiops=max"},
    ),
    "blockIO.throttleWriteBpsDevice": (
        {"blockIO": {"throttleWriteBpsDevice": [{**DISK, "rate": MIB}]}},
        {"blkio.throttle.write_bps_device": f"{NUMBER} 1048576"},
        {"io.max": f"{NUMBER} rbps=max wbps=1048576 riops=max wiops=max"},
    ),
    "blockIO.throttleReadIOPSDevice": (
        {"blockIO": {"throttleReadIOPSDevice": [{**DISK, "rate": 99}]}},
        {"blkio.throttle.read_iops_device": f"{NUMBER} 99"},
        {"io.max": f"{NUMBER} rbps=max wbps=max riops=99 wiops=max"},
    ),
    "blockIO.throttleWriteIOPSDevice": (
        {"blockIO": {"throttleWriteIOPSDevice": [{**DISK, "rate": 99}]}},
        {"blkio.throttle.write_iops_device": f"{NUMBER} 99"},
        {"io.max": f"{NUMBER} rbps=max wbps=max riops=max wiops=99"},
    ),
    "hugepageLimits": (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {"hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb.2MB.rsvd.limit_in_bytes": "4194304"},
        {"hugetlb.2MB.max": "4194304", "hugetlb.2MB.rsvd.max": "4194304"},
    ),
    "network.classID": ({"network": {"classID": 0x100001}}, {"net_cls.classid": "1048577"}, {}),
    "network.priorities": (
        {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
        {"net_prio.ifpriomap": "lo 5"},
        {},
    ),
    "unified": (
        {"unified": {"memory.high": "50331648", "pids.max": "33"}},
        {},
        {"memory.high": "50331648", "pids.max": "33"},
    ),
}

#: Files that no kernel of today has (CFQ went with 5.0), or that depend on the I/O scheduler.
MAY_BE_MISSING = ("blkio.leaf_weight", "blkio.bfq.weight", "io.bfq.weight", "cpu.rt_", "memory.kmem.tcp")


def directory(file: str, id: str) -> str:
    """Return where a container's cgroup has a file; skip where no hierarchy here has it."""
    controller = file.partition(".")[0]
    if V2:
        return f"{HIERARCHIES.mounts['']}/{id}"
    for names, mount in HIERARCHIES.mounts.items():
        if controller in names.split(","):
            return f"{mount}/{id}"
    pytest.skip(f"no v1 hierarchy of {controller} is mounted")


@pytest.mark.parametrize("limit", LIMITS)
def test_linux_resources(naja: Runtime, bundle: Bundle, limit: str) -> None:
    resources, on_v1, on_v2 = LIMITS[limit]
    section = limit.partition(".")[0]
    expected = on_v2 if V2 else on_v1
    bundle.linux["resources"].update(resources)
    if not expected:
        assert f"/linux/resources/{section}" in refused(naja, bundle)
        return
    places = {file: directory(file, bundle.id) for file in expected}
    if limit.startswith("blockIO") and "Device" in limit and not MAJOR:
        pytest.skip("there is no disk")
    done = naja.create(bundle.save(), check=False)
    if done.status and any(file.startswith(MAY_BE_MISSING) for file in expected):
        assert f"/linux/resources/{section}" in done.stderr
        pytest.skip(f"this kernel refuses it: {done.stderr.strip()}")
    assert done.status == 0, done
    for file, value in expected.items():
        with open(f"{places[file]}/{file}") as lines:
            assert value in lines.read().strip()


@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_memory_limit_that_is_too_low_is_named(naja: Runtime, bundle: Bundle, verb: str) -> None:
    """Who writes 64k where 64m is meant is told of anything else by the kernel (ENOMEM, E2BIG, SIGKILL)."""
    if not V2 and "memory" not in HIERARCHIES.mounts:
        pytest.skip("needs the memory controller")
    bundle.linux["resources"]["memory"] = {"limit": 65536}
    # With a cgroup namespace the init is in the cgroup from its birth on.
    bundle.linux["namespaces"] += [{"type": "cgroup"}]
    result = naja.detached(verb, "--bundle", bundle.save().path, bundle.id, check=False)
    assert result.status == 1
    assert result.stderr.endswith("the memory limit, 65536 bytes, was reached\n")


def test_linux_resources_memory_kernel(naja: Runtime, bundle: Bundle) -> None:
    """It is not recommended, and later kernels take it and do nothing: that is worth a warning."""
    bundle.linux["resources"]["memory"] = {"kernel": 64 * MIB}
    script = "cat /sys/fs/cgroup/memory/memory.kmem.limit_in_bytes"
    done = naja.run_attached(bundle.shell(script), check=False)
    if done.status or done.stdout.strip() != str(64 * MIB):
        assert done.stderr.count("\n") == 1
        assert "/linux/resources/memory/kernel" in done.stderr


def test_linux_resources_memory_disable_oom_killer(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"disableOOMKiller": False}
    assert shown(naja, bundle, "echo runs") == "runs"
    bundle.linux["resources"]["memory"] = {"limit": 64 * MIB, "disableOOMKiller": True}
    place = "" if V2 else directory("memory", bundle.id)
    done = naja.create(bundle.save(), check=False)
    if done.status:
        assert "/linux/resources/memory/disableOOMKiller" in done.stderr
    else:
        with open(f"{place}/memory.oom_control") as file:
            assert "oom_kill_disable 1" in file.read()


def test_linux_resources_rdma(naja: Runtime, bundle: Bundle) -> None:
    """Without an RDMA device the limit cannot be set, and that is an error which names it."""
    if os.path.isdir("/sys/class/infiniband") and os.listdir("/sys/class/infiniband"):
        device = os.listdir("/sys/class/infiniband")[0]
        bundle.linux["resources"]["rdma"] = {device: {"hcaHandles": 3, "hcaObjects": 1000}}
        naja.create(bundle.save())
        with open(f"{directory('rdma.max', bundle.id)}/rdma.max") as file:
            assert f"{device} hca_handle=3 hca_object=1000" in file.read()
        return
    bundle.linux["resources"]["rdma"] = {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 1000}}
    assert "/linux/resources/rdma/mlx5_1" in refused(naja, bundle)


#: /dev/loop-control, which may be opened without any capability.
ANOTHER = {"type": "c", "major": 10, "minor": 237}

DEVICE_RULES: list[tuple[list[dict[str, Any]], str]] = [
    ([], "null yes, zero yes, another no"),
    ([{"allow": False, "access": "rwm"}], "null yes, zero yes, another no"),
    ([{"allow": True, **ANOTHER, "access": "r"}], "null yes, zero yes, another yes"),
    ([{"allow": True, "access": "rwm"}], "null yes, zero yes, another yes"),
    (
        [{"allow": True, "access": "rwm"}, {"allow": False, **ANOTHER, "access": "rw"}],
        "null yes, zero yes, another no",
    ),
]


@pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="needs /dev/loop-control")
@pytest.mark.parametrize(("rules", "seen"), DEVICE_RULES)
def test_linux_resources_devices(
    naja: Runtime, bundle: Bundle, rules: list[dict[str, Any]], seen: str
) -> None:
    bundle.linux["resources"]["devices"] = rules
    bundle.linux["devices"] = [{"path": "/dev/another", **ANOTHER}]
    script = (
        "cd /dev; for i in null zero another; do (: < $i) 2> /dev/null && echo $i yes || echo $i no; done"
    )
    assert shown(naja, bundle, script).replace("\n", ", ") == seen


@pytest.mark.parametrize("access", ["m", "wm", "rwm"])
@pytest.mark.parametrize(("number", "seen"), [({"minor": 11}, "denied made"), ({}, "denied denied")])
def test_a_node_that_is_denied_after_all_was_allowed(
    naja: Runtime, bundle: Bundle, access: str, number: dict[str, int], seen: str
) -> None:
    """By its number, or by its major number alone."""
    if not number and access != "m" and not V2:
        pytest.skip("cgroup v1 cannot deny a major number of which a device is promised")
    denied = {"allow": False, "type": "c", "major": 1, "access": access, **number}
    bundle.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}, denied]
    for capabilities in bundle.process["capabilities"].values():
        capabilities.append("CAP_MKNOD")
    script = "for i in 11 12; do mknod /tmp/$i c 1 $i 2> /dev/null && echo made || echo denied; done"
    assert shown(naja, bundle, f"{script}; mknod /tmp/other c 10 237").replace("\n", " ") == seen


def cgroups_of(pid: int) -> set[str]:
    """Return the paths of a process's cgroups, in all hierarchies."""
    with open(f"/proc/{pid}/cgroup") as file:
        return {line.strip().split(":", 2)[2] for line in file}


def test_linux_cgroups_path(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = f"/{bundle.id}/below"
    naja.create(bundle.save())
    assert cgroups_of(naja.state(bundle)["pid"]) == {f"/{bundle.id}/below"}
    naja.delete(bundle, "--force")
    for mount in HIERARCHIES.mounts.values():
        if os.path.isdir(f"{mount}/{bundle.id}"):
            os.rmdir(f"{mount}/{bundle.id}")


def test_linux_cgroups_path_that_is_relative(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["cgroupsPath"] = bundle.id
    naja.create(bundle.save())
    assert all(path.endswith(f"/{bundle.id}") for path in cgroups_of(naja.state(bundle)["pid"]))
