"""From the annotation ``naja.landlock`` to operations; loaded only where it is there. Pure."""

from __future__ import annotations

from ..config import landlock
from ..operations.landlock import MakeLandlockRules, ObeyLandlock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..operations.base import Operation


def make(text: str) -> list[Operation]:
    """Return what makes the rules, in the container's root before the user changes. Raises NajaError."""
    rules = landlock.read(text)
    denied = rules.files, rules.net, rules.scope
    return [MakeLandlockRules(rules.paths, rules.ports, denied, rules.needed(), origin=landlock.ORIGIN)]


def obey() -> list[Operation]:
    """Return what puts the process under the rules; it has set no_new_privs."""
    return [ObeyLandlock(origin=landlock.ORIGIN)]
