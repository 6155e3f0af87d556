"""What a worker leaves that was killed, by the kernel's out-of-memory killer for one; and the end of it."""

from __future__ import annotations

import os

from ..container import state
from ..container.lifecycle import Container
from ..linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SIGKILL = 9


def remove_unfinished(root: str, id: str, worker: int) -> None:
    """Remove a container that nobody was told of, if it is the one that a worker was making.

    To be called by another worker: the process that waits at its gate is by now a child of the resident one.
    Raises NajaError.
    """
    try:
        pid = _recorded_pid(root, id)
    except state.NoContainer:
        return
    if pid in (0, worker) or process.parent(pid) in (0, os.getppid()):
        Container.open(id, root=root).delete(force=True)


def _recorded_pid(root: str, id: str) -> int:
    """Return the pid in a container's record, 0 where there is none. Raises NoContainer."""
    directory = state.StateDirectory.open(root, id)
    try:
        directory.lock()  # Who else is at it has made it.
        return int(directory.read().get("pid", 0))
    except state.BrokenRecord:
        return 0
    finally:
        directory.close()


def children(known: Iterable[int]) -> list[tuple[int, int]]:
    """Return pid and start time of this process's children that are not known."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            pids = {int(word) for word in file.read().split()}
    except OSError:
        return []  # A kernel that does not tell.
    return [(pid, process.start_time(pid)) for pid in pids.difference(known)]


def end_strays(init: int, strays: list[tuple[int, int]]) -> None:
    """Kill those that were added to the pid namespace of a container's process: nobody knows of them.

    Where the container has none of its own, they could be orphans of its processes, and are left alone.
    Raises OSError.
    """
    inside = _pid_namespace(f"/proc/{init}")
    if not inside or inside == _pid_namespace("/proc/self"):
        return
    for pid, started in strays:
        if held := process.Held.find(pid, started):
            with held:
                if _pid_namespace(f"/proc/{held.name}") == inside:
                    held.signal(_SIGKILL)


def _pid_namespace(directory: str) -> str:
    try:
        return os.readlink(f"{directory}/ns/pid")
    except OSError:
        return ""  # It has ended.
