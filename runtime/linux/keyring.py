"""Kernel keyrings, as far as a container needs them: a session keyring of its own (keyrings(7))."""

from __future__ import annotations

from .libc import syscall
from .numbers import number

_JOIN_SESSION_KEYRING, _SETPERM, _DESCRIBE = 1, 5, 6

#: KEY_USR_SEARCH: processes of the keyring's owner may search it.
USER_SEARCH = 0x00080000


def join_session_keyring(name: bytes) -> int:
    """Join the session keyring ``name``, made where there is none. Returns its serial. Raises OSError."""
    return syscall(number("keyctl"), _JOIN_SESSION_KEYRING, name)


def permissions(key: int) -> int:
    """Return the permission mask of a key (keyctl_describe(3)). Raises OSError."""
    # The description is the keyring's name; nothing is written into a buffer that is too short.
    description = bytearray(1024)
    size = syscall(number("keyctl"), _DESCRIBE, key, description, len(description))
    # "type;uid;gid;permissions;description"
    return int(description[:size].split(b";")[3], 16)


def set_permissions(key: int, mask: int) -> None:
    """Set the permission mask of a key (keyctl_setperm(3)). Raises OSError."""
    syscall(number("keyctl"), _SETPERM, key, mask)
