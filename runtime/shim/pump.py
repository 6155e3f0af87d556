"""Copies bytes from one descriptor to another, as fast as both of them take it, and no faster."""

from __future__ import annotations

import os
import stat
from errno import EAGAIN, EINTR, ENOSPC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..resident.loop import Loop

_CHUNK = 1 << 15


class Pump:
    """Copies until the source has come to its end. Both descriptors are taken over."""

    def __init__(self, loop: Loop, source: int, target: int, ended: Callable[[], None] | None = None) -> None:
        """``ended`` is called when the source has come to its end, and all of it is written."""
        self._loop = loop
        self._source = source
        self._target = target
        self._pending = b""
        self._draining = False
        self._callbacks = [ended] if ended else []
        self.is_done = False
        # A file can always be written, and an epoll takes none.
        self._is_file = stat.S_ISREG(os.fstat(target).st_mode)
        for descriptor in (source, target):
            os.set_blocking(descriptor, False)
        self._loop.watch(source, self._read)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back when the source has come to its end, at once where it has."""
        if self.is_done:
            callback()
        else:
            self._callbacks.append(callback)

    def drain(self) -> None:
        """Copy what is there, and take that for the end: nobody will write to the source any more."""
        self._draining = True
        if not self.is_done and not self._pending:
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except OSError as error:
            if error.errno in (EAGAIN, EINTR):
                if self._draining:
                    self._finish()
                return
            data = b""  # EIO: a terminal that nobody has open any more.
        if not data:
            self._finish()
            return
        self._pending = data
        self._loop.forget(self._source)
        self._write()

    def _write(self) -> None:
        try:
            self._pending = self._pending[os.write(self._target, self._pending) :]
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                # On a full disk this part is lost; where nobody reads any more, so is all that follows.
                self._pending = b""
                if error.errno != ENOSPC:
                    self._finish()
                    return
        if self._pending and not self._is_file:
            self._loop.watch(self._target, None, self._write)
            return
        if self._pending:
            self._loop.soon(self._write)
            return
        if not self._is_file:
            self._loop.forget(self._target)
        if self._draining:
            self._loop.soon(self._read_on)
        self._loop.watch(self._source, self._read)

    def _read_on(self) -> None:
        if not self.is_done and not self._pending:
            self._read()

    def _finish(self) -> None:
        self.close()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._loop.guard(callback)

    def close(self) -> None:
        """Stop, and close both ends."""
        if self.is_done:
            return
        self.is_done = True
        for descriptor in (self._source, self._target):
            self._loop.forget(descriptor)
            os.close(descriptor)
