"""Operations that mount file systems, and parts of the host's tree, below the container's root."""

from __future__ import annotations

import os
import stat

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation
from .copyup import copy_tree
from .filesystem import configure, new_mount, written
from .target import open_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (set, clear), bits MOUNT_ATTR_*.
    Attributes = tuple[int, int]

    from .filesystem import Parameter

#: The mode of a tmpfs for which neither the options nor the image have one. The mount point that is made
#: has it too, so it is the same at the next start.
_ANYBODYS = 0o1777

_WORDS = {
    mounts.MOUNT_ATTR_RDONLY: "ro",
    mounts.MOUNT_ATTR_NOSUID: "nosuid",
    mounts.MOUNT_ATTR_NODEV: "nodev",
    mounts.MOUNT_ATTR_NOEXEC: "noexec",
    mounts.MOUNT_ATTR_NOATIME: "noatime",
    mounts.MOUNT_ATTR_STRICTATIME: "strictatime",
    mounts.MOUNT_ATTR_NODIRATIME: "nodiratime",
    mounts.MOUNT_ATTR_NOSYMFOLLOW: "nosymfollow",
}
_PROPAGATION_WORDS = {
    mounts.MS_PRIVATE: "private",
    mounts.MS_SHARED: "shared",
    mounts.MS_SLAVE: "slave",
    mounts.MS_UNBINDABLE: "unbindable",
}


def attribute_words(attributes: Attributes) -> list[str]:
    """Return mount attributes in the words of config.json, for ``describe``."""
    added, cleared = attributes
    words = [word for bit, word in _WORDS.items() if added & bit]
    if cleared & mounts.MOUNT_ATTR_ATIME and not added & mounts.MOUNT_ATTR_ATIME:
        words.append("relatime")
    if cleared & mounts.MOUNT_ATTR_RDONLY:
        words.append("rw")
    switches = ((mounts.MOUNT_ATTR_NOSUID, "suid"), (mounts.MOUNT_ATTR_NODEV, "dev"))
    words += [word for bit, word in (*switches, (mounts.MOUNT_ATTR_NOEXEC, "exec")) if cleared & bit]
    return words


def propagation_word(propagation: int) -> str:
    """Return MS_SHARED, MS_SHARED | MS_REC and so on as config.json calls them."""
    prefix = "r" if propagation & mounts.MS_REC else ""
    return prefix + _PROPAGATION_WORDS[propagation & ~mounts.MS_REC]


class MountFilesystem(Operation):
    """Mount a new file system on a directory (fsopen(2))."""

    __slots__ = (
        "attributes",
        "copy_up",
        "destination",
        "keep",
        "kind",
        "parameters",
        "propagation",
        "source",
    )

    def __init__(
        self,
        kind: str,
        destination: str,
        *,
        source: str = "",
        attributes: Attributes = (0, 0),
        parameters: list[Parameter] | None = None,
        propagation: int = 0,
        copy_up: bool = False,
        keep: str = "",
        origin: str = "",
    ) -> None:
        self.origin = origin
        self.kind = kind
        self.destination = destination
        self.source = source or kind
        self.attributes = attributes
        self.parameters = parameters or []
        self.propagation = propagation
        #: Fill it with what it hides (tmpcopyup).
        self.copy_up = copy_up
        #: The name under which the mount's descriptor stays open for a later operation; "" for none.
        self.keep = keep

    def describe(self) -> str:
        words = attribute_words(self.attributes)
        words += [written(name, value) for name, value, _ in self.parameters]
        if self.propagation:
            words.append(propagation_word(self.propagation))
        if self.copy_up:
            words.append("filled with what it hides")
        return f"mount {self.kind} on {self.destination}" + (f": {', '.join(words)}" if words else "")

    def apply(self, context: Context) -> None:
        root, parameters = context.descriptors["rootfs"], self.parameters
        ordinary = self.kind in ("proc", "sysfs")
        keeps_mode = self.kind == "tmpfs" and not self._says("mode")
        mode = _ANYBODYS if keeps_mode else 0o755
        target = open_directory(root, self.destination, self.origin, ordinary=ordinary, mode=mode)
        if keeps_mode:
            mode = stat.S_IMODE(os.fstat(target).st_mode)
            parameters = [*parameters, ("mode", f"{mode:o}", self.origin)]
        mount = self._mount(context, target, parameters)
        os.close(target)
        if self.propagation:
            set_propagation(mount, self.propagation)
        if self.keep:
            context.descriptors[self.keep] = mount
        else:
            os.close(mount)

    def _mount(self, context: Context, target: int, parameters: list[Parameter]) -> int:
        """Mount it on ``target``; return a descriptor of the mount. Raises NajaError, OSError."""
        if _takes_mount2(self.source, parameters) and not self.copy_up:
            options = [written(name, value) for name, value, _ in parameters]
            mounts.mount_old(self.source, target, self.kind, self.attributes[0], options)
            return files.open_in_root(context.descriptors["rootfs"], self.destination, os.O_PATH)
        mount = new_mount(self.kind, self.source, parameters, self.attributes[0], self.origin)
        if self.copy_up:
            self._fill(mount, target, context.descriptors["proc"])
        mounts.move_mount(mount, target)
        return mount

    def _fill(self, mount: int, covered: int, proc: int) -> None:
        """Copy what is covered into a tmpfs; where an option says whose that is, or its mode, it stays so."""
        asked = os.fstat(mount)
        copy_tree(covered, mount, proc)
        top = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=mount)
        os.fchown(
            top,
            asked.st_uid if self._says("uid") else -1,
            asked.st_gid if self._says("gid") else -1,
        )
        if self._says("mode"):
            os.fchmod(top, stat.S_IMODE(asked.st_mode))
        os.close(top)

    def _says(self, option: str) -> bool:
        return any(name == option for name, _, _ in self.parameters)


def _takes_mount2(source: str, parameters: list[Parameter]) -> bool:
    """Tell whether there is something that mount(2) can do and fsconfig(2) cannot: a long value, iversion."""
    values = [source, *(value for _, value, _ in parameters if value)]
    too_long = any(len(files.encode(value)) > mounts.LONGEST_VALUE for value in values)
    return too_long or any(name == "iversion" for name, _, _ in parameters)


def set_propagation(mount: int, propagation: int) -> None:
    """Apply MS_SHARED and its like, for the tree below as well with MS_REC. Raises OSError."""
    recursive = bool(propagation & mounts.MS_REC)
    mounts.mount_setattr(mount, propagation=propagation & ~mounts.MS_REC, recursive=recursive)


class Remount(Operation):
    """Change a mount that is there already: its attributes, and options of its file system."""

    __slots__ = ("attributes", "destination", "parameters", "propagation", "recursive_attributes")

    def __init__(
        self,
        destination: str,
        *,
        attributes: Attributes,
        recursive_attributes: Attributes,
        parameters: list[Parameter],
        propagation: int,
        origin: str,
    ) -> None:
        self.origin = origin
        self.destination = destination
        self.attributes = attributes
        self.recursive_attributes = recursive_attributes
        self.parameters = parameters
        self.propagation = propagation

    def describe(self) -> str:
        words = attribute_words(self.attributes)
        words += ["r" + word for word in attribute_words(self.recursive_attributes)]
        words += [written(name, value) for name, value, _ in self.parameters]
        return f"remount {self.destination}: {', '.join(words)}"

    def apply(self, context: Context) -> None:
        mount = files.open_in_root(context.descriptors["rootfs"], self.destination, os.O_PATH)
        if self.parameters:
            self._reconfigure(mount)
        for (added, cleared), recursive in ((self.recursive_attributes, True), (self.attributes, False)):
            if added or cleared:
                mounts.mount_setattr(mount, set=added, clear=cleared, recursive=recursive)
        if self.propagation:
            set_propagation(mount, self.propagation)
        os.close(mount)

    def _reconfigure(self, mount: int) -> None:
        fs = mounts.fspick(mount)
        try:
            configure(fs, self.parameters)
            mounts.fsconfig_reconfigure(fs)
        except OSError as error:
            why = mounts.complaints(fs)
            raise NajaError.from_os_error(self.describe(), error, why=why, origin=self.origin) from None
        finally:
            os.close(fs)


class MakeReadonly(Operation):
    """Make a mount read-only that had to be filled first (/dev, a tmpfs with mounts on it)."""

    __slots__ = ("destination", "mount")

    def __init__(self, mount: str, destination: str, *, origin: str) -> None:
        self.origin = origin
        #: The name under which MountFilesystem kept it.
        self.mount = mount
        self.destination = destination

    def describe(self) -> str:
        return f"make {self.destination} read-only"

    def apply(self, context: Context) -> None:
        mount = context.take(self.mount)
        mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_RDONLY)
        os.close(mount)
