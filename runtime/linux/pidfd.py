"""What a pidfd tells of a process that is nobody's child here (pidfs; PIDFD_GET_INFO)."""

from __future__ import annotations

import fcntl
import os
from struct import pack, unpack_from

#: ioctl(2), with a struct pidfd_info as it was at first: a mask, 52 bytes about the process, its wait status.
_GET_INFO, _SIZE, _STATUS = 0xC040FF0B, 64, 60
_INFO_EXIT = 1 << 3


def exit_code(pidfd: int) -> tuple[bool, int | None]:
    """Tell how a process has ended that is another's child: whether that can be told, and its exit code.

    The code is 128 + N where signal N ended it. Linux tells since 6.15, once the parent has reaped it; of an
    older kernel (True, None) is all that will ever be known.
    """
    info = bytearray(pack("=Q", _INFO_EXIT) + bytes(_SIZE - 8))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except ProcessLookupError:
        return False, None  # Reaped just now, and not yet noted (or by a kernel that notes nothing).
    except OSError:
        return True, None
    if not unpack_from("=Q", info)[0] & _INFO_EXIT:
        return False, None
    code = os.waitstatus_to_exitcode(unpack_from("=i", info, _STATUS)[0])
    return True, 128 - code if code < 0 else code
