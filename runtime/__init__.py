"""naja: an OCI container runtime, and its Python API: ``from naja import Container``.

What the API needs is loaded on first use: the command and its processes import this package too.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import DEVNULL, PIPE, STDOUT

    from . import aio, config, types
    from .errors import (
        AlreadyExists,
        ConfigError,
        NajaError,
        NotFound,
        PermissionDenied,
        Unsupported,
        WrongState,
    )
    from .library.bundle import Bundle
    from .library.container import CompletedContainer, Container, run
    from .library.handle import ProgramFailed, TimeoutExpired, list_containers
    from .library.process import Process

_HOMES = {
    **dict.fromkeys(("DEVNULL", "PIPE", "STDOUT"), "subprocess"),
    **dict.fromkeys(("NajaError", "NotFound", "AlreadyExists", "WrongState"), "naja.errors"),
    **dict.fromkeys(("ConfigError", "PermissionDenied", "Unsupported"), "naja.errors"),
    **dict.fromkeys(("CompletedContainer", "Container", "run"), "naja.library.container"),
    **dict.fromkeys(("ProgramFailed", "TimeoutExpired", "list_containers"), "naja.library.handle"),
    "Process": "naja.library.process",
    "Bundle": "naja.library.bundle",
}

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AlreadyExists",
    "Bundle",
    "CompletedContainer",
    "ConfigError",
    "Container",
    "NajaError",
    "NotFound",
    "PermissionDenied",
    "Process",
    "ProgramFailed",
    "TimeoutExpired",
    "Unsupported",
    "WrongState",
    "aio",
    "config",
    "list_containers",
    "run",
    "types",
]


def __getattr__(name: str) -> object:
    """Load a name of the API (PEP 562)."""
    if name in ("aio", "config", "types"):
        return __import__(f"naja.{name}", fromlist=["naja"])
    if name not in _HOMES:
        raise AttributeError(f"module 'naja' has no attribute {name!r}")
    home = __import__(_HOMES[name], fromlist=[name])
    value: object = getattr(home, name)
    globals()[name] = value
    return value
