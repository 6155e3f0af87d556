"""All containers of a state root at once: what they use, when they run out of memory, and when they end.

``naja events`` and ``naja top`` without an ID. Containers that are made meanwhile are found.
"""

from __future__ import annotations

import select
import time

from ..errors import NajaError
from ..linux import pidfd
from . import state
from .lifecycle import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..cgroups.events import OomWatch
    from ..linux.process import Held

    Event = dict[str, Any]

#: How often new containers are looked for, in seconds.
_LOOK = 0.5

#: How long the exit status of a process is waited for, which its parent has to take first; in seconds.
_PATIENCE = 1.0


class Watched:
    """A container with a process: that is held, and its memory is watched where that can be."""

    def __init__(self, container: Container, held: Held) -> None:
        self.id = container.id
        self._container = container
        self._held = held
        #: When it ended, by the monotonic clock; 0 while it runs.
        self.ended = 0.0
        self.oom: OomWatch | None = None
        try:
            self.oom = container.cgroup.watch_oom()
        except (NajaError, OSError):
            pass  # It has no controller of memory, or has just ended: the rest can be told.

    @classmethod
    def find(cls, root: str, id: str, warn: Callable[[str], None]) -> Watched | None:
        """Return a container that has a process, None where it has none, or is gone."""
        held = None
        try:
            container = Container.open(id, root=root, warn=warn)
        except NajaError:
            return None  # It was deleted just now.
        try:
            if container.status() not in ("stopped", "creating"):
                held = container.hold()
        except (NajaError, OSError):
            pass  # What cannot be read is list's to tell; the others are watched all the same.
        if held is None:
            container.directory.close()
        return cls(container, held) if held else None

    @property
    def pidfd(self) -> int:
        """What can be read when the process has ended."""
        return self._held.pidfd

    def statistics(self) -> dict[str, Any] | None:
        """Return what the container has used, None where it ends."""
        try:
            return self._container.cgroup.statistics()
        except (NajaError, OSError):
            return None

    def exit_code(self) -> tuple[bool, int | None]:
        """Tell whether all is known that will ever be, and the exit code where the kernel tells."""
        known, code = pidfd.exit_code(self._held.pidfd)
        return known or time.monotonic() - self.ended > _PATIENCE, code

    def close(self) -> None:
        """Let go of it."""
        if self.oom:
            self.oom.close()
        self._held.close()
        self._container.directory.close()


class Crowd:
    """All containers of a state root that have a process."""

    def __init__(self, root: str | None, warn: Callable[[str], None]) -> None:
        self._root = root or state.default_root()
        self._warn = warn
        self.watched: dict[str, Watched] = {}

    def look(self) -> None:
        """Find those that are new. Raises NajaError where the state root cannot be read."""
        for id in state.ids(self._root):
            if id not in self.watched and (found := Watched.find(self._root, id, self._warn)):
                self.watched[id] = found

    def statistics(self) -> dict[str, dict[str, Any]]:
        """Return what each has used, by ID."""
        found = {id: watched.statistics() for id, watched in sorted(self.watched.items())}
        return {id: data for id, data in found.items() if data is not None}

    def events(self, interval: float) -> Iterator[Event]:
        """Yield events for ever: "stats" of each container at an interval, "oom" and "end" when they come.

        An "end" has the exit code where the kernel tells it (Linux 6.15).
        """
        due = time.monotonic()
        while True:
            self.look()
            now = time.monotonic()
            if now >= due:
                due = now + interval
                for id, data in self.statistics().items():
                    yield {"type": "stats", "id": id, "data": data}
            yield from self.wait(min(_LOOK, max(0.0, due - time.monotonic())))

    def wait(self, seconds: float) -> Iterator[Event]:
        """Wait for news, at most that long, and yield the events that there are."""
        poll = select.poll()
        running = [watched for watched in self.watched.values() if not watched.ended]
        for watched in running:
            poll.register(watched.pidfd, select.POLLIN)
            if watched.oom:
                poll.register(watched.oom.descriptor, watched.oom.events)
        if len(running) < len(self.watched):
            seconds = min(seconds, 0.01)  # The exit status of somebody is on its way.
        ready = {descriptor for descriptor, _ in poll.poll(seconds * 1000)}
        for watched in running:
            if watched.oom and watched.oom.descriptor in ready and watched.oom.wait(0):
                yield {"type": "oom", "id": watched.id}
            if watched.pidfd in ready:
                watched.ended = time.monotonic()
        yield from self._ends()

    def _ends(self) -> Iterator[Event]:
        for watched in [watched for watched in self.watched.values() if watched.ended]:
            known, code = watched.exit_code()
            if known:
                yield {"type": "end", "id": watched.id, **({} if code is None else {"exitCode": code})}
                watched.close()
                del self.watched[watched.id]
