"""What ``--debug`` and ``naja trace`` tell: each operation as it is applied, on what, and how long it took.

Loaded only then, and before a process enters a container. What is told is an event, plain data as a channel
carries it; ``words`` makes a line of it.
"""

from __future__ import annotations

from time import time_ns

from .base import STAGE, Context, Operation, apply_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    #: What is done, its origin in config.json, the descriptors by name, how it came out (one of those
    #: below), when it began (ns since the epoch: the other clocks are a time namespace's affair), how long it
    #: took (ns).
    Event = tuple[str, str, tuple[tuple[str, int], ...], str, int, int]

#: How an operation came out.
DONE, FAILED, UNHEARD, UNTIMED = "in", "failed after", "next, unheard", ""

#: From these on nobody can be told anything: a filter may kill who sends, and then the program runs.
_LAST_HEARD = ("LoadSeccomp", "Execute")


class Descriptors(dict[str, int]):
    """The descriptors of a context; ``used`` are those that were looked at, put there, or taken."""

    def __init__(self, descriptors: dict[str, int]) -> None:
        super().__init__(descriptors)
        self.used: dict[str, int] = {}

    def __getitem__(self, name: str) -> int:
        number = self.used[name] = super().__getitem__(name)
        return number

    def __setitem__(self, name: str, number: int) -> None:
        self.used[name] = number
        super().__setitem__(name, number)

    def pop(self, name: str, *otherwise: Any) -> Any:
        """Take one, as a dict does."""
        if name in self:
            self.used[name] = super().__getitem__(name)
        return super().pop(name, *otherwise)


class Trace:
    """Applies operations for a context (``Context.trace``), and tells of each."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    def __call__(self, operations: Sequence[Operation], context: Context) -> None:
        """Apply operations as ``apply_all`` does without a trace."""
        context.trace = None
        for index, operation in enumerate(operations):
            if context.actor == STAGE and "init" in context.values:
                break
            if type(operation).__name__ in _LAST_HEARD:
                for unheard in operations[index:]:
                    self._tell(event(unheard, UNHEARD))
                apply_all(operations[index:], context)
                return
            self._apply(operation, context)
        context.trace = self

    def _apply(self, operation: Operation, context: Context) -> None:
        actor, outcome = context.actor, FAILED
        descriptors = context.descriptors = Descriptors(context.descriptors)
        began = time_ns()
        try:
            apply_all([operation], context)
            outcome = DONE
        finally:
            took = max(0, time_ns() - began)
            # A child that was just born leaves it to its parent.
            if context.actor == actor:
                used = tuple(descriptors.used.items())
                self._tell((operation.describe(), operation.origin, used, outcome, began, took))


def event(operation: Operation, outcome: str) -> Event:
    """Return the event of an operation of which no more is known than that it comes, or came, now."""
    return operation.describe(), operation.origin, (), outcome, time_ns(), 0


def words(event: Event) -> str:
    """Return an event as a line."""
    description, origin, used, outcome, _, took = event
    text = description + (f" [{origin}]" if origin else "")
    text += "".join(f", {name} is {number}" for name, number in used)
    if outcome in (DONE, FAILED):
        return f"{text}, {outcome} {took / 1e6:.3f} ms"
    return f"{text}, {outcome}" if outcome else text
