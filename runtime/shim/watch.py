"""Hearing of a container's out-of-memory kills in a loop."""

from __future__ import annotations

import select

from ..cgroups.events import OomWatchV1, OomWatchV2
from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..container.lifecycle import Container
    from ..resident.loop import Loop
    from ..resident.workers import Report

    #: Which kind of watch it is, its directory, and what it has seen; its descriptor goes beside it.
    Handed = tuple[int, str, int]

_KINDS = (OomWatchV1, OomWatchV2)


def open_watch(container: Container, report: Report) -> Handed | None:
    """Begin to watch a container, as a worker: the descriptor is handed over. None, and a warning, if not."""
    try:
        watch = container.cgroup.watch_oom()
    except (OSError, NajaError) as error:
        report.warn(f"nobody will hear of an OOM: {error}")
        return None
    report.descriptors.append(watch.descriptor)
    return isinstance(watch, OomWatchV2), watch.directory, watch.seen


def watch_oom(loop: Loop, handed: Handed, descriptor: int, told: Callable[[], None]) -> Callable[[], None]:
    """Call back at each kill; returns what ends that, after the last. The descriptor is taken over.

    Raises OSError.
    """
    kind, directory, seen = handed
    watch = _KINDS[kind](directory, descriptor, seen)
    try:
        # A loop waits for what can be read; this file always can, and what counts is news (POLLPRI).
        news = select.epoll()
        news.register(watch.descriptor, watch.events)
    except OSError:
        watch.close()
        raise

    def hear() -> None:
        if watch.ended():
            loop.forget(news.fileno())
        elif watch.wait(0):
            told()

    def end() -> None:
        loop.forget(news.fileno())
        news.close()
        if watch.last():
            told()
        watch.close()

    loop.watch(news.fileno(), hear)
    return end
