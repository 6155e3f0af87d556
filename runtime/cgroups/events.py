"""Notice of a container that has run out of memory."""

from __future__ import annotations

import os
import select

from ..linux.cgroupfs import write


class OomWatch:
    """Tells when the kernel found no memory for the container; ``descriptor`` can be polled.

    Use it as a context manager, or call ``close``.
    """

    #: Becomes ready (for ``events``) when there may be news.
    descriptor: int
    events: int

    def __init__(self, directory: str, descriptor: int = -1, seen: int = 0) -> None:
        """Begin to watch; or go on with what another process has handed over (``directory`` and ``seen``)."""
        self.directory = directory
        self.descriptor = descriptor
        self.seen = seen
        if descriptor < 0:
            self._open()

    def _open(self) -> None:
        raise NotImplementedError

    def wait(self, seconds: float | None) -> bool:
        """Wait for news at most that long (None: for ever). Return whether there was an OOM."""
        poll = select.poll()
        poll.register(self.descriptor, self.events)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        return bool(ready) and self._take()

    def last(self) -> bool:
        """Return whether there was an OOM that nobody was told of, for when the container has ended.

        Of the one that has ended it the news may come later than its end.
        """
        return self.wait(0)

    def ended(self) -> bool:
        """Say whether the container's cgroup is gone, so that there will be no more news."""
        return not os.path.isdir(self.directory)

    def _take(self) -> bool:
        """Return whether the news is of an OOM, and make ready for the next."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self.descriptor)

    def __enter__(self) -> OomWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OomWatchV1(OomWatch):
    """By an eventfd (cgroup-v1/memory, OOM Control)."""

    events = select.POLLIN

    def _open(self) -> None:
        directory = self.directory
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC)
        try:
            control = os.open(os.fsencode(f"{directory}/memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
            try:
                write(f"{directory}/cgroup.event_control", f"{self.descriptor} {control}")
            finally:
                os.close(control)
        except OSError:
            os.close(self.descriptor)
            raise

    def _take(self) -> bool:
        os.eventfd_read(self.descriptor)
        # The end of the cgroup is told in the same way.
        return not self.ended()


class OomWatchV2(OomWatch):
    """By memory.events, which the kernel announces every change of (cgroup-v2, memory.events)."""

    events = select.POLLPRI

    def _open(self) -> None:
        path = os.fsencode(f"{self.directory}/memory.events")
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.seen = self._count()

    def _count(self) -> int:
        words = os.pread(self.descriptor, 4096, 0).split()
        return int(words[words.index(b"oom_kill") + 1])

    def last(self) -> bool:
        """Look at the count, which is there before anybody is killed; the kernel announces it later."""
        return self._take()

    def _take(self) -> bool:
        try:
            count = self._count()
        except OSError:
            # ENODEV: the cgroup is gone, which ``ended`` tells.
            return False
        happened = count > self.seen
        self.seen = count
        return happened
