"""The door to the kernel without a C compiler: what native/kernel.c does, by ``_ctypes``.

``ctypes`` itself costs 2.6 ms to import, the C module beneath it half of one; so its three ideas that
are needed here (a long, a function pointer, a buffer) are spelled out.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CDECL, _PYTHON_API, _USE_ERRNO = 1, 4, 8
_CLONE3 = 435


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A C ``long``: the register-sized integer that every system call takes and gives."""

    _type_ = "l"


class Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """A C ``char``: what buffers are made of."""

    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _CDECL | _USE_ERRNO
    _restype_ = Long


class _HeldFunction(_ctypes.CFuncPtr):
    """A function called with the interpreter lock held: nothing of Python may run meanwhile."""

    _flags_ = _CDECL | _PYTHON_API | _USE_ERRNO
    _restype_ = Long


class Library:
    """A loaded shared library, of which ``function`` looks up symbols."""

    def __init__(self, name: str | None = None) -> None:
        """Load ``name`` (the running program itself where None). Raises OSError."""
        self._handle = _ctypes.dlopen(name, os.RTLD_NOW)  # type: ignore[arg-type]

    def address(self, name: str) -> int:
        """Return the address of a symbol. Raises OSError."""
        return _ctypes.dlsym(self._handle, name)

    def function(self, name: str) -> Any:
        """Return a callable for the symbol; it takes what ``arguments`` makes. Raises OSError."""
        return _Function(self.address(name))


def arguments(values: tuple[Any, ...]) -> list[Any]:
    """Make C arguments: int → long, bytes and None → pointer, a bytearray → its address."""
    return [_argument(value) for value in values]


def _argument(value: Any) -> Any:
    if type(value) is bytearray:
        return (Char * len(value)).from_buffer(value)
    return Long(value) if type(value) is int else value


def find(name: bytes) -> int:
    """Return the address of a function of libc. Raises OSError."""
    return _program.address(name.decode())


def address(buffer: bytearray) -> int:
    """Return where the content of a buffer is, for as long as that is kept and not resized."""
    return _ctypes.addressof((Char * len(buffer)).from_buffer(buffer))


def call(function: int, *values: Any) -> int:
    """Call a function that returns -1 and sets errno on failure. Returns its result. Raises OSError."""
    result: int = _Function(function)(*arguments(values))
    if result in (-1, 0xFFFFFFFF):  # a C int's -1 need not fill the upper half of the register
        raise _error()
    return result


def clone(request: bytes) -> int:
    """Give birth as os.fork does, by clone3(2). Returns the pid, 0 in the child. Raises OSError."""
    number, size = Long(_CLONE3), Long(len(request))
    # As os.fork does: CPython takes its locks before, and repairs itself on both sides after.
    _before_fork()
    pid: int = _raw_syscall(number, request, size)  # type: ignore[assignment]
    if pid == 0:
        _after_fork_child()
        return 0
    error = _error()
    _after_fork_parent()
    if pid == -1:
        raise error
    return pid


def _error() -> OSError:
    number = _ctypes.get_errno()
    return OSError(number, os.strerror(number))


_program = Library()
# Looked up while the host's files are still in sight; a child may call none of these first.
_raw_syscall, _before_fork, _after_fork_parent, _after_fork_child = (
    _HeldFunction(_program.address(name))
    for name in ("syscall", "PyOS_BeforeFork", "PyOS_AfterFork_Parent", "PyOS_AfterFork_Child")
)
