"""Landlock: a process gives up access to files, ports and others, for all that comes of it (landlock(7))."""

from __future__ import annotations

from struct import pack

from .libc import syscall

# The numbers are the same on every machine.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

#: Rights to files by the kernel's names, without LANDLOCK_ACCESS_FS_.
ACCESS = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            *("execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file", "make_char"),
            *("make_dir", "make_reg", "make_sock", "make_fifo", "make_block", "make_sym", "refer"),
            *("truncate", "ioctl_dev"),
        )
    )
}
#: Those that something other than a directory can have.
OF_FILES = sum(ACCESS[name] for name in ("execute", "write_file", "read_file", "truncate", "ioctl_dev"))

BIND_TCP, CONNECT_TCP = 1, 2

#: What can be kept within the domain: LANDLOCK_SCOPE_*.
SCOPES = {"abstract_unix_socket": 1, "signal": 2}


def abi() -> int:
    """Return the version of the kernel's Landlock; 0 where it has none, or it is switched off."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def create_ruleset(files: int, ports: int, scope: int) -> int:
    """Return a close-on-exec descriptor of a set of rules that denies these rights. Raises OSError."""
    attributes = pack("=3Q", files, ports, scope)
    return syscall(_CREATE_RULESET, attributes, len(attributes), 0)


def allow_beneath(ruleset: int, descriptor: int, access: int) -> None:
    """Allow rights to a file, or to a directory and all below it. Raises OSError."""
    syscall(_ADD_RULE, ruleset, _PATH_BENEATH, pack("=Qi", access, descriptor), 0)


def allow_port(ruleset: int, port: int, access: int) -> None:
    """Allow BIND_TCP or CONNECT_TCP of a port. Raises OSError."""
    syscall(_ADD_RULE, ruleset, _NET_PORT, pack("=2Q", access, port), 0)


def restrict_self(ruleset: int) -> None:
    """Put the caller under a set of rules for good; it has set no_new_privs. Raises OSError."""
    syscall(_RESTRICT_SELF, ruleset, 0)
