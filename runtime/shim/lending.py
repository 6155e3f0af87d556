"""A shim that is there lends forks of itself: what containerd calls the program for starts no Python.

A fork is loaded already, and shares its memory with the one that it was forked from until one of them
writes to it: so ``start`` and ``delete`` take little time, and a shim for each pod takes little more than one
for all. Whoever was started first for a containerd lends, and after it has ended another one.

Who borrows (``borrow``, and native/launcher.c) connects. The fork looks at it, takes its words, environment,
streams and working directory, and says that it is ready; is told to go, with how many of the words, and in
the end says what is to be the exit status: a byte each. Who gives up hangs up, and nothing was done yet.
"""

from __future__ import annotations

import _signal
import _socket
import os
import sys
from struct import Struct

from ..errors import NajaError
from ..linux import process, scheduling
from ..resident.workers import arrange
from ..startup import lenders
from . import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ..resident.loop import Loop

#: How long who borrows and who lends wait for each other, in seconds.
_PATIENCE = 2.0

#: How soon a shim offers itself, and asks again whether it may, in seconds.
_PAUSE = 1.0

_READY = b"r"

_CREDENTIALS = Struct("=iII")

#: Of those who borrow, what is to be as it is here.
_NAMESPACES = ("mnt", "pid_for_children", "net", "ipc", "uts", "user", "cgroup")


def borrow(containerd: str) -> int:
    """Have a lender do what this program was called for. Returns its exit status, -1 where there is none."""
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

    def __init__(self, descriptor: int) -> None:
        """Take what it has. Raises OSError, NajaError and ValueError where it is not to be served."""
        self._connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor)
        self._connection.settimeout(_PATIENCE)
        credentials = self._connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, user, _ = _CREDENTIALS.unpack(credentials)
        if user != os.geteuid():
            raise ValueError("another user")
        held = process.pidfd_open(self.pid)
        directory = os.open(f"/proc/{self.pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if not _is_alike(self.pid, directory):
            raise ValueError("in other namespaces")
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


def _is_alike(pid: int, directory: int) -> bool:
    """See that a process is in this one's namespaces; take its limits over. Raises OSError, NajaError."""
    for name in _NAMESPACES:
        if os.stat(f"ns/{name}", dir_fd=directory).st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            return False
    for name in scheduling.RLIMITS:
        limits = scheduling.prlimit(pid, name)
        if limits != scheduling.prlimit(0, name):
            scheduling.prlimit(0, name, limits)
    return True


class Lender:
    """Lends; ``become`` is called in the fork, with who has borrowed it."""

    def __init__(self, loop: Loop, containerd: str, become: Callable[[Borrower], NoReturn]) -> None:
        """``containerd`` is an address."""
        self._loop = loop
        self._place = lenders.place(containerd)
        self._become = become
        self._listener: _socket.socket | None = None
        if self._place:
            loop.later(_PAUSE, self._offer)

    def _offer(self) -> None:
        """Be the one that lends, where nobody is."""
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            with address.Lock(wait=False):
                if not address.bind(listener, self._place):
                    listener.close()
                    return
        except BlockingIOError:
            # One that starts has it, and may even wait for this one.
            listener.close()
            self._loop.later(_PAUSE, self._offer)
            return
        listener.listen(16)
        listener.setblocking(False)
        self._listener = listener
        self._loop.watch(listener.fileno(), self._lend)

    def _lend(self) -> None:
        try:
            assert self._listener
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        try:
            if os.fork() == 0:
                self._live(descriptor)
        except OSError:
            pass  # Who asked does without.
        os.close(descriptor)

    def _live(self, descriptor: int) -> NoReturn:
        """Be the fork: take what is asked for, and do it, as a process that was just started."""
        try:
            # All else is the lender's, down to what its loop waits for.
            descriptor = arrange(descriptor, (), 0)
            os.set_inheritable(descriptor, False)
            for number in (_signal.SIGHUP, _signal.SIGPIPE):
                _signal.signal(number, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            borrower = Borrower(descriptor)
        except (OSError, NajaError, ValueError):
            os._exit(1)
        self._become(borrower)

    def close(self) -> None:
        """Lend no more."""
        if self._listener:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            try:
                os.unlink(self._place)
            except OSError:
                pass
