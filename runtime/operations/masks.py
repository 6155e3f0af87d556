"""Operations that hide paths inside the container, or make them read-only (config-linux.md)."""

from __future__ import annotations

import os
import stat

from ..linux import files, mounts
from .base import Context, Operation
from .devices import open_device
from .filesystem import new_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .filesystem import Parameter

_LOCKED_DOWN = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC


class MaskPath(Operation):
    """Hide a file behind the host's null device, a directory behind an empty read-only tmpfs.

    A path that does not exist needs no mask.
    """

    __slots__ = ("label", "path")

    def __init__(self, path: str, *, label: str = "", origin: str) -> None:
        self.origin = origin
        self.path = path
        #: The SELinux label of the tmpfs.
        self.label = label

    def describe(self) -> str:
        return f"mask {self.path}"

    def apply(self, context: Context) -> None:
        target = _open_existing(context, self.path)
        if target < 0:
            return
        if stat.S_ISDIR(os.fstat(target).st_mode):
            mount = self._empty_directory(context)
        else:
            mount = open_null(self.origin)
        mounts.move_mount(mount, target)
        os.close(mount)
        os.close(target)

    def _empty_directory(self, context: Context) -> int:
        """Return a detached mount of the one tmpfs that serves all masked directories."""
        if "mask" in context.descriptors:
            # A mounted one can be copied, a detached one only since Linux 6.15.
            return mounts.open_tree(context.descriptors["mask"])
        parameters: list[Parameter] = [
            ("ro", None, ""),
            ("mode", "755", ""),
            ("nr_blocks", "1", ""),
            ("nr_inodes", "1", ""),
        ]
        if self.label:
            parameters.append(("context", self.label, "/linux/mountLabel"))
        mount = new_mount("tmpfs", "tmpfs", parameters, _LOCKED_DOWN | mounts.MOUNT_ATTR_NODEV, self.origin)
        context.descriptors["mask"] = os.dup(mount)
        return mount


def _open_existing(context: Context, path: str) -> int:
    """Return an O_PATH descriptor of a path inside the container; -1 where there is none."""
    try:
        return files.open_in_root(context.descriptors["rootfs"], path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return -1


def open_null(origin: str) -> int:
    """Return a detached mount of the host's /dev/null, which can be read: so without nodev.

    The image's own may be anything (CVE-2025-31133). Raises NajaError.
    """
    return open_device("/dev/null", "c", 1, 3, attributes=_LOCKED_DOWN, origin=origin)


class MakePathReadonly(Operation):
    """Make a path and what is mounted below it read-only; nothing to do where it does not exist."""

    __slots__ = ("path",)

    def __init__(self, path: str, *, origin: str) -> None:
        self.origin = origin
        self.path = path

    def describe(self) -> str:
        return f"make {self.path} read-only"

    def apply(self, context: Context) -> None:
        target = _open_existing(context, self.path)
        if target < 0:
            return
        mount = mounts.open_tree(target, recursive=True)
        mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_RDONLY, recursive=True)
        mounts.move_mount(mount, target)
        os.close(mount)
        os.close(target)
