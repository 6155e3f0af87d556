"""A process in a container, with the manners of subprocess.Popen."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Any

from ..errors import NajaError
from .asking import signal_number
from .handle import TimeoutExpired

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from .asking import Answer, Signal
    from .connection import Connection, Pending
    from .streams import Streams

__all__ = ["Process", "console", "deadline_of", "ended"]


def deadline_of(timeout: float | None) -> float | None:
    """Return when a timeout that begins now is over."""
    return None if timeout is None else time.monotonic() + timeout


def console(answer: Answer) -> IO[bytes] | None:
    """Return the master of a new terminal as a file; None where there is none."""
    descriptor = answer.descriptors.get("console", -1)
    return open(descriptor, "r+b", buffering=0) if descriptor >= 0 else None


def ended(answer: Answer, what: str) -> int:
    """Return the exit code that an answer tells. Raises NajaError where it does not."""
    if answer.error:
        raise answer.error.with_traceback(None)
    code: int | None = answer.value["code"]
    if code is None:
        raise NajaError(f"wait for {what}", why="how it has ended only the process that made it was told")
    return code


class Process:
    """A process that was added to a container by ``exec``."""

    def __init__(
        self, what: str, args: list[str], connection: Connection, answer: Answer, streams: Streams
    ) -> None:
        self._what = what
        self._connection = connection
        self._number: int = answer.value["process"]
        self._streams = streams
        self._ending: Pending | None = None
        #: What it was called with.
        self.args = args
        #: As the host sees it. It may be another's once it was waited for; the pidfd never is.
        self.pid: int = answer.value["pid"]
        #: Becomes readable when the process ends (pidfd_open(2)); -1 where there is none.
        self.pidfd: int = answer.descriptors.get("pidfd", -1)
        #: The master of its terminal, where it has one.
        self.console = console(answer)
        #: Its exit code once it was waited for, 128 + N for signal N.
        self.returncode: int | None = None

    def __del__(self) -> None:
        if getattr(self, "pidfd", -1) >= 0:
            os.close(self.pidfd)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.args!r}, {self._what}, returncode {self.returncode}>"

    @property
    def stdin(self) -> IO[Any] | None:
        """What its standard input is written to, where that is a PIPE."""
        return self._streams.stdin

    @property
    def stdout(self) -> IO[Any] | None:
        """What its standard output is read from, where that is a PIPE."""
        return self._streams.stdout

    @property
    def stderr(self) -> IO[Any] | None:
        """What its standard error is read from, where that is a PIPE."""
        return self._streams.stderr

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit code. Raises TimeoutExpired after the seconds, NajaError."""
        if self.returncode is None:
            self._wait(deadline_of(timeout), timeout)
        assert self.returncode is not None
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, None where it has not ended. Raises NajaError."""
        try:
            return self.wait(0)
        except TimeoutExpired:
            return None

    def _wait(self, deadline: float | None, timeout: float | None) -> None:
        pending = self._ending
        if pending is None:
            pending = self._ending = self._connection.begin("wait", process=self._number)
        try:
            answer = self._connection.wait(pending, deadline)
        except TimeoutError:
            raise TimeoutExpired(f"wait for {self._what}", timeout or 0.0) from None
        self.returncode = ended(answer, self._what)

    def send_signal(self, signal: Signal) -> None:
        """Send a signal, by number, name or as signal.SIGTERM; nothing happens where it has ended.

        Raises NajaError.
        """
        if self.returncode is None:
            number = signal_number(signal)
            try:
                self._connection.ask("signal", process=self._number, signal=number)
            except NajaError:
                if self.poll() is None:
                    raise

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal("TERM")

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal("KILL")

    def communicate(self, input: str | bytes | None = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write ``input``, read all of standard output and error, wait for the end; return the two.

        What is no PIPE is None. Raises TimeoutExpired; it may be called again then, and nothing is lost.
        """
        deadline = deadline_of(timeout)
        try:
            out, err = self._streams.communicate(input, deadline)
        except TimeoutError:
            raise TimeoutExpired(f"wait for {self._what}", timeout or 0.0, *self._streams.so_far()) from None
        if self.returncode is None:
            self._wait(deadline, timeout)
        return out, err

    def close(self) -> None:
        """Close its streams, its terminal and its pidfd; the process goes on."""
        self._streams.close()
        if self.console:
            self.console.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close its input, wait for its end, and close the rest; an exception kills it first."""
        try:
            if kind:
                self.kill()
            if self.stdin:
                self._streams.close_input()
            self.wait()
        finally:
            self.close()
