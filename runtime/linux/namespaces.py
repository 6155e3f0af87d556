"""Namespaces: their flags by the names that config.json gives them; making and joining them."""

from __future__ import annotations

import os

from .libc import call, function

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

#: Flag by the type that config.json uses ("/linux/namespaces/N/type").
FLAGS = {
    "user": CLONE_NEWUSER,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "mount": CLONE_NEWNS,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}

#: Name below /proc/PID/ns where it differs from the type.
_FILES = {"network": "net", "mount": "mnt"}


def file_name(kind: str) -> str:
    """Return the file below /proc/PID/ns that stands for a namespace type ("network" → "net")."""
    return _FILES.get(kind, kind)


def flags(kinds: list[str]) -> int:
    """Return the CLONE_NEW* flags of namespace types together."""
    together = 0
    for kind in kinds:
        together |= FLAGS[kind]
    return together


#: ioctl_ns(2)
_NS_GET_USERNS = 0xB701

_ioctl = function("ioctl")
_unshare = function("unshare")
_setns = function("setns")
_sethostname = function("sethostname")
_setdomainname = function("setdomainname")


def unshare(flags: int) -> None:
    """Move the caller into new namespaces (unshare(2)). Raises OSError."""
    call(_unshare, flags)


def setns(fd: int, flags: int = 0) -> None:
    """Join the namespace behind ``fd``, or those of a pidfd's process (setns(2)). Raises OSError."""
    call(_setns, fd, flags)


def is_owned(kind: str) -> bool:
    """Tell whether the caller's namespace of a type belongs to its user namespace, or to one inside.

    Only then do the caller's capabilities count in it (user_namespaces(7)). Raises OSError.
    """
    own = os.open(f"/proc/self/ns/{file_name(kind)}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(call(_ioctl, own, _NS_GET_USERNS))
    except PermissionError:
        return False
    finally:
        os.close(own)
    return True


def set_hostname(name: bytes) -> None:
    """Set the host name of the caller's UTS namespace (sethostname(2)). Raises OSError."""
    call(_sethostname, name, len(name))


def set_domainname(name: bytes) -> None:
    """Set the NIS domain name of the caller's UTS namespace (setdomainname(2)). Raises OSError."""
    call(_setdomainname, name, len(name))
