"""Properties that are null: they are absent. Generators in Go write so what is not set, and templates."""

from __future__ import annotations

from .pattern import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


def find(value: Any, at: str = "") -> Iterator[tuple[dict[str, Any], str, str]]:
    """Return the object, the name and the JSON pointer of every property that is null, at any depth.

    An item of an array that is null is no property, but a wrong item.
    """
    if type(value) is dict:
        for name, member in value.items():
            below = f"{at}/{escape(name)}"
            if member is None:
                yield value, name, below
            elif type(member) is dict or type(member) is list:
                yield from find(member, below)
    elif type(value) is list:
        for index, item in enumerate(value):
            yield from find(item, f"{at}/{index}")


def drop(value: Any) -> bool:
    """Take every property that is null out of a document; return whether there was one."""
    found = list(find(value))
    for owner, name, _ in found:
        del owner[name]
    return bool(found)
