"""Births without a copy of the memory: vfork(2), for a child that goes on in Python."""

from __future__ import annotations

from . import libc
from .scheduling import prlimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: Bytes of stack: native/kernel.c gives the child a part of the caller's, and the rest has to do for that.
_ROOM = 2 << 20

#: What both may take, in bytes.
_MEMORY = 64 << 20


def can_share_memory() -> bool:
    """Tell whether ``share_memory`` works: it takes a C compiler to install naja, and room on the stack."""
    try:
        if libc.birth is None or prlimit(0, "RLIMIT_STACK")[0] < _ROOM:
            return False
        # What the child runs out of could not even be told by the parent.
        return all(prlimit(0, kind)[0] >= _MEMORY for kind in ("RLIMIT_AS", "RLIMIT_DATA"))
    except OSError:
        return False  # A filter may deny the question.


def share_memory(life: Callable[[], NoReturn], flags: int) -> int:
    """Give birth to a process that calls ``life`` in this very memory (clone(2), CLONE_VM and CLONE_VFORK).

    The caller, who must have one thread only, stands still until the child has become a program or
    ended; what ``life`` changes in memory stays changed. ``flags`` are CLONE_NEW*. The child has no
    signal handlers, and all signals are blocked. Returns its pid. Raises OSError.
    """
    assert libc.birth is not None, "can_share_memory was not asked"
    return libc.birth(life, flags)
