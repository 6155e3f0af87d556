"""ttrpc: calls over a unix socket, many at a time (PROTOCOL.md in containerd/ttrpc); the unary ones.

A frame is a header (length, number of the stream, type, flags) and a message. ``Server`` answers others'
calls and ``Caller`` makes some, both over a loop and without waiting for anybody. Nothing that the other side
says ends more than its own connection.
"""

from __future__ import annotations

import _socket
import os
from errno import EAGAIN, EINTR
from struct import Struct, unpack

from .wire import BYTES, INT64, STRING, UINT32, Malformed, Many, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    class _Timer(Protocol):
        def cancel(self) -> None: ...

    class _Loop(Protocol):
        """What is asked of a loop: see naja.resident.loop."""

        def watch(
            self, fd: int, read: Callable[[], None] | None, write: Callable[[], None] | None = None
        ) -> None: ...
        def forget(self, fd: int) -> None: ...
        def later(self, seconds: float, callback: Callable[[], None]) -> _Timer: ...

    #: Does a call: is given the bytes of the request, and a Reply to say what came of it, now or later.
    Method = Callable[[bytes, "Reply"], None]
    #: By service ("containerd.task.v2.Task") and method ("Create").
    Services = Mapping[str, Mapping[str, Method]]
    #: What came of a call: the bytes of the answer, or a Failure.
    Outcome = Callable[["bytes | Failure"], None]

REQUEST, RESPONSE, DATA = 1, 2, 3

#: Status codes of gRPC (google/rpc/code.proto).
OK, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS = 0, 2, 3, 4, 5, 6
RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 8, 9, 12, 13, 14

_HEADER = Struct(">IIBB")
#: No message is longer.
LONGEST = 4 << 20
#: Requests are left where they are while this much waits to be read by who made them.
_MOST_UNREAD = 1 << 20
_CHUNK = 1 << 16

_KEY_VALUE = Message("ttrpc.KeyValue", key=(1, STRING), value=(2, STRING))
_REQUEST = Message(
    "ttrpc.Request",
    service=(1, STRING),
    method=(2, STRING),
    payload=(3, BYTES),
    timeout_nano=(4, INT64),
    metadata=(5, Many(_KEY_VALUE)),
)
_STATUS = Message("google.rpc.Status", code=(1, UINT32), message=(2, STRING))
_RESPONSE = Message("ttrpc.Response", status=(1, _STATUS), payload=(2, BYTES))


class Failure(Exception):
    """A call that failed: a status code of gRPC, and why."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def request(service: str, method: str, payload: bytes, timeout: float = 0) -> bytes:
    """Return the message that makes a call; ``timeout`` in seconds, 0 for none."""
    values = {"service": service, "method": method, "payload": payload, "timeout_nano": int(timeout * 1e9)}
    return _REQUEST.encode(values)


def outcome(message: bytes) -> bytes | Failure:
    """Return what the message that ends a call says."""
    try:
        response = _RESPONSE.decode(message)
    except Malformed as error:
        return Failure(INTERNAL, f"the answer makes no sense: {error}")
    status = response["status"]
    if status and status["code"] != OK:
        return Failure(status["code"], status["message"])
    return bytes(response["payload"])


def frame(stream: int, kind: int, message: bytes) -> bytes:
    """Return a frame, ready to be sent."""
    return _HEADER.pack(len(message), stream, kind, 0) + message


class Frames:
    """Takes frames out of a stream of bytes, in whatever pieces that comes."""

    __slots__ = ("_buffer", "_skip")

    def __init__(self) -> None:
        self._buffer = bytearray()
        #: So many bytes more are of a message that is too long.
        self._skip = 0

    def feed(self, data: bytes) -> list[tuple[int, int, bytes | None]]:
        """Return (stream, type, message) of the frames that are complete now; None for a message too long."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip, data = self._skip - skipped, data[skipped:]
        self._buffer += data
        found: list[tuple[int, int, bytes | None]] = []
        while len(self._buffer) >= _HEADER.size:
            length, stream, kind, _ = _HEADER.unpack_from(self._buffer)
            end = _HEADER.size + length
            if length > LONGEST:
                found.append((stream, kind, None))
                self._skip = max(0, end - len(self._buffer))
            elif len(self._buffer) < end:
                break
            else:
                found.append((stream, kind, bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return found


class Connection:
    """One end of a connection; ``received`` gets each frame, ``closed`` is told of the end, once."""

    def __init__(
        self,
        loop: _Loop,
        socket: _socket.socket,
        received: Callable[[int, int, bytes | None], None],
        closed: Callable[[], None],
    ) -> None:
        socket.setblocking(False)
        self._loop = loop
        self._socket: _socket.socket | None = socket
        self._received = received
        self._closed = closed
        self._frames = Frames()
        self._unsent = bytearray()
        self._watch()

    def _watch(self) -> None:
        if self._socket:
            read = self._read if len(self._unsent) < _MOST_UNREAD else None
            self._loop.watch(self._socket.fileno(), read, self._write if self._unsent else None)

    def send(self, stream: int, kind: int, message: bytes) -> None:
        """Send a frame as soon as there is room for it; to an end that is gone nothing is said."""
        if self._socket is None:
            return
        waiting = bool(self._unsent)
        self._unsent += frame(stream, kind, message)
        if waiting:
            self._watch()
        else:
            self._write()

    def _write(self) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(self._unsent, _socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                self.close()
                return
            sent = 0
        del self._unsent[:sent]
        self._watch()

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(_CHUNK)
        except OSError as error:
            if error.errno not in (EAGAIN, EINTR):
                self.close()
            return
        if not data:
            self.close()
            return
        for stream, kind, message in self._frames.feed(data):
            self._received(stream, kind, message)

    def close(self) -> None:
        """Close this end."""
        socket, self._socket = self._socket, None
        if socket:
            self._loop.forget(socket.fileno())
            socket.close()
            self._closed()


class Reply:
    """What a call is answered with, once: ``give`` or ``fail``. What is said afterwards nobody hears."""

    __slots__ = ("_connection", "_open", "_stream", "_timer", "abandoned")

    def __init__(self, connection: Connection, stream: int, open: set[Reply]) -> None:
        self._connection: Connection | None = connection
        self._stream = stream
        self._timer: _Timer | None = None
        #: Those of the connection that are due.
        self._open = open
        open.add(self)
        #: Called where the time for it is over, or who asked is gone.
        self.abandoned: Callable[[], None] = _nothing

    def limit(self, loop: _Loop, nanoseconds: int) -> None:
        """Let the call fail where it takes longer."""
        if nanoseconds > 0:
            self._timer = loop.later(nanoseconds / 1e9, self._expire)

    def _expire(self) -> None:
        self.fail(DEADLINE_EXCEEDED, "context deadline exceeded")
        self.abandoned()

    def abandon(self) -> None:
        """Note that who asked is gone."""
        self._settle()
        self.abandoned()

    def give(self, payload: bytes) -> None:
        """Answer."""
        self._say({"status": {}, "payload": payload})

    def fail(self, code: int, message: str) -> None:
        """Say why there is no answer."""
        # A text of the kernel's may hold bytes that are no UTF-8, which would be no string here.
        text = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self._say({"status": {"code": code, "message": text}})

    def _say(self, response: dict[str, object]) -> None:
        connection = self._settle()
        if connection:
            connection.send(self._stream, RESPONSE, _RESPONSE.encode(response))

    def _settle(self) -> Connection | None:
        """Return the connection, where nothing was said yet."""
        connection, self._connection = self._connection, None
        self._open.discard(self)
        if self._timer:
            self._timer.cancel()
        return connection


def _nothing() -> None:
    pass


class Server:
    """Answers the calls of all who connect to a listening socket and are the same user."""

    def __init__(self, loop: _Loop, listener: _socket.socket, services: Services) -> None:
        listener.setblocking(False)
        self._loop = loop
        self._listener = listener
        self._services = services
        self._peers: set[_Peer] = set()
        loop.watch(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return  # Who asked is gone; or no descriptor is left, and the loop asks again.
        os.set_inheritable(descriptor, False)
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)
        credentials = socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        if unpack("=iII", credentials)[1] != os.geteuid():
            socket.close()
            return
        self._peers.add(_Peer(self._loop, socket, self._services, self._peers.discard))

    def stop_listening(self) -> None:
        """Take no more callers; those who are there are answered as ever."""
        self._loop.forget(self._listener.fileno())
        self._listener.close()


class _Peer:
    """Somebody who calls."""

    def __init__(
        self, loop: _Loop, socket: _socket.socket, services: Services, gone: Callable[[_Peer], None]
    ) -> None:
        self._loop = loop
        self._services = services
        self._gone = gone
        self._last = 0
        self._replies: set[Reply] = set()
        self.connection = Connection(loop, socket, self._received, self._closed)

    def _closed(self) -> None:
        self._gone(self)
        for reply in [*self._replies]:
            reply.abandon()

    def _received(self, stream: int, kind: int, message: bytes | None) -> None:
        if kind not in (REQUEST, DATA):
            return  # Of a version that is newer than this.
        reply = Reply(self.connection, stream, self._replies)
        if message is None:
            reply.fail(RESOURCE_EXHAUSTED, f"message length exceeds maximum message size of {LONGEST}")
        elif not stream % 2:
            reply.fail(INVALID_ARGUMENT, "StreamID must be odd for client initiated streams")
        elif kind == DATA:
            reply.fail(INVALID_ARGUMENT, "StreamID is no longer active")
        elif stream <= self._last:
            reply.fail(INVALID_ARGUMENT, "StreamID cannot be re-used and must increment")
        else:
            self._last = stream
            self._call(message, reply)

    def _call(self, message: bytes, reply: Reply) -> None:
        try:
            call = _REQUEST.decode(message)
            method = self._find(call["service"], call["method"])
            reply.limit(self._loop, call["timeout_nano"])
            method(call["payload"], reply)
        except Malformed as error:
            reply.fail(INVALID_ARGUMENT, f"unmarshal request error: {error}")
        except Failure as error:
            reply.fail(error.code, error.message)

    def _find(self, service: str, method: str) -> Method:
        methods = self._services.get(service)
        if methods is None:
            raise Failure(UNIMPLEMENTED, f"service {service}")
        if method not in methods:
            raise Failure(UNIMPLEMENTED, f"method {method}")
        return methods[method]


class Caller:
    """Makes calls to one server, to which it connects when there is something to say."""

    def __init__(self, loop: _Loop, path: str) -> None:
        self._loop = loop
        self._path = path
        self._connection: Connection | None = None
        self._stream = -1
        self._waiting: dict[int, tuple[Outcome, _Timer]] = {}

    def call(self, service: str, method: str, payload: bytes, timeout: float, done: Outcome) -> None:
        """Make a call; ``done`` is told what came of it, before this returns where nobody is there."""
        if self._connection is None and not self._connect():
            done(Failure(UNAVAILABLE, f"nobody listens at {self._path}"))
            return
        self._stream += 2
        stream = self._stream
        late = Failure(DEADLINE_EXCEEDED, "no answer in time")
        self._waiting[stream] = done, self._loop.later(timeout, lambda: self._end(stream, late))
        if self._connection:
            self._connection.send(stream, REQUEST, request(service, method, payload, timeout))

    def _connect(self) -> bool:
        kind = _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        socket = _socket.socket(_socket.AF_UNIX, kind)
        try:
            # A unix socket is connected at once, or not at all (EAGAIN: too many others want to be).
            socket.connect(self._path)
        except OSError:
            socket.close()
            return False
        self._stream = -1
        self._connection = Connection(self._loop, socket, self._received, self._closed)
        return True

    def _received(self, stream: int, kind: int, message: bytes | None) -> None:
        if kind == RESPONSE:
            self._end(
                stream, Failure(RESOURCE_EXHAUSTED, "a long answer") if message is None else outcome(message)
            )

    def _end(self, stream: int, result: bytes | Failure) -> None:
        done, timer = self._waiting.pop(stream, (None, None))
        if done and timer:
            timer.cancel()
            done(result)

    def _closed(self) -> None:
        self._connection = None
        for stream in [*self._waiting]:
            self._end(stream, Failure(UNAVAILABLE, "hung up"))

    def close(self) -> None:
        """Hang up."""
        if self._connection:
            self._connection.close()
