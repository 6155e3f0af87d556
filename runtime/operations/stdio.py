"""The standard streams of a process in a container, where they are devices of the host's."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation
from .filesystem import new_mount

#: File systems of pipes and sockets that nobody finds by a name.
_NAMELESS = (files.PIPEFS_MAGIC, files.SOCKFS_MAGIC)

#: What the names begin with of standard streams that are handed over.
_STREAM = "stream "

#: The major number of memory devices, and by their minor numbers those that every container has.
_MEMORY = 1
_HARMLESS = {3: "null", 5: "zero", 7: "full", 8: "random", 9: "urandom"}


class TakeStreams(Operation):
    """Take the standard streams that come from the runtime, which had none when this process began."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "take the runtime's standard streams"

    @staticmethod
    def give(context: Context) -> None:
        """Hand those of this process over, as the runtime."""
        for number in range(3):
            context.descriptors[_STREAM + str(number)] = os.dup(number)
            context.handover.append(_STREAM + str(number))

    def apply(self, context: Context) -> None:
        for number in range(3):
            stream = context.take(_STREAM + str(number))
            os.dup2(stream, number)
            os.close(stream)


class ReopenNull(Operation):
    """Exchange a null device (or zero, full, …) of the host's on stdio for the container's own.

    Through a descriptor of the host's node the container could change its mode and times.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "let stdio that is the host's /dev/null, or the like, be the container's"

    def apply(self, context: Context) -> None:
        own: dict[int, int] = {}
        for fd in range(3):
            minor = _harmless_minor(fd)
            if minor >= 0:
                own[minor] = own.get(minor) or _open_own(context, minor)
                os.dup2(own[minor], fd)
        for opened in own.values():
            os.close(opened)


def _harmless_minor(fd: int) -> int:
    """Return which of the harmless devices a descriptor is; -1 for all else."""
    try:
        status = os.fstat(fd)
    except OSError:
        return -1  # The caller has closed it.
    major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
    return minor if stat.S_ISCHR(status.st_mode) and major == _MEMORY and minor in _HARMLESS else -1


def _open_own(context: Context, minor: int) -> int:
    """Open the container's node, or a new one where there is none, or anything else (CVE-2026-88265)."""
    path = f"/dev/{_HARMLESS[minor]}"
    try:
        node = files.open_in_root(context.descriptors["rootfs"], path, os.O_PATH | os.O_NOFOLLOW)
        if files.is_device(os.fstat(node), stat.S_IFCHR, _MEMORY, minor):
            return files.reopen(context.descriptors["proc"], node, os.O_RDWR)
        os.close(node)
    except OSError as error:
        # EACCES: it lies on a mount with nodev.
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES):
            raise
    return _open_new(minor, f"stdio is the host's {path}, and the container has none of its own")


def _open_new(minor: int, why: str) -> int:
    """Open a node in a file system that nobody else sees, and that ends with it. Raises NajaError."""
    filesystem = new_mount("tmpfs", "tmpfs", [("mode", "755", "")], mounts.MOUNT_ATTR_NOSUID, "")
    try:
        os.mknod("node", stat.S_IFCHR | 0o666, os.makedev(_MEMORY, minor), dir_fd=filesystem)
        return os.open("node", os.O_RDWR | os.O_CLOEXEC, dir_fd=filesystem)
    except PermissionError as error:
        # Not in a user namespace.
        raise NajaError.from_os_error("make a device node", error, why=why) from None
    finally:
        os.close(filesystem)


class GiveStreams(Operation):
    """Make the user of a user namespace own the pipes and sockets that are its stdio, from the host's side.

    Else it could not open them again, by /dev/stderr: to the namespace's own root they are nobody's, so
    GiveStdio is refused. What has a name stays the caller's, a terminal too: whoever is that user on the
    host, without the container, could open it for good.
    """

    __slots__ = ("uid",)

    def __init__(self, uid: int, *, origin: str) -> None:
        self.origin = origin
        self.uid = uid

    def describe(self) -> str:
        return f"give pipes and sockets on stdio to user {self.uid} of the user namespace"

    def apply(self, context: Context) -> None:
        owner = _on_host(self.uid, context.pid)
        for descriptor in range(3) if owner >= 0 else ():
            if files.filesystem_magic(descriptor) not in _NAMELESS:
                continue
            try:
                os.fchown(descriptor, owner, -1)
            except OSError as error:
                # Without privileges the namespace's root is who can, or nobody.
                if error.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                    raise


def _on_host(uid: int, pid: int) -> int:
    """Return who a user of a process's user namespace is here, -1 for nobody (user_namespaces(7))."""
    try:
        with open(f"/proc/{pid}/uid_map", "rb") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return -1  # hidepid= of proc(5): without privileges nobody's is seen that is opaque.
    for line in lines:
        inside, outside, count = map(int, line.split())
        if 0 <= uid - inside < count:
            return outside + uid - inside
    return -1
