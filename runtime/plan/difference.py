"""What two plans differ in, operation by operation. Pure."""

from __future__ import annotations

from ..operations.base import slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..operations.base import Operation
    from . import Plan

    Step = tuple[str, Operation]

REMOVED, ADDED, CHANGED = "removed", "added", "changed"


class Change:
    """An operation that only one of two plans has, or that does the same with other data.

    ``kind`` is REMOVED, ADDED or CHANGED, ``actor`` who does it. Of a CHANGED one ``fields`` names what
    differs and its description does not tell ("profile").
    """

    __slots__ = ("actor", "fields", "kind", "operation")

    def __init__(self, kind: str, actor: str, operation: Operation, fields: list[str]) -> None:
        self.kind = kind
        self.actor = actor
        self.operation = operation
        self.fields = fields

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "change": self.kind,
            "actor": self.actor,
            "operation": type(self.operation).__name__,
            "description": self.operation.describe(),
            "origin": self.operation.origin,
            **({"fields": self.fields} if self.fields else {}),
        }

    def text(self) -> str:
        """Return it for people, a line."""
        sign = {REMOVED: "-", ADDED: "+", CHANGED: "~"}[self.kind]
        fields = f" ({', '.join(self.fields)})" if self.fields else ""
        origin = f"  [{self.operation.origin}]" if self.operation.origin else ""
        return f"{sign} {self.actor}: {self.operation.describe()}{fields}{origin}"


def differences(old: Plan, new: Plan) -> list[Change]:
    """Return the operations that differ, in order; where in the config one comes from does not count."""
    import difflib

    before, after = _steps(old), _steps(new)
    keys = [[_key(step) for step in steps] for steps in (before, after)]
    matcher = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    found: list[Change] = []
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            found += _part(before[start:end], after[first:last])
    return found


def _steps(plan: Plan) -> list[Step]:
    return [(phase.actor, operation) for phase in plan.phases for operation in phase.operations]


def _part(old: list[Step], new: list[Step]) -> Iterator[Change]:
    left = [*new]
    for step in old:
        same = next((other for other in left if _said(other) == _said(step)), None)
        if same is None:
            yield Change(REMOVED, *step, [])
            continue
        left.remove(same)
        fields = _differing(step[1], same[1])
        # What is at another place of the order is told as both: taken away here, and put there.
        if fields:
            yield Change(CHANGED, *same, fields)
    for step in left:
        yield Change(ADDED, *step, [])


def _differing(old: Operation, new: Operation) -> list[str]:
    names = slots(type(old))
    values = zip(names, _fields(old), _fields(new), strict=True)
    return [name for name, before, after in values if before != after]


def _key(step: Step) -> str:
    return f"{_said(step)} {_fields(step[1])}"


def _said(step: Step) -> str:
    actor, operation = step
    return f"{actor} {type(operation).__name__} {operation.describe()}"


def _fields(operation: Operation) -> list[str]:
    """Return the values as text, but for places in config.json: they move when something is put before."""
    return [repr(_placeless(value, operation.origin)) for value in operation.fields()]


def _placeless(value: Any, origin: str) -> Any:
    if type(value) is str:
        return "" if origin and (value == origin or value.startswith(f"{origin}/")) else value
    if isinstance(value, tuple | list):
        return [_placeless(member, origin) for member in value]
    if type(value) is dict:
        return {name: _placeless(member, origin) for name, member in sorted(value.items())}
    return value
