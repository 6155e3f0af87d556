"""Operations on the root file system as a whole: how it is set up, and how it becomes the root."""

from __future__ import annotations

import errno
import os

from ..errors import NajaError, Unsupported
from ..linux import files, mounts, namespaces
from .base import Context, Operation
from .filesystem import new_mount
from .joining import change_root
from .mounts import propagation_word, set_propagation

#: File systems that show the host's namespaces.
_OF_NAMESPACES = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")


class RequireKernel(Operation):
    """Refuse a kernel without the system calls for mounts that naja is built on."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "make sure that this is Linux 5.12 or newer"

    def apply(self, context: Context) -> None:
        try:
            # The youngest of them; on no descriptor it does nothing.
            mounts.mount_setattr(-1)
        except OSError as error:
            if error.errno == errno.ENOSYS:
                why = "naja needs Linux 5.12 or newer"
                raise Unsupported.from_os_error("mount by descriptors", error, why=why) from None


class UseUmask(Operation):
    """Make files and directories with the modes that are asked for, whatever the caller's mask was."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "use the umask 022 for what is made"

    def apply(self, context: Context) -> None:
        os.umask(0o022)


class SetHostPropagation(Operation):
    """Keep the mounts to come from reaching the host (mount_namespaces(7))."""

    __slots__ = ("propagation",)

    def __init__(self, propagation: int, *, origin: str) -> None:
        self.origin = origin
        self.propagation = propagation

    def describe(self) -> str:
        return f"make all mounts of the host {propagation_word(self.propagation)} here"

    def apply(self, context: Context) -> None:
        mounts.set_propagation("/", self.propagation)


class MountRoot(Operation):
    """Bind the root file system on itself: what is pivoted to has to be a mount (pivot_root(2))."""

    __slots__ = ("path", "shared")

    def __init__(self, path: str, *, shared: bool) -> None:
        self.origin = "/root/path"
        self.path = path
        #: True where the host's mounts were left shared, so that volumes can propagate both ways.
        self.shared = shared

    def describe(self) -> str:
        return f"bind the root file system {self.path} on itself"

    def apply(self, context: Context) -> None:
        try:
            place = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError as error:
            why = "root of the user namespace has to be able to reach it"
            raise NajaError.from_os_error(self.describe(), error, why=why, origin=self.origin) from None
        root = mounts.open_tree(place, recursive=True)
        # What is mounted on it from now on is the container's alone.
        mounts.mount_setattr(root, propagation=mounts.MS_SLAVE, recursive=True)
        if self.shared:
            self._make_parent_private(place)
        mounts.move_mount(root, place)
        os.close(place)
        context.descriptors["rootfs"] = root

    def _make_parent_private(self, place: int) -> None:
        """The bind itself would appear on the host if the mount that it goes on were shared."""
        identity = mounts.mount_id(place)
        for number, point, _ in mounts.mount_table():
            if number == identity:
                mounts.set_propagation(point, mounts.MS_PRIVATE)
                return
        raise NajaError(self.describe(), why="its mount is out of sight", origin=self.origin)


class TakeRoot(Operation):
    """Go on with what was mounted over the root file system as the root."""

    __slots__ = ("path",)

    def __init__(self, path: str, *, origin: str) -> None:
        self.origin = origin
        self.path = path

    def describe(self) -> str:
        return f"take what is mounted over {self.path} for the root file system"

    def apply(self, context: Context) -> None:
        # By the host's path: to a lookup below the root, what covers that is out of sight.
        root = os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # As of MountRoot's, what is mounted on it is the container's alone.
        mounts.mount_setattr(root, propagation=mounts.MS_SLAVE, recursive=True)
        os.close(context.take("rootfs"))
        context.descriptors["rootfs"] = root


class MakeDirectory(Operation):
    """Make a directory that the process is to start in, where the image lacks it."""

    __slots__ = ("path",)

    def __init__(self, path: str, *, origin: str) -> None:
        self.origin = origin
        self.path = path

    def describe(self) -> str:
        return f"make the directory {self.path} if it is missing"

    def apply(self, context: Context) -> None:
        try:
            os.close(files.mkdir_in_root(context.descriptors["rootfs"], self.path))
        except PermissionError:
            pass  # Of a FUSE, say; whether the user may enter it shows when the user does.

    def explain(self, error: OSError, context: Context) -> str:
        if error.errno == errno.EROFS:
            return "the file system is read-only: make it there beforehand"
        return "it, or something on the way, is a file" if error.errno == errno.ENOTDIR else ""


class MakeRootReadonly(Operation):
    """Make the root file system read-only; mounts on it stay as they are (config.md, Root)."""

    __slots__ = ()

    def __init__(self, *, origin: str = "/root/readonly") -> None:
        self.origin = origin

    def describe(self) -> str:
        return "make the root file system read-only"

    def apply(self, context: Context) -> None:
        mounts.mount_setattr(context.descriptors["rootfs"], set=mounts.MOUNT_ATTR_RDONLY)


class PivotRoot(Operation):
    """Make the root file system the root, and let go of the host's (pivot_root(2))."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "pivot to the root file system and unmount the host's"

    def apply(self, context: Context) -> None:
        old = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        os.fchdir(context.descriptors["rootfs"])
        try:
            # Both in one place: no directory has to be made for the old root.
            mounts.pivot_root(".", ".")
        except OSError as error:
            why = (
                "the root of an initramfs cannot be pivoted; use --no-pivot"
                if error.errno == errno.EINVAL
                else ""
            )
            raise NajaError.from_os_error("pivot_root", error, why=why) from None
        os.fchdir(old)
        os.close(old)
        # Otherwise the host would see its own mounts go away.
        mounts.set_propagation(".", mounts.MS_SLAVE | mounts.MS_REC)
        mounts.unmount(".", mounts.MNT_DETACH)
        os.chdir("/")


class MoveRoot(Operation):
    """Put the root file system on top of the host's, where pivoting is impossible (--no-pivot)."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.origin = ""
        self.path = path

    def describe(self) -> str:
        return "move the root file system over the host's and change the root to it"

    def apply(self, context: Context) -> None:
        root = context.descriptors["rootfs"]
        self._hide_kernel_mounts()
        os.fchdir(root)
        above = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mounts.move_mount(root, above)
        os.close(above)
        os.chroot(".")
        os.chdir("/")

    def _hide_kernel_mounts(self) -> None:
        """Unmount every other one that shows a namespace: they lie below, complete, for whoever gets out."""
        path = os.path.realpath(self.path)
        outside = [
            (point, kind)
            for _, point, kind in mounts.mount_table()
            if point != path and not point.startswith(path + "/")
        ]
        points = [point for point, _ in outside]
        # An unmount spreads by the mount that is below: the host would lose its own.
        reachable = {point for point in {*points} if _make_slave(point)}
        for point, kind in reversed(outside):
            if kind in _OF_NAMESPACES and point in reachable:
                _hide(point, stacked=points.count(point) > 1)


def _make_slave(point: str) -> bool:
    """Make what is mounted on a point a slave of the host's; tell whether it is in sight at all."""
    try:
        mounts.set_propagation(point, mounts.MS_SLAVE)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EACCES):
            raise
        return False  # Another mount hides it, or it is somebody's FUSE.
    return True


def _hide(point: str, *, stacked: bool) -> None:
    """Take a mount away with all below it, or cover it: in a stack what is below was out of reach."""
    try:
        if not stacked:
            mounts.unmount(point, mounts.MNT_DETACH)
            return
    except OSError as error:
        # Locked by a user namespace: what cannot be taken away is covered.
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
    place = os.open(point, os.O_PATH | os.O_CLOEXEC)
    cover = new_mount("tmpfs", "tmpfs", [], mounts.MOUNT_ATTR_RDONLY, "")
    mounts.move_mount(cover, place)
    os.close(place)
    os.close(cover)


class ReturnToMountNamespace(Operation):
    """Go back to the host's mount namespace, with a copy of the root file system's mounts as the root.

    The copy is in no mount table. It lasts as long as a process has it for a root; the namespace in
    which it was built ends here.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = "/linux/namespaces"

    def describe(self) -> str:
        return "return to the host's mount namespace and change the root to a copy of the root file system"

    def apply(self, context: Context) -> None:
        built, host = context.take("rootfs"), context.take("mounts")
        root = mounts.open_tree(built, recursive=True)
        os.close(built)
        try:
            namespaces.setns(host, namespaces.CLONE_NEWNS)
        except PermissionError as error:
            why = "it takes root's rights over it, or a mount namespace of the container's own"
            raise NajaError.from_os_error(self.describe(), error, why=why, origin=self.origin) from None
        os.close(host)
        change_root(root)
        context.descriptors["rootfs"] = root


class SetRootPropagation(Operation):
    """Give the container's root the propagation that was asked for (linux.rootfsPropagation)."""

    __slots__ = ("propagation",)

    def __init__(self, propagation: int) -> None:
        self.origin = "/linux/rootfsPropagation"
        self.propagation = propagation

    def describe(self) -> str:
        return f"make the root mount {propagation_word(self.propagation)}"

    def apply(self, context: Context) -> None:
        # The root alone: the other mounts have their own.
        set_propagation(context.descriptors["rootfs"], self.propagation)
