"""linux.resources as writes to files of cgroup v1 hierarchies. Pure.

config-linux.md, Control groups; the kernel's admin-guide/cgroup-v1.
"""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from ..operations.cgroup_limits import AllowDevices, CheckMemoryUsage, WarnUnlessKept, WriteFirstPresent
from .devices import exceptions, rules
from .resources import ORIGIN, THROTTLES, Builder, Section, page_limits, rdma_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation

_SHARES = range(2, 262144 + 1)

#: Properties of linux.resources whose controller a hybrid host may have in its v2 tree.
_EITHER = {"hugepageLimits": "hugetlb", "rdma": "rdma"}


def split(resources: dict[str, Any], directories: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is for v1 hierarchies, and what is left for the v2 tree of a hybrid host.

    ``directories`` are those of the container by controller; that in the v2 tree has the name "".
    """
    beside = {
        key: resources[key]
        for key, controller in _EITHER.items()
        if resources.get(key) and controller not in directories and "" in directories
    }
    return {key: value for key, value in resources.items() if key not in beside}, beside


def limits(resources: dict[str, Any], directories: dict[str, str]) -> list[Operation]:
    """Return the operations that set the limits of ``resources`` (but not its devices).

    ``directories`` are those of the container by controller. Raises Unsupported, naming what is
    asked for, where v1 or this host does not have it; NajaError for what makes no sense.
    """
    if resources.get("unified"):
        raise Unsupported("unified", why="this host's cgroups are v1", origin=f"{ORIGIN}/unified")
    build = Builder(directories)
    _cpuset(build, Section(resources, "cpu"))
    _cpu(build, Section(resources, "cpu"))
    _memory(build, Section(resources, "memory"))
    _pids(build, Section(resources, "pids"))
    _block_io(build, Section(resources, "blockIO"))
    _huge_pages(build, resources)
    _network(build, Section(resources, "network"))
    for limit in rdma_limits(resources):
        build.write("rdma", [limit])
    return build.operations


def _cpuset(build: Builder, cpu: Section) -> None:
    for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        build.write("cpuset", _present(cpu, [(key, file)]))


def _cpu(build: Builder, cpu: Section) -> None:
    shares = cpu.get("shares")
    if shares is not None and shares not in _SHARES:
        why = f"the kernel takes {_SHARES[0]} to {_SHARES[-1]}"
        raise NajaError(f"cpu shares {shares}", why=why, origin=cpu.origin("shares"))
    realtime = [("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us")]
    build.write("cpu", _present(cpu, realtime))
    build.write("cpu", _present(cpu, [("shares", "cpu.shares"), ("idle", "cpu.idle")]))
    bandwidth = [
        ("period", "cpu.cfs_period_us"),
        ("quota", "cpu.cfs_quota_us"),
        ("burst", "cpu.cfs_burst_us"),
    ]
    build.write("cpu", _present(cpu, bandwidth))


def _memory(build: Builder, memory: Section) -> None:
    limit, swap = memory.get("limit"), memory.get("swap")
    if memory.get("checkBeforeUpdate"):
        _check_usage(build, memory)
    if limit is not None and limit < 0 and swap is None:
        # No limit of memory means none of memory and swap either, which has to go first.
        place, origin = build.place("memory", memory.origin("limit")), memory.origin("limit")
        unlimited = [("memory.memsw.limit_in_bytes", "-1")]
        build.operations.append(WriteFirstPresent(place, unlimited, origin, required=False))
    both = [("limit", "memory.limit_in_bytes"), ("swap", "memory.memsw.limit_in_bytes")]
    build.write("memory", _present(memory, both))
    for key, file in (
        ("reservation", "memory.soft_limit_in_bytes"),
        ("kernel", "memory.kmem.limit_in_bytes"),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
        ("swappiness", "memory.swappiness"),
        ("useHierarchy", "memory.use_hierarchy"),
    ):
        build.write("memory", _present(memory, [(key, file)]))
    if (kernel := memory.get("kernel")) is not None:
        # Linux 5.16 and later take it, and do nothing.
        origin = memory.origin("kernel")
        place = build.place("memory", origin)
        build.operations.append(WarnUnlessKept(place, "memory.kmem.limit_in_bytes", kernel, origin))
    if (disable := memory.get("disableOOMKiller")) is not None:
        origin = memory.origin("disableOOMKiller")
        choice = [("memory.oom_control", str(int(disable)))]
        # Without the file the killer cannot be disabled, which is what False asks for.
        place = build.place("memory", origin)
        build.operations.append(WriteFirstPresent(place, choice, origin, required=disable))


def _check_usage(build: Builder, memory: Section) -> None:
    for key, file in (("limit", "memory.usage_in_bytes"), ("swap", "memory.memsw.usage_in_bytes")):
        value = memory.get(key)
        if value is not None and value > 0:
            origin = memory.origin(key)
            place = build.place("memory", origin)
            build.operations.append(CheckMemoryUsage(place, file, value, origin))


def _pids(build: Builder, pids: Section) -> None:
    if (limit := pids.get("limit")) is not None:
        build.write("pids", [("pids.max", "max" if limit < 0 else limit, pids.origin("limit"))])


def _block_io(build: Builder, block_io: Section) -> None:
    if (weight := block_io.get("weight")) is not None:
        _weight(build, str(weight), "weight", block_io.origin("weight"))
    build.write("blkio", _present(block_io, [("leafWeight", "blkio.leaf_weight")]))
    for index, entry in enumerate(block_io.get("weightDevice") or ()):
        origin = block_io.origin(f"weightDevice/{index}")
        device = f"{entry['major']}:{entry['minor']}"
        if entry.get("weight"):
            _weight(build, f"{device} {entry['weight']}", "weight_device", f"{origin}/weight")
        if entry.get("leafWeight"):
            value = f"{device} {entry['leafWeight']}"
            build.write("blkio", [("blkio.leaf_weight_device", value, f"{origin}/leafWeight")])
    for key, file, _ in THROTTLES:
        for index, entry in enumerate(block_io.get(key) or ()):
            value = f"{entry['major']}:{entry['minor']} {entry['rate']}"
            build.write("blkio", [(file, value, block_io.origin(f"{key}/{index}"))])


def _weight(build: Builder, value: str, file: str, origin: str) -> None:
    """Write a weight to the file of the scheduler that this kernel has: BFQ, or CFQ before Linux 5.0."""
    choices = [(f"blkio.bfq.{file}", value), (f"blkio.{file}", value)]
    build.operations.append(WriteFirstPresent(build.place("blkio", origin), choices, origin))


def _huge_pages(build: Builder, resources: dict[str, Any]) -> None:
    for size, limit, origin in page_limits(resources):
        build.write("hugetlb", [(f"hugetlb.{size}.limit_in_bytes", limit, origin)])
        # Reservations count as well, where the kernel can (since Linux 5.7): a page reserved but not
        # yet touched would otherwise kill the process that touches it.
        reserved = [(f"hugetlb.{size}.rsvd.limit_in_bytes", str(limit))]
        place = build.place("hugetlb", origin)
        build.operations.append(WriteFirstPresent(place, reserved, origin, required=False))


def _network(build: Builder, network: Section) -> None:
    build.write("net_cls", _present(network, [("classID", "net_cls.classid")]))
    for index, entry in enumerate(network.get("priorities") or ()):
        value = f"{entry['name']} {entry['priority']}"
        build.write("net_prio", [("net_prio.ifpriomap", value, network.origin(f"priorities/{index}"))])


def _present(section: Section, files: list[tuple[str, str]]) -> list[tuple[str, Any, str]]:
    """Return (file, value, origin) for those (key, file) that were asked for."""
    return [
        (file, int(value) if value is True or value is False else value, section.origin(key))
        for key, file in files
        if (value := section.get(key)) is not None
    ]


def devices(resources: dict[str, Any], directories: dict[str, str], *, rootless: bool) -> list[Operation]:
    """Return the operation that says which devices may be used; none for a rootless caller without one.

    Raises Unsupported where the devices hierarchy is not mounted: a container would have them all.
    """
    origin = f"{ORIGIN}/devices"
    if "devices" not in directories:
        if rootless:
            return []
        raise Unsupported("cgroup controller devices is not mounted", origin=origin)
    allow_all, ordered = rules(resources.get("devices") or [])
    return [
        AllowDevices(
            directories["devices"],
            allow_all=allow_all,
            exceptions=exceptions(allow_all, ordered),
            optional=rootless,
            origin=origin,
        )
    ]
