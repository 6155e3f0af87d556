"""The connection of an asyncio loop to the resident process: each loop has one of its own, and reads it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..errors import NajaError
from ..resident import messages
from . import connection
from .asking import Answer, ResidentGone, undo

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

__all__ = ["Link", "link"]

#: How many requests may be under way at a time, beside those that wait for an end.
_MOST = 128

#: The name of the thread that starts the resident process.
THREAD = "naja: start"

#: How long what was begun in vain may take to be undone, in seconds.
_PATIENCE = 30.0


class Link:
    """Asks the resident process, for one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, socket: socket.socket) -> None:
        self.loop = loop
        self._socket = socket
        socket.setblocking(False)
        self._numbers = count(1)
        self._slots = asyncio.Semaphore(_MOST)
        self._futures: dict[int, asyncio.Future[Answer]] = {}
        #: What waits for room: messages, and descriptors that are ours to close.
        self._outbox: deque[tuple[dict[str, Any], list[int]]] = deque()
        #: Whether it is of no use any more.
        self.gone = False
        loop.add_reader(socket.fileno(), _Reader(self))

    async def ask(self, do: str, descriptors: Sequence[int] = (), /, **fields: Any) -> Answer:
        """Ask for something, and return the answer. Raises NajaError where that is an error.

        Cancelled, what was asked for is undone.
        """
        async with self._slots:
            number, future = self.begin(do, descriptors, **fields)
            try:
                answer = await asyncio.shield(future)
            except asyncio.CancelledError:
                await self._undo(number, future, do, fields)
                raise
        if answer.error:
            raise answer.error.with_traceback(None)
        return answer

    def begin(
        self, do: str, descriptors: Sequence[int] = (), /, **fields: Any
    ) -> tuple[int, asyncio.Future[Answer]]:
        """Ask for something; return the number of the request, and the future of its answer."""
        number = next(self._numbers)
        future = self._futures[number] = self.loop.create_future()
        self._send({"call": number, "do": do, **fields}, descriptors)
        return number, future

    async def _undo(
        self, number: int, future: asyncio.Future[Answer], do: str, fields: dict[str, Any]
    ) -> None:
        if not future.done():
            self._send({"call": number, "do": "cancel"}, ())
        with contextlib.suppress(TimeoutError, NajaError):
            answer = await asyncio.wait_for(asyncio.shield(future), _PATIENCE)
            answer.drop()
            if again := undo(do, fields, answer):
                await asyncio.wait_for(asyncio.shield(self.begin(again[0], (), **again[1])[1]), _PATIENCE)

    def _send(self, message: dict[str, Any], descriptors: Sequence[int]) -> None:
        """Send a message, now or when there is room."""
        if self.gone:
            self._end()
            return
        self._outbox.append((message, [os.dup(descriptor) for descriptor in descriptors]))
        self._flush()

    def _flush(self) -> None:
        while self._outbox:
            message, descriptors = self._outbox[0]
            try:
                messages.send(self._socket.fileno(), message, descriptors)
            except BlockingIOError:
                self.loop.add_writer(self._socket.fileno(), self._flush)
                return
            except NajaError as error:
                self._tell(message["call"], Answer.failed(error))
            except OSError:
                self._end()
                return
            messages.close(descriptors)
            self._outbox.popleft()
        self.loop.remove_writer(self._socket.fileno())

    def close(self) -> None:
        """Leave the resident process: the loop is closed, or that is gone."""
        self.gone = True
        self._socket.close()

    def read(self) -> None:
        """Take all that has come."""
        while True:
            try:
                received = messages.receive(self._socket.fileno())
            except BlockingIOError:
                return
            except OSError:
                received = None
            if received is None:
                self._end()
                return
            self._tell(received[0]["call"], Answer(*received))

    def _tell(self, number: int, answer: Answer) -> None:
        future = self._futures.pop(number, None)
        if future and not future.done():
            future.set_result(answer)
        else:
            answer.drop()

    def _end(self) -> None:
        """Tell everybody that the resident process is gone."""
        if not self.gone:
            self.gone = True
            self.loop.remove_writer(self._socket.fileno())
            self.loop.remove_reader(self._socket.fileno())
        for _, descriptors in self._outbox:
            messages.close(descriptors)
        self._outbox.clear()
        for number in list(self._futures):
            why = "it was killed, or has crashed"
            self._tell(number, Answer.failed(ResidentGone("the resident process has ended", why=why)))


class _Reader:
    """What the loop calls when something has come; nobody else has it, so it goes when the loop is closed."""

    def __init__(self, found: Link) -> None:
        self._link = found

    def __call__(self) -> None:
        self._link.read()

    def __del__(self) -> None:
        self._link.close()


#: By the identity of the loop.
_links: WeakValueDictionary[int, Link] = WeakValueDictionary()
_beginnings: WeakValueDictionary[int, asyncio.Future[Link]] = WeakValueDictionary()


async def link() -> Link:
    """Return the running loop's connection; the first call starts the resident process. Raises NajaError."""
    loop = asyncio.get_running_loop()
    found = _links.get(id(loop))
    if found and found.loop is loop and not found.gone:
        return found
    future = _beginnings.get(id(loop))
    if future is None or future.done() or future.get_loop() is not loop:
        future = _beginnings[id(loop)] = loop.create_future()
        # A thread that ends again: the start of the process takes longer than a loop should stand still.
        threading.Thread(target=_connect, args=(loop, future), name=THREAD, daemon=True).start()
    return await asyncio.shield(future)


def _connect(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Link]) -> None:
    try:
        try:
            socket = connection.connection().connect()
        except ResidentGone:
            # It has just died; the next one has not.
            socket = connection.connection().connect()
    except (NajaError, OSError) as error:
        failure = error
        _soon(loop, lambda: future.set_exception(failure))
        return

    def begin() -> None:
        found = _links[id(loop)] = Link(loop, socket)
        future.set_result(found)

    if not _soon(loop, begin):
        socket.close()


def _soon(loop: asyncio.AbstractEventLoop, callback: Any) -> bool:
    """Call back in the loop; False where that is closed."""
    try:
        loop.call_soon_threadsafe(callback)
    except RuntimeError:
        return False
    return True
