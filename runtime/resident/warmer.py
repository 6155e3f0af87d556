"""A process beside the workers that keeps their moves into cgroups cheap (startup/warmup.py tells what for).

The first move after a pause waits for up to 16 ms; with this it does so while the worker compiles its plan.
So every millisecond counts until it begins, and a fork takes two: who has done it once waits a while for the
next time.
"""

from __future__ import annotations

import os
import select
import time

from .. import cgroups
from ..linux import process
from ..startup.warmup import is_needed, open_own, write_repeatedly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SIGKILL = 9

#: For how long it is done at a time, less what a worker needs; in seconds.
_SPAN = 0.05

#: How long it waits for the next time, in milliseconds.
_REST = 2000


class Warmer:
    """Begins to keep moves cheap when somebody is about to move, and ends by itself."""

    def __init__(self) -> None:
        #: Till when they are cheap; always, where there is no v2 tree.
        self._until = 0.0 if is_needed() else float("inf")
        #: Wakes the one that waits; -1 where there is none.
        self._bell = -1

    def warm(self) -> None:
        """See that moves are cheap for a while. Raises nothing: this is but a saving of time."""
        if self.ring():
            return
        self._until = time.monotonic() + _SPAN
        try:
            self._begin()
        except OSError:
            return

    def ring(self) -> bool:
        """Do so where that takes no time: one that waits is woken. Return whether moves are cheap."""
        now = time.monotonic()
        if now < self._until:
            return True
        if self._bell < 0:
            return False
        try:
            os.write(self._bell, b"0")
        except OSError:
            os.close(self._bell)  # It has ended.
            self._bell = -1
            return False
        self._until = now + _SPAN
        return True

    def _begin(self) -> None:
        parent = os.getpid()
        ear, self._bell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not os.fork():
                _live(parent, ear)
        finally:
            os.close(ear)


def _open_own() -> int:
    """Open the file of the cgroup that this process is in; return -1 where it may not write to that."""
    try:
        return open_own(cgroups.detect())
    except OSError:
        return -1


def _live(parent: int, ear: int) -> NoReturn:
    """Move where it is, again and again, whenever it is woken; end with the parent, if not before."""
    try:
        process.set_parent_death_signal(_SIGKILL)
        # Looked for here: what is looked at for the first time becomes memory of whoever looks.
        procs = _open_own()
        if procs >= 0 and os.getppid() == parent:
            # Nobody shall wait for an end of anybody's pipes because of this.
            process.close_all_but((procs, ear))
            poll = select.poll()
            poll.register(ear, select.POLLIN)
            write_repeatedly(procs)
            while poll.poll(_REST) and os.read(ear, 64):
                write_repeatedly(procs)
    finally:
        os._exit(0)
