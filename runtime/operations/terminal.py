"""Operations of the runtime on the container's terminal."""

from __future__ import annotations

import os
from struct import pack

from .base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414  # ioctl_tty(2)


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


class ServeConsole(Operation):
    """Prepare the container's terminal for a caller who relays it, before the program writes to it."""

    __slots__ = ("sized",)

    def __init__(self, *, sized: bool) -> None:
        self.origin = "/process/terminal"
        #: Whether the config has given it a size; else it gets the caller's.
        self.sized = sized

    def describe(self) -> str:
        size = "" if self.sized else ", with the size of the caller's"
        return f"have the terminal leave line ends to the caller's{size}"

    def apply(self, context: Context) -> None:
        serve(context.descriptors["console"], sized=self.sized)


def serve(console: int, *, sized: bool) -> None:
    """Set up a terminal, by its master, for ``process.attached.Terminal``. Raises OSError.

    What comes out of it goes through the caller's terminal, or to a file that has no use for "\\r\\n": so
    ONLCR (termios(3)) is the caller's affair. ``sized`` where it has its size already.
    """
    import termios

    mode = termios.tcgetattr(console)
    mode[1] &= ~termios.ONLCR
    termios.tcsetattr(console, termios.TCSANOW, mode)
    if not sized:
        copy_size(console)


def copy_size(console: int) -> None:
    """Give a terminal the size of the caller's, where there is one. Raises OSError."""
    import fcntl

    for own in range(3):
        try:
            size = fcntl.ioctl(own, _TIOCGWINSZ, bytes(8))
        except OSError:
            continue
        fcntl.ioctl(console, _TIOCSWINSZ, size)
        return


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
