"""Paying early for the first move into a cgroup.

Saves up to 12 ms of run (``make bench-start``), here and in native/launcher.c.

Writing to any cgroup.procs takes a lock that all forks and exits share. Once that was idle for some
milliseconds, the kernel waits for an RCU grace period first: measured, 5 to 16 ms on a quiet machine,
and 0.03 ms for a write soon after. That wait goes on beside everything else when it begins early, in
a thread whose writes move nothing: the caller goes where it is.
"""

from __future__ import annotations

import _thread
import os
import time

from ..linux import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..cgroups.hierarchies import Hierarchies

#: The lock stays cheap for about one grace period; measured to be enough, and stopped after 100 ms.
_INTERVAL, _TIMES = 0.005, 20


def warm_up(hierarchies: Hierarchies) -> None:
    """Begin to keep moves into cgroups cheap, for a while, in a thread. Raises nothing.

    Where the caller may not write to its own cgroup nothing is done: this is but a saving of time.
    """
    descriptor = open_own(hierarchies)
    if descriptor >= 0:
        _thread.start_new_thread(_write_and_close, (descriptor,))


def _write_and_close(descriptor: int) -> None:
    try:
        write_repeatedly(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def open_own(hierarchies: Hierarchies) -> int:
    """Open the cgroup.procs of a cgroup that the caller is in; return -1 where it may write to none."""
    for name, mount in hierarchies.mounts.items():
        path = f"{mount}{hierarchies.own[name].rstrip('/')}/cgroup.procs"
        try:
            descriptor = os.open(os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            continue
        # Where another file system covers the tree, a file of this name is anybody's.
        if files.filesystem_magic(descriptor) in (files.CGROUP_SUPER_MAGIC, files.CGROUP2_SUPER_MAGIC):
            return descriptor
        os.close(descriptor)
    return -1


def write_repeatedly(descriptor: int) -> None:
    """Move where the caller is already, for a while. Raises OSError."""
    for _ in range(_TIMES):
        os.write(descriptor, b"0")
        time.sleep(_INTERVAL)
