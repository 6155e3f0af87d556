"""What two configs differ in, property by property. Pure."""

from __future__ import annotations

from .pattern import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

#: Stands for a property that is not there.
ABSENT: Any = object()

#: What an entry of a list is known by, the first that it has: a mount, a namespace, a device, a limit.
_NAMES = ("destination", "path", "type", "names", "pageSize", "name")


class Change:
    """A property that differs: its JSON pointer, and both values, of which one may be ABSENT.

    The pointer is that of the old config, unless only the new one has the property.
    """

    __slots__ = ("new", "old", "origin")

    def __init__(self, origin: str, old: Any, new: Any) -> None:
        self.origin = origin
        self.old = old
        self.new = new


def differences(old: Any, new: Any, origin: str = "") -> list[Change]:
    """Return what differs in two JSON values that stand at ``origin``; null is the same as absent.

    What only one of them has is told as a whole. Entries that were put into a list, or taken out, do not
    make the others differ.
    """
    if type(old) is dict and type(new) is dict:
        return [*_objects(old, new, origin)]
    if type(old) is list and type(new) is list:
        return [*_lists(old, new, origin)]
    return [] if _key(old) == _key(new) else [Change(origin, old, new)]


def _objects(old: dict[str, Any], new: dict[str, Any], origin: str) -> Iterator[Change]:
    for name in {**old, **new}:
        before, after = (ABSENT if side.get(name) is None else side[name] for side in (old, new))
        yield from differences(before, after, f"{origin}/{escape(name)}")


def _lists(old: list[Any], new: list[Any], origin: str) -> Iterator[Change]:
    import difflib

    keys = [[_key(entry) for entry in side] for side in (old, new)]
    matcher = difflib.SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for tag, start, end, first, last in matcher.get_opcodes():
        if tag != "equal":
            before = [*enumerate(old[start:end], start)]
            after = [*enumerate(new[first:last], first)]
            yield from _entries(before, after, origin)


def _entries(old: list[tuple[int, Any]], new: list[tuple[int, Any]], origin: str) -> Iterator[Change]:
    """Yield what differs in two parts of a list."""
    left = [*new]
    together = len(old) == len(new)
    for index, entry in old:
        found = next((other for other in left if _is_changed(entry, other[1])), None)
        if found is None and together and left and not isinstance(entry, dict | list):
            found = left[0]
        if found is None:
            yield Change(f"{origin}/{index}", entry, ABSENT)
            continue
        left.remove(found)
        yield from differences(entry, found[1], f"{origin}/{index}")
    for index, entry in left:
        yield Change(f"{origin}/{index}", ABSENT, entry)


def _is_changed(old: Any, new: Any) -> bool:
    """Tell whether an entry is another one, changed: it has its name, or all else is the same."""
    if type(old) is not dict or type(new) is not dict:
        return False
    return _name(old) == _name(new) or len(differences(old, new)) == 1


def _name(entry: dict[str, Any]) -> Any:
    """Return what an entry is known by, None where it has no name."""
    return next(((name, _key(entry[name])) for name in _NAMES if name in entry), None)


def _key(value: Any) -> Any:
    """Return what can be compared, and hashed: as JSON has it, 1 is not true, and members have no order."""
    if type(value) is dict:
        members = [(name, _key(member)) for name, member in value.items() if member is not None]
        return ("object", tuple(sorted(members, key=lambda member: member[0])))
    if type(value) is list:
        return ("array", *map(_key, value))
    return (type(value).__name__, value)
