"""The door to the kernel: functions of libc and raw system calls.

Two modules can open it: native/kernel.c where naja was installed with a C compiler, foreign.py
elsewhere. Every wrapper in this package raises ``OSError`` with the kernel's errno and nothing else.
"""

from __future__ import annotations

import _imp
import posix
import sys
from _frozen_importlib import ModuleSpec
from errno import ENOSYS, EPERM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

#: Where runtime/startup/launcher.py puts the compiled native/kernel.c, beside the compiled modules.
FILE = f"{__file__.rpartition('/linux/')[0]}/__pycache__/kernel.{sys.implementation.cache_tag}.so"


def _open() -> Any:
    """Return the module that opens the door."""
    if "_kernel" in sys.builtin_module_names:
        import _kernel  # In native/interpreter.c.

        return _kernel
    try:
        if not _is_ours():
            raise ImportError
        module = _imp.create_dynamic(ModuleSpec("kernel", None, origin=FILE))
    except ImportError:
        from . import foreign

        return foreign
    _imp.exec_dynamic(module)
    return module


def _is_ours() -> bool:
    """Tell whether the library is an ordinary file of the package's owner that nobody else may write to."""
    try:
        status, package = posix.lstat(FILE), posix.stat(__file__.rpartition("/")[0])
    except OSError:
        return False
    return status.st_mode & 0o170022 == 0o100000 and status.st_uid == package.st_uid


_door = _open()

#: Call a function that returns -1 and sets errno on failure: its address, then int, bytes, a bytearray to be
#: filled, or None for a null pointer. Returns its result. Raises OSError with errno.
call: Callable[..., int] = _door.call

#: Return the address of a bytearray's content, for as long as that is kept and not resized.
address: Callable[[bytearray], int] = _door.address

#: Give birth as os.fork does, by clone3(2) with a struct clone_args. Returns the pid, 0 in the child. The
#: caller must have one thread only. Raises OSError.
clone: Callable[[bytes], int] = _door.clone

#: Give birth in the caller's own memory (birth.py); None where C alone could and there is none.
birth: Callable[[Callable[[], NoReturn], int], int] | None = getattr(_door, "birth", None)


def function(name: str) -> int:
    """Return the address of a function of libc, for ``call``. Raises OSError."""
    address: int = _door.find(name.encode())
    return address


_syscall = function("syscall")

#: What older kernels, or a seccomp filter around naja, may lack; the numbers are the same on every machine.
CALLS = {
    424: "pidfd_send_signal",
    428: "open_tree",
    429: "move_mount",
    430: "fsopen",
    431: "fsconfig",
    432: "fsmount",
    433: "fspick",
    434: "pidfd_open",
    435: "clone3",
    436: "close_range",
    437: "openat2",
    438: "pidfd_getfd",
    439: "faccessat2",
    442: "mount_setattr",
    444: "landlock_create_ruleset",
    445: "landlock_add_rule",
    446: "landlock_restrict_self",
}
#: Those that need no privilege: who is denied them has a filter.
_FOR_ALL = (434, 436, 437, 439)


def syscall(number: int, *values: Any) -> int:
    """Make a raw system call (syscall(2)). Returns its result.

    Raises OSError with errno; where there is no such call, or it is denied, the name of that is the file.
    """
    try:
        return call(_syscall, number, *values)
    except OSError as error:
        if number in CALLS and (error.errno == ENOSYS or (error.errno == EPERM and number in _FOR_ALL)):
            error.filename = f"{CALLS[number]}(2)"
        raise
