"""What a process may take of the machine, and how: processors, disks, memory nodes, limits.

The tables give the numbers for the names that config.json uses.
"""

from __future__ import annotations

import struct

from .libc import call, function, syscall
from .numbers import number

#: sched(7). SCHED_ISO has a number but no implementation in Linux: the kernel refuses it.
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
#: ioprio_set(2).
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
#: set_mempolicy(2).
MEMORY_POLICY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_POLICY_FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
#: getrlimit(2).
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}

_IOPRIO_WHO_PROCESS, _IOPRIO_CLASS_SHIFT = 1, 13
_LONG_BITS = 8 * struct.calcsize("@L")

#: More than any kernel is built for (8192, by NR_CPUS).
_MOST_PROCESSORS = 1 << 16

_prlimit = function("prlimit")
_setaffinity = function("sched_setaffinity")


def prlimit(pid: int, name: str, limits: tuple[int, int] | None = None) -> tuple[int, int]:
    """Set the (soft, hard) limits of a process where given, 0 being the caller (prlimit(2)).

    ``name`` is one of RLIMITS; "unlimited" is 2**64 - 1. Returns those before. Raises OSError.
    """
    before = bytearray(16)
    call(_prlimit, pid, RLIMITS[name], struct.pack("=2Q", *limits) if limits else None, before)
    soft, hard = struct.unpack("=2Q", before)
    return soft, hard


def sched_setattr(
    pid: int, policy: int, *, flags: int, nice: int, priority: int, runtime: int, deadline: int, period: int
) -> None:
    """Set the scheduling policy of a process, 0 being the caller (sched_setattr(2)). Raises OSError."""
    # size, policy, flags, nice, priority, runtime, deadline, period, util_min, util_max
    attributes = struct.pack(
        "=IIQiIQQQII", 56, policy, flags, nice, priority, runtime, deadline, period, 0, 0
    )
    syscall(number("sched_setattr"), pid, attributes, 0)


def ioprio_set(pid: int, io_class: int, priority: int) -> None:
    """Set the I/O class and priority of a process, 0 being the caller (ioprio_set(2)). Raises OSError."""
    syscall(number("ioprio_set"), _IOPRIO_WHO_PROCESS, pid, io_class << _IOPRIO_CLASS_SHIFT | priority)


def reset_affinity(pid: int) -> None:
    """Let a process, 0 being the caller, run on every processor that its cpuset has. Raises OSError.

    The kernel takes from the mask what there is (sched_setaffinity(2)), and no more than it has room for:
    none has to be counted.
    """
    call(_setaffinity, pid, _MOST_PROCESSORS // 8, b"\xff" * (_MOST_PROCESSORS // 8))


def set_mempolicy(mode: int, nodes: list[int]) -> None:
    """Set the caller's memory policy, ``mode`` including flags (set_mempolicy(2)). Raises OSError."""
    if not nodes:
        syscall(number("set_mempolicy"), mode, None, 0)
        return
    words = [0] * (max(nodes) // _LONG_BITS + 1)
    for node in nodes:
        words[node // _LONG_BITS] |= 1 << node % _LONG_BITS
    # The kernel reads one bit less than it is told.
    syscall(
        number("set_mempolicy"), mode, struct.pack(f"@{len(words)}L", *words), len(words) * _LONG_BITS + 1
    )
