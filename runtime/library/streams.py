"""The standard streams of a container or a process: what it is given, and this end of its pipes.

The words are those of subprocess: None for the program's own, PIPE, DEVNULL, STDOUT, descriptors, files.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import stat
import tempfile
import time
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    Stream = int | IO[Any] | None

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Logs", "Streams", "Text"]

_CHUNK = 1 << 16


class Logs(NamedTuple):
    """What a container has written so far to standard output and standard error."""

    stdout: bytes
    stderr: bytes


class Text(NamedTuple):
    """How bytes become text: ``encoding`` None leaves them bytes."""

    encoding: str | None
    errors: str | None

    @classmethod
    def of(cls, text: bool | None, encoding: str | None, errors: str | None) -> Text:
        """Return what these three mean, as for subprocess; but text is UTF-8 where nothing else is said."""
        if text or encoding or errors:
            return cls(encoding or "utf-8", errors or "strict")
        return cls(None, None)

    def decode(self, content: bytes | None) -> Any:
        """Return what was read, as text where it is to be that."""
        if content is None or self.encoding is None:
            return content
        return (
            content.decode(self.encoding, self.errors or "strict").replace("\r\n", "\n").replace("\r", "\n")
        )

    def encode(self, content: str | bytes) -> bytes:
        """Return what is to be written as bytes."""
        if isinstance(content, str):
            return content.encode(self.encoding or "utf-8", self.errors or "strict")
        return bytes(content)


class Streams:
    """The three streams: descriptors for the other side (``theirs``), and files of this one."""

    def __init__(
        self, stdin: Stream, stdout: Stream, stderr: Stream, text: Text, *, logs: bool = False
    ) -> None:
        """Open what is asked for. Raises OSError, ValueError."""
        self.text = text
        #: What is handed over; closed by ``handed``.
        self.theirs: list[int] = []
        self.stdin: IO[Any] | None = None
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self._logs: list[int] = []
        #: What communicate has read and written so far.
        self._read: dict[int, list[bytes]] = {}
        self._unwritten: memoryview | None = None
        self._closing = contextlib.ExitStack()
        try:
            if logs:
                stdout, stderr = self._open_log(stdout), self._open_log(stderr)
            self.stdin = self._open(0, stdin)
            self.stdout = self._open(1, stdout)
            self.stderr = self._open(2, stderr)
        except BaseException:
            self.close()
            raise

    def _open_log(self, stream: Stream) -> int:
        if stream is not None:
            raise ValueError("what is captured for logs can go nowhere else")
        with tempfile.TemporaryFile() as file:
            reader = os.dup(file.fileno())
            self._logs.append(reader)
            writer = os.open(f"/proc/self/fd/{reader}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._closing.callback(os.close, writer)
        return writer

    def _open(self, number: int, stream: Stream) -> Any:
        """Open one of the three; return this side's file, if there is one."""
        if stream == PIPE:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            self.theirs.append(writer if number else reader)
            return self._file(reader if number else writer, "r" if number else "w")
        if stream == DEVNULL:
            self.theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        elif stream == STDOUT:
            if number != 2:
                raise ValueError("STDOUT is for stderr alone")
            self.theirs.append(os.dup(self.theirs[1]))
        elif stream is None:
            self.theirs.append(_own(number))
        else:
            self.theirs.append(os.dup(stream if isinstance(stream, int) else stream.fileno()))
        return None

    def _file(self, descriptor: int, mode: str) -> Any:
        if self.text.encoding is None:
            return open(descriptor, f"{mode}b")
        file: Any = open(descriptor, mode, encoding=self.text.encoding, errors=self.text.errors)
        if mode == "w":
            file.reconfigure(line_buffering=True)  # Whoever writes a line means it to arrive.
        return file

    def handed(self) -> None:
        """Note that the other side has its descriptors, or never will."""
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = []
        self._closing.close()

    def logs(self) -> Logs | None:
        """Return what was captured so far; None where nothing is."""
        if not self._logs:
            return None
        return Logs(*(os.pread(log, os.fstat(log).st_size, 0) for log in self._logs))

    def communicate(self, input: str | bytes | None, deadline: float | None) -> tuple[Any, Any]:
        """Write ``input``, and read all, to the end. Raises TimeoutError; it may be called again."""
        if input is not None and self.stdin is None:
            raise ValueError("input is for a program whose stdin is a PIPE")
        if input is not None and self._unwritten is None:
            self._unwritten = memoryview(self.text.encode(input))
        with selectors.DefaultSelector() as selector:
            if self.stdin and not self.stdin.closed:
                if self._unwritten:
                    os.set_blocking(self.stdin.fileno(), False)
                    selector.register(self.stdin, selectors.EVENT_WRITE)
                else:
                    _close(self.stdin)
            for file in (self.stdout, self.stderr):
                if file and not file.closed:
                    self._read.setdefault(file.fileno(), [])
                    selector.register(file, selectors.EVENT_READ)
            self._exchange(selector, deadline)
        out, err = self.so_far()
        for file in (self.stdout, self.stderr):
            if file:
                file.close()
        return out, err

    def _exchange(self, selector: selectors.BaseSelector, deadline: float | None) -> None:
        while selector.get_map():
            left = None if deadline is None else deadline - time.monotonic()
            ready = selector.select(left)
            if not ready and left is not None and left <= 0:
                raise TimeoutError
            for key, _ in ready:
                if key.fileobj is self.stdin:
                    self._write(selector)
                elif part := os.read(key.fd, _CHUNK):
                    self._read[key.fd].append(part)
                else:
                    selector.unregister(key.fileobj)

    def _write(self, selector: selectors.BaseSelector) -> None:
        assert self.stdin
        try:
            written = os.write(self.stdin.fileno(), (self._unwritten or b"")[:_CHUNK])
            self._unwritten = self._unwritten[written:] if self._unwritten else None
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._unwritten = None
        if not self._unwritten:
            selector.unregister(self.stdin)
            _close(self.stdin)

    def so_far(self) -> tuple[Any, Any]:
        """Return what communicate has read until now; None where there is no pipe."""
        found = []
        for file in (self.stdout, self.stderr):
            parts = None if file is None or file.closed else self._read.get(file.fileno(), [])
            found.append(None if parts is None else self.text.decode(b"".join(parts)))
        return found[0], found[1]

    def close_input(self) -> None:
        """Close the pipe of standard input."""
        if self.stdin:
            _close(self.stdin)

    def close(self) -> None:
        """Close all that is open."""
        self.handed()
        for log in self._logs:
            os.close(log)
        self._logs = []
        for file in (self.stdin, self.stdout, self.stderr):
            if file:
                _close(file)

    def __del__(self) -> None:
        self.handed()
        for log in self._logs:
            os.close(log)


def _own(number: int) -> int:
    """Return a copy of the program's own stream; of the null device where it has none, or a directory."""
    try:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            return os.dup(number)
    except OSError:
        pass
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def _close(file: IO[Any]) -> None:
    """Close a file whose reader may be gone."""
    with contextlib.suppress(BrokenPipeError):
        file.close()
