"""What the processes of a plan say to each other over the channel.

Whoever hands over control says (what, names, values), the names being those of the descriptors that
come along: the runtime the number of the phase, the others "done". In between they may say
("warning", text) and ("debug", actor, event) (operations/tracing.py), and at last ("error", kind, what,
errno, why, origin); or first ("failing", …) with the same, where it may not come to that.
"""

from __future__ import annotations

import os

from .. import errors
from ..errors import ChannelClosed, NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..linux.channel import Channel
    from ..operations.base import Context
    from ..operations.tracing import Event

DONE, WARNING, DEBUG = "done", "warning", "debug"
_ERROR, _FAILING = "error", "failing"


class Mailbox:
    """A channel between two that share their memory; what one has sent the other receives afterwards."""

    def __init__(self) -> None:
        self._messages: list[Any] = []

    def send(self, message: Any, descriptors: list[int] | None = None) -> None:
        """Send a message; descriptors cannot go this way."""
        if descriptors:
            raise NajaError("descriptors cannot be handed over within a memory")
        self._messages.append(message)

    def receive(self) -> tuple[Any, list[int]]:
        """Return the next message. Raises ChannelClosed where there is none: the other has spoken."""
        if not self._messages:
            raise ChannelClosed
        return self._messages.pop(0), []

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def hand_over(what: int | str, context: Context, channel: Channel | Mailbox) -> None:
    """Give control to the other side, with all values and what ``context.handover`` names."""
    names, context.handover = context.handover, []
    descriptors = [context.take(name) for name in names]
    channel.send((what, names, context.values), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)


def report(error: NajaError, channel: Channel | Mailbox, *, last: bool = True) -> None:
    """Tell the other side what went wrong, in the last word or in the one before. Raises ChannelClosed."""
    kind = _ERROR if last else _FAILING
    channel.send((kind, type(error).__name__, error.what, error.errno, error.why, error.origin))


def receive(channel: Channel | Mailbox) -> tuple[Any, list[int]]:
    """Return the next message and its descriptors; of an error the last word. Raises ChannelClosed."""
    message, descriptors = channel.receive()
    if message[0] != _FAILING:
        return message, descriptors
    try:
        return channel.receive()
    except ChannelClosed:
        return (_ERROR, *message[1:]), descriptors


def explain(
    message: tuple[Any, ...],
    warn: Callable[[str], None],
    debug: Callable[[str, Event], None] | None = None,
) -> None:
    """Pass on what the other side said: a warning, what it did, or an error, which is raised."""
    if message[0] == WARNING:
        warn(message[1])
        return
    if message[0] == DEBUG:
        if debug:
            debug(*message[1:])
        return
    raise reported(message)


def reported(message: tuple[Any, ...]) -> NajaError:
    """Return the error that the other side reported."""
    _, kind, what, errno, why, origin = message
    error: NajaError = getattr(errors, kind, NajaError)(what, errno=errno, why=why, origin=origin)
    return error
