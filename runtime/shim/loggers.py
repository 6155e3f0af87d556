"""Programs that take the output of a process: containerd's loggers, "binary://"."""

from __future__ import annotations

import _signal
import fcntl
import os

from ..errors import NajaError, unborn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..resident.ends import Ends
    from ..resident.loop import Loop
    from .uri import Uri

_SIGTERM, _SIGKILL = 15, 9

#: How long a logger may take to write what it has, once it is asked to end, in seconds.
_PATIENCE = 12.0

#: What a logger finds open: stdout and stderr of the process, and what it closes when it is ready.
_FIRST = 3


class Logger:
    """A program that reads output from its descriptors 3 and 4; ``writers`` are their other ends."""

    def __init__(self, loop: Loop, ends: Ends, uri: Uri, variables: Mapping[str, str]) -> None:
        """Start it. Raises NajaError."""
        self._loop = loop
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        self._ready, theirs = os.pipe2(os.O_CLOEXEC)
        readers = [reader for reader, _ in pipes]
        self.writers = [writer for _, writer in pipes]
        self._waiting: list[Callable[[], None]] = []
        self._is_ready = False
        self.pid = 0
        try:
            self.pid = _spawn([uri.path, *uri.arguments], dict(variables), [*readers, theirs])
        except OSError as error:
            for descriptor in (*self.writers, self._ready):
                os.close(descriptor)
            what = f"start the logger {uri.path}"
            raise NajaError.from_os_error(what, error, why=unborn(error)) from None
        finally:
            for descriptor in (*readers, theirs):
                os.close(descriptor)
        loop.watch(self._ready, self._hear)
        ends.watch(self.pid, lambda _: self._ended())

    def when_ready(self, done: Callable[[], None]) -> None:
        """Call back once it is ready: it says so by a byte, or by closing the descriptor."""
        if self._is_ready:
            done()
        else:
            self._waiting.append(done)

    def _hear(self) -> None:
        self._is_ready = True
        self._loop.forget(self._ready)
        os.close(self._ready)
        self._call_back()

    def end(self, done: Callable[[], None]) -> None:
        """Ask it to end, and call back when it has."""
        if not self.pid:
            done()
            return
        os.kill(self.pid, _SIGTERM)
        timer = self._loop.later(_PATIENCE, self._kill)
        self._waiting += [timer.cancel, done]

    def _kill(self) -> None:
        if self.pid:
            os.kill(self.pid, _SIGKILL)

    def _ended(self) -> None:
        self.pid = 0
        if self._is_ready:
            self._call_back()

    def _call_back(self) -> None:
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            self._loop.guard(callback)


def _spawn(words: list[str], environment: dict[str, str], descriptors: list[int]) -> int:
    """Start a program with these descriptors from 3 on. Returns its pid. Raises OSError."""
    # Out of the way first: one of them may stand where another belongs.
    last = _FIRST + len(descriptors)
    copies = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, last) for descriptor in descriptors]
    places = enumerate(copies, _FIRST)
    actions = [(os.POSIX_SPAWN_DUP2, copy, place) for place, copy in places]
    try:
        return os.posix_spawn(
            words[0],
            words,
            environment,
            file_actions=actions,
            setsigmask=[],
            setsigdef=[_signal.SIGPIPE, _signal.SIGTERM, _signal.SIGINT],
        )
    finally:
        for copy in copies:
            os.close(copy)
