"""What was found out about one thing that containers need of a host."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Finding:
    """``key`` names the thing; ``why`` says what is missing, "" where it works; ``detail`` what is there.

    ``needed`` says what for, in words or as a place in config.json; ``remedy`` how to get it.
    """

    __slots__ = ("detail", "key", "needed", "remedy", "why")

    def __init__(self, key: str, why: str = "", *, needed: str, detail: str = "", remedy: str = "") -> None:
        self.key = key
        self.why = why
        self.needed = needed
        self.detail = detail
        self.remedy = remedy if why else ""

    @property
    def works(self) -> bool:
        """Whether it is there."""
        return not self.why

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        names = ("key", "works", "why", "detail", "needed", "remedy")
        return {name: getattr(self, name) for name in names}

    def lines(self) -> list[str]:
        """Return it for people: a line, and another one where something is missing."""
        said = self.why or self.detail
        lines = [f"{'yes' if self.works else 'no ':3}  {self.key}" + (f": {said}" if said else "")]
        if self.why:
            remedy = f"; {self.remedy}" if self.remedy else ""
            lines.append(f"     needed for {self.needed}{remedy}")
        return lines


class Obstacle:
    """What keeps a bundle from running here: the place in config.json, and why."""

    __slots__ = ("origin", "why")

    def __init__(self, origin: str, why: str) -> None:
        self.origin = origin
        self.why = why

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"origin": self.origin, "why": self.why}
