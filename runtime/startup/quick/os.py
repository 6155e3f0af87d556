"""What naja uses of Python's ``os``, loaded in a tenth of the time (which is 1.3 ms).

Functions do what their namesakes do; those of the kernel are ``posix``'s own, as in ``os``.
"""

from __future__ import annotations

import posix
import sys
from posix import *  # noqa: F403
from posix import _exit  # noqa: F401

from . import path

__all__ = ["path"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

SEEK_SET = 0
defpath = "/bin:/usr/bin"

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def fsencode(name: str | bytes | PathLike[str]) -> bytes:
    """Return a file name as the kernel has it."""
    name = posix.fspath(name)
    return name if isinstance(name, bytes) else name.encode(_ENCODING, _ERRORS)


def fsdecode(name: str | bytes | PathLike[str]) -> str:
    """Return a file name of the kernel's as text."""
    name = posix.fspath(name)
    return name if isinstance(name, str) else name.decode(_ENCODING, _ERRORS)


def _environment() -> dict[str, str]:
    return {fsdecode(name): fsdecode(value) for name, value in posix.environ.items()}


#: As it was when naja started.
environ: dict[str, str] = _environment()  # type: ignore[no-redef]


def read_environment() -> None:
    """Take the environment as it is now."""
    environ.clear()
    environ.update(_environment())  # type: ignore[arg-type]


def makedirs(name: str | bytes, mode: int = 0o777, exist_ok: bool = False) -> None:
    """Make a directory and all above it that are missing. Raises OSError."""
    name = fsdecode(name).rstrip("/")
    above = path.dirname(name)
    if above and not path.exists(above):
        makedirs(above, exist_ok=True)
    try:
        posix.mkdir(name, mode)
    except FileExistsError:
        if not (exist_ok and path.isdir(name)):
            raise
