"""Operations that fill /dev: device nodes, symbolic links, and the null device for stdio."""

from __future__ import annotations

import errno
import os
import stat

from runtime.errors import NajaError
from runtime.linux import files, mounts
from runtime.operations.base import Context, Operation
from runtime.operations.binds import open_source
from runtime.operations.target import open_file

#: By the letter that config.json uses (config-linux.md, Devices).
_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


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
        mount = open_source(self.path, recursive=False, follow=True, origin=self.origin)
        if not files.is_device(os.fstat(mount), _KINDS[self.kind], self.major, self.minor):
            why = f"on the host this is not {self.kind} {self.major}:{self.minor}"
            raise NajaError(self.describe(), why=why, origin=self.origin)
        target = open_file(context.descriptors["rootfs"], self.path, self.origin, follow=False)
        mounts.move_mount(mount, target)
        os.close(target)
        os.close(mount)


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
    """Exchange the host's /dev/null on standard input, output and error for the container's."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "let stdio that is the host's /dev/null be the container's"

    def apply(self, context: Context) -> None:
        wanted = [fd for fd in range(3) if _is_null(fd)]
        if not wanted:
            return
        try:
            null = files.open_in_root(context.descriptors["rootfs"], "/dev/null", os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            # No /dev/null, or a link in its place: the host's is the better one (CVE-2026-88265).
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return
            raise
        if _is_null(null):
            for fd in wanted:
                os.dup2(null, fd)
        os.close(null)


def _is_null(fd: int) -> bool:
    try:
        return files.is_device(os.fstat(fd), stat.S_IFCHR, 1, 3)
    except OSError:
        return False  # The caller has closed it.
