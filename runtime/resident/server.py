"""The front of a resident naja for other programs: callers connect, ask, and are answered.

A caller that goes away takes with it what it has asked for and that is not yet done. With the last one the
process ends; the containers stay, and ``naja`` finds them.
"""

from __future__ import annotations

import _socket
import os
import time
from struct import unpack

from ..errors import NajaError, worded
from ..startup import pages
from . import messages
from .ends import Ends
from .keeper import Keeper
from .loop import Loop
from .requests import Request, Requests
from .workers import Answer, Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .messages import Message

#: How much one caller may have asked for at a time (beside ends that it waits for), wait for, and not yet
#: have taken.
_MOST_REQUESTS, _MOST_PENDING, _MOST_UNREAD = 256, 8192, 8192

#: How long the first caller is waited for, or the work of the last; and room to accept one; in seconds.
_PATIENCE, _PAUSE = 30.0, 0.5

#: How long there is nothing to do until memory is given back, in seconds.
_REST = 1.0


def serve(channel: int, warn: Callable[[str], None]) -> None:
    """Serve whoever is at the other end of a socket, or connects to it, until nobody is left.

    ``warn`` is told of failures that nobody waits for. Raises NajaError where it is no SOCK_SEQPACKET unix
    socket.
    """
    loop = Loop(warn)
    loop.rest(_REST, pages.give_back)
    ends = Ends(loop)
    Server(loop, ends, Workers(loop, ends)).serve(channel)


class Server:
    """Serves callers until the last is gone."""

    def __init__(self, loop: Loop, ends: Ends, workers: Workers) -> None:
        self._loop = loop
        self._workers = workers
        self._keeper = Keeper(loop, ends, workers)
        self._callers: set[Caller] = set()
        self._alone_since = 0.0

    def serve(self, channel: int) -> None:
        """Serve whoever is at the other end of a socket, or connects to it. Raises NajaError."""
        if _is_listening(channel):
            self._loop.watch(channel, lambda: self._accept(channel))
            self._loop.later(_PATIENCE, self._end_alone)
        else:
            self.begin(channel)
        self._loop.run()

    def _accept(self, listener: int) -> None:
        socket = _socket.socket(fileno=listener)
        try:
            connection, _ = socket._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            return
        except OSError:
            # It has no room for one more descriptor, and would call again at once.
            self._loop.forget(listener)
            self._loop.later(_PAUSE, lambda: self._loop.watch(listener, lambda: self._accept(listener)))
            return
        finally:
            socket.detach()
        if _user(connection) in (0, os.geteuid()):
            self.begin(connection)
        else:
            os.close(connection)

    def begin(self, connection: int) -> None:
        """Serve one more caller."""
        os.set_blocking(connection, False)
        self._callers.add(Caller(self, self._loop, self._workers, self._keeper, connection))

    def leave(self, caller: Caller) -> None:
        """Have a caller be gone."""
        self._callers.discard(caller)
        self._end_alone()

    def _end_alone(self) -> None:
        """End where nobody is left; what goes on is undone first, or done, if that does not take too long."""
        if self._callers:
            self._alone_since = 0.0
            return
        self._alone_since = self._alone_since or time.monotonic()
        if self._workers.is_idle() or time.monotonic() > self._alone_since + _PATIENCE:
            self._loop.stop()
        else:
            self._loop.later(0.01, self._end_alone)


class Caller:
    """One connection: requests come in, and answers go out as fast as they are taken."""

    def __init__(self, server: Server, loop: Loop, workers: Workers, keeper: Keeper, connection: int) -> None:
        self._server = server
        self._loop = loop
        self._workers = workers
        self._requests = Requests(keeper, server.begin)
        self._connection = connection
        self._pending: dict[int, Request] = {}
        self._unread: list[tuple[Message, list[int]]] = []
        self._loop.watch(connection, self._listen)

    def _listen(self) -> None:
        try:
            received = messages.receive(self._connection)
        except BlockingIOError:
            return
        except NajaError as error:
            self._say({"call": None, "error": messages.failure(error)})
            return
        except OSError:  # It is no connection.
            self._leave()
            return
        if received is None:
            self._leave()
        else:
            self._take(*received)

    def _take(self, message: Message, descriptors: list[int]) -> None:
        """Begin to do what a message asks for. Its descriptors are closed when it is done."""
        number = message.pop("call", None)
        if message.get("do") == "cancel":
            messages.close(descriptors)
            self._cancel(number)
            return
        if type(number) is not int or number in self._pending or self._asks_too_much():
            messages.close(descriptors)
            why = "call is no number that is free, or too much is asked for at a time"
            self._say({"call": None, "error": messages.failure(NajaError(why))})
            return

        def done(answer: Answer) -> None:
            if self._pending.pop(number, None):
                messages.close(descriptors)
                self._answer(number, answer)

        request = self._pending[number] = Request(message, descriptors, done)
        try:
            self._requests.perform(request)
        except Exception as error:
            done(Answer(error=worded(error, "a request")))

    def _cancel(self, number: Any) -> None:
        """Have a request be undone, if it is not done yet; its answer is an error then."""
        request = self._pending.get(number) if type(number) is int else None
        if request is None:
            return
        request.abandon()
        if request.watched:
            request.done(Answer(error=NajaError("cancelled")))
        else:
            self._workers.cancel(request.call)

    def _asks_too_much(self) -> bool:
        many = len(self._pending)
        if many >= _MOST_REQUESTS:
            many -= sum(request.watched is not None for request in self._pending.values())
        return many >= _MOST_REQUESTS or len(self._pending) >= _MOST_PENDING

    def _answer(self, number: int, answer: Answer) -> None:
        message: dict[str, Any] = {"call": number}
        if answer.error:
            message["error"] = messages.failure(answer.error)
        else:
            message["value"] = answer.value
        if answer.warnings:
            message["warnings"] = answer.warnings
        self._say(message, answer.descriptors)

    def _say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, now or when there is room; the descriptors are taken over."""
        if self._connection < 0:
            messages.close(descriptors)
            return
        self._unread.append((message, list(descriptors)))
        self._flush()
        if len(self._unread) > _MOST_UNREAD:
            self._leave()

    def _flush(self) -> None:
        while self._unread:
            message, descriptors = self._unread[0]
            try:
                messages.send(self._connection, message, descriptors)
            except BlockingIOError:
                break
            except NajaError as error:
                messages.close(descriptors)
                self._unread[0] = ({"call": message["call"], "error": messages.failure(error)}, [])
                continue
            except OSError:
                self._leave()
                return
            messages.close(descriptors)
            del self._unread[0]
        self._loop.watch(self._connection, self._listen, self._flush if self._unread else None)

    def _leave(self) -> None:
        """Take leave of a caller that is gone, and of what it has asked for."""
        if self._connection < 0:
            return
        self._loop.forget(self._connection)
        os.close(self._connection)
        self._connection = -1
        for _, descriptors in self._unread:
            messages.close(descriptors)
        self._unread.clear()
        for request in self._pending.values():
            request.abandon()
            self._workers.cancel(request.call)
        self._requests.leave()
        self._server.leave(self)


def _is_listening(channel: int) -> bool:
    """Tell whether a socket listens, or is connected. Raises NajaError where it is none of ours."""
    why = "standard input is to be a SOCK_SEQPACKET unix socket, listening or connected"
    try:
        socket = _socket.socket(fileno=channel)
    except OSError as error:
        raise NajaError.from_os_error(why, error) from None
    try:
        if (socket.family, socket.type) != (_socket.AF_UNIX, _socket.SOCK_SEQPACKET):
            raise NajaError(why)
        return bool(socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN))
    finally:
        socket.detach()


def _user(connection: int) -> int:
    """Return the user of who has connected (SO_PEERCRED, unix(7))."""
    socket = _socket.socket(fileno=connection)
    try:
        return int(unpack("=3i", socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[1])
    finally:
        socket.detach()
