"""Capabilities: their names, and the five sets of a thread (capabilities(7))."""

from __future__ import annotations

import errno
import os
import struct

from .files import open_beneath
from .libc import call, function
from .process import prctl

#: By number, as linux/capability.h counts them.
NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

NUMBERS = {name: number for number, name in enumerate(NAMES)}

SYS_ADMIN = 1 << NUMBERS["CAP_SYS_ADMIN"]

_PR_SET_KEEPCAPS, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT = 8, 23, 24, 47
_PR_CAP_AMBIENT_RAISE, _PR_CAP_AMBIENT_CLEAR_ALL = 2, 4

# struct __user_cap_header_struct: version, pid; version 3 carries two 32-bit halves of each set.
_HEADER = struct.pack("=Ii", 0x20080522, 0)
_capget = function("capget")
_capset = function("capset")


def mask(names: list[str]) -> int:
    """Return capabilities as a bit mask. Raises KeyError for an unknown name."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> list[str]:
    """Return the names of the capabilities in a bit mask, in the order of their numbers."""
    return [name for number, name in enumerate(NAMES) if bits >> number & 1]


def get() -> tuple[int, int, int]:
    """Return the caller's effective, permitted and inheritable set (capget(2)). Raises OSError."""
    data = bytearray(24)
    call(_capget, _HEADER, data)
    low, high = struct.unpack("=3I", data[:12]), struct.unpack("=3I", data[12:])
    effective, permitted, inheritable = (low[index] | high[index] << 32 for index in range(3))
    return effective, permitted, inheritable


def set(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's three sets (capset(2)). Raises OSError."""
    sets = (effective, permitted, inheritable)
    low, high = [bits & 0xFFFFFFFF for bits in sets], [bits >> 32 for bits in sets]
    call(_capset, _HEADER, struct.pack("=6I", *low, *high))


def bounded(bits: int) -> int:
    """Return those of ``bits`` that are in the caller's bounding set. Raises OSError."""
    found = 0
    for number in range(bits.bit_length()):
        if bits >> number & 1:
            try:
                found |= prctl(_PR_CAPBSET_READ, number) << number
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # The kernel knows no more.
    return found


def bounding_set(proc: int) -> int:
    """Return the caller's whole bounding set, by a procfs (CapBnd of proc_pid_status(5)). Raises OSError."""
    with open(open_beneath(proc, "self/status", os.O_RDONLY), "rb") as file:
        return int(file.read().partition(b"\nCapBnd:")[2].split(None, 1)[0], 16)


def drop_bounding(bits: int) -> None:
    """Drop capabilities, which the kernel has to know, from the bounding set for good. Raises OSError."""
    for number in range(bits.bit_length()):
        if bits >> number & 1:
            prctl(_PR_CAPBSET_DROP, number)


def set_ambient(bits: int) -> None:
    """Make ``bits`` the ambient set; each must be permitted and inheritable. Raises OSError."""
    prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(bits.bit_length()):
        if bits >> number & 1:
            prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def keep_over_user_change(keep: bool) -> None:
    """Say whether the permitted set survives a change of all uids away from 0. Raises OSError."""
    prctl(_PR_SET_KEEPCAPS, int(keep))
