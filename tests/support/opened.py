"""Was a file opened? inotify(7) tells of each open(2), but not of those with O_PATH."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_IN_OPEN = 0x20
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def opens(*paths: str) -> Iterator[list[str]]:
    """Fill the list, when the block ends, with those of the paths that somebody opened meanwhile."""
    watch = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert watch >= 0, os.strerror(ctypes.get_errno())
    found: list[str] = []
    try:
        names = {_libc.inotify_add_watch(watch, os.fsencode(path), _IN_OPEN): path for path in paths}
        assert -1 not in names, os.strerror(ctypes.get_errno())
        yield found
        try:
            events = os.read(watch, 1 << 16)
        except BlockingIOError:
            return
        while events:
            number, _, _, length = struct.unpack_from("=iIII", events)
            found.append(names[number])
            events = events[16 + length :]
    finally:
        os.close(watch)
