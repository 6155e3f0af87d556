"""Hearing of a container's out-of-memory kills in a loop."""

from __future__ import annotations

import select

from ..container.lifecycle import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..resident.loop import Loop
    from .tasks import Task


def watch_oom(loop: Loop, task: Task, told: Callable[[], None]) -> Callable[[], None]:
    """Call back at each kill; returns what ends that. Raises OSError, NajaError."""
    container = Container.load(task.id, root=task.root)
    watch = container.cgroup.watch_oom()
    # A loop waits for what can be read; this file always can, and what counts is news (POLLPRI).
    news = select.epoll()
    news.register(watch.descriptor, watch.events)

    def hear() -> None:
        if watch.ended():
            loop.forget(news.fileno())
        elif watch.wait(0):
            told()

    def end() -> None:
        loop.forget(news.fileno())
        news.close()
        watch.close()

    loop.watch(news.fileno(), hear)
    return end
