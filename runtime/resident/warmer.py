"""A process beside the workers that keeps their moves into cgroups cheap (startup/warmup.py tells what for).

The first move after a pause waits for up to 16 ms; with this it does so while the worker compiles its plan.
"""

from __future__ import annotations

import os
import time

from .. import cgroups
from ..linux import process
from ..startup.warmup import open_own, write_repeatedly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SIGKILL = 9

#: For how long one process does it, less what a worker needs; in seconds.
_SPAN = 0.05


class Warmer:
    """Begins to keep moves cheap when somebody is about to move, and ends by itself."""

    def __init__(self) -> None:
        #: The file of the cgroup that this process is in; -1 where it may not write to that.
        self._procs = _open_own()
        self._until = 0.0

    def warm(self) -> None:
        """See that moves are cheap for a while. Raises nothing: this is but a saving of time."""
        now = time.monotonic()
        if self._procs < 0 or now < self._until:
            return
        self._until = now + _SPAN
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            return
        if not pid:
            _live(self._procs, parent)


def _open_own() -> int:
    try:
        return open_own(cgroups.detect())
    except OSError:
        return -1


def _live(procs: int, parent: int) -> NoReturn:
    """Move where it is, again and again; end with the parent, if not before."""
    try:
        process.set_parent_death_signal(_SIGKILL)
        if os.getppid() == parent:
            # Nobody shall wait for an end of anybody's pipes because of this.
            os.dup2(procs, 0)
            process.close_range(1)
            write_repeatedly(0)
    finally:
        os._exit(0)
