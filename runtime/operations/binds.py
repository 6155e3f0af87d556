"""The operation that shows a file or directory of the host in the container (bind mounts)."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation
from .mounts import attribute_words, propagation_word, set_propagation
from .target import open_directory, open_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .mounts import Attributes


class BindMount(Operation):
    """Show a file or directory of the host in the container."""

    __slots__ = (
        "attributes",
        "copy_symlink",
        "destination",
        "follow",
        "optional",
        "prepared",
        "propagation",
        "recursive",
        "recursive_attributes",
        "source",
        "unnamed",
    )

    def __init__(
        self,
        source: str,
        destination: str,
        *,
        recursive: bool = False,
        attributes: Attributes = (0, 0),
        recursive_attributes: Attributes = (0, 0),
        unnamed: int = 0,
        propagation: int = 0,
        follow: tuple[bool, bool] = (True, True),
        copy_symlink: bool = False,
        optional: bool = False,
        prepared: str = "",
        origin: str = "",
    ) -> None:
        self.origin = origin
        self.source = source
        self.destination = destination
        self.recursive = recursive
        self.attributes = attributes
        self.recursive_attributes = recursive_attributes
        #: What is taken back of the source's attributes, as far as that may be.
        self.unnamed = unnamed
        self.propagation = propagation
        #: Whether a symbolic link at the end of the source, and of the destination, is followed.
        self.follow = follow
        #: Make a copy of the source where that is a symbolic link.
        self.copy_symlink = copy_symlink
        #: Whether the source may be missing; then nothing is mounted.
        self.optional = optional
        #: The descriptor that the runtime opened the source as; "" where it is opened here.
        self.prepared = prepared

    def describe(self) -> str:
        words = attribute_words(self.attributes)
        words += ["r" + word for word in attribute_words(self.recursive_attributes)]
        if self.propagation:
            words.append(propagation_word(self.propagation))
        how = "bind all of" if self.recursive else "bind"
        where = f"{self.source}{', if it exists,' if self.optional else ''} on {self.destination}"
        return f"{how} {where}" + (f": {', '.join(words)}" if words else "")

    def apply(self, context: Context) -> None:
        if self.optional and not os.path.lexists(self.source):
            return
        mount = context.take(self.prepared) if self.prepared else self._open_source()
        kind = stat.S_IFMT(os.fstat(mount).st_mode)
        root = context.descriptors["rootfs"]
        if self.copy_symlink and kind == stat.S_IFLNK:
            self._copy_link(root, mount)
            return
        target = self._open_target(root, mount, kind == stat.S_IFDIR)
        self._set_attributes(mount, context)
        mounts.move_mount(mount, target)
        os.close(target)
        if self.propagation:
            set_propagation(mount, self.propagation)
        os.close(mount)

    def _open_source(self) -> int:
        return open_source(
            self.source,
            recursive=self.recursive,
            follow=self.follow[0] and not self.copy_symlink,
            origin=self.origin,
        )

    def _open_target(self, root: int, mount: int, directory: bool) -> int:
        if self.destination == "/proc":
            # Only procfs may stand in for procfs, and all of it.
            whole = directory and os.fstat(mount).st_ino == os.stat("/proc").st_ino
            if not whole or files.filesystem_magic(mount) != files.PROC_SUPER_MAGIC:
                raise NajaError(
                    self.describe(), why="only procfs may be mounted on /proc", origin=self.origin
                )
            return open_directory(root, self.destination, self.origin, ordinary=True)
        if directory:
            return open_directory(root, self.destination, self.origin)
        target = open_file(root, self.destination, self.origin, follow=self.follow[1])
        if stat.S_ISDIR(os.fstat(target).st_mode):
            # Docker knows it by "not a directory".
            why = f"the source is not a directory, and {self.destination} is one"
            raise NajaError(self.describe(), why=why, origin=self.origin)
        return target

    def _set_attributes(self, mount: int, context: Context) -> None:
        # Before it is mounted: afterwards it could be seen without them for a moment.
        for (added, cleared), recursive in ((self.recursive_attributes, True), (self.attributes, False)):
            if not (added or cleared) or _try(mount, added, cleared, recursive=recursive):
                continue
            # "rw" is said by habit (Podman), and to stay read-only gives nothing away.
            others = cleared & ~mounts.MOUNT_ATTR_RDONLY
            if recursive or others == cleared or not _try(mount, added, others):
                why = "a flag that came with the source is locked and cannot be cleared in a user namespace"
                raise NajaError(self.describe(), errno=errno.EPERM, why=why, origin=self.origin)
            context.warn(f"{self.destination} stays read-only: the source is, locked by a user namespace")
        if self.unnamed and not _take_back(mount, self.unnamed):
            for attribute in _apart(self.unnamed):
                _take_back(mount, attribute)

    def _copy_link(self, root: int, link: int) -> None:
        directory, name = os.path.split(self.destination)
        parent = files.mkdir_in_root(root, directory)
        target = os.readlink(b"", dir_fd=link)
        try:
            os.symlink(target, files.encode(name), dir_fd=parent)
        except FileExistsError:
            if os.readlink(files.encode(name), dir_fd=parent) != target:
                raise
        os.close(parent)
        os.close(link)


def _try(mount: int, added: int, cleared: int, *, recursive: bool = False) -> bool:
    """Change a mount's attributes; tell whether that is allowed. Raises OSError for all else."""
    try:
        mounts.mount_setattr(mount, set=added, clear=cleared, recursive=recursive)
    except PermissionError:
        return False
    return True


def _take_back(mount: int, attributes: int) -> bool:
    """Clear attributes that may be locked; tell whether they are cleared. Raises OSError."""
    try:
        return _try(mount, 0, attributes)
    except OSError as error:
        # Before Linux 5.14 one of them (nosymfollow) is unknown here.
        if error.errno != errno.EINVAL:
            raise
        return False


def _apart(attributes: int) -> list[int]:
    """Return attributes one by one; those about access times are one."""
    times = attributes & mounts.MOUNT_ATTR_ATIME
    bits = [1 << bit for bit in range(32) if (attributes & ~times) >> bit & 1]
    return [*bits, times] if times else bits


def open_source(source: str, *, recursive: bool, follow: bool, origin: str) -> int:
    """Return a detached copy of the mount at a path of the host. Raises NajaError."""
    try:
        return mounts.open_tree(files.AT_FDCWD, source, recursive=recursive, follow=follow)
    except OSError as error:
        from ..linux import unexecutable

        why = unexecutable.unopened(source, error)
        if error.errno == errno.EINVAL:
            why = "it lies in no mount that can be copied: another mount namespace's, or in none"
        what = f"open the mount source {source}"
        raise NajaError.from_os_error(what, error, why=why, origin=origin) from None
