"""Operations that fill /dev: device nodes, symbolic links."""

from __future__ import annotations

import os
import stat

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation, apply_all
from .binds import open_source
from .target import open_file

#: By the letter that config.json uses (config-linux.md, Devices).
KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}

#: Of a node of the host: without nodev, which would leave nothing of it.
_UNCHANGEABLE = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID


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
            os.mknod(name, KINDS[self.kind] | self.mode, device, dir_fd=parent)
        except FileExistsError:
            self._check(os.stat(name, dir_fd=parent, follow_symlinks=False))
            return
        except PermissionError as error:
            # A user namespace, or a device cgroup around naja itself: the host's node has to do.
            self._bind_instead(error, context)
            return
        finally:
            os.umask(mask)
        if self.uid or self.gid:
            os.chown(name, self.uid, self.gid, dir_fd=parent, follow_symlinks=False)

    def _bind_instead(self, refusal: PermissionError, context: Context) -> None:
        """Bind the host's node. Raises the refusal where none would do, as ever with a FIFO."""
        if self.kind == "p":
            raise refusal
        bind = BindDevice(self.path, self.kind, self.major, self.minor)
        try:
            apply_all([bind], context)
        except NajaError as second:
            why = f"nor does the host's do: {second}"
            raise NajaError.from_os_error(self.describe(), refusal, why=why, origin=self.origin) from None

    def _check(self, status: os.stat_result) -> None:
        """What is there already has to be what was asked for (config-linux.md, Devices)."""
        kind = KINDS[self.kind]
        same = stat.S_IFMT(status.st_mode) == kind
        if not (same and (kind == stat.S_IFIFO or files.is_device(status, kind, self.major, self.minor))):
            raise NajaError(self.describe(), why="something else is there already", origin=self.origin)


class BindDevice(Operation):
    """Show a device node of the host in the container, where nodes cannot be made."""

    __slots__ = ("kind", "major", "minor", "path", "prepared")

    def __init__(
        self, path: str, kind: str, major: int, minor: int, *, prepared: str = "", origin: str = ""
    ) -> None:
        self.origin = origin
        self.path = path
        self.kind = kind
        self.major = major
        self.minor = minor
        #: The descriptor of a node that MakeNodes may have made for it.
        self.prepared = prepared

    def describe(self) -> str:
        made = ", or what was made for it" if self.prepared else ""
        return f"bind the host's device {self.path}{made}"

    def apply(self, context: Context) -> None:
        mount = context.take(self.prepared) if self.prepared in context.descriptors else self.open()
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
    if not files.is_device(os.fstat(mount), KINDS[kind], major, minor):
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
