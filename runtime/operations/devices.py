"""Operations that fill /dev: device nodes, symbolic links, and the null device for stdio."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation
from .binds import open_source
from .mounts import new_mount
from .target import open_file

#: By the letter that config.json uses (config-linux.md, Devices).
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

#: Of a node of the host: without nodev, which would leave nothing of it.
_UNCHANGEABLE = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID

#: The major number of memory devices, and by their minor numbers those that every container has.
_MEMORY = 1
_HARMLESS = {3: "null", 5: "zero", 7: "full", 8: "random", 9: "urandom"}


class MakeDevice(Operation):
    """Make a device node or a FIFO below the root (mknod(2))."""

    __slots__ = ("gid", "kind", "major", "minor", "mode", "path", "uid")

    def __init__(
        self,
        path: str,
        kind: str,
        major: int,
        minor: int,
        *,
        mode: int = 0o666,
        uid: int = 0,
        gid: int = 0,
        origin: str = "",
    ) -> None:
        self.origin = origin
        self.path = path
        #: "c", "u", "b" or "p".
        self.kind = kind
        self.major = major
        self.minor = minor
        self.mode = mode
        self.uid = uid
        self.gid = gid

    def describe(self) -> str:
        number = "" if self.kind == "p" else f" {self.major}:{self.minor}"
        return f"make the device {self.path}: {self.kind}{number}, mode {self.mode:o}"

    def apply(self, context: Context) -> None:
        directory, name = os.path.split(self.path)
        parent = files.mkdir_in_root(context.descriptors["rootfs"], directory)
        try:
            self._make(parent, files.encode(name), context)
        finally:
            os.close(parent)

    def _make(self, parent: int, name: bytes, context: Context) -> None:
        mask = os.umask(0)
        try:
            device = os.makedev(self.major, self.minor)
            os.mknod(name, _KINDS[self.kind] | self.mode, device, dir_fd=parent)
        except FileExistsError:
            self._check(os.stat(name, dir_fd=parent, follow_symlinks=False))
            return
        except PermissionError:
            # A user namespace, or a device cgroup around naja itself: the host's node has to do.
            BindDevice(self.path, self.kind, self.major, self.minor, origin=self.origin).apply(context)
            return
        finally:
            os.umask(mask)
        if self.uid or self.gid:
            os.chown(name, self.uid, self.gid, dir_fd=parent, follow_symlinks=False)

    def _check(self, status: os.stat_result) -> None:
        """What is there already has to be what was asked for (config-linux.md, Devices)."""
        kind = _KINDS[self.kind]
        same = stat.S_IFMT(status.st_mode) == kind
        if not (same and (kind == stat.S_IFIFO or files.is_device(status, kind, self.major, self.minor))):
            raise NajaError(self.describe(), why="something else is there already", origin=self.origin)


class BindDevice(Operation):
    """Show a device node of the host in the container, where nodes cannot be made."""

    __slots__ = ("kind", "major", "minor", "path")

    def __init__(self, path: str, kind: str, major: int, minor: int, *, origin: str = "") -> None:
        self.origin = origin
        self.path = path
        self.kind = kind
        self.major = major
        self.minor = minor

    def describe(self) -> str:
        return f"bind the host's device {self.path}"

    def apply(self, context: Context) -> None:
        mount = self.open()
        target = open_file(context.descriptors["rootfs"], self.path, self.origin, follow=False)
        mounts.move_mount(mount, target)
        os.close(target)
        os.close(mount)

    def open(self) -> int:
        """Return a detached mount of the node. Raises NajaError."""
        return open_device(
            self.path, self.kind, self.major, self.minor, attributes=_UNCHANGEABLE, origin=self.origin
        )


def open_device(path: str, kind: str, major: int, minor: int, *, attributes: int, origin: str) -> int:
    """Return a detached mount of a device node of the host, with these attributes.

    Its mode, owner and times are the host's, and no capability is needed to change them: only a
    read-only mount prevents that, and the device can be written to all the same. Raises NajaError.
    """
    mount = open_source(path, recursive=False, follow=True, origin=origin)
    if not files.is_device(os.fstat(mount), _KINDS[kind], major, minor):
        why = f"on the host this is not {kind} {major}:{minor}"
        raise NajaError(f"bind the host's device {path}", why=why, origin=origin)
    mounts.mount_setattr(mount, set=attributes)
    return mount


class MakeSymlink(Operation):
    """Make a symbolic link below the root."""

    __slots__ = ("exists", "path", "replace", "target")

    def __init__(
        self, path: str, target: str, *, replace: bool = False, exists: str = "", origin: str = ""
    ) -> None:
        self.origin = origin
        self.path = path
        self.target = target
        #: A path of the host without which the link would lead nowhere, and is not made.
        self.exists = exists
        #: Whether it takes the place of a file that is there; otherwise that one stays.
        self.replace = replace

    def describe(self) -> str:
        return f"link {self.path} to {self.target}"

    def apply(self, context: Context) -> None:
        if self.exists and not os.path.exists(self.exists):
            return
        directory, name = os.path.split(self.path)
        parent = files.mkdir_in_root(context.descriptors["rootfs"], directory)
        try:
            if self.replace:
                try:
                    os.unlink(files.encode(name), dir_fd=parent)
                except FileNotFoundError:
                    pass
            os.symlink(files.encode(self.target), files.encode(name), dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)


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
        for fd in range(3):
            minor = _harmless_minor(fd)
            if minor >= 0:
                own = _open_own(context, minor)
                os.dup2(own, fd)
                os.close(own)


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
