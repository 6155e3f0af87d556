"""naja: an OCI container runtime, and its Python API: ``from naja import Container``.

What the API needs is loaded on first use: the command and its processes import this package too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .container.lifecycle import Container
    from .container.listing import list_containers
    from .container.running import run
    from .errors import NajaError, Unsupported

__all__ = ["Container", "NajaError", "Unsupported", "list_containers", "run"]

_HOMES = {
    "Container": "naja.container.lifecycle",
    "list_containers": "naja.container.listing",
    "run": "naja.container.running",
    "NajaError": "naja.errors",
    "Unsupported": "naja.errors",
}


def __getattr__(name: str) -> object:
    """Load a name of the API (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'naja' has no attribute {name!r}")
    home = __import__(_HOMES[name], fromlist=[name])
    value: object = getattr(home, name)
    globals()[name] = value
    return value
