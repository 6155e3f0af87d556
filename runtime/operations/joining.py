"""Operations on the root and the procfs of a process that joins a running container.

The procfs of naja's own is opened by one that makes a container as well.
"""

from __future__ import annotations

import errno
import os

from ..errors import NajaError
from ..linux import files
from .base import Context, Operation
from .filesystem import new_mount

#: The inode of every procfs's root directory.
_PROC_ROOT_INODE = 1


class OpenProc(Operation):
    """Open a procfs for naja's own use, which nobody inside can mount over (CVE-2025-52881)."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "open a procfs of naja's own"

    def apply(self, context: Context) -> None:
        try:
            proc = new_mount("proc", "proc", [], 0, "")
        except NajaError as error:
            # Only with a procfs in sight that nothing covers may a user namespace mount another.
            if error.errno != errno.EPERM:
                raise
            proc = _visible_proc()
        context.descriptors["proc"] = proc


def _visible_proc() -> int:
    """Open the procfs at /proc. What covers parts of it is noticed on the way (RESOLVE_NO_XDEV)."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    proc = files.open_in_root(root, "/proc", os.O_PATH | os.O_DIRECTORY, symlinks=False)
    os.close(root)
    real = files.filesystem_magic(proc) == files.PROC_SUPER_MAGIC
    if not real or os.fstat(proc).st_ino != _PROC_ROOT_INODE:
        raise NajaError("open /proc", why="this is not the root of a procfs")
    return proc


class OpenRoot(Operation):
    """Open the root directory of a container that was joined."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "open the container's root directory"

    def apply(self, context: Context) -> None:
        context.descriptors["rootfs"] = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def change_root(root: int) -> None:
    """Make a directory the root of this process, and its working directory (chroot(2)). Raises OSError."""
    os.fchdir(root)
    os.chroot(".")
    os.chdir("/")


class FindRoot(Operation):
    """Open the root directory of a process which has it for itself, in the host's mount namespace."""

    __slots__ = ("place",)

    def __init__(self, place: int | str) -> None:
        self.origin = ""
        self.place = place

    def describe(self) -> str:
        return f"open the root directory of the process at /proc/{self.place}"

    def apply(self, context: Context) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        context.descriptors["rootfs"] = os.open(f"/proc/{self.place}/root", flags)
        context.handover.append("rootfs")


class ChangeRoot(Operation):
    """Make the root directory of the container that of this process (chroot(2))."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "change the root to the container's"

    def apply(self, context: Context) -> None:
        change_root(context.descriptors["rootfs"])
