"""One thing that a container could do to the host, and what all of them come to."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

#: The words for a score, each with what it is below.
_WORDS = ((2.5, "OK"), (5.0, "MEDIUM"), (7.5, "EXPOSED"))
_WORST = "UNSAFE"


class Exposure:
    """``key`` names the kind, ``weight`` (0 to 10) is how much of the wall it takes away.

    ``origin`` is the place in config.json that asks for it, or where the remedy is missing. ``what`` says
    what could be done, ``fix`` the smallest change that closes it.
    """

    __slots__ = ("fix", "key", "origin", "weight", "what")

    def __init__(self, key: str, weight: float, origin: str, what: str, fix: str) -> None:
        self.key = key
        self.weight = round(weight, 2)
        self.origin = origin
        self.what = what
        self.fix = fix

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        names = ("key", "weight", "origin", "what", "fix")
        return {name: getattr(self, name) for name in names}

    def lines(self) -> list[str]:
        """Return it for people: what could be done and where that is asked for, and what closes it."""
        origin = f"  [{self.origin}]" if self.origin else ""
        return [f"{self.weight:5.2f}  {self.what}{origin}", f"       {self.fix}"]

    def identity(self) -> tuple[str, str, float]:
        """Return what makes it the same exposure in another config, wherever it stands there."""
        return self.key, self.what, self.weight


def score(exposures: Iterable[Exposure]) -> float:
    """Return what exposures come to, 0.0 to 10.0: each takes its share of the wall that others have left."""
    left = 1.0
    for exposure in exposures:
        left *= 1 - min(exposure.weight, 10) / 10
    return round(10 * (1 - left), 1)


def word(score: float) -> str:
    """Return the word for a score: OK, MEDIUM, EXPOSED or UNSAFE."""
    return next((word for limit, word in _WORDS if score < limit), _WORST)
