"""Network devices: the calls of netdevice(7)."""

from __future__ import annotations

from .libc import call, function

_AF_INET, _SOCK_DGRAM, _SOCK_CLOEXEC = 2, 2, 0o2000000

_socket = function("socket")


def control_socket() -> int:
    """Return a descriptor for the ioctls of the caller's network namespace (socket(2)). Raises OSError.

    The module ``_socket`` would do, but its import takes longer than all of this.
    """
    return call(_socket, _AF_INET, _SOCK_DGRAM | _SOCK_CLOEXEC, 0)
