"""Operations of the runtime on the container's terminal."""

from __future__ import annotations

import os
from struct import pack

from .base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket


class SendConsole(Operation):
    """Send the master of the container's terminal to whoever will serve it (runc's --console-socket)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.origin = "/process/terminal"
        self.path = path

    def describe(self) -> str:
        return f"send the terminal to {self.path}"

    def apply(self, context: Context) -> None:
        console = context.take("console")
        send_descriptor(self.path, console, b"/dev/ptmx")
        os.close(console)


def send_descriptor(path: str, descriptor: int, name: bytes) -> None:
    """Send one descriptor with its name to a listening unix socket, in one message. Raises OSError."""
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connect(connection, path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, pack("=i", descriptor))]
        connection.sendmsg([name], rights, _socket.MSG_NOSIGNAL)
    finally:
        connection.close()


def connect(connection: _socket.socket, path: str) -> None:
    """Connect to a unix socket at a path of any length (unix(7) allows 107 bytes). Raises OSError."""
    directory, name = os.path.split(os.path.abspath(path))
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)
