"""One connection to the resident process for all threads of a program.

There is no thread of naja's own, which a program that forks would have to know of: of the threads that wait
one reads, for all, until it has its own answer; then another does. An answer is taken from the socket and
kept by C code alone, so a signal's handler that raises (Ctrl-C) loses none.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import weakref
from collections import deque
from itertools import count, starmap
from typing import TYPE_CHECKING, Any

from ..errors import Aftermath
from ..linux.channel import rights
from ..resident import messages
from .asking import Answer, ResidentGone, undo
from .resident import Resident, start

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Connection", "Pending", "connection", "disconnect"]

#: How many requests may be under way at a time, beside those that wait for an end.
_MOST = 128

#: How long what was begun in vain may take to be undone, in seconds.
_PATIENCE = 30.0

_ROOM = (messages.MOST_BYTES, socket.CMSG_SPACE(4 * messages.MOST_DESCRIPTORS))
_FLAGS = socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT


class Pending:
    """A request that is under way."""

    __slots__ = ("abandoned", "answer", "do", "fields", "number", "slot", "waiters")

    def __init__(self, number: int, do: str, fields: dict[str, Any], *, slot: bool) -> None:
        self.number = number
        self.do = do
        self.fields = fields
        self.answer: Answer | None = None
        #: Nobody waits for it any more.
        self.abandoned = False
        self.slot = slot
        self.waiters: list[_Waiter] = []


class _Waiter:
    """A thread that sleeps until there is an answer, or it is its turn to read."""

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.reads = False
        self.wake = threading.Lock()
        self.wake.acquire()


class Connection:
    """Asks the resident process, and waits for its answers, in any thread."""

    def __init__(self, resident: Resident) -> None:
        self.resident = resident
        self._socket = resident.connection
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MOST)
        self._pending: dict[int, Pending] = {}
        self._waiters: dict[_Waiter, None] = {}
        self._is_read = False
        self._inbox: deque[tuple[bytes, list[Any], int, Any]] = deque()
        #: The packet in there that was last looked at.
        self._seen: object = None
        #: Why it is of no use any more.
        self.gone: ResidentGone | None = None

    def is_alive(self) -> bool:
        """Tell whether there is somebody at the other end; who has died may not have been noticed yet."""
        if self.gone is None:
            poll = select.poll()  # Of its own: several threads cannot use one at a time.
            poll.register(self._socket.fileno(), 0)  # POLLHUP is told unasked.
            if poll.poll(0):
                self._end()
        return self.gone is None

    def ask(self, do: str, descriptors: Sequence[int] = (), /, **fields: Any) -> Answer:
        """Ask for something, and return the answer. Raises NajaError where that is an error."""
        return self.take(self.begin(do, descriptors, **fields))

    def begin(self, do: str, descriptors: Sequence[int] = (), /, **fields: Any) -> Pending:
        """Ask for something. ``wait`` or ``take`` is to follow. Raises NajaError."""
        slot = do != "wait"
        if slot:
            self._slots.acquire()
        pending = Pending(next(self._numbers), do, fields, slot=slot)
        self._pending[pending.number] = pending
        try:
            self._send({"call": pending.number, "do": do, **fields}, descriptors)
        except BaseException:
            self.forget(pending)
            raise
        return pending

    def take(self, pending: Pending, deadline: float | None = None) -> Answer:
        """Wait for an answer, and return it; its request is over. Raises NajaError where it is an error.

        Interrupted, or after the deadline (TimeoutError), what was asked for is undone.
        """
        try:
            answer = self.wait(pending, deadline)
        except BaseException as error:
            with Aftermath(error):
                self._undo(pending)
            raise
        if answer.error:
            # Of several threads each has a traceback of its own.
            raise answer.error.with_traceback(None)
        return answer

    def wait(self, pending: Pending, deadline: float | None = None) -> Answer:
        """Wait for an answer. Raises TimeoutError after the deadline (monotonic), and may be called again."""
        while pending.answer is None:
            waiter = _Waiter(pending)
            try:
                if self._takes_turn(waiter) or self._sleep(waiter, deadline):
                    self._read(pending, deadline)
                elif pending.answer is None and deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
            finally:
                self._leave(waiter)
        self.forget(pending)
        return pending.answer

    def _undo(self, pending: Pending) -> None:
        """Have a request be undone. Raises NajaError."""
        if pending.answer is None:
            self._send({"call": pending.number, "do": "cancel"}, ())
        try:
            answer = self.wait(pending, time.monotonic() + _PATIENCE)
        except BaseException:
            pending.abandoned = True
            raise
        answer.drop()
        if again := undo(pending.do, pending.fields, answer):
            self.ask(again[0], (), **again[1])

    def forget(self, pending: Pending) -> None:
        """Note that a request is over."""
        if self._pending.pop(pending.number, None) and pending.slot:
            self._slots.release()

    def _send(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        with self._sending:
            if self.gone:
                raise self._told_gone()
            try:
                messages.send(self._socket.fileno(), message, descriptors)
            except OSError:
                self._end()
                raise self._told_gone() from None

    def _takes_turn(self, waiter: _Waiter) -> bool:
        """Tell whether nobody reads, so that this thread has to; else it will be woken."""
        with self._lock:
            if waiter.pending.answer is None and not self._is_read:
                waiter.reads = self._is_read = True
            else:
                self._waiters[waiter] = None
                waiter.pending.waiters.append(waiter)
            return waiter.reads

    def _sleep(self, waiter: _Waiter, deadline: float | None) -> bool:
        """Sleep until there is news; return whether it is this thread's turn to read."""
        if waiter.pending.answer is None:
            left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            waiter.wake.acquire(timeout=min(left, threading.TIMEOUT_MAX))
        with self._lock:
            return waiter.reads

    def _leave(self, waiter: _Waiter) -> None:
        """Take leave of a thread that waits no longer; if it was its turn, another reads."""
        with self._lock:
            self._waiters.pop(waiter, None)
            if waiter in waiter.pending.waiters:
                waiter.pending.waiters.remove(waiter)
            if not waiter.reads:
                return
            for other in self._waiters:
                if other.pending.answer is None:
                    other.reads = True
                    _wake(other)
                    return
            self._is_read = False

    def _read(self, pending: Pending, deadline: float | None) -> None:
        """Read for all until there is an answer to this. Raises TimeoutError."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        while pending.answer is None:
            if self.gone:
                self._end()  # Who has come meanwhile is told.
                continue
            if not self._inbox:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not poll.poll(None if left is None else left * 1000):
                    raise TimeoutError
            self._receive()

    def _receive(self) -> None:
        """Take what has come."""
        try:
            if not self._inbox:
                self._inbox.extend(starmap(self._socket.recvmsg, ((*_ROOM, _FLAGS),)))
        except BlockingIOError:
            return
        except OSError:
            self._end()
            return
        packet = self._inbox[0]
        if packet is not self._seen:
            if not packet[0]:
                self._end()
            else:
                self._note(packet)
        self._inbox.popleft()

    def _note(self, packet: tuple[bytes, list[Any], int, Any]) -> None:
        """Pass an answer on to who waits for it."""
        descriptors = rights(packet[1])
        message = messages.parse(packet[0])
        pending = self._pending.get(message["call"])
        answer = Answer(message, descriptors)
        if pending is None:
            self._seen = packet
            answer.drop()
            return
        pending.answer = answer
        self._seen = packet
        if pending.abandoned:
            self.forget(pending)
            answer.drop()
        with self._lock:
            for waiter in pending.waiters:
                _wake(waiter)

    def _end(self) -> None:
        """Tell everybody that the resident process is gone."""
        with self._lock:
            if self.gone is None:
                why = self.resident.last_words() or "it was killed, or has crashed"
                self.gone = ResidentGone("the resident process has ended", why=why)
            for pending in list(self._pending.values()):
                if pending.answer is None:
                    pending.answer = Answer.failed(self._told_gone())
                for waiter in pending.waiters:
                    _wake(waiter)

    def _told_gone(self) -> ResidentGone:
        assert self.gone
        return ResidentGone(self.gone.what, why=self.gone.why)

    def connect(self) -> socket.socket:
        """Return one more connection to the process, for somebody who reads it alone. Raises NajaError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.ask("connect", [theirs.fileno()])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        _others.add(ours)
        return ours

    def close(self) -> None:
        """Leave the process: what is tied to this connection goes."""
        self._end()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # Who waits for it wakes.
        self.resident.close()

    def begin_anew(self) -> None:
        """In a child of fork: be of no use, whatever other threads were about to do."""
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self.resident.close()
        self.gone = ResidentGone("the resident process is that of the parent", why="this is a forked child")
        self._end()


def _wake(waiter: _Waiter) -> None:
    try:
        waiter.wake.release()
    except RuntimeError:
        pass  # It was woken already.


_current: Connection | None = None
_user = -1
_starting = threading.Lock()


def connection() -> Connection:
    """Return the program's connection; the first call starts the resident process. Raises NajaError."""
    global _current, _user
    found = _current
    if found and found.is_alive() and _user == os.geteuid():
        return found
    with _starting:
        found = _current
        if found is None or not found.is_alive() or _user != os.geteuid():
            _current = None
            if found:
                if found.gone:
                    found.resident.await_end()
                found.close()
            found = Connection(start())
            _current, _user = found, os.geteuid()
        return found


def disconnect() -> None:
    """Leave the resident process, which ends it; the next call starts another."""
    global _current
    with _starting:
        found, _current = _current, None
        if found:
            found.close()


#: Connections of others (``Connection.connect``), which a child of fork has no use for either.
_others: weakref.WeakSet[socket.socket] = weakref.WeakSet()


def _begin_anew() -> None:
    """In a child of fork: the connection is the parent's, and threads that held locks are not here."""
    global _current, _starting
    found, _current, _starting = _current, None, threading.Lock()
    if found:
        found.begin_anew()
    for other in list(_others):
        other.close()


os.register_at_fork(after_in_child=_begin_anew)
