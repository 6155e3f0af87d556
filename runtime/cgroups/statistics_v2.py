"""What a container's v2 cgroup has counted, in the form of runc's ``events --stats``.

The form was made for v1: limits of swap are shown with the memory in them, and so on.
"""

from __future__ import annotations

from .statistics import UNLIMITED, nonzero, number, numbers, page_sizes, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_IO = {
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "dios": ("ioServicedRecursive", "Discard"),
}

_CPUSET_FLAGS = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)


def statistics(directory: str) -> dict[str, Any]:
    """Return the data of a "stats" event; a controller that is not enabled counts nothing. Raises OSError."""
    return {
        "cpu": _cpu(directory),
        "cpuset": _cpuset(directory),
        "memory": _memory(directory),
        "pids": _pids(directory),
        "blkio": _io(directory),
        "hugetlb": huge_pages(directory),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(directory: str) -> dict[str, Any]:
    counted = table(directory, "cpu.stat")
    return {
        "usage": {
            **nonzero(total=counted.get("usage_usec", 0) * 1000),
            "kernel": counted.get("system_usec", 0) * 1000,
            "user": counted.get("user_usec", 0) * 1000,
        },
        "throttling": nonzero(
            periods=counted.get("nr_periods"),
            throttledPeriods=counted.get("nr_throttled"),
            throttledTime=counted.get("throttled_usec", 0) * 1000,
        ),
        **nonzero(psi=pressure(directory, "cpu.pressure")),
    }


def _cpuset(directory: str) -> dict[str, Any]:
    cpus, mems = text(directory, "cpuset.cpus.effective"), text(directory, "cpuset.mems.effective")
    # v2 has no such flags; the form wants them all the same.
    return {**nonzero(cpus=numbers(cpus), mems=numbers(mems)), **dict.fromkeys(_CPUSET_FLAGS, 0)}


def _memory(directory: str) -> dict[str, Any]:
    raw = table(directory, "memory.stat")
    usage, limit = number(directory, "memory.current"), number(directory, "memory.max")
    swap_usage, swap_limit = number(directory, "memory.swap.current"), number(directory, "memory.swap.max")
    unlimited = UNLIMITED in (limit, swap_limit)
    return {
        **nonzero(cache=raw.get("file")),
        "usage": {
            "limit": limit,
            **nonzero(usage=usage, max=number(directory, "memory.peak")),
            "failcnt": table(directory, "memory.events").get("max", 0),
        },
        "swap": {
            "limit": UNLIMITED if unlimited else limit + swap_limit,
            **nonzero(usage=usage + swap_usage),
            "failcnt": table(directory, "memory.swap.events").get("max", 0),
        },
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
        **nonzero(raw=raw, psi=pressure(directory, "memory.pressure")),
    }


def _pids(directory: str) -> dict[str, Any]:
    limit = number(directory, "pids.max")
    return nonzero(current=number(directory, "pids.current"), limit=0 if limit == UNLIMITED else limit)


def _io(directory: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for line in text(directory, "io.stat").split("\n"):
        device, *words = line.split() or [""]
        major, _, minor = device.partition(":")
        for word in words:
            name, _, value = word.partition("=")
            if name in _IO:
                key, operation = _IO[name]
                entry = nonzero(major=int(major), minor=int(minor), op=operation, value=int(value))
                found.setdefault(key, []).append(entry)
    return {**found, **nonzero(psi=pressure(directory, "io.pressure"))}


def huge_pages(directory: str) -> dict[str, Any]:
    """Return what a cgroup with the hugetlb controller has counted, by page size. Raises OSError."""
    return {
        size: {
            **nonzero(usage=number(directory, f"hugetlb.{size}.current")),
            "failcnt": table(directory, f"hugetlb.{size}.events").get("max", 0),
        }
        for size in page_sizes(directory, ".max")
    }


def pressure(directory: str, file: str) -> dict[str, Any]:
    """Return what a pressure file says (the kernel's accounting/psi), {} where there is none."""
    found: dict[str, Any] = {}
    try:
        lines = text(directory, file).split("\n")
    except OSError:
        # EOPNOTSUPP: pressure is compiled in, but switched off.
        return {}
    for line in lines:
        kind, *words = line.split() or [""]
        if words:
            values = dict(word.split("=") for word in words)
            total = int(values.pop("total"))
            found[kind] = {**{key: float(value) for key, value in values.items()}, "total": total}
    return found
