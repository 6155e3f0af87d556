"""Paying early for the first move into a cgroup.

Saves up to 12 ms of run (``make bench-start``), here and in native/launcher.c.

Writing to any cgroup.procs takes a lock that all forks and exits share. Once that was idle for some
milliseconds, the kernel waits for an RCU grace period first: measured, 5 to 16 ms on a quiet machine,
and 0.03 ms for a write soon after. That wait goes on beside everything else when it begins early, in
a process whose writes move nothing: it goes where it is. Meanwhile nobody makes a cgroup; so it is done
only for a v2 tree. Those of v1 a process enters by itself without that lock (operations/cgroup.py).
"""

from __future__ import annotations

import os
import time

from .. import cgroups
from ..errors import NajaError
from ..linux import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..cgroups.hierarchies import Hierarchies

_SIGKILL = 9

#: The lock stays cheap for about one grace period; measured to be enough, and stopped after 100 ms.
_INTERVAL, _TIMES = 0.005, 20


def warm_up() -> None:
    """Begin to keep moves into cgroups cheap, for a while, in a process of no further use. Raises nothing.

    Where the caller may not write to its own cgroup nothing is done: this is but a saving of time. No signal
    tells of the process's end, for nobody waits for it.
    """
    parent = os.getpid()
    try:
        descriptor = open_own(cgroups.detect())
        if descriptor >= 0:
            if not process.clone3(0, exit_signal=0):
                _live(descriptor, parent)
            os.close(descriptor)
    except (NajaError, OSError):
        return


def _live(descriptor: int, parent: int) -> NoReturn:
    try:
        process.set_parent_death_signal(_SIGKILL)
        if os.getppid() == parent:
            # Nobody shall wait for an end of the caller's pipes because of this.
            os.dup2(descriptor, 0)
            process.close_range(1)
            write_repeatedly(0)
    finally:
        os._exit(0)


def open_own(hierarchies: Hierarchies) -> int:
    """Open the cgroup.procs of the v2 cgroup that the caller is in; return -1 where it may not write."""
    if "" not in hierarchies.mounts:
        return -1
    path = f"{hierarchies.mounts['']}{hierarchies.own[''].rstrip('/')}/cgroup.procs"
    try:
        descriptor = os.open(os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    # Where another file system covers the tree, a file of this name is anybody's.
    if files.filesystem_magic(descriptor) == files.CGROUP2_SUPER_MAGIC:
        return descriptor
    os.close(descriptor)
    return -1


def is_needed() -> bool:
    """Tell whether there is a v2 tree, in one of its usual places."""
    return any(map(_is_v2, ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")))


def _is_v2(place: str) -> bool:
    try:
        descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return files.filesystem_magic(descriptor) == files.CGROUP2_SUPER_MAGIC
    finally:
        os.close(descriptor)


def write_repeatedly(descriptor: int) -> None:
    """Move where the caller is already, for a while. Raises OSError."""
    for _ in range(_TIMES):
        os.write(descriptor, b"0")
        time.sleep(_INTERVAL)
