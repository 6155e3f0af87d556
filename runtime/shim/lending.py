"""A shim that is there lends a fork of itself to one that is to start.

That is loaded already, and shares its memory with the one that it was forked from until one of them writes to
it: so a shim for each pod takes little more than one for all. Whoever was started first for a containerd
lends, and after it has ended another one.
"""

from __future__ import annotations

import _socket
import os

from ..errors import ChannelClosed
from ..linux.channel import Channel
from ..resident.workers import arrange
from ..startup import precompiled
from . import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ..resident.loop import Loop

#: How long who borrows and who lends wait for each other, in seconds.
_PATIENCE = 2.0

#: How soon a shim offers itself, and asks again whether it may, in seconds.
_PAUSE = 1.0


def place(containerd: str) -> str:
    """Return the path of a lender's socket: one for each containerd, and each state of naja's own code."""
    try:
        status = os.stat(precompiled.FILE)
        state = f"{status.st_ino} {status.st_mtime_ns}"
    except OSError:
        state = ""
    return address.path(address.make(containerd, f"{precompiled.PACKAGE} {state}", "lender"))


def borrow(place: str, request: dict[str, Any], listener: _socket.socket) -> bool:
    """Have a fork of the lender serve at a socket; False where there is none, or it does not answer."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    channel = Channel(connection)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(place)
        channel.send(request, [listener.fileno()])
        channel.receive()
        # From here on it serves; had this one given up before, it would have ended.
        channel.send(True)
        return True
    except (OSError, ChannelClosed):
        return False
    finally:
        channel.close()


class Lender:
    """Lends; ``become`` is called in the fork, with what was asked for, and what it is to serve at."""

    def __init__(self, loop: Loop, place: str, become: Callable[[dict[str, Any], int], NoReturn]) -> None:
        self._loop = loop
        self._place = place
        self._become = become
        self._listener: _socket.socket | None = None
        loop.later(_PAUSE, self._offer)

    def _offer(self) -> None:
        """Be the one that lends, where nobody is."""
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            with address.Lock(wait=False):
                if not address.bind(listener, self._place):
                    listener.close()
                    return
        except BlockingIOError:
            # One that starts has it, and may even wait for this one.
            listener.close()
            self._loop.later(_PAUSE, self._offer)
            return
        listener.listen(16)
        listener.setblocking(False)
        self._listener = listener
        self._loop.watch(listener.fileno(), self._lend)

    def _lend(self) -> None:
        try:
            assert self._listener
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        try:
            if os.fork() == 0:
                self._live(descriptor)
        except OSError:
            pass  # Who asked starts without.
        os.close(descriptor)

    def _live(self, descriptor: int) -> NoReturn:
        """Be the fork: take what is asked for, and become it."""
        try:
            # All else is the lender's, down to what its loop waits for.
            descriptor = arrange(descriptor, (), 0)
            channel = Channel.from_descriptor(descriptor)
            channel.socket.settimeout(_PATIENCE)
            request, (listener,) = channel.receive()
            channel.send(True)
            channel.receive()
            channel.close()
        except (OSError, ChannelClosed, ValueError):
            os._exit(1)
        self._become(request, listener)

    def close(self) -> None:
        """Lend no more."""
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            try:
                os.unlink(self._place)
            except OSError:
                pass
