"""What a process in a container reads and writes: FIFOs, a terminal, a file, or another program's pipes.

containerd names them (the stdin, stdout and stderr of a request). A FIFO is the process's own stream, with
nothing copied in between; the shim only holds its other end, so that a reader who goes away and comes back
finds all that was written, and the writer meets no broken pipe.
"""

from __future__ import annotations

import fcntl
import os
import stat
from struct import pack, unpack

from ..errors import NajaError
from .loggers import Logger
from .pump import Pump
from .uri import Uri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..resident.ends import Ends
    from ..resident.loop import Loop

_FIONREAD, _TIOCSWINSZ = 0x541B, 0x5414  # ioctl_tty(2)

#: How long what a process has written may take to get out when it is deleted, in seconds.
_PATIENCE = 2.0

#: How often a FIFO is looked at whose writer has ended, and that somebody is still to read, in seconds.
_FIRST_LOOK, _LAST_LOOK = 0.002, 0.25


class Stdio:
    """What containerd asked for: names, "" for none."""

    __slots__ = ("stderr", "stdin", "stdout", "terminal")

    def __init__(self, stdin: str, stdout: str, stderr: str, *, terminal: bool) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = "" if terminal else stderr
        self.terminal = terminal


class Inlet:
    """A FIFO that the process reads from, until ``close`` was called and others closed their ends."""

    def __init__(self, path: str) -> None:
        """Open it. Raises OSError."""
        # In this order neither waits for anybody.
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._holder = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            os.close(self.reader)
            raise
        os.set_blocking(self.reader, True)

    def close(self) -> None:
        """Let those who write to it be the only ones."""
        if self._holder >= 0:
            os.close(self._holder)
            self._holder = -1


class Outlet:
    """A FIFO that the process writes to, whose readers may come and go."""

    def __init__(self, loop: Loop, path: str) -> None:
        """Open it. Raises OSError."""
        self._loop = loop
        self._path = path
        self._held: list[int] = []
        self._wait = _FIRST_LOOK
        self._held.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            self.writer = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self.close()
            raise

    def end(self) -> None:
        """Have readers come to the end, as the process has. What it wrote waits for one, until ``close``."""
        if len(self._held) != 1:
            return
        try:
            # Without a writer, whoever comes now would wait at the door.
            self._held.append(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            pass  # Its name is gone, and nobody comes any more.
        self._look()

    def _look(self) -> None:
        if not self._held:
            return
        unread = unpack("=i", fcntl.ioctl(self._held[0], _FIONREAD, pack("=i", 0)))[0]
        if not unread:
            self.close()
            return
        self._loop.later(self._wait, self._look)
        self._wait = min(_LAST_LOOK, self._wait * 2)

    def close(self) -> None:
        """Hold it no longer."""
        held, self._held = self._held, []
        for descriptor in held:
            os.close(descriptor)


class Streams:
    """The streams of one process.

    ``prepare`` opens them; then ``descriptors`` are what the process gets as 0, 1 and 2, none where it has a
    terminal, whose master is given to ``relay``.
    """

    def __init__(self, loop: Loop, ends: Ends, stdio: Stdio, owner: tuple[int, int] = (-1, -1)) -> None:
        """``owner`` (user and group) is to own the FIFOs, as far as they are not -1."""
        self._loop = loop
        self._ends = ends
        self._stdio = stdio
        self._owner = owner
        self.descriptors: list[int] = []
        self._inlet: Inlet | None = None
        self._outlets: list[Outlet] = []
        self._pumps: list[Pump] = []
        self._logger: Logger | None = None
        self._target = -1
        self._console = -1
        self._ended = False

    def prepare(self, names: dict[str, str], done: Callable[[], None]) -> None:
        """Open all; ``done`` is called when a logger, where there is one, is ready for more.

        ``names`` are the variables by which a logger knows the container. Raises OSError, NajaError.
        """
        try:
            outputs = self._open(names)
        except (OSError, NajaError):
            self.close()
            raise
        if self._stdio.terminal:
            self._target = outputs[0]
        else:
            self.descriptors = [self._open_input(), *outputs]
        if self._logger:
            self._logger.when_ready(done)
        else:
            done()

    def _open(self, names: dict[str, str]) -> list[int]:
        """Return the descriptors that output goes to."""
        if self._stdio.stdin:
            self._inlet = Inlet(self._stdio.stdin)
            self._give(self._inlet.reader)
        uri = Uri(self._stdio.stdout)
        if uri.scheme == "binary":
            self._logger = Logger(self._loop, self._ends, uri, names)
            return self._logger.writers
        if uri.scheme == "file":
            return self._open_files([uri.path, uri.path])
        if uri.scheme not in ("", "fifo"):
            raise NajaError(f"unknown STDIO scheme {uri.scheme}", why=self._stdio.stdout)
        return [self._open_output(path) for path in (self._stdio.stdout, self._stdio.stderr)]

    def _open_input(self) -> int:
        return self._inlet.reader if self._inlet else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _open_output(self, path: str) -> int:
        if not path:
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        if not stat.S_ISFIFO(os.stat(path).st_mode):
            return self._open_files([path])[0]
        outlet = Outlet(self._loop, path)
        self._outlets.append(outlet)
        self._give(outlet.writer)
        return outlet.writer

    def _open_files(self, paths: list[str]) -> list[int]:
        """Return pipes to files: the file itself a process could cut, or read what others wrote."""
        writers = []
        for path in paths:
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            source, writer = os.pipe2(os.O_CLOEXEC)
            self._give(writer)
            self._pumps.append(Pump(self._loop, source, target))
            writers.append(writer)
        return writers

    def _give(self, descriptor: int) -> None:
        if self._owner != (-1, -1):
            os.fchown(descriptor, *self._owner)

    def handed(self) -> None:
        """Close the process's own ends: it has them."""
        descriptors, self.descriptors = self.descriptors, []
        for descriptor in descriptors:
            os.close(descriptor)

    def relay(self, console: int) -> None:
        """Copy to and from a terminal, whose master is taken over."""
        self._console = console
        target, self._target = self._target, -1
        self._pumps.append(Pump(self._loop, os.dup(console), target))
        if self._inlet:
            os.set_blocking(self._inlet.reader, False)
            # At the end of its input the terminal is hung up, as where a person leaves.
            self._pumps.append(Pump(self._loop, self._inlet.reader, os.dup(console), self._hang_up))

    def _hang_up(self) -> None:
        console, self._console = self._console, -1
        if console >= 0:
            os.close(console)
            self._pumps[0].drain()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal a size, where there is one. Raises OSError."""
        if self._console >= 0:
            fcntl.ioctl(self._console, _TIOCSWINSZ, pack("=4H", rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    def close_stdin(self) -> None:
        """Let the input come to its end."""
        if self._inlet:
            self._inlet.close()

    def end(self) -> None:
        """The process has ended: let readers know as soon as they have everything."""
        self._ended = True
        self.close_stdin()
        if self._stdio.terminal:
            self._hang_up()
            for pump in self._pumps[1:]:
                pump.close()
        if self._pumps and self._outlets:
            self._pumps[0].when_done(self._end_outlets)
        else:
            self._end_outlets()

    def _end_outlets(self) -> None:
        for outlet in self._outlets:
            outlet.end()

    def finish(self, done: Callable[[], None]) -> None:
        """Close all once what was written is out, or that takes too long, and call back."""
        waiting = [pump for pump in self._pumps if not pump.is_done]

        def leave() -> None:
            timer.cancel()
            self.close()
            if self._logger:
                self._logger.end(done)
            else:
                done()

        def check() -> None:
            if all(pump.is_done for pump in waiting):
                leave()

        timer = self._loop.later(_PATIENCE, leave)
        for pump in waiting:
            pump.when_done(check)
        if not waiting:
            leave()

    def close(self) -> None:
        """Close all at once."""
        self.handed()
        self.close_stdin()
        if self._target >= 0:
            os.close(self._target)
            self._target = -1
        if self._console >= 0:
            os.close(self._console)
            self._console = -1
        for pump in self._pumps:
            pump.close()
        for outlet in self._outlets:
            outlet.close()
