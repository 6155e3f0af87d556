"""What tests of the Python API need: an end of the resident process."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from naja.library import connection, loop
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def resident_gone() -> Iterator[None]:
    """See that afterwards there is no resident process of this program any more."""
    try:
        yield
    finally:
        for thread in threading.enumerate():
            if thread.name == loop.THREAD:
                thread.join()  # Whoever has asked for it was cancelled.
        pid = resident_pid()
        connection.disconnect()
        if pid:
            wait_until(lambda: is_gone(pid), timeout=30, what="the end of the resident process")


def resident_pid() -> int:
    """Return the pid of the resident process, 0 where there is none."""
    return connection._current.resident.pid if connection._current else 0


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended; as a child (of this subreaper) it is reaped."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    return not os.path.exists(f"/proc/{pid}")
