"""What containerd calls the program for, a fork of a nursery (nursery.py) does: no Python is started.

Who borrows it (``borrow``, and native/launcher.c) connects. The fork looks at it, takes its words,
environment, streams and working directory, and says that it is ready; is told to go, with how many of the
words, and in the end says what is to be the exit status: a byte each. Who gives up hangs up, and nothing was
done yet.
"""

from __future__ import annotations

import _socket
import os
import sys
from struct import Struct

from ..errors import ChannelClosed
from ..linux import process, scheduling
from ..linux.channel import Channel
from ..startup import lenders

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: How long who borrows and who lends wait for each other, in seconds.
_PATIENCE = 2.0

_READY = b"r"

_CREDENTIALS = Struct("=iII")

#: Of those who borrow, what is to be as it is here.
_NAMESPACES = ("mnt", "pid_for_children", "net", "ipc", "uts", "user", "cgroup")


def borrow(containerd: str) -> int:
    """Have a fork do what this program was called for. Returns its exit status, -1 where there is none."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(lenders.place(containerd))
        if connection.recv(1) != _READY:
            return -1
        connection.send(bytes((len(sys.argv),)))
        connection.settimeout(None)
        answer = connection.recv(1)
        return answer[0] if answer else -1
    except OSError:
        return -1
    finally:
        connection.close()


class Borrower:
    """Who has borrowed this process, which has its streams, working directory and environment from now on."""

    def __init__(self, descriptor: int, nursery: Channel) -> None:
        """Take what it has. Raises OSError, NajaError and ValueError where it is not to be served."""
        self._nursery = nursery
        self._connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor)
        self._connection.settimeout(_PATIENCE)
        credentials = self._connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, user, _ = _CREDENTIALS.unpack(credentials)
        if user != os.geteuid():
            raise ValueError("another user")
        held = process.pidfd_open(self.pid)
        directory = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not _is_alike(directory):
            raise ValueError("in other namespaces")
        self._limits = _take_limits(self.pid)
        streams = [process.pidfd_getfd(held, stream) for stream in range(3)]
        words, environment = (_words(name, directory) for name in ("cmdline", "environ"))
        here = os.open("cwd", os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
        self._connection.send(_READY)
        # It is there, and so was all the time: another process has its pid only after this hangs up.
        count = self._connection.recv(1)
        if not count:
            raise ValueError("it has given up")
        # Before them are an interpreter's own, where one has come as far as that.
        self.program, *self.words = words[-count[0] :]
        os.fchdir(here)
        for stream in range(3):
            os.dup2(streams[stream], stream)
        for each in (held, directory, here, *streams):
            os.close(each)
        os.environ.clear()
        os.environ.update(word.split("=", 1) for word in environment if "=" in word)  # type: ignore[misc]

    def hand_over(self, birth: dict[str, Any], listener: _socket.socket) -> bool:
        """Have another fork serve at a socket; False where there is no nursery any more, or no answer."""
        try:
            self._nursery.socket.settimeout(_PATIENCE)
            self._nursery.send({**birth, "limits": self._limits}, [listener.fileno()])
            self._nursery.receive()
            # From here on that one serves; had this one given up before, it would have ended.
            self._nursery.send(True)
            return True
        except (OSError, ChannelClosed):
            return False
        finally:
            self._nursery.close()

    def report(self, status: int) -> None:
        """Let it end with an exit status, and know nothing more of it."""
        try:
            self._connection.send(bytes((status,)))
        except OSError:
            pass  # It was killed.
        self._connection.close()


def _words(name: str, directory: int) -> list[str]:
    """Return the words in a file of a process's directory in /proc, each of which ends with a null byte."""
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    content = bytearray()
    while part := os.read(file, 1 << 16):
        content += part
    os.close(file)
    return [os.fsdecode(word) for word in bytes(content).split(b"\0")[:-1]]


def _is_alike(directory: int) -> bool:
    """See that a process is in this one's namespaces, by its directory in /proc. Raises OSError."""
    return all(
        os.stat(f"ns/{name}", dir_fd=directory).st_ino == os.stat(f"/proc/self/ns/{name}").st_ino
        for name in _NAMESPACES
    )


def _take_limits(pid: int) -> dict[str, tuple[int, int]]:
    """Take over a process's limits. Returns those that were others. Raises OSError."""
    found = {}
    for name in scheduling.RLIMITS:
        limits = scheduling.prlimit(pid, name)
        if limits != scheduling.prlimit(0, name):
            scheduling.prlimit(0, name, limits)
            found[name] = limits
    return found
