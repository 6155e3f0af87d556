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
        self._until = 0.0

    def warm(self) -> None:
        """See that moves are cheap for a while. Raises nothing: this is but a saving of time."""
        now = time.monotonic()
        if now < self._until:
            return
        self._until = now + _SPAN
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            return
        if not pid:
            _live(parent)


def _open_own() -> int:
    """Open the file of the cgroup that this process is in; return -1 where it may not write to that."""
    try:
        return open_own(cgroups.detect())
    except OSError:
        return -1


def _live(parent: int) -> NoReturn:
    """Move where it is, again and again; end with the parent, if not before."""
    try:
        process.set_parent_death_signal(_SIGKILL)
        # Looked for here: what is looked at for the first time becomes memory of whoever looks.
        procs = _open_own()
        if procs >= 0 and os.getppid() == parent:
            # Nobody shall wait for an end of anybody's pipes because of this.
            os.dup2(procs, 0)
            process.close_range(1)
            write_repeatedly(0)
    finally:
        os._exit(0)
