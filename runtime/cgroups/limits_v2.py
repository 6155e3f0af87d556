"""linux.resources, which speak of cgroup v1, as writes to files of a cgroup v2 tree. Pure.

config-linux.md, Control groups; the kernel's admin-guide/cgroup-v2. Figures are translated as runc
and crun do, so that a container behaves the same under either; what v2 has nothing for is refused.
"""

from __future__ import annotations

import math

from ..errors import NajaError, Unsupported
from ..operations.cgroup_limits import CheckMemoryUsage, FilterDevices, WriteFirstPresent, WriteLimits
from .devices import rules
from .resources import ORIGIN, THROTTLES, Builder, Section, page_limits, rdma_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation

_DEFAULT_PERIOD = 100000
_NO_SUCH = "cgroup v2 has nothing like it"


def limits(resources: dict[str, Any], directory: str) -> tuple[list[Operation], list[tuple[str, str]]]:
    """Return the operations that set the limits of ``resources`` (but not its devices), and the
    controllers needed for that, each with the origin that asks for it.

    Raises Unsupported, naming what is asked for, where v2 does not have it; NajaError for what makes
    no sense.
    """
    build = Builder(dict.fromkeys(("cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"), directory))
    _pids(build, Section(resources, "pids"))
    _memory(build, Section(resources, "memory"))
    _io(build, Section(resources, "blockIO"))
    _cpu(build, Section(resources, "cpu"))
    _cpuset(build, Section(resources, "cpu"))
    _huge_pages(build, resources)
    for rdma in rdma_limits(resources):
        build.write("rdma", [rdma])
    network = Section(resources, "network")
    network.refuse("classID", _NO_SUCH)
    network.refuse("priorities", _NO_SUCH)
    _unified(build, resources.get("unified") or {}, directory)
    return build.operations, build.needed


def _pids(build: Builder, pids: Section) -> None:
    if (limit := pids.get("limit")) is not None:
        build.write("pids", [("pids.max", _or_max(limit), pids.origin("limit"))])


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _memory(build: Builder, memory: Section) -> None:
    memory.refuse("swappiness", _NO_SUCH)
    for key in ("kernel", "kernelTCP"):
        if (memory.get(key) or -1) > 0:
            memory.refuse(key, "cgroup v2 counts it with the rest of the memory")
    if memory.get("disableOOMKiller"):
        memory.refuse("disableOOMKiller", _NO_SUCH)
    if memory.get("useHierarchy") is False:
        memory.refuse("useHierarchy", "cgroup v2 is always hierarchical")
    limit, swap = memory.get("limit"), memory.get("swap")
    origin = memory.origin("limit" if swap is None else "swap")
    if memory.get("checkBeforeUpdate"):
        for key, value in (("limit", limit), ("swap", swap)):
            if value is not None and value > 0:
                place = build.place("memory", memory.origin(key))
                build.operations.append(CheckMemoryUsage(place, "memory.current", value, memory.origin(key)))
    value = swap_max(limit, swap, origin)
    if value in ("0", "max"):
        # Without accounting of swap there is no such file, and nothing to limit or to free.
        place = build.place("memory", origin)
        unlimited = [("memory.swap.max", value)]
        build.operations.append(WriteFirstPresent(place, unlimited, origin, required=False))
    elif value:
        build.write("memory", [("memory.swap.max", value, origin)])
    if limit is not None:
        build.write("memory", [("memory.max", _or_max(limit), memory.origin("limit"))])
    if (reservation := memory.get("reservation")) is not None:
        build.write("memory", [("memory.low", _or_max(reservation), memory.origin("reservation"))])


def swap_max(limit: int | None, swap: int | None, origin: str) -> str:
    """Return the value for memory.swap.max, "" where it is left alone.

    In a config, ``swap`` is the limit of memory and swap together; in v2, of swap alone.
    """
    unlimited = limit is not None and limit < 0
    if swap is None:
        return "max" if unlimited else ""
    if swap < 0:
        return "max"
    if unlimited:
        return str(swap)
    if limit is None:
        raise NajaError(
            f"memory swap {swap}", why="it includes the memory limit, and there is none", origin=origin
        )
    if swap < limit:
        raise NajaError(f"memory swap {swap}", why=f"it is below the memory limit {limit}", origin=origin)
    return str(swap - limit)


def _io(build: Builder, block_io: Section) -> None:
    block_io.refuse("leafWeight", _NO_SUCH)
    if (weight := block_io.get("weight")) is not None:
        _weight(build, "", weight, block_io.origin("weight"))
    for index, entry in enumerate(block_io.get("weightDevice") or ()):
        origin = block_io.origin(f"weightDevice/{index}")
        if entry.get("leafWeight"):
            raise Unsupported("blockIO leafWeight", why=_NO_SUCH, origin=f"{origin}/leafWeight")
        if entry.get("weight"):
            _weight(build, f"{entry['major']}:{entry['minor']} ", entry["weight"], f"{origin}/weight")
    for key, _, word in THROTTLES:
        for index, entry in enumerate(block_io.get(key) or ()):
            # 0 is no limit on v1, and not taken on v2.
            value = f"{entry['major']}:{entry['minor']} {word}={entry['rate'] or 'max'}"
            build.write("io", [("io.max", value, block_io.origin(f"{key}/{index}"))])


def _weight(build: Builder, device: str, weight: int, origin: str) -> None:
    """Write a weight of BFQ where that is the scheduler: its range is that of v1; or one of io.cost."""
    choices = [("io.bfq.weight", f"{device}{weight}"), ("io.weight", f"{device}{io_weight(weight)}")]
    build.operations.append(WriteFirstPresent(build.place("io", origin), choices, origin))


def io_weight(weight: int) -> int:
    """Translate a block I/O weight, 10 to 1000, to an I/O weight, 1 to 10000, in proportion."""
    return 1 + (weight - 10) * 9999 // 990


def _cpu(build: Builder, cpu: Section) -> None:
    cpu.refuse("realtimeRuntime", _NO_SUCH)
    cpu.refuse("realtimePeriod", _NO_SUCH)
    shares, idle = cpu.get("shares"), cpu.get("idle")
    importance = []
    if shares is not None:
        importance.append(("cpu.weight", cpu_weight(shares), cpu.origin("shares")))
    if idle is not None:
        importance.append(("cpu.idle", idle, cpu.origin("idle")))
    build.write("cpu", importance)
    quota, period, burst = cpu.get("quota"), cpu.get("period"), cpu.get("burst")
    bandwidth = []
    if quota is not None or period is not None:
        value = f"{_or_max(quota or -1)} {period or _DEFAULT_PERIOD}"
        bandwidth.append(("cpu.max", value, cpu.origin("quota" if quota is not None else "period")))
    if burst is not None:
        bandwidth.append(("cpu.max.burst", burst, cpu.origin("burst")))
    build.write("cpu", bandwidth)


def _cpuset(build: Builder, cpu: Section) -> None:
    for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if (value := cpu.get(key)) is not None:
            build.write("cpuset", [(file, value, cpu.origin(key))])


def _huge_pages(build: Builder, resources: dict[str, Any]) -> None:
    for size, limit, origin in page_limits(resources):
        build.write("hugetlb", [(f"hugetlb.{size}.max", limit, origin)])
        # Reservations count as well, where the kernel can (since Linux 5.7).
        reserved = [(f"hugetlb.{size}.rsvd.max", str(limit))]
        place = build.place("hugetlb", origin)
        build.operations.append(WriteFirstPresent(place, reserved, origin, required=False))


def cpu_weight(shares: int) -> int:
    """Translate CPU shares, 2 to 262144, to a CPU weight, 1 to 10000.

    On a curve that gives the default of the one, 1024, for the default of the other, 100 (runc since
    1.4, crun since 1.23); in proportion, as it was done before, a default container would get 39.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    power = math.log2(shares)
    return math.ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def _unified(build: Builder, unified: dict[str, str], directory: str) -> None:
    for file, value in unified.items():
        origin = f"{ORIGIN}/unified/{file}"
        if "/" in file or file.find(".") <= 0:
            raise NajaError(
                f"unified resource {file!r}", why="it is no file name CONTROLLER.PARAMETER", origin=origin
            )
        controller = file.partition(".")[0]
        # Files of the core are there without any controller.
        if controller != "cgroup":
            build.needed.append((controller, origin))
        for line in value.rstrip("\n").split("\n"):
            build.operations.append(WriteLimits(directory, [(file, line, origin)]))


def devices(resources: dict[str, Any], directory: str, *, rootless: bool) -> list[Operation]:
    """Return the operation that says which devices may be used, all others being denied."""
    allow_all, ordered = rules(resources.get("devices") or [])
    return [
        FilterDevices(
            directory,
            allow_all=allow_all,
            rules=ordered,
            optional=rootless,
            origin=f"{ORIGIN}/devices",
        )
    ]
