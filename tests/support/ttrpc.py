"""The other side of ttrpc: somebody who makes calls and waits, and somebody who takes events."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from naja.shim import messages, ttrpc

if TYPE_CHECKING:
    from naja.shim.wire import Message


class Client:
    """A connection on which calls are made, one after the other or many at once."""

    def __init__(self, path: str, timeout: float = 30) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self._frames = ttrpc.Frames()
        self._answers: dict[int, bytes] = {}
        self._stream = -1

    def begin(self, service: str, method: str, payload: bytes, timeout: float = 0) -> int:
        """Make a call; return what ``end`` takes."""
        self._stream += 2
        message = ttrpc.request(service, method, payload, timeout)
        self.socket.sendall(ttrpc.frame(self._stream, ttrpc.REQUEST, message))
        return self._stream

    def end(self, stream: int) -> bytes:
        """Return what a call is answered with. Raises Failure, EOFError."""
        while stream not in self._answers:
            self._answers |= dict(self.receive())
        result = ttrpc.outcome(self._answers.pop(stream))
        if isinstance(result, ttrpc.Failure):
            raise result
        return result

    def receive(self) -> list[tuple[int, bytes]]:
        """Return (stream, message) of the responses that have come. Raises EOFError."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError
        return [(stream, message or b"") for stream, kind, message in self._frames.feed(data) if kind == 2]

    def call(self, service: str, method: str, payload: bytes = b"", timeout: float = 0) -> bytes:
        """Make a call and return the answer. Raises Failure, EOFError."""
        return self.end(self.begin(service, method, payload, timeout))

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Events:
    """Takes events as containerd does, while it is there: from ``listen`` to ``hang_up``."""

    def __init__(self, path: str) -> None:
        self.path = path
        #: (topic, the event as a dictionary), in the order in which they came.
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self._kinds: dict[str, Message] = {topic: kind for kind, topic in messages.TOPICS.items()}
        self._open: list[socket.socket] = []
        self.listen()

    def listen(self) -> None:
        """Be there."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(8)
        self._open.append(listener)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        frames = ttrpc.Frames()
        try:
            while data := connection.recv(1 << 16):
                for stream, _, message in frames.feed(data):
                    self._note(message or b"")
                    connection.sendall(ttrpc.frame(stream, ttrpc.RESPONSE, b""))
        except OSError:
            pass

    def _note(self, message: bytes) -> None:
        call = ttrpc._REQUEST.decode(message)
        envelope = messages.FORWARD.decode(call["payload"])["envelope"]
        event = messages.unwrap(envelope["event"], self._kinds[envelope["topic"]])
        self.seen.append((envelope["topic"], event))

    def topics(self) -> list[str]:
        """Return the topics in the order in which they came, without "/tasks/"."""
        return [topic.removeprefix("/tasks/") for topic, _ in self.seen]

    def hang_up(self) -> None:
        """Be away."""
        for each in self._open:
            # A thread that waits in accept or recv is woken by this only.
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        self._open.clear()


def header(length: int, stream: int, kind: int, flags: int = 0) -> bytes:
    """Return the header of a frame, whatever it says."""
    return struct.pack(">IIBB", length, stream, kind, flags)
