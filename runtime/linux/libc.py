"""The door to the kernel: libc functions and raw system calls, through ``_ctypes``.

``ctypes`` itself costs 2.6 ms to import, the C module beneath it nothing; so its three ideas that
are needed here (a long, a function pointer, a buffer) are spelled out. Every wrapper in this
package raises ``OSError`` with the kernel's errno and nothing else.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CDECL, _USE_ERRNO = 1, 8


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A C ``long``: the register-sized integer that every system call takes and gives."""

    _type_ = "l"


class Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A C ``char``: what buffers are made of."""

    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _CDECL | _USE_ERRNO
    _restype_ = Long


class Library:
    """A loaded shared library, of which ``function`` looks up symbols."""

    def __init__(self, name: str | None = None) -> None:
        """Load ``name`` (the running program itself where None). Raises OSError."""
        self._handle = _ctypes.dlopen(name, os.RTLD_NOW)  # type: ignore[arg-type]

    def function(self, name: str) -> Any:
        """Return a callable for the symbol; it takes what ``arguments`` makes. Raises OSError."""
        return _Function(_ctypes.dlsym(self._handle, name))


libc = Library()


def arguments(values: tuple[Any, ...]) -> list[Any]:
    """Make C arguments: int → long, bytes and None → pointer, a buffer → its address."""
    return [Long(value) if type(value) is int else value for value in values]


def call(function: Any, *values: Any) -> int:
    """Call a libc function that returns -1 and sets errno on failure.

    Returns its result. Raises OSError with errno.
    """
    result: int = function(*arguments(values))
    if result in (-1, 0xFFFFFFFF):  # a C int's -1 need not fill the upper half of the register
        number = _ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


_syscall = libc.function("syscall")


def syscall(number: int, *values: Any) -> int:
    """Make a raw system call (syscall(2)). Returns its result. Raises OSError with errno."""
    return call(_syscall, number, *values)


def buffer(size: int) -> Any:
    """Return a zeroed, writable buffer of ``size`` bytes that can be passed as a pointer.

    ``buf.raw`` is its content as bytes.
    """
    return (Char * size)()
