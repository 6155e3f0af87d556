"""Numbers of the system calls that libc has no function for and that differ between machines.

Those added since Linux 5.1 (numbers from 424 on) are the same everywhere and stand beside their
wrappers.
"""

from __future__ import annotations

import errno
import os

NAMES = ("keyctl", "ioprio_set", "set_mempolicy", "sched_setattr", "seccomp", "rt_sigaction")

#: By uname(2)'s machine, in the order of ``NAMES``.
_GENERIC = (219, 30, 237, 274, 277, 134)
BY_MACHINE = {
    "x86_64": (250, 251, 238, 314, 317, 13),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64le": (271, 273, 261, 355, 358, 173),
    "s390x": (280, 282, 270, 345, 348, 174),
}

#: Asked once: uname(2) tells something else after personality(2).
_MACHINE = os.uname().machine


def number(name: str) -> int:
    """Return the number of a system call on this machine. Raises OSError (ENOSYS) where unknown."""
    try:
        return BY_MACHINE[_MACHINE][NAMES.index(name)]
    except KeyError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
