"""The kernel's side of seccomp: loading a filter program (seccomp(2))."""

from __future__ import annotations

import _ctypes
import struct

from runtime.linux.libc import buffer, syscall
from runtime.linux.numbers import number

_SET_MODE_FILTER = 1
_NEW_LISTENER, _TSYNC_ESRCH = 8, 16

#: Flags of seccomp(2) by the names that config.json uses.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}

#: Bytes of one instruction (struct sock_filter).
INSTRUCTION_SIZE = 8


def load(program: bytes, flags: int, *, listen: bool = False) -> int:
    """Put the caller under a filter for good.

    ``flags`` are those of FLAGS. Returns, where ``listen``, the descriptor on which a supervisor gets
    the notifications, else 0. Raises OSError (EACCES: neither no_new_privs nor CAP_SYS_ADMIN).
    """
    if listen:
        flags |= _NEW_LISTENER
        if flags & FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]:
            flags |= _TSYNC_ESRCH  # Without it the two do not go together.
    instructions = buffer(len(program))
    instructions[:] = program
    # struct sock_fprog: number of instructions, pointer to them
    filter = struct.pack("@HP", len(program) // INSTRUCTION_SIZE, _ctypes.addressof(instructions))
    return syscall(number("seccomp"), _SET_MODE_FILTER, flags, filter)
