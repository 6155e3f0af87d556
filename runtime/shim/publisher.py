"""Events, to containerd: one after the other, in their order, and kept while it is away."""

from __future__ import annotations

from collections import deque

from . import messages
from .ttrpc import DEADLINE_EXCEEDED, UNAVAILABLE, Caller, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..resident.loop import Loop
    from .wire import Message

_SERVICE = "containerd.services.events.ttrpc.v1.Events"

#: So many are kept; of more the oldest are lost.
MOST = 10_000

#: How long containerd may take for one, and how often it is asked again, in seconds.
_TIMEOUT, _FIRST_PAUSE, _LAST_PAUSE = 5.0, 0.05, 1.0

#: How often one is sent that containerd refuses.
_ATTEMPTS = 5


class Publisher:
    """Sends events; ``say`` is told what is lost."""

    def __init__(self, loop: Loop, address: str, namespace: str, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._caller = Caller(loop, address) if address else None
        self._namespace = namespace
        self._say = say
        self._queue: deque[tuple[str, bytes]] = deque()
        self._is_busy = False
        self._refusals = 0
        self._pause = _FIRST_PAUSE
        self._idle: list[Callable[[], None]] = []

    def publish(self, kind: Message, **values: Any) -> None:
        """Send an event as soon as those before it are there."""
        if self._caller is None:
            return
        topic = messages.TOPICS[kind]
        envelope = {
            "timestamp": messages.timestamp(),
            "namespace": self._namespace,
            "topic": topic,
            "event": messages.wrap(kind, values),
        }
        if len(self._queue) >= MOST:
            self._say(f"an event is lost, for nobody takes them: {self._queue.popleft()[0]}")
        self._queue.append((topic, messages.FORWARD.encode({"envelope": envelope})))
        if not self._is_busy:
            self._send()

    def _send(self) -> None:
        self._is_busy = bool(self._queue)
        if self._queue and self._caller:
            self._caller.call(_SERVICE, "Forward", self._queue[0][1], _TIMEOUT, self._hear)
        elif not self._queue:
            idle, self._idle = self._idle, []
            for callback in idle:
                callback()

    def _hear(self, result: bytes | Failure) -> None:
        if isinstance(result, Failure):
            is_away = result.code in (UNAVAILABLE, DEADLINE_EXCEEDED)
            self._refusals += not is_away
            if self._refusals < _ATTEMPTS:
                self._loop.later(self._pause, self._send)
                self._pause = min(_LAST_PAUSE, self._pause * 2)
                return
            self._say(f"containerd refuses an event, {self._queue[0][0]}: {result.message}")
        self._refusals, self._pause = 0, _FIRST_PAUSE
        self._queue.popleft()
        self._loop.soon(self._send)

    def when_idle(self, callback: Callable[[], None], patience: float) -> None:
        """Call back once, when all are sent, or that takes too long."""
        pending = [callback]

        def once() -> None:
            while pending:
                pending.pop()()

        if self._is_busy:
            self._idle.append(once)
            self._loop.later(patience, once)
        else:
            once()
