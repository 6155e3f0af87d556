"""The tree of cgroups that begins with a container's own; what is below that one the container may have made.

So it may be deep, wide, and change at any moment. A path in it can be longer than PATH_MAX, and there may be
more levels than a process may have descriptors: a walk holds one, and goes up by "..".
"""

from __future__ import annotations

import os
import time
from errno import EBUSY, EOPNOTSUPP

from ..errors import NajaError
from ..linux.cgroupfs import GONE, move, read, read_below, write_below
from ..linux.process import pidfd_open, pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGKILL = 9

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: The name by which a walk tells of the cgroup that it began with.
_TOP = b"."

#: How long a tree may grow before our eyes, or give up one cgroup after the other, in seconds.
_LONGEST = 60.0

#: How many processes are held at once; a process may often have no more than 1024 descriptors.
_HELD = 256

#: How many of those that are in the way are named.
_NAMED = 10


def walk(top: str) -> Iterator[tuple[int, bytes]]:
    """Yield each cgroup as (an open directory, its name there), the inner ones first, ``top`` at last as ".".

    Those that go meanwhile are left out, those that come may be. Raises OSError, and NajaError where more
    come all the time.
    """
    end = time.monotonic() + _LONGEST
    here = _open(top)
    if here < 0:
        return
    names: list[bytes] = []
    waiting = [_children(here)]
    try:
        while names or waiting[-1]:
            if time.monotonic() > end:
                raise NajaError(f"look through the cgroups below {top}", why="more are made all the time")
            if not waiting[-1]:
                here = _replace(here, _open("..", here))
                waiting.pop()
                yield here, names.pop()
            elif (inner := _open(name := waiting[-1].pop(), here)) >= 0:
                here = _replace(here, inner)
                names.append(name)
                waiting.append(_children(here))
        yield here, _TOP
    finally:
        os.close(here)


def _open(name: str | bytes, below: int = -1) -> int:
    """Return a descriptor of a directory, -1 where it is gone."""
    try:
        if below < 0:
            return os.open(os.fsencode(name), _DIRECTORY)
        return os.open(name, _DIRECTORY, dir_fd=below)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return -1


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _children(directory: int) -> list[bytes]:
    try:
        with os.scandir(directory) as entries:
            return [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno not in GONE:
            raise
        return []


def processes(top: str, *, recursive: bool = True) -> list[int]:
    """Return the pids of all processes in a cgroup, and in those below it, in order. Raises OSError.

    Those that this process's pid namespace does not know are left out.
    """
    found: set[int] = set()
    for directory, name in walk(top):
        if recursive or name == _TOP:
            found.update(_members(directory, name))
    return sorted(found)


def _members(directory: int, name: bytes) -> list[int]:
    """Return the pids of the processes in a cgroup, none where it is gone. Raises OSError."""
    try:
        try:
            pids = [int(line) for line in read_below(directory, name + b"/cgroup.procs").split()]
        except OSError as error:
            if error.errno != EOPNOTSUPP:
                raise
            # A threaded cgroup of v2 tells its threads only (cgroup-v2, Threads).
            threads = read_below(directory, name + b"/cgroup.threads").split()
            pids = list({_process_of(thread) for thread in threads})
    except OSError as error:
        if error.errno not in GONE:
            raise
        return []
    # 0 stands for a process of another pid namespace; to kill(2) it is the caller's own group.
    return [pid for pid in pids if pid]


def _process_of(thread: str) -> int:
    """Return the process that a thread belongs to, 0 where it has ended (proc_pid_status(5))."""
    try:
        status = read(f"/proc/{thread}/status")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.partition("\nTgid:")[2].split(maxsplit=1)[0])


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
        pids = _members(directory, name)
        for first in range(0, len(pids), _HELD):
            held = _hold(pids[first : first + _HELD])
            try:
                for pid in held.keys() & set(_members(directory, name)):
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
    last = time.monotonic() + _LONGEST
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
        if name == _TOP:
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
