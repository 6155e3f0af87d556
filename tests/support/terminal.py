"""Pseudo-terminals: running a command on one, and receiving a container's from a console socket."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


def set_size(fd: int, rows: int, columns: int) -> None:
    """Give a terminal a size; its foreground processes get SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Screen:
    """The master's side of a pseudo-terminal, and all that was read from it so far."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.seen = ""

    def read(self, timeout: float) -> bool:
        """Wait for output and add it to ``seen``. Returns False where none came, or never will again."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # the other side is closed
                raise
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def expect(self, text: str, timeout: float = 10) -> str:
        """Read until ``text`` appears; return (and forget) all up to its end. Raises AssertionError."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            alive = self.read(max(0, end - time.monotonic()))
            if text not in self.seen and (not alive or time.monotonic() > end):
                raise AssertionError(f"{text!r} never appeared; the terminal shows:\n{self.seen}")
        before, _, self.seen = self.seen.partition(text)
        return before + text

    def rest(self, timeout: float = 10) -> str:
        """Read until the other side is closed; return (and forget) all that is there."""
        while self.read(timeout):
            pass
        rest, self.seen = self.seen, ""
        return rest

    def send(self, text: str) -> None:
        """Type ``text``."""
        os.write(self.fd, text.encode())

    def close(self) -> None:
        os.close(self.fd)


class OnTerminal:
    """A command that runs as the session leader of a pseudo-terminal of its own."""

    def __init__(self, argv: list[str], *, rows: int = 24, columns: int = 80, cwd: str | None = None) -> None:
        self.pid, master = pty.fork()
        if self.pid == 0:  # pragma: no cover
            try:
                if cwd:
                    os.chdir(cwd)
                set_size(0, rows, columns)
                os.execvp(argv[0], argv)
            finally:
                os._exit(127)
        self.screen = Screen(master)
        self.status: int | None = None

    def wait(self, timeout: float = 20) -> int:
        """Return the exit code (128 + n for a signal) once it has ended. Raises AssertionError."""
        end = time.monotonic() + timeout
        while self.status is None:
            self.screen.read(0.02)  # a full terminal would block it
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(raw)
                self.status = code if code >= 0 else 128 - code
            elif time.monotonic() > end:
                raise AssertionError(f"it did not end; the terminal shows:\n{self.screen.seen}")
        return self.status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.screen.close()


class ConsoleSocket:
    """The listening socket that ``--console-socket`` (or ``--pidfd-socket``) names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)

    def receive(self, timeout: float = 10) -> tuple[int, bytes]:
        """Return the one descriptor that was sent, and the bytes that came with it.

        Raises AssertionError where it is not exactly one descriptor with a payload, as engines ask.
        """
        self.listener.settimeout(timeout)
        connection, _ = self.listener.accept()
        with connection:
            connection.settimeout(timeout)
            space = socket.CMSG_SPACE(4 * 16)
            payload, ancillary, flags, _ = connection.recvmsg(4096, space)
        fds = array.array("i")
        for level, kind, data in ancillary:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        assert len(fds) == 1, f"{len(fds)} descriptors were sent"
        assert payload, "a descriptor without a payload"
        assert not flags & socket.MSG_CTRUNC
        return fds[0], payload

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.close()
        os.unlink(self.path)
