"""The start gate: where a created container waits for ``naja start``.

The gate is a listening socket in the container's state directory. ``start`` connects and says START;
the init says it back, goes on to execve, and the connection closes by itself when that succeeds: then
silence is success, a message is an error. Who says anything else, or nothing, keeps nobody waiting.
"""

from __future__ import annotations

import errno
import os
import select
import time

from ..linux import process
from .base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import NoReturn

#: What ``start`` says to open the gate, and what it hears when that is done.
START = b"start"

#: How many may stand at the gate; one more, and the first has to come again.
_ROOM = 16

#: How many may wait to be let in there.
_BACKLOG = 8

#: How long ``start`` tries to be heard, in seconds.
_PATIENCE = 10.0


def open_gate(connect: Callable[[], _socket.socket]) -> _socket.socket:
    """Have the init go on; return the connection on which it tells what it fails at from then on.

    ``connect`` returns a new connection to the gate. Raises OSError, TimeoutError where nobody answers.
    """
    import _socket  # Hundreds of constants, which most verbs do without.
    from struct import pack

    deadline = time.monotonic() + _PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        try:
            connection = connect()
        except BlockingIOError:
            time.sleep(0.005)
            continue
        connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, pack("@ll", int(left) + 1, 0))
        if _is_heard(connection):
            connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVTIMEO, pack("@ll", 0, 0))
            return connection
        connection.close()  # Others stood in its place.
    raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))


def _is_heard(connection: _socket.socket) -> bool:
    """Say START, and tell whether it is said back."""
    try:
        connection.send(START)
        return connection.recv(len(START)) == START
    except (BrokenPipeError, ConnectionResetError, BlockingIOError):
        return False


def _end(number: int, frame: object) -> NoReturn:
    """End as a process does that has no handler; the program is to have none of naja's either."""
    del frame
    os._exit(128 + number)


class EndWhenAsked(Operation):
    """End at a signal that asks for it, before anybody is told that there is something to wait at the gate.

    The first process of a PID namespace is spared the signals that it does not handle.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "end at SIGHUP, SIGINT, SIGQUIT or SIGTERM till the program runs"

    def apply(self, context: Context) -> None:
        import _signal

        for number in (_signal.SIGINT, *process.ENDING):
            _signal.signal(number, _end)


class WaitForStart(Operation):
    """Wait until somebody starts the container."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "wait at the gate for start"

    def apply(self, context: Context) -> None:
        import _socket  # It is loaded, for the channel.

        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, context.take("gate"))
        # Said again, so that whoever connects is told whose gate it is (SO_PEERCRED).
        listener.listen(_BACKLOG)
        # It may wait for long, and needs little for that.
        process.drop_text()
        #: Errors from here on are for whoever started the container.
        context.descriptors["starter"] = _await_start(listener)
        listener.close()


def _await_start(listener: _socket.socket) -> int:
    """Return the connection of who said START, and has been told that it was heard."""
    crowd: list[int] = []
    while True:
        poll = select.poll()
        for descriptor in (listener.fileno(), *crowd):
            poll.register(descriptor, select.POLLIN)
        for ready, _ in poll.poll():
            if ready == listener.fileno():
                _admit(listener, crowd)
            elif ready in crowd:
                crowd.remove(ready)
                if _says_start(ready):
                    for other in crowd:
                        os.close(other)
                    return ready
                os.close(ready)


def _admit(listener: _socket.socket, crowd: list[int]) -> None:
    """Let one more stand at the gate, in the place of the first where there is no room."""
    if len(crowd) == _ROOM:
        os.close(crowd.pop(0))
    try:
        crowd.append(listener._accept()[0])  # type: ignore[attr-defined]
    except OSError as error:
        # The container's own limit may be lower.
        if error.errno != errno.EMFILE or not crowd:
            raise
        os.close(crowd.pop(0))


def _says_start(connection: int) -> bool:
    """Tell whether somebody says START, and is still there to hear it said back."""
    try:
        return os.read(connection, len(START) + 1) == START and os.write(connection, START) == len(START)
    except OSError:
        return False
