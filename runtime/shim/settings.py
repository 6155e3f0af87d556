"""What containerd tells a shim: its command line, its environment, its standard input."""

from __future__ import annotations

import os

from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_FLAGS = ("debug", "v", "info")
_VALUES = ("namespace", "id", "address", "bundle", "socket", "publish-binary", "debug-socket")


class Settings:
    """What the command line and the environment say."""

    def __init__(self, words: Sequence[str]) -> None:
        """Parse, as Go's flags are written: one dash or two, "=" or a blank. Raises NajaError."""
        self.words = [*words]
        self.flags: set[str] = set()
        self.values = dict.fromkeys(_VALUES, "")
        self.verb = ""
        left = [*words]
        while left and left[0].startswith("-"):
            name, equals, value = left.pop(0).lstrip("-").partition("=")
            if name in _FLAGS:
                self.flags.add(name)
            elif name not in _VALUES:
                raise NajaError(f"flag provided but not defined: -{name}")
            elif not equals and not left:
                raise NajaError(f"flag needs an argument: -{name}")
            else:
                self.values[name] = value if equals else left.pop(0)
        if left:
            self.verb = left[0]
        self.namespace, self.id = self.values["namespace"], self.values["id"]
        self.bundle = self.values["bundle"] or os.getcwd()
        #: Where events go. An old containerd tells only where its other interface is.
        self.events = os.environ.get("TTRPC_ADDRESS") or (
            f"{self.values['address']}.ttrpc" if self.values["address"] else ""
        )
        #: The newest protocol that containerd knows, 0 where it is too old to say.
        version = os.environ.get("MAX_SHIM_VERSION", "")
        self.version = int(version) if version.isdecimal() else 0


def read_stdin() -> bytes:
    """Return all of stdin, which may be closed."""
    parts = []
    try:
        while part := os.read(0, 1 << 16):
            parts.append(part)
    except OSError:
        pass
    return b"".join(parts)
