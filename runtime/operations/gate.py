"""The start gate: where a created container waits for ``naja start``.

The gate is a listening socket in the container's state directory. ``start`` connects; the init
accepts, goes on to execve, and the connection closes by itself when that succeeds: silence is
success, a message is an error.
"""

from __future__ import annotations

import os

from runtime.operations.base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: What ``start`` says to open the gate.
START = b"start"


def _end(number: int, frame: object) -> NoReturn:
    """End as a process does that has no handler; the program is to have none of naja's either."""
    del frame
    os._exit(128 + number)


class WaitForStart(Operation):
    """Wait until somebody starts the container."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "wait at the gate for start"

    def apply(self, context: Context) -> None:
        import _signal
        import _socket  # Both are loaded: the one by the stage, the other for the channel.

        for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM):
            # The first process of a PID namespace is spared the signals that it does not handle.
            _signal.signal(number, _end)

        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, context.take("gate"))
        while True:
            connection, _ = listener._accept()  # type: ignore[attr-defined]
            if os.read(connection, len(START)) == START:
                break
            os.close(connection)
        listener.close()
        #: Errors from here on are for whoever started the container.
        context.descriptors["starter"] = connection
