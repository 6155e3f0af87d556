"""What a container's cgroups have counted, in containerd's words (metrics.proto of containerd/cgroups)."""

from __future__ import annotations

from ..cgroups import statistics
from ..cgroups.hierarchies import detect
from .wire import STRING, UINT64, Many, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..container.lifecycle import Container


def _numbers(*names: str) -> dict[str, tuple[int, Any]]:
    """Return fields that are numbers, in the order of .proto files; "" leaves one out."""
    return {name: (number, UINT64) for number, name in enumerate(names, 1) if name}


_PIDS = Message("PidsStat", **_numbers("current", "limit"))

# io.containerd.cgroups.v1
_HUGE_PAGES_V1 = Message("HugetlbStat", **_numbers("usage", "max", "failcnt"), pagesize=(4, STRING))
_USAGE = Message("CPUUsage", **_numbers("total", "kernel", "user"), per_cpu=(4, Many(UINT64)))
_THROTTLE = Message("Throttle", **_numbers("periods", "throttled_periods", "throttled_time"))
_CPU_V1 = Message("CPUStat", usage=(1, _USAGE), throttling=(2, _THROTTLE))
_ENTRY = Message("MemoryEntry", **_numbers("limit", "usage", "max", "failcnt"))
_OWN_MEMORY = (
    *("cache", "rss", "rss_huge", "mapped_file", "dirty", "writeback", "pgpgin", "pgpgout", "pgfault"),
    *("pgmajfault", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
)
_MEMORY_NAMES = (
    *_OWN_MEMORY,
    *("hierarchical_memory_limit", "hierarchical_memsw_limit"),
    *(f"total_{name}" for name in _OWN_MEMORY),
)
_MEMORY_V1 = Message(
    "MemoryStat",
    **_numbers(*_MEMORY_NAMES),
    usage=(33, _ENTRY),
    swap=(34, _ENTRY),
    kernel=(35, _ENTRY),
    kernel_tcp=(36, _ENTRY),
)
_BLOCK_ENTRY = Message(
    "BlkIOEntry",
    op=(1, STRING),
    device=(2, STRING),
    major=(3, UINT64),
    minor=(4, UINT64),
    value=(5, UINT64),
)
#: By the names of runc's statistics.
_BLOCK_NAMES = (
    *("ioServiceBytesRecursive", "ioServicedRecursive", "ioQueueRecursive", "ioServiceTimeRecursive"),
    *("ioWaitTimeRecursive", "ioMergedRecursive", "ioTimeRecursive", "sectorsRecursive"),
)
_BLOCK_V1 = Message(
    "BlkIOStat", **{name: (number, Many(_BLOCK_ENTRY)) for number, name in enumerate(_BLOCK_NAMES, 1)}
)
_OOM = Message("MemoryOomControl", **_numbers("oom_kill_disable", "under_oom", "oom_kill"))
V1 = Message(
    "io.containerd.cgroups.v1.Metrics",
    hugetlb=(1, Many(_HUGE_PAGES_V1)),
    pids=(2, _PIDS),
    cpu=(3, _CPU_V1),
    memory=(4, _MEMORY_V1),
    blkio=(5, _BLOCK_V1),
    memory_oom_control=(9, _OOM),
)

# io.containerd.cgroups.v2
_CPU_NAMES = ("usage_usec", "user_usec", "system_usec", "nr_periods", "nr_throttled", "throttled_usec")
_CPU_V2 = Message("CPUStat", **_numbers(*_CPU_NAMES))
_MEMORY_V2_NAMES = (
    *("anon", "file", "kernel_stack", "slab", "sock", "shmem", "file_mapped", "file_dirty", "file_writeback"),
    *("anon_thp", "inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"),
    *("slab_reclaimable", "slab_unreclaimable", "pgfault", "pgmajfault", "workingset_refault"),
    *("workingset_activate", "workingset_nodereclaim", "pgrefill", "pgscan", "pgsteal", "pgactivate"),
    *("pgdeactivate", "pglazyfree", "pglazyfreed", "thp_fault_alloc", "thp_collapse_alloc"),
)
_MEMORY_V2 = Message(
    "MemoryStat",
    **_numbers(
        *_MEMORY_V2_NAMES,
        *("usage", "usage_limit", "swap_usage", "swap_limit", "max_usage", "swap_max_usage"),
    ),
)
_EVENTS = Message("MemoryEvents", **_numbers("low", "high", "max", "oom", "oom_kill"))
_IO_NAMES = ("major", "minor", "rbytes", "wbytes", "rios", "wios")
_IO = Message("IOStat", usage=(1, Many(Message("IOEntry", **_numbers(*_IO_NAMES)))))
_HUGE_PAGES_V2 = Message("HugeTlbStat", **_numbers("current", "max"), pagesize=(3, STRING))
V2 = Message(
    "io.containerd.cgroups.v2.Metrics",
    pids=(1, _PIDS),
    cpu=(2, _CPU_V2),
    memory=(4, _MEMORY_V2),
    io=(6, _IO),
    hugetlb=(7, Many(_HUGE_PAGES_V2)),
    memory_events=(8, _EVENTS),
)


def encode(container: Container) -> tuple[str, bytes]:
    """Return the name of a kind of message, and a container's metrics as one. Raises NajaError, OSError."""
    document = container.statistics()
    paths = container.cgroup.paths
    if detect().kind == "v2":
        return V2.name, V2.encode(_v2(document, paths[""]))
    return V1.name, V1.encode(_v1(document, paths))


def _picked(names: tuple[str, ...], values: dict[str, Any]) -> dict[str, int]:
    return {name: values[name] for name in names if name in values}


def _v1(document: dict[str, Any], paths: dict[str, str]) -> dict[str, Any]:
    cpu, memory = document["cpu"], document["memory"]
    usage, throttling = cpu["usage"], cpu["throttling"]
    entries = {"usage": "usage", "swap": "swap", "kernel": "kernel", "kernel_tcp": "kernelTCP"}
    control = statistics.table(_memory_cgroup(paths), "memory.oom_control")
    return {
        "hugetlb": [{**values, "pagesize": size} for size, values in document["hugetlb"].items()],
        "pids": document["pids"],
        "cpu": {
            "usage": {
                **_picked(("total", "kernel", "user"), usage),
                "per_cpu": usage.get("percpu", []),
            },
            "throttling": {
                "periods": throttling.get("periods", 0),
                "throttled_periods": throttling.get("throttledPeriods", 0),
                "throttled_time": throttling.get("throttledTime", 0),
            },
        },
        "memory": {
            **_picked(_MEMORY_NAMES, memory.get("raw", {})),
            **{ours: memory[theirs] for ours, theirs in entries.items()},
        },
        "blkio": {name: document["blkio"][name] for name in _BLOCK_NAMES if name in document["blkio"]},
        "memory_oom_control": _picked(("oom_kill_disable", "under_oom", "oom_kill"), control),
    }


def _memory_cgroup(paths: dict[str, str]) -> str | None:
    return next((path for name, path in paths.items() if "memory" in name.split(",")), None)


def _v2(document: dict[str, Any], directory: str) -> dict[str, Any]:
    memory = document["memory"]
    limits = {
        "usage_limit": "memory.max",
        "swap_usage": "memory.swap.current",
        "swap_limit": "memory.swap.max",
    }
    limits |= {"swap_max_usage": "memory.swap.peak", "usage": "memory.current", "max_usage": "memory.peak"}
    return {
        "pids": document["pids"],
        "cpu": _picked(_CPU_NAMES, statistics.table(directory, "cpu.stat")),
        "memory": {
            **_picked(_MEMORY_V2_NAMES, memory.get("raw", {})),
            **{name: statistics.number(directory, file) for name, file in limits.items()},
        },
        "io": {"usage": _io(directory)},
        "hugetlb": [
            {
                "current": values.get("usage", 0),
                "max": statistics.number(directory, f"hugetlb.{size}.max"),
                "pagesize": size,
            }
            for size, values in document["hugetlb"].items()
        ],
        "memory_events": _picked(
            ("low", "high", "max", "oom", "oom_kill"), statistics.table(directory, "memory.events")
        ),
    }


def _io(directory: str) -> list[dict[str, int]]:
    entries = []
    for line in statistics.text(directory, "io.stat").split("\n"):
        device, *words = line.split() or [""]
        major, _, minor = device.partition(":")
        values = dict(word.split("=", 1) for word in words if "=" in word)
        if values:
            counted = {name: int(values[name]) for name in _IO_NAMES if name in values}
            entries.append({"major": int(major), "minor": int(minor), **counted})
    return entries
