"""Messages between a resident naja and its callers: JSON objects with descriptors, by SOCK_SEQPACKET.

A message is one packet, and its descriptors come with it (SCM_RIGHTS, unix(7)). Whatever else comes is
refused, and its descriptors are closed. Callers are of the same user; what they send is looked at all the
same.
"""

from __future__ import annotations

import _socket
import os

from ..config import json
from ..errors import NajaError
from ..linux.channel import receive_part, send_part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Message = dict[str, Any]

#: Bytes of a message, and how many descriptors may come with it.
MOST_BYTES, MOST_DESCRIPTORS = 192 << 10, 64


def receive(channel: int) -> tuple[Message, list[int]] | None:
    """Return the next message and its descriptors; None at the end.

    Raises BlockingIOError where there is none yet, and NajaError for what is no message.
    """
    try:
        packet, descriptors, flags = receive_part(channel, MOST_BYTES, MOST_DESCRIPTORS)
    except ConnectionResetError:
        return None
    try:
        if not packet:
            if descriptors:
                raise NajaError("an empty message")
            return None
        if flags & _socket.MSG_TRUNC:
            raise NajaError(f"a message of more than {MOST_BYTES} bytes")
        if flags & _socket.MSG_CTRUNC:
            raise NajaError("a message with more descriptors than it may have, or than can be open")
        message = parse(packet)
    except BaseException:
        close(descriptors)
        raise
    return message, descriptors


def parse(packet: bytes) -> Message:
    """Return the message in a packet. Raises NajaError."""
    message = json.loads(packet, "a message")
    if type(message) is not dict:
        raise NajaError("a message that is no object")
    return message


def send(channel: int, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message. Raises BlockingIOError, BrokenPipeError, and NajaError where it is too long."""
    packet = json.dumps(message).encode()
    if len(packet) > MOST_BYTES:
        raise NajaError(f"a message of more than {MOST_BYTES} bytes")
    try:
        send_part(channel, packet, descriptors)
    except ConnectionResetError:
        raise BrokenPipeError from None


def failure(error: NajaError) -> Message:
    """Return an error as a part of a message."""
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "errno": error.errno,
        "why": error.why,
        "origin": error.origin,
        "notes": list(getattr(error, "__notes__", ())),
    }


def close(descriptors: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for descriptor in descriptors:
        os.close(descriptor)
