"""A channel between two processes of naja: framed messages with descriptors.

A frame is a header (length of the payload, number of descriptors) and a payload in ``marshal``
format; its descriptors ride on the header (SCM_RIGHTS, unix(7)). Of more than the kernel takes at once
some go ahead, on headers without a payload. Both ends run the same Python, so
marshal is safe here: it is neither stored nor taken from anyone else.
"""

from __future__ import annotations

import _socket
import marshal
import os
from struct import Struct

from ..errors import ChannelClosed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HEADER = Struct("=II")
#: A plan is some tens of kilobytes, a seccomp filter a few hundred; what is larger is a mistake.
_LIMIT = 64 << 20
#: Of marshal, the last one in which text is nothing but text: not looked up in Python's table of names.
_FORMAT = 2
#: The kernel takes 253 (SCM_MAX_FD).
_MOST_DESCRIPTORS = 250


class Channel:
    """One end of the channel. Every received descriptor is close-on-exec."""

    def __init__(self, socket: _socket.socket) -> None:
        self.socket = socket

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return two connected ends (socketpair(2)). Raises OSError."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        return cls(ours), cls(theirs)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Channel:
        """Take over an inherited descriptor, and make it close-on-exec."""
        os.set_inheritable(descriptor, False)
        return cls(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor))

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return self.socket.fileno()

    def close(self) -> None:
        """Close this end; the other sees ChannelClosed."""
        self.socket.close()

    def send(self, message: Any, descriptors: list[int] | None = None) -> None:
        """Send one message. Raises ChannelClosed where the other end is gone."""
        left = list(descriptors or ())
        while len(left) > _MOST_DESCRIPTORS:
            self._send_frame(b"", left[:_MOST_DESCRIPTORS])
            left = left[_MOST_DESCRIPTORS:]
        self._send_frame(marshal.dumps(message, _FORMAT), left)

    def _send_frame(self, payload: bytes, descriptors: list[int]) -> None:
        # In one: what two processes send at once must not get mixed up, and is not where it is short.
        frame = _HEADER.pack(len(payload), len(descriptors)) + payload
        try:
            sent = self.socket.sendmsg([frame], _ancillary(descriptors), _socket.MSG_NOSIGNAL)
            if sent < len(frame):
                self._send_all(frame[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed from None

    def _send_all(self, data: bytes) -> None:
        self.socket.sendall(data, _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[Any, list[int]]:
        """Return the next message and its descriptors. Raises ChannelClosed at the end."""
        descriptors: list[int] = []
        try:
            while not (length := self._receive_header(descriptors)):
                pass
            payload = self._receive_exactly(length)
        except ConnectionResetError:
            raise ChannelClosed from None
        return marshal.loads(payload), descriptors

    def _receive_header(self, descriptors: list[int]) -> int:
        """Append the descriptors of a frame, and return the length of its payload."""
        room = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
        header, ancillary, flags, _ = self.socket.recvmsg(_HEADER.size, room, _socket.MSG_CMSG_CLOEXEC)
        if flags & _socket.MSG_CTRUNC:
            raise ChannelClosed
        header += self._receive_exactly(_HEADER.size - len(header)) if header else b""
        if not header:
            raise ChannelClosed
        length, count = _HEADER.unpack(header)
        found = rights(ancillary)
        if length > _LIMIT or count != len(found):
            raise ChannelClosed
        descriptors += found
        return int(length)

    def _receive_exactly(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = self.socket.recv(min(length, 1 << 20), _socket.MSG_WAITALL)
            if not part:
                raise ChannelClosed
            parts.append(part)
            length -= len(part)
        return b"".join(parts)


def receive_part(channel: int, size: int, most: int) -> tuple[bytes, list[int], int]:
    """Return what comes next on a socket: bytes, with the close-on-exec descriptors, and recvmsg(2)'s flags.

    At most ``size`` and ``most`` of them. Raises OSError.
    """
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)
    try:
        room = _socket.CMSG_SPACE(4 * most)
        part, ancillary, flags, _ = socket.recvmsg(size, room, _socket.MSG_CMSG_CLOEXEC)
        return part, rights(ancillary), flags
    finally:
        socket.detach()


def send_part(channel: int, part: bytes, descriptors: Sequence[int]) -> int:
    """Send bytes with descriptors on a socket, all at once; return how many it has taken. Raises OSError."""
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel)
    try:
        return socket.sendmsg([part], _ancillary(descriptors), _socket.MSG_NOSIGNAL)
    finally:
        socket.detach()


def _ancillary(descriptors: Sequence[int]) -> list[tuple[int, int, bytes]]:
    if not descriptors:
        return []
    packed = Struct(f"={len(descriptors)}i").pack(*descriptors)
    return [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]


def rights(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a message (SCM_RIGHTS)."""
    descriptors: list[int] = []
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            count = len(data) // 4
            descriptors.extend(Struct(f"={count}i").unpack(data[: count * 4]))
    return descriptors
