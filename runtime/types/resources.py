"""Limits of a cgroup (schemas/resources.json)."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class DeviceRule(TypedDict):
    """Which devices may be used."""

    #: Whether this allows or denies.
    allow: bool
    #: Character (c), block (b) or all (a).
    type: NotRequired[str]
    #: Major number; none or -1 for any.
    major: NotRequired[int]
    #: Minor number; none or -1 for any.
    minor: NotRequired[int]
    #: Read (r), write (w), mknod (m).
    access: NotRequired[str]


class Memory(TypedDict, total=False):
    """Memory, in bytes; -1 is no limit."""

    #: Limit.
    limit: int
    #: Soft limit.
    reservation: int
    #: Limit of memory and swap together.
    swap: int
    #: Not recommended: kernel memory.
    kernel: int
    #: Not recommended: TCP buffers.
    kernelTCP: int
    #: How gladly the kernel swaps.
    swappiness: int
    #: Whether to wait and not to kill.
    disableOOMKiller: bool
    #: Whether children count.
    useHierarchy: bool
    #: Whether to refuse a limit below what is used.
    checkBeforeUpdate: bool


class CPU(TypedDict, total=False):
    """Processor time."""

    #: Weight against others.
    shares: int
    #: Microseconds a period.
    quota: int
    #: Microseconds that may be saved up.
    burst: int
    #: Length of a period in microseconds.
    period: int
    #: Microseconds of real time.
    realtimeRuntime: int
    #: Its period in microseconds.
    realtimePeriod: int
    #: Processors, a list such as 0-3,7.
    cpus: str
    #: Memory nodes, a list.
    mems: str
    #: 1 for SCHED_IDLE.
    idle: int


class Pids(TypedDict, total=False):
    """Number of processes."""

    #: Limit; negative for none.
    limit: int


class WeightDevice(TypedDict):
    """The weights of a block device."""

    #: Major number.
    major: int
    #: Minor number.
    minor: int
    #: Weight against others.
    weight: NotRequired[int]
    #: Weight against child cgroups.
    leafWeight: NotRequired[int]


class ThrottleDevice(TypedDict):
    """The rate of a block device."""

    #: Major number.
    major: int
    #: Minor number.
    minor: int
    #: Limit.
    rate: NotRequired[int]


class BlockIO(TypedDict, total=False):
    """Block devices."""

    #: Weight against others.
    weight: int
    #: Weight against child cgroups.
    leafWeight: int
    #: Weights by device.
    weightDevice: list[WeightDevice]
    #: Bytes read a second.
    throttleReadBpsDevice: list[ThrottleDevice]
    #: Bytes written a second.
    throttleWriteBpsDevice: list[ThrottleDevice]
    #: Reads a second.
    throttleReadIOPSDevice: list[ThrottleDevice]
    #: Writes a second.
    throttleWriteIOPSDevice: list[ThrottleDevice]


class HugepageLimit(TypedDict):
    """The limit of huge pages of a size."""

    #: Such as 2MB.
    pageSize: str
    #: Bytes.
    limit: int


class InterfacePriority(TypedDict):
    """The priority of packets by interface."""

    #: Interface.
    name: str
    #: Priority.
    priority: int


class Network(TypedDict, total=False):
    """Marks on network packets."""

    #: net_cls class.
    classID: int
    #: net_prio, by interface.
    priorities: list[InterfacePriority]


class Rdma(TypedDict, total=False):
    """Limits of an RDMA device."""

    #: Most handles.
    hcaHandles: int
    #: Most objects.
    hcaObjects: int


class Resources(TypedDict, total=False):
    """Limits of a cgroup: /linux/resources, and what update takes."""

    #: Files of cgroup v2 and what to write there.
    unified: dict[str, str]
    #: Which devices may be used; a later rule wins.
    devices: list[DeviceRule]
    #: Memory, in bytes; -1 is no limit.
    memory: Memory
    #: Processor time.
    cpu: CPU
    #: Number of processes.
    pids: Pids
    #: Block devices.
    blockIO: BlockIO
    #: Huge pages, by size.
    hugepageLimits: list[HugepageLimit]
    #: Marks on network packets.
    network: Network
    #: RDMA, by device.
    rdma: dict[str, Rdma]
