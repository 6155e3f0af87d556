"""A walk through a cgroup and all below it, which the container may have made.

So it may be deep, wide, and change at any moment. A path in it can be longer than PATH_MAX, and there may be
more levels than a process may have descriptors: a walk holds one, and goes up by "..".
"""

from __future__ import annotations

import os
import time
from errno import EOPNOTSUPP

from ..errors import NajaError
from .cgroupfs import GONE, read, read_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: The name by which a walk tells of the cgroup that it began with.
TOP = b"."

#: How long a tree may grow before our eyes, or give up one cgroup after the other, in seconds.
LONGEST = 60.0


def walk(top: str) -> Iterator[tuple[int, bytes]]:
    """Yield each cgroup as (an open directory, its name there), the inner ones first, ``top`` at last as ".".

    Those that go meanwhile are left out, those that come may be. Raises OSError, and NajaError where more
    come all the time.
    """
    end = time.monotonic() + LONGEST
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
        yield here, TOP
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


def members(directory: int, name: bytes) -> list[int]:
    """Return the pids of the processes in a cgroup, none where it is gone. Raises OSError.

    It is named from an open directory on. 0 stands for a process that this one's pid namespace does not know.
    """
    try:
        try:
            return [int(line) for line in read_below(directory, name + b"/cgroup.procs").split()]
        except OSError as error:
            if error.errno != EOPNOTSUPP:
                raise
            # A threaded cgroup of v2 tells its threads only (cgroup-v2, Threads).
            threads = read_below(directory, name + b"/cgroup.threads").split()
            return list({_process_of(thread) for thread in threads})
    except OSError as error:
        if error.errno not in GONE:
            raise
        return []


def _process_of(thread: str) -> int:
    """Return the process that a thread belongs to, 0 where it has ended (proc_pid_status(5))."""
    try:
        status = read(f"/proc/{thread}/status")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(status.partition("\nTgid:")[2].split(maxsplit=1)[0])
