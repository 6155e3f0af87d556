"""The kernel's side of seccomp: loading a filter program (seccomp(2))."""

from __future__ import annotations

import struct

from .libc import address, syscall
from .numbers import number

_SET_MODE_FILTER = 1
_NEW_LISTENER, _TSYNC_ESRCH = 8, 16

#: Flags of seccomp(2) by the names that config.json uses.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}

#: What a filter may answer (SECCOMP_RET_*); the lower half is free for ERRNO and TRACE.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ACTIONS_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

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
    instructions = bytearray(program)
    # struct sock_fprog: number of instructions, pointer to them
    filter = struct.pack("@HP", len(program) // INSTRUCTION_SIZE, address(instructions))
    return syscall(number("seccomp"), _SET_MODE_FILTER, flags, filter)
