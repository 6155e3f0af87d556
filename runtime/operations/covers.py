"""What is hidden of an instance that the runtime sees, and how the container is kept from looking below.

In a user namespace the kernel binds procfs and sysfs only with all that is mounted on them, as the host's
cgroups, debugfs, autofs. They are covered; and so that root of the user namespace cannot take the covers
away, the mounts are sent through a user namespace below, which locks them together
(mount_namespaces(7), "Restrictions on mount namespaces").
"""

from __future__ import annotations

import os
import stat

from ..errors import ChannelClosed, NajaError
from ..linux import files, mounts, namespaces, process
from ..linux.channel import Channel
from .filesystem import new_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_EMPTY = mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV
_EMPTY |= mounts.MOUNT_ATTR_NOEXEC
_SIGKILL = 9

_WHAT = "lock the covers of what the host has mounted below"
_WHY = "it takes a user namespace inside of this one; a namespace of the container's own needs no covers"


def cover_below(mount: int, origin: str) -> bool:
    """Hide the directories of other file systems below a mount; return whether there are any.

    Parts of the file system itself stay (a read-only /proc/sys), and so do files: they are masks, or
    tell limits (lxcfs). Raises NajaError, OSError.
    """
    identity = mounts.mount_id(mount)
    table = mounts.mount_table()
    top = next(point for number, point, _ in table if number == identity) + "/"
    device, covered = os.fstat(mount).st_dev, False
    for below in sorted({point.removeprefix(top) for _, point, _ in table if point.startswith(top)}):
        try:
            resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
            place = files.openat2(mount, below, os.O_PATH | os.O_NOFOLLOW, resolve=resolve)
        except FileNotFoundError:
            continue  # Something that covers a directory above hides it already.
        status = os.fstat(place)
        if stat.S_ISDIR(status.st_mode) and status.st_dev != device:
            cover = new_mount("tmpfs", "tmpfs", [("mode", "755", origin)], _EMPTY, origin)
            mounts.move_mount(cover, place)
            os.close(cover)
            covered = True
        os.close(place)
    return covered


def lock(mount: int, target: int, origin: str) -> int:
    """Put a mount with all below it on ``target`` anew, locked together; return its descriptor.

    ``mount`` is closed. Raises NajaError where no user namespace may be made in this one, and OSError.
    """
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    # A new mount namespace finds the working directory in its own copy of the mounts.
    os.fchdir(mount)
    try:
        locked = _copy_from_below(origin)
        mounts.unmount(".", mounts.MNT_DETACH)
    finally:
        os.fchdir(before)
        os.close(before)
    os.close(mount)
    mounts.move_mount(locked, target)
    return locked


def _copy_from_below(origin: str) -> int:
    """Return a copy of the mounts at the working directory, made in a new user namespace."""
    ours, theirs = Channel.pair()
    try:
        pid = process.clone3(namespaces.CLONE_NEWUSER | namespaces.CLONE_NEWNS)
        if not pid:
            _send_copy(theirs)
        theirs.close()
        try:
            number, descriptors = ours.receive()
        finally:
            os.waitpid(pid, 0)
        if number:
            raise OSError(number, os.strerror(number))
    except ChannelClosed:
        raise NajaError(_WHAT, why="a process of naja's was killed", origin=origin) from None
    except OSError as error:
        raise NajaError.from_os_error(_WHAT, error, why=_WHY, origin=origin) from None
    finally:
        ours.close()
        theirs.close()
    return descriptors[0]


def _send_copy(channel: Channel) -> NoReturn:
    """Be the child: send the copy, or the number of what went wrong."""
    try:
        process.set_parent_death_signal(_SIGKILL)
        try:
            channel.send(0, [mounts.open_tree(files.AT_FDCWD, ".", recursive=True)])
        except OSError as error:
            channel.send(error.errno)
    finally:
        os._exit(0)
