"""What a container's v1 cgroups have counted, in the form of runc's ``events --stats``."""

from __future__ import annotations

import os

from .statistics import nonzero, number, numbers, page_sizes, table, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")

_CPUSET_FLAGS = (
    ("cpu_exclusive", "cpuset.cpu_exclusive"),
    ("mem_hardwall", "cpuset.mem_hardwall"),
    ("mem_exclusive", "cpuset.mem_exclusive"),
    ("memory_migrate", "cpuset.memory_migrate"),
    ("memory_spread_page", "cpuset.memory_spread_page"),
    ("memory_spread_slab", "cpuset.memory_spread_slab"),
    ("memory_pressure", "cpuset.memory_pressure"),
    ("sched_load_balance", "cpuset.sched_load_balance"),
    ("sched_relax_domain_level", "cpuset.sched_relax_domain_level"),
)

#: Key, file; the second set is of the I/O schedulers, the first counts whatever the scheduler.
_BLOCK_IO = (
    ("ioServiceBytesRecursive", "io_service_bytes_recursive"),
    ("ioServicedRecursive", "io_serviced_recursive"),
    ("ioQueueRecursive", "io_queued_recursive"),
    ("ioServiceTimeRecursive", "io_service_time_recursive"),
    ("ioWaitTimeRecursive", "io_wait_time_recursive"),
    ("ioMergedRecursive", "io_merged_recursive"),
    ("ioTimeRecursive", "time_recursive"),
    ("sectorsRecursive", "sectors_recursive"),
)


def statistics(directories: dict[str, str]) -> dict[str, Any]:
    """Return the data of a "stats" event; ``directories`` are by controller. Raises OSError."""
    return {
        "cpu": _cpu(directories.get("cpu"), directories.get("cpuacct")),
        "cpuset": _cpuset(directories.get("cpuset")),
        "memory": _memory(directories.get("memory")),
        "pids": _pids(directories.get("pids")),
        "blkio": _block_io(directories.get("blkio")),
        "hugetlb": _huge_pages(directories),
        "intel_rdt": {},
        "network_interfaces": None,
    }


def _cpu(cpu: str | None, account: str | None) -> dict[str, Any]:
    ticks = table(account, "cpuacct.stat")
    throttled = table(cpu, "cpu.stat")
    by_mode = [line.split() for line in text(account, "cpuacct.usage_all").split("\n")[1:]]
    return {
        "usage": {
            **nonzero(
                total=number(account, "cpuacct.usage"),
                percpu=[int(word) for word in text(account, "cpuacct.usage_percpu").split()],
                percpu_kernel=[int(system) for _, _, system in by_mode],
                percpu_user=[int(user) for _, user, _ in by_mode],
            ),
            "kernel": ticks.get("system", 0) * _NANOSECONDS_PER_TICK,
            "user": ticks.get("user", 0) * _NANOSECONDS_PER_TICK,
        },
        "throttling": nonzero(
            periods=throttled.get("nr_periods"),
            throttledPeriods=throttled.get("nr_throttled"),
            throttledTime=throttled.get("throttled_time"),
        ),
    }


def _cpuset(directory: str | None) -> dict[str, Any]:
    flags: dict[str, Any] = {key: number(directory, file) for key, file in _CPUSET_FLAGS}
    cpus, mems = text(directory, "cpuset.cpus"), text(directory, "cpuset.mems")
    return {**nonzero(cpus=numbers(cpus), mems=numbers(mems)), **flags}


def _memory(directory: str | None) -> dict[str, Any]:
    raw = table(directory, "memory.stat")
    return {
        **nonzero(cache=raw.get("cache")),
        "usage": _memory_entry(directory, "memory"),
        "swap": _memory_entry(directory, "memory.memsw"),
        "kernel": _memory_entry(directory, "memory.kmem"),
        "kernelTCP": _memory_entry(directory, "memory.kmem.tcp"),
        **nonzero(raw=raw),
    }


def _memory_entry(directory: str | None, prefix: str) -> dict[str, int]:
    return {
        "limit": number(directory, f"{prefix}.limit_in_bytes"),
        **nonzero(
            usage=number(directory, f"{prefix}.usage_in_bytes"),
            max=number(directory, f"{prefix}.max_usage_in_bytes"),
        ),
        "failcnt": number(directory, f"{prefix}.failcnt"),
    }


def _pids(directory: str | None) -> dict[str, Any]:
    # No limit is shown as none, which is how runc does it: by leaving it out.
    limit = text(directory, "pids.max")
    return nonzero(current=number(directory, "pids.current"), limit=0 if limit == "max" else int(limit or 0))


def _block_io(directory: str | None) -> dict[str, Any]:
    found = {}
    for key, file in _BLOCK_IO:
        # BFQ and CFQ count more than the throttling layer, where one of them is in use.
        for prefix in ("blkio.bfq", "blkio", "blkio.throttle"):
            if entries := _device_entries(text(directory, f"{prefix}.{file}")):
                found[key] = entries
                break
    return found


def _device_entries(content: str) -> list[dict[str, Any]]:
    """Read lines "MAJOR:MINOR OPERATION NUMBER", some without an operation; the last line is a sum."""
    entries = []
    for line in content.split("\n"):
        words = line.split()
        if len(words) < 2 or ":" not in words[0]:
            continue
        major, minor = words[0].split(":")
        operation = words[1] if len(words) == 3 else ""
        entries.append(nonzero(major=int(major), minor=int(minor), op=operation, value=int(words[-1])))
    return entries


def _huge_pages(directories: dict[str, str]) -> dict[str, Any]:
    directory = directories.get("hugetlb")
    if not directory and "" in directories:
        # A hybrid host may have the controller in its v2 tree.
        from .statistics_v2 import huge_pages

        return huge_pages(directories[""])
    return {
        size: {
            **nonzero(
                usage=number(directory, f"hugetlb.{size}.usage_in_bytes"),
                max=number(directory, f"hugetlb.{size}.max_usage_in_bytes"),
            ),
            "failcnt": number(directory, f"hugetlb.{size}.failcnt"),
        }
        for size in page_sizes(directory, ".limit_in_bytes")
    }
