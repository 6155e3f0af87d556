"""A nursery: a process that does nothing but fork (what Android calls zygote).

A shim that was started in the ordinary way makes one, of itself, where there is none for its containerd; it
ends with the last shim that it knows. Its forks are loaded already, and share its memory until one of them
writes to it: so ``start`` and ``delete`` take little time, and a shim for each pod takes little more than one
for all. What a nursery writes to is memory of each fork, so it does as little as it can; and the fork that
stays, as a shim, is another one than that which was borrowed (lending.py), which has written to more.
"""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import select

from ..errors import ChannelClosed, NajaError
from ..linux import process, scheduling
from ..linux.channel import Channel
from ..resident.workers import arrange
from ..startup import lenders, pages, precompiled
from . import address
from .lending import Borrower

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ..resident.loop import Loop

    Become = Callable[[Borrower], NoReturn]
    Serve = Callable[[dict[str, Any], int], NoReturn]

#: How soon a shim makes one, and asks again whether it may, in seconds.
_PAUSE = 0.1

#: How long two forks wait for each other, in seconds.
_PATIENCE = 2.0

#: Where ``arrange`` puts the first descriptor.
_FIRST = 3


class Founder:
    """A shim that has a nursery made, soon, where there is none."""

    def __init__(self, loop: Loop, containerd: str, become: Become, serve: Serve) -> None:
        """``containerd`` is an address; ``become`` is called in a fork, with who has borrowed it.

        ``serve`` is called in one that stays, with what ``Borrower.hand_over`` was given, and the descriptor
        of the socket.
        """
        self._loop = loop
        self._place = lenders.place(containerd)
        self._calls = become, serve
        #: Hangs up when this process ends.
        self._life: Channel | None = None
        if self._place:
            loop.later(_PAUSE, self._found)

    def _found(self) -> None:
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            with address.Lock(wait=False):
                address.remove_dead(self._place)
                if address.bind(listener, self._place):
                    listener.listen(16)
                    listener.setblocking(False)
                    pages.share()
                    self._fork(listener)
        except BlockingIOError:
            self._loop.later(_PAUSE, self._found)  # One that starts has the lock.
        finally:
            listener.close()

    def _fork(self, listener: _socket.socket) -> None:
        self._life, theirs = Channel.pair()
        try:
            if os.fork() == 0:
                _live(listener.fileno(), theirs.fileno(), self._place, *self._calls)
        except OSError:
            os.unlink(self._place)
            raise
        finally:
            theirs.close()


def _live(listener: int, shim: int, place: str, become: Become, serve: Serve) -> NoReturn:
    """Be the nursery, with the first shim at the other end of a channel, until nobody is left."""
    try:
        listener = arrange(listener, (shim,), 0)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for stream in range(3):
            os.dup2(null, stream)
        os.close(null)
        # Whoever ends, it is somebody that nobody waits for.
        _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        gc.collect()
        gc.freeze()
        gc.disable()
        pages.give_back()
        try:
            _Nursery(listener, Channel.from_descriptor(_FIRST), become, serve).run()
        finally:
            os.unlink(place)
    finally:
        os._exit(0)


class _Nursery:
    def __init__(self, listener: int, shim: Channel, become: Become, serve: Serve) -> None:
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, listener)
        self._become = become
        self._serve = serve
        #: What hangs up with each shim, and with each fork that may ask for one.
        self._known: dict[int, Channel] = {}
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._know(shim)

    def _know(self, channel: Channel) -> None:
        self._known[channel.fileno()] = channel
        self._poll.register(channel.fileno(), select.POLLIN)

    def run(self) -> None:
        while self._known:
            for descriptor, _ in self._poll.poll():
                try:
                    if channel := self._known.get(descriptor):
                        self._hear(channel)
                    else:
                        self._lend()
                except OSError:
                    pass  # Who asked does without, or sees to that itself.

    def _lend(self) -> None:
        """Give a fork to whoever has connected."""
        descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        try:
            ours, theirs = Channel.pair()
            try:
                if os.fork() == 0:
                    self._be_lent(descriptor, theirs.fileno())
                self._know(ours)
            finally:
                theirs.close()
        finally:
            os.close(descriptor)

    def _hear(self, channel: Channel) -> None:
        """A fork wants another one, that serves; or whoever it was has ended."""
        del self._known[channel.fileno()]
        self._poll.unregister(channel.fileno())
        try:
            if channel.socket.recv(1, _socket.MSG_PEEK):
                ours, theirs = Channel.pair()
                try:
                    if os.fork() == 0:
                        self._stay(channel.fileno(), theirs.fileno())
                    self._know(ours)
                finally:
                    theirs.close()
        finally:
            channel.close()

    def _be_lent(self, descriptor: int, nursery: int) -> NoReturn:
        """Be a fork: take what is asked for, and do it, as a process that was just started."""
        try:
            _forget_signals()
            descriptor = arrange(descriptor, (nursery,), 0)
            os.set_inheritable(descriptor, False)
            borrower = Borrower(descriptor, Channel.from_descriptor(_FIRST))
        except (OSError, NajaError, ValueError):
            os._exit(1)
        self._become(borrower)

    def _stay(self, descriptor: int, nursery: int) -> NoReturn:
        """Be a fork that serves. It keeps its end of a channel to the nursery open until it ends."""
        try:
            _forget_signals()
            channel = Channel.from_descriptor(_keep(descriptor, nursery))
            channel.socket.settimeout(_PATIENCE)
            birth, (listener,) = channel.receive()
            for name, limits in birth["limits"].items():
                scheduling.prlimit(0, name, limits)
            channel.send(True)
            channel.receive()
            channel.close()
        except (OSError, NajaError, ChannelClosed, ValueError):
            os._exit(1)
        self._serve(birth, listener)


def _keep(channel: int, nursery: int) -> int:
    """Close all descriptors but these, and the standard streams. Returns where the first is then.

    As ``arrange``, of which little is left to be done: what is executed for the first time becomes memory of
    this process's own.
    """
    if precompiled.descriptor():
        return arrange(channel, (nursery,), 0)
    free = max(channel, nursery) + 1
    os.dup2(channel, free, inheritable=False)
    os.dup2(nursery, _FIRST, inheritable=False)
    os.dup2(free, _FIRST + 1, inheritable=False)
    process.close_range(_FIRST + 2)
    return _FIRST + 1


def _forget_signals() -> None:
    """Have the handlers that a new process has."""
    for number in (_signal.SIGCHLD, _signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_DFL)
