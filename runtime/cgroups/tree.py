"""The tree of cgroups that begins with a container's own; what is below that one the container may have made.

So it may be deep, wide, and change at any moment (linux/cgroup_walk.py).
"""

from __future__ import annotations

import os
import time
from errno import EBUSY

from ..errors import NajaError
from ..linux.cgroup_walk import LONGEST, TOP, members, walk
from ..linux.cgroupfs import GONE, move, write_below
from ..linux.process import pidfd_open, pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGKILL = 9

#: How many processes are held at once; a process may often have no more than 1024 descriptors.
_HELD = 256

#: How many of those that are in the way are named.
_NAMED = 10


def processes(top: str, *, recursive: bool = True) -> list[int]:
    """Return the pids of all processes in a cgroup, and in those below it, in order. Raises OSError.

    Those that this process's pid namespace does not know are left out.
    """
    found: set[int] = set()
    for directory, name in walk(top):
        if recursive or name == TOP:
            found.update(_pids(directory, name))
    return sorted(found)


def _pids(directory: int, name: bytes) -> list[int]:
    # 0 stands for a process of another pid namespace; to kill(2) it is the caller's own group.
    return [pid for pid in members(directory, name) if pid]


def signal(top: str, number: int) -> None:
    """Send a signal to each process in a cgroup and below it. Raises OSError where one may not be sent."""
    refused: OSError | None = None
    for _, pidfd in _held(top):
        try:
            pidfd_send_signal(pidfd, number)
        except ProcessLookupError:
            continue
        except OSError as error:
            refused = error
    if refused:
        raise refused


def _held(top: str) -> Iterator[tuple[int, int]]:
    """Yield the pid and a pidfd of each process in a cgroup and below it.

    A pid that was used again meanwhile is not among them: it was still there when it was held.
    """
    for directory, name in walk(top):
        pids = _pids(directory, name)
        for first in range(0, len(pids), _HELD):
            held = _hold(pids[first : first + _HELD])
            try:
                for pid in held.keys() & set(_pids(directory, name)):
                    yield pid, held[pid]
            finally:
                for descriptor in held.values():
                    os.close(descriptor)


def _hold(pids: list[int]) -> dict[int, int]:
    held: dict[int, int] = {}
    for pid in pids:
        try:
            held[pid] = pidfd_open(pid)
        except ProcessLookupError:
            continue
    return held


def kill_elsewhere(top: str, elsewhere: str) -> None:
    """Kill each process in a frozen v1 cgroup and below it, and let it end in another. Raises OSError.

    Of one with SIGKILL the kernel runs nothing more but its end; till then a frozen one has to be thawed.
    """
    for pid, pidfd in _held(top):
        try:
            pidfd_send_signal(pidfd, _SIGKILL)
            move(elsewhere, pid)
        except ProcessLookupError:
            continue


def thaw(top: str) -> None:
    """Thaw a v1 cgroup and those below it, each of which can be frozen on its own. Raises OSError."""
    for directory, name in walk(top):
        try:
            write_below(directory, name + b"/freezer.state", "THAWED")
        except OSError as error:
            if error.errno not in GONE:
                raise


def remove(top: str, patience: float) -> None:
    """Remove a cgroup with all below it. Raises NajaError where it cannot be, with who is in the way.

    ``patience`` is how long to wait for processes that are about to end, in seconds.
    """
    last = time.monotonic() + LONGEST
    deadline = time.monotonic() + patience
    delay = 0.001
    while True:
        try:
            os.rmdir(os.fsencode(top))
        except OSError as error:
            if not os.path.isdir(top):
                return  # Gone, or never made; a read-only file system is told of first.
            # A cgroup with others below it is "busy" as well as one with processes.
            if error.errno != EBUSY or time.monotonic() > deadline:
                raise NajaError.from_os_error(f"remove cgroup {top}", error, why=_why(top, error)) from None
        else:
            return
        if _remove_below(top):
            deadline = min(time.monotonic() + patience, last)
        else:
            time.sleep(delay)
            delay = min(delay * 2, 0.1)


def _remove_below(top: str) -> bool:
    """Remove the cgroups below one that are not in use. Returns whether there were any. Raises NajaError."""
    removed = False
    for directory, name in walk(top):
        if name == TOP:
            continue
        try:
            os.rmdir(name, dir_fd=directory)
            removed = True
        except OSError as error:
            if error.errno not in (*GONE, EBUSY):
                where = os.fsdecode(name)
                raise NajaError.from_os_error(f"remove cgroup {where} below {top}", error) from None
    return removed


def _why(top: str, error: OSError) -> str:
    """Return what keeps a cgroup, in words."""
    if isinstance(error, PermissionError):
        return f"{os.path.dirname(top)} belongs to uid {os.stat(os.path.dirname(top)).st_uid}"
    pids = processes(top) if error.errno == EBUSY else []
    return f"process {named(pids)} is in it" if pids else ""


def named(pids: list[int]) -> str:
    """Return the first of some pids in words, and how many more there are."""
    more = len(pids) - _NAMED
    return ", ".join(str(pid) for pid in pids[:_NAMED]) + (f" and {more} more" if more > 0 else "")
