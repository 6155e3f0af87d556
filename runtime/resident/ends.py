"""The ends of processes: a resident naja is the parent of all that its workers leave behind.

A worker (workers.py) ends as soon as it has answered, and what it gave birth to becomes this process's child,
which is a subreaper (PR_SET_CHILD_SUBREAPER). So the exit status of a container's init arrives here.
"""

from __future__ import annotations

import _signal
import os
import time

from ..linux import pidfd, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Callback, Loop

#: waitid(2): whatever signal they end with.
_WALL = 0x40000000

#: How often and after how many seconds the kernel is asked how a process has ended that somebody else reaps.
_TIMES, _PAUSE = 50, 0.02


class End:
    """The end of a process: when (in ns since 1970), and its exit code, 128 + N where signal N ended it.

    The code is None of another's child where the kernel does not tell.
    """

    __slots__ = ("code", "pid", "time")

    def __init__(self, pid: int, code: int | None) -> None:
        self.pid = pid
        self.code = code
        self.time = time.time_ns()


class Ends:
    """Reaps every child, and tells whoever watches it."""

    def __init__(self, loop: Loop) -> None:
        """Become the reaper. Raises OSError."""
        self._loop = loop
        self._watched: dict[int, Callable[[End], None]] = {}
        self._asked: list[Callback] = []
        process.set_child_subreaper(True)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGCHLD,))
        self._signals = process.signalfd((_signal.SIGCHLD,))
        loop.watch(self._signals, self._reap)
        loop.soon(self._reap)  # Who ended before this is told by no signal.

    def watch(self, pid: int, callback: Callable[[End], None]) -> None:
        """Call back once, at the end of a child.

        In time is who calls this before the loop goes on after the birth, or is asked (``ask``).
        """
        self._watched[pid] = callback

    def ask(self, callback: Callback) -> None:
        """Call back before the end of a child that nobody watches is dropped.

        Whoever may know of it has the last chance to watch it.
        """
        self._asked.append(callback)

    def follow(self, pidfd: int, pid: int, callback: Callable[[End], None]) -> None:
        """Call back once, at the end of a process that may be anybody's child. The pidfd is taken over."""
        self._loop.watch(pidfd, lambda: self._learn(pidfd, pid, callback, _TIMES))

    def _learn(self, descriptor: int, pid: int, callback: Callable[[End], None], times: int) -> None:
        """Tell of the end, and how that was once its parent has asked, which the kernel waits for."""
        self._loop.forget(descriptor)
        known, code = pidfd.exit_code(descriptor)
        if not known and times:
            self._loop.later(_PAUSE, lambda: self._learn(descriptor, pid, callback, times - 1))
            return
        os.close(descriptor)
        callback(End(pid, code))

    def _reap(self) -> None:
        try:
            while os.read(self._signals, 4096):
                pass
        except BlockingIOError:
            pass
        while pid := _ended_child():
            if pid not in self._watched:
                for callback in self._asked:
                    self._loop.guard(callback)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, _WALL)[1])
            if watcher := self._watched.pop(pid, None):
                self._loop.guard(watcher, End(pid, 128 - code if code < 0 else code))


def _ended_child() -> int:
    """Return the pid of a child that has ended and is not reaped, 0 where there is none."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | _WALL)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0
