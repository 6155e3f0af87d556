"""A shim that is there lends forks of itself: what containerd calls the program for starts no Python.

A fork is loaded already, and shares its memory with the one that it was forked from until one of them
writes to it: so ``start`` and ``delete`` take little time, and a shim for each pod takes little more than one
for all. Whoever was started first for a containerd lends, and after it has ended another one.

The fork says that it is ready, a byte. Who borrows (native/borrow.h; ``borrow``, where that could not be
compiled) sends in one packet the number of its words, its words and environment, each with a null byte, and
its standard streams and working directory. In the end the fork says what is to be the exit status, a byte.
"""

from __future__ import annotations

import _signal
import _socket
import os
import sys
from struct import Struct

from ..errors import NajaError
from ..linux import scheduling
from ..resident.workers import arrange
from ..startup import precompiled
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

_COUNT, _DESCRIPTORS, _CREDENTIALS = Struct("=i"), Struct("=4i"), Struct("=iII")
_STATE = Struct("=4Q")
_LONGEST = 1 << 18

#: FNV-1a, 64 bits: C has it in three lines.
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1

#: Those of a process that its children are in (namespaces(7)); that of mounts is in the name of the place.
_NAMESPACES = ("pid_for_children", "net", "ipc", "uts", "user", "cgroup")


def place(containerd: str) -> str:
    """Return the path of a lender's socket: one for each containerd, state of naja's code, mount namespace.

    "" where there is none.
    """
    try:
        modules, mounts = os.stat(precompiled.FILE), os.stat("/proc/self/ns/mnt")
    except OSError:
        return ""
    seconds, nanoseconds = divmod(modules.st_mtime_ns, 10**9)
    number = _OFFSET
    for byte in os.fsencode(containerd) + _STATE.pack(modules.st_ino, seconds, nanoseconds, mounts.st_ino):
        number = (number ^ byte) * _PRIME & _MASK
    return f"{address.DIRECTORY}/{address.PREFIX}{number:016x}"


def borrow(place: str) -> int:
    """Have a lender do what this program was called for. Returns its exit status, -1 where there is none."""
    words = [*sys.argv, *(f"{name}={value}" for name, value in os.environ.items())]
    here = -1
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(place)
        if connection.recv(1) != _READY:
            return -1
        connection.settimeout(None)
        here = os.open(".", os.O_PATH | os.O_CLOEXEC)
        rights = _DESCRIPTORS.pack(0, 1, 2, here)
        packet = _COUNT.pack(len(sys.argv)) + b"".join(os.fsencode(word) + b"\0" for word in words)
        connection.sendmsg([packet], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
        answer = connection.recv(1)
        return answer[0] if answer else -1
    except OSError:
        return -1
    finally:
        connection.close()
        if here >= 0:
            os.close(here)


class Borrower:
    """Who has borrowed this process, which has its streams, working directory and environment from now on."""

    def __init__(self, descriptor: int) -> None:
        """Take what it sends. Raises OSError, NajaError and ValueError where it is not to be served."""
        self._connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, descriptor)
        self._connection.settimeout(_PATIENCE)
        credentials = self._connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid, user, _ = _CREDENTIALS.unpack(credentials)
        if user != os.geteuid() or not _is_alike(self.pid):
            raise ValueError("somebody who is elsewhere")
        self._connection.send(_READY)
        room = _socket.CMSG_SPACE(_DESCRIPTORS.size)
        content, ancillary, flags, _ = self._connection.recvmsg(_LONGEST, room)
        if not content or flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC) or len(ancillary) != 1:
            raise ValueError("it has given up, or a request that is too long")
        descriptors = _DESCRIPTORS.unpack(ancillary[0][2])
        (count,) = _COUNT.unpack_from(content)
        words = [os.fsdecode(word) for word in content[_COUNT.size :].split(b"\0")[:-1]]
        self.program, *self.words = words[:count]
        os.fchdir(descriptors[3])
        for stream in range(3):
            os.dup2(descriptors[stream], stream)
        for each in descriptors:
            os.close(each)
        os.environ.clear()
        os.environ.update(word.split("=", 1) for word in words[count:] if "=" in word)  # type: ignore[misc]

    def report(self, status: int) -> None:
        """Let it end with an exit status, and know nothing more of it."""
        try:
            self._connection.send(bytes((status,)))
        except OSError:
            pass  # It was killed.
        self._connection.close()


def _is_alike(pid: int) -> bool:
    """See that a process is in this one's namespaces; take its limits over. Raises OSError, NajaError."""
    for name in _NAMESPACES:
        if os.stat(f"/proc/{pid}/ns/{name}").st_ino != os.stat(f"/proc/self/ns/{name}").st_ino:
            return False
    for name in scheduling.RLIMITS:
        limits = scheduling.prlimit(pid, name)
        if limits != scheduling.prlimit(0, name):
            scheduling.prlimit(0, name, limits)
    return True


class Lender:
    """Lends; ``become`` is called in the fork, with who has borrowed it."""

    def __init__(self, loop: Loop, place: str, become: Callable[[Borrower], NoReturn]) -> None:
        self._loop = loop
        self._place = place
        self._become = become
        self._listener: _socket.socket | None = None
        if place:
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
