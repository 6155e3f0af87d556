"""What a container could do to the host: exposures, each with a weight, and a score. docs/audit.md.

It is the plan that is judged, not the config: defaults count, and what is not done counts as not done. Pure,
but for links and sockets of the host, which sources of mounts may be.
"""

from __future__ import annotations

from . import capabilities, devices, kernel, mounts, namespaces, process, resources, seccomp, together
from .exposure import score, word
from .facts import Facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..plan import Plan
    from .exposure import Exposure

__all__ = ["Report", "audit"]

_RULES = (namespaces, mounts, capabilities, devices, seccomp, process, kernel, resources, together)

#: Below it an exposure is none: what a user namespace leaves of it.
_LEAST = 0.01


def audit(plan: Plan, config: dict[str, Any], bundle: str, *, rootless: bool) -> Report:
    """Return what a plan exposes; config and bundle are those that it was compiled from.

    ``rootless`` is whether who makes the container lacks root's privileges on the host.
    """
    facts = Facts(plan, config, bundle, rootless=rootless)
    found = [exposure for rules in _RULES for exposure in rules.exposures(facts)]
    return Report([exposure for exposure in found if exposure.weight >= _LEAST])


class Report:
    """Exposures, the heaviest first, with their score and the word for it."""

    __slots__ = ("exposures", "score", "word")

    def __init__(self, exposures: list[Exposure]) -> None:
        self.exposures = sorted(exposures, key=lambda one: (-one.weight, one.key, one.origin))
        self.score = score(exposures)
        self.word = word(self.score)

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        exposures = [exposure.data() for exposure in self.exposures]
        return {"score": self.score, "word": self.word, "exposures": exposures}

    def text(self) -> str:
        """Return it for people: two lines for each exposure, and the score."""
        lines = [line for exposure in self.exposures for line in exposure.lines()]
        return "\n".join([*lines, f"score {self.score:.1f} of 10: {self.word}"]) + "\n"
