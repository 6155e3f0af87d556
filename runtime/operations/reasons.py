"""Why the kernel refuses what it answers with a number only: looked up in its files, where it can be.

Only a failure comes here. Nothing here raises: who does not know the reason says nothing.
"""

from __future__ import annotations

import errno
import os
import time

from ..linux import capabilities, cgroupfs
from ..linux.files import open_beneath

#: What the kernel takes: microseconds of a period, and the least of a quota.
_SHORTEST, _LONGEST, _LEAST_QUOTA = 1000, 1_000_000, 1000
#: The same of other files.
_TAKEN = {
    "pids.max": f"the kernel takes at most {4 << 20}",  # PID_MAX_LIMIT
    "memory.use_hierarchy": "this kernel counts what is below a cgroup in any case",
}
#: Files that depend on each other.
_BOTH = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
#: What is said of processors and memory nodes that are not there, or not for this cgroup.
_OF_A_SET = (errno.EINVAL, errno.ERANGE, errno.EACCES)
_HUGE_PAGES = "/sys/kernel/mm/hugepages"
#: At most so many devices are listed, and of what a parameter holds so much is said.
_MOST, _LONGEST_VALUE = 12, 100
#: SCHED_FIFO and SCHED_RR (sched(7)).
_REALTIME = ("SCHED_FIFO", "SCHED_RR")
#: Where the values of some parameters are listed that the kernel takes.
_CHOICES = {
    "net/ipv4/tcp_congestion_control": "net/ipv4/tcp_available_congestion_control",
    "net/ipv4/tcp_ulp": "net/ipv4/tcp_available_ulp",
}


def of_cgroup(directory: str, error: OSError) -> str:
    """Return why a cgroup cannot be made."""
    if error.errno == errno.EROFS:
        return "the tree of cgroups is mounted read-only"
    if error.errno == errno.EAGAIN:
        return "one above it has as many below it as it may (cgroup.max.depth, cgroup.max.descendants)"
    if error.errno in (errno.ENOSPC, errno.ENOMEM):
        return (
            "the kernel has no number left for it (65535 with memory): some that nobody uses may be removed"
        )
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    above = directory
    while not os.path.isdir(above := os.path.dirname(above)):
        pass
    owner = os.stat(above).st_uid
    remedy = "leave out cgroupsPath and resources, or have systemd make it (--systemd-cgroup)"
    return f"{above} is user {owner}'s: {remedy}"


def of_limit(directory: str, file: str, value: str, error: OSError) -> str:
    """Return why a cgroup's file does not take a value."""
    if error.errno == errno.ENOENT and file.startswith("hugetlb."):
        return f"the sizes of huge pages here are {_page_sizes()}"
    if error.errno == errno.ENODEV:
        return f"there is no such block device; there are {_block_devices()}"
    if file in ("cpuset.cpus", "cpuset.mems") and error.errno in _OF_A_SET:
        return _of_set(directory, file)
    if error.errno == errno.EBUSY and file.startswith("memory"):
        return _of_usage(directory, file)
    if error.errno == errno.EINVAL:
        return _of_value(directory, file, value)
    return ""


def _of_set(directory: str, file: str) -> str:
    """Say which processors or memory nodes there are for a cgroup: those of the one above."""
    what = "processors" if file == "cpuset.cpus" else "memory nodes"
    above = os.path.dirname(directory)
    there = _read(f"{above}/{file}.effective") or _read(f"{above}/cpuset.effective_{file[7:]}")
    if not there:
        kind = "cpu" if file == "cpuset.cpus" else "node"
        there = _read(f"/sys/devices/system/{kind}/online")
    return f"there are the {what} {there}" if there else ""


def _of_usage(directory: str, file: str) -> str:
    usage = _read(f"{directory}/{file.replace('limit_in_bytes', 'usage_in_bytes')}")
    return f"{usage} bytes are in use, and the kernel could not free enough of them" if usage else ""


def _of_value(directory: str, file: str, value: str) -> str:
    """Return what a file takes, where the value is one of another range."""
    if file in ("cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.max"):
        return _of_bandwidth(file, [int(word) for word in value.split() if word.lstrip("-").isdecimal()])
    if file in _BOTH:
        both = {name: _read(f"{directory}/{name}") for name in _BOTH if name != file}
        return ", ".join(f"{name} is {text}" for name, text in both.items() if text)
    if file.startswith("cpu.rt_"):
        above = _read(f"{os.path.dirname(directory)}/cpu.rt_runtime_us")
        return f"the cgroup above has {above} of realtime (cpu.rt_runtime_us)" if above else ""
    return _TAKEN.get(file, "")


def _of_bandwidth(file: str, numbers: list[int]) -> str:
    """Return what the kernel takes of a quota and a period; v1 has a file for each, v2 one for both."""
    if file != "cpu.cfs_quota_us" and not _SHORTEST <= numbers[-1] <= _LONGEST:
        return f"the kernel takes a period from {_SHORTEST} to {_LONGEST}, in microseconds"
    if file != "cpu.cfs_period_us" and 0 <= numbers[0] < _LEAST_QUOTA:
        return f"the kernel takes a quota of at least {_LEAST_QUOTA}, in microseconds"
    return "it is too large, or more than the share of the cgroup above"


def _page_sizes() -> str:
    try:
        sizes = sorted(
            int(name.removeprefix("hugepages-").removesuffix("kB")) for name in os.listdir(_HUGE_PAGES)
        )
    except (OSError, ValueError):
        return "not known"
    return ", ".join(_size(kib) for kib in sizes) or "none"


def _size(kib: int) -> str:
    """Return a size as config.json has it: 64KB, 2MB, 1GB."""
    for unit, factor in (("GB", 1 << 20), ("MB", 1 << 10)):
        if kib % factor == 0:
            return f"{kib // factor}{unit}"
    return f"{kib}KB"


def _block_devices() -> str:
    rows = [line.split() for line in _read("/proc/partitions").split("\n")]
    found = [f"{row[0]}:{row[1]} ({row[3]})" for row in rows if len(row) == 4 and row[0].isdecimal()]
    return ", ".join(found[:_MOST]) + (" …" if len(found) > _MOST else "") if found else "none"


def of_sysctl(proc: int, path: str, error: OSError) -> str:
    """Return why a parameter does not take a value; ``proc`` is the container's procfs."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "in a namespace of its own it can only be read: it is the host's"
    if error.errno == errno.ENOENT and path in _CHOICES:
        return f"there are {_parameter(proc, _CHOICES[path])}"
    if error.errno == errno.ENOENT:
        return "this kernel has no such parameter for a container"
    now = _parameter(proc, path)
    return f"the kernel does not take this value; it is {now} now" if now else ""


def _parameter(proc: int, path: str) -> str:
    """Return what a parameter holds, on one line."""
    try:
        descriptor = open_beneath(proc, f"sys/{path}", os.O_RDONLY)
    except OSError:
        return ""
    try:
        return " ".join(os.fsdecode(os.read(descriptor, 4096)).split())[:_LONGEST_VALUE]
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def of_many_files(proc: int, hard: int) -> str:
    """Return why nobody may open so many files; ``proc`` is a procfs, or -1."""
    most = _parameter(proc, "fs/nr_open")
    return f"the kernel takes at most {most} (sysctl fs.nr_open)" if most and int(most) < hard else ""


def of_keyring(error: OSError) -> str:
    """Return why there is no new keyring (keyrings(7))."""
    if error.errno != errno.EDQUOT:
        return ""
    return "its user has as many keys as may be (sysctl kernel.keys.maxkeys); --no-new-keyring does without"


def of_oom_score(error: OSError) -> str:
    """Return why the score of the calling process cannot be set."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    return (
        f"it is {_read('/proc/self/oom_score_adj')} now, and to lower it takes CAP_SYS_RESOURCE on the host"
    )


def of_scheduler(policy: str, error: OSError) -> str:
    """Return why a scheduling policy cannot be had (sched_setattr(2))."""
    if error.errno == errno.EBUSY:
        return "the processors have not so much time left for SCHED_DEADLINE"
    if error.errno == errno.EOPNOTSUPP:
        return "this kernel does not clamp utilization (CONFIG_UCLAMP_TASK)"
    if error.errno != errno.EPERM:
        return ""
    if not capabilities.get()[0] & 1 << capabilities.NUMBERS["CAP_SYS_NICE"]:
        return "it takes CAP_SYS_NICE on the host"
    if policy in _REALTIME:
        return "the cgroup has no realtime of its own (/linux/resources/cpu/realtimeRuntime)"
    return ""


def of_io_priority(error: OSError) -> str:
    """Return why an I/O class cannot be had (ioprio_set(2))."""
    return "this class takes CAP_SYS_NICE or CAP_SYS_ADMIN on the host" if error.errno == errno.EPERM else ""


def of_memory_policy(proc: int, error: OSError) -> str:
    """Return which memory nodes there are; ``proc`` is a procfs, or -1."""
    if error.errno != errno.EINVAL:
        return ""
    try:
        descriptor = open_beneath(proc, "self/status", os.O_RDONLY)
    except OSError:
        return "it takes nodes that have memory, and that the cgroup may use"
    try:
        lines = os.read(descriptor, 1 << 14).split(b"\n")
    finally:
        os.close(descriptor)
    there = [os.fsdecode(line.split()[-1]) for line in lines if line.startswith(b"Mems_allowed_list:")]
    return f"there are the memory nodes {there[0]}" if there else ""


def of_affinity(pid: int, error: OSError) -> str:
    """Return which processors a process may run on."""
    if error.errno != errno.EINVAL:
        return ""
    there = sorted(os.sched_getaffinity(pid))
    return f"there are the processors {','.join(map(str, there))}"


def of_time_offsets(error: OSError) -> str:
    """Return what the clocks show that an offset has to suit (time_namespaces(7))."""
    if error.errno != errno.ERANGE:
        return ""
    clocks = {"monotonic": time.CLOCK_MONOTONIC, "boottime": time.CLOCK_BOOTTIME}
    now = ", ".join(f"{name} is {int(time.clock_gettime(clock))} s" for name, clock in clocks.items())
    return f"no clock may be below 0 with it, nor beyond 146 years; {now}"


def _read(path: str) -> str:
    try:
        return cgroupfs.read(path)
    except OSError:
        return ""
