"""What is told of a container: its state, statistics and events."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["creating", "created", "running", "paused", "stopped"]


class State(TypedDict):
    """State of a container (runtime.md, State), with what runc adds to it."""

    #: Version of the specification.
    ociVersion: str
    #: Name of the container.
    id: str
    #: Its process, as the host sees it; 0 where that has ended.
    pid: int
    #: Where it is in its life.
    status: Status
    #: Directory of its bundle, absolute.
    bundle: str
    #: Root file system, absolute.
    rootfs: str
    #: When it was created (RFC 3339).
    created: str
    #: As in config.json.
    annotations: dict[str, str]
    #: Name of the user who has made it.
    owner: str


class CPUUsage(TypedDict):
    """Processor time that was used, in nanoseconds."""

    total: NotRequired[int]
    percpu: NotRequired[list[int]]
    percpu_kernel: NotRequired[list[int]]
    percpu_user: NotRequired[list[int]]
    kernel: int
    user: int


class Throttling(TypedDict, total=False):
    """How often, and for how many nanoseconds, the quota was used up."""

    periods: int
    throttledPeriods: int
    throttledTime: int


class CPUStatistics(TypedDict):
    """Processor time."""

    usage: CPUUsage
    throttling: Throttling
    #: Pressure (the kernel's accounting/psi), by kind.
    psi: NotRequired[dict[str, dict[str, float]]]


class MemoryEntry(TypedDict):
    """One kind of memory, in bytes."""

    limit: int
    usage: NotRequired[int]
    #: The most that was used.
    max: NotRequired[int]
    #: How often the limit was reached.
    failcnt: int


class MemoryStatistics(TypedDict):
    """Memory."""

    cache: NotRequired[int]
    usage: MemoryEntry
    #: Memory and swap together.
    swap: MemoryEntry
    kernel: MemoryEntry
    kernelTCP: MemoryEntry
    #: The kernel's memory.stat.
    raw: NotRequired[dict[str, int]]
    psi: NotRequired[dict[str, dict[str, float]]]


class PidsStatistics(TypedDict, total=False):
    """Number of processes; no limit is left out."""

    current: int
    limit: int


class HugepageStatistics(TypedDict):
    """Huge pages of a size, in bytes."""

    usage: NotRequired[int]
    max: NotRequired[int]
    failcnt: int


class Statistics(TypedDict):
    """What the cgroups have counted, in the form of runc's ``events --stats``."""

    cpu: CPUStatistics
    cpuset: dict[str, Any]
    memory: MemoryStatistics
    pids: PidsStatistics
    blkio: dict[str, Any]
    #: By the size of a page.
    hugetlb: dict[str, HugepageStatistics]
    intel_rdt: dict[str, Any]
    network_interfaces: None


class Event(TypedDict):
    """What ``Container.events`` tells: statistics, or that the container ran out of memory."""

    type: Literal["stats", "oom"]
    id: str
    #: With "stats".
    data: NotRequired[Statistics]
