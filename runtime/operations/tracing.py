"""What ``--debug`` tells: each operation as it is applied, on which descriptors, and how long that took.

Loaded only then, and before a process enters a container.
"""

from __future__ import annotations

from time import monotonic_ns

from .base import STAGE, Context, Operation, apply_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

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

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def __call__(self, operations: Sequence[Operation], context: Context) -> None:
        """Apply operations as ``apply_all`` does without a trace."""
        context.trace = None
        for index, operation in enumerate(operations):
            if context.actor == STAGE and "init" in context.values:
                break
            if type(operation).__name__ in _LAST_HEARD:
                for unheard in operations[index:]:
                    self._tell(f"{_words(unheard)}, next, unheard")
                apply_all(operations[index:], context)
                return
            self._apply(operation, context)
        context.trace = self

    def _apply(self, operation: Operation, context: Context) -> None:
        actor, outcome = context.actor, "failed after"
        descriptors = context.descriptors = Descriptors(context.descriptors)
        began = monotonic_ns()
        try:
            apply_all([operation], context)
            outcome = "in"
        finally:
            took = (monotonic_ns() - began) / 1e6
            # A child that was just born leaves it to its parent.
            if context.actor == actor:
                used = "".join(f", {name} is {number}" for name, number in descriptors.used.items())
                self._tell(f"{_words(operation)}{used}, {outcome} {took:.3f} ms")


def _words(operation: Operation) -> str:
    return operation.describe() + (f" [{operation.origin}]" if operation.origin else "")
