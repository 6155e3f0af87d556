"""One thread that waits for everything at once: descriptors (epoll(7)), times, and what is to be done soon.

asyncio does the like, and takes 41 ms to import.
"""

from __future__ import annotations

import _heapq
import select
import sys
import time

from ..errors import one_line, trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Callback = Callable[[], None]


_LONGEST_REST = 60.0


class Timer:
    """Something that will be done at a time."""

    __slots__ = ("callback", "due", "order")

    def __init__(self, due: float, order: int, callback: Callback) -> None:
        self.due = due
        self.order = order
        self.callback: Callback | None = callback

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.order) < (other.due, other.order)

    def cancel(self) -> None:
        """Have it not be done."""
        self.callback = None


class _Watch:
    __slots__ = ("read", "turn", "write")

    def __init__(self, read: Callback | None, write: Callback | None, turn: int) -> None:
        self.read = read
        self.write = write
        #: The turn of the loop in which it began: an event of the same may be an earlier descriptor's.
        self.turn = turn


def say(text: str) -> None:
    """Where a failure is told that nobody waits for."""
    sys.stderr.write(f"naja: {one_line(text)}\n")


class Loop:
    """Calls back. An exception of a callback is told, and ends nothing else."""

    def __init__(self, say: Callable[[str], None] = say) -> None:
        self.say = say
        self._poll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers: list[Timer] = []
        self._soon: list[Callback] = []
        self._turn = self._order = 0
        self._stopped = False
        #: How long there is nothing to do until what is done, and whether it was.
        self._rest: tuple[float, Callback] | None = None
        self._is_resting = False

    def rest(self, seconds: float, callback: Callback) -> None:
        """Call back when there has been nothing to do for so many seconds, and not again until there was.

        Each time it takes twice as long, up to a minute: for who is woken now and then it does not pay.
        """
        self._rest = seconds, callback

    def watch(self, descriptor: int, read: Callback | None = None, write: Callback | None = None) -> None:
        """Call back whenever a descriptor can be read, or written, in the place of an earlier ``watch``.

        An error or a hang-up calls ``read``, or else ``write``. What is called may find that there is nothing
        after all. Raises OSError.
        """
        mask = (select.EPOLLIN if read else 0) | (select.EPOLLOUT if write else 0)
        if descriptor in self._watches:
            self._poll.modify(descriptor, mask)
        else:
            self._poll.register(descriptor, mask)
        self._watches[descriptor] = _Watch(read, write, self._turn)

    def forget(self, descriptor: int) -> None:
        """Watch a descriptor no longer. To be called before it is closed, of which others may have copies."""
        if self._watches.pop(descriptor, None):
            self._poll.unregister(descriptor)

    def later(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, after so many seconds, if it is not cancelled before."""
        self._order += 1
        timer = Timer(time.monotonic() + seconds, self._order, callback)
        _heapq.heappush(self._timers, timer)
        return timer

    def soon(self, callback: Callback) -> None:
        """Call back once, when what is going on has returned."""
        self._soon.append(callback)

    def guard(self, callback: Callable[..., None], *values: Any) -> None:
        """Call back at once; an exception is told."""
        try:
            callback(*values)
        except Exception as error:
            self.say(f"{type(error).__name__}: {error} ({trace(error)})")

    def run(self) -> None:
        """Call back until ``stop``."""
        self._stopped = False
        while not self._stopped:
            self._take_turn()

    def stop(self) -> None:
        """Have ``run`` return when what is going on has returned."""
        self._stopped = True

    def _take_turn(self) -> None:
        self._turn += 1
        for descriptor, events in self._wait():
            self._serve(descriptor, events)
        now = time.monotonic()
        while self._timers and (self._timers[0].callback is None or self._timers[0].due <= now):
            if callback := _heapq.heappop(self._timers).callback:
                self.guard(callback)
        soon, self._soon = self._soon, []
        for callback in soon:
            self.guard(callback)

    def _wait(self) -> list[tuple[int, int]]:
        """Return what has happened, as soon as there is something to do."""
        patience = self._patience()
        if self._rest and not self._is_resting and not 0 <= patience <= self._rest[0]:
            if events := self._poll.poll(self._rest[0]):
                return events
            seconds, callback = self._rest
            self._rest = max(seconds, min(seconds * 2, _LONGEST_REST)), callback
            self._is_resting = True
            self.guard(callback)
            patience = self._patience()
        events = self._poll.poll(patience)
        self._is_resting = False
        return events

    def _patience(self) -> float:
        """Return how long there is nothing to do, in seconds; -1 for ever."""
        if self._soon:
            return 0.0
        while self._timers and self._timers[0].callback is None:
            _heapq.heappop(self._timers)
        return max(0.0, self._timers[0].due - time.monotonic()) if self._timers else -1.0

    def _serve(self, descriptor: int, events: int) -> None:
        watch = self._watches.get(descriptor)
        if watch is None or watch.turn == self._turn:
            return  # It was forgotten in this very turn, and its number may be another's already.
        if events & ~select.EPOLLOUT and (callback := watch.read or watch.write):
            self.guard(callback)
        if events & select.EPOLLOUT and watch.write and self._watches.get(descriptor) is watch:
            self.guard(watch.write)
