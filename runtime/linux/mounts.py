"""Mounts by descriptor: fsopen(2), open_tree(2), move_mount(2), mount_setattr(2), pivot_root(2).

Linux 5.12 has all of these. A new mount is made detached, is given its attributes there, and only
then appears in the tree: at no moment can it be seen with less than was asked for.
"""

from __future__ import annotations

import errno
import os
from struct import pack, unpack_from

from .files import AT_EMPTY_PATH, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, encode
from .libc import call, function, syscall

# Numbers that are the same on every machine (see numbers.py).
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _FSPICK, _MOUNT_SETATTR = (
    428,
    429,
    430,
    431,
    432,
    433,
    442,
)

#: Attributes of one mount, as opposed to its file system (mount_setattr(2)).
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
#: The three above are one value; to set one is to clear this mask.
MOUNT_ATTR_ATIME = 0x70
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
_MOUNT_ATTR_IDMAP = 0x100000

MS_MOVE = 0x2000
MS_REC = 0x4000
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

#: The attributes above in the words of mount(2).
_OLD_FLAGS = {
    MOUNT_ATTR_RDONLY: 1,
    MOUNT_ATTR_NOSUID: 2,
    MOUNT_ATTR_NODEV: 4,
    MOUNT_ATTR_NOEXEC: 8,
    MOUNT_ATTR_NOATIME: 1 << 10,
    MOUNT_ATTR_STRICTATIME: 1 << 24,
    MOUNT_ATTR_NODIRATIME: 1 << 11,
    MOUNT_ATTR_NOSYMFOLLOW: 1 << 8,
}
#: Options that mount(2) takes as flags only.
_OLD_WORDS = {"ro": 1, "sync": 16, "mand": 64, "dirsync": 128, "iversion": 1 << 23, "lazytime": 1 << 25}
#: The most that mount(2) copies of the others.
_PAGE = 4096

MNT_DETACH = 2

#: A longer value is refused by fsconfig(2); mount(2) takes a page of them together.
LONGEST_VALUE = 255

_CLOEXEC = 1
_OPEN_TREE_CLONE = 1
_FSPICK_EMPTY_PATH = 8
_MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 0x04, 0x40
_SET_FLAG, _SET_STRING, _CMD_CREATE, _CMD_RECONFIGURE = 0, 1, 6, 7

#: statx(2): what is asked for and told, its struct, and where in it stx_mnt_id is.
_STATX_MNT_ID, _STATX_MNT_ID_UNIQUE, _STATX_ATTR_MOUNT_ROOT = 0x1000, 0x4000, 0x2000
_STATX_SIZE, _STX_MNT_ID = 256, 144

_mount = function("mount")
_umount2 = function("umount2")
_pivot_root = function("pivot_root")


def fsopen(kind: str) -> int:
    """Return a descriptor to configure a new file system with (fsopen(2)). Raises OSError."""
    return syscall(_FSOPEN, encode(kind), _CLOEXEC)


def fspick(mount: int) -> int:
    """Return a descriptor to reconfigure a mounted file system with (fspick(2)). Raises OSError."""
    return syscall(_FSPICK, mount, b"", _CLOEXEC | _FSPICK_EMPTY_PATH)


def fsconfig_flag(fs: int, key: str) -> None:
    """Set an option that has no value (fsconfig(2)). Raises OSError."""
    syscall(_FSCONFIG, fs, _SET_FLAG, encode(key), None, 0)


def fsconfig_string(fs: int, key: str, value: str) -> None:
    """Set an option to a value of at most LONGEST_VALUE bytes (fsconfig(2)). Raises OSError."""
    syscall(_FSCONFIG, fs, _SET_STRING, encode(key), encode(value), 0)


def fsconfig_create(fs: int) -> None:
    """Make the file system that was configured (fsconfig(2)). Raises OSError."""
    syscall(_FSCONFIG, fs, _CMD_CREATE, None, None, 0)


def fsconfig_reconfigure(fs: int) -> None:
    """Apply new options to a mounted file system (fsconfig(2)). Raises OSError."""
    syscall(_FSCONFIG, fs, _CMD_RECONFIGURE, None, None, 0)


def complaints(fs: int) -> str:
    """Return what the kernel logged about a configuration ("tmpfs: Unknown parameter 'sizee'")."""
    messages = []
    while True:
        try:
            message = os.read(fs, 1024)
        except OSError:  # ENODATA: there is no more
            break
        messages.append(os.fsdecode(message).strip().partition(" ")[2])
    return "; ".join(messages)


def fsmount(fs: int, attributes: int = 0) -> int:
    """Return a detached mount of a made file system (fsmount(2)). Raises OSError."""
    return syscall(_FSMOUNT, fs, _CLOEXEC, attributes)


def open_tree(dirfd: int, path: str = "", *, recursive: bool = False, follow: bool = True) -> int:
    """Return a detached copy of the mount at a path, or of ``dirfd`` itself (open_tree(2)).

    ``recursive`` takes the mounts below along. Raises OSError.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    if not path:
        flags |= AT_EMPTY_PATH
    if recursive:
        flags |= AT_RECURSIVE
    if not follow:
        flags |= AT_SYMLINK_NOFOLLOW
    return syscall(_OPEN_TREE, dirfd, encode(path), flags)


def move_mount(mount: int, target: int) -> None:
    """Put a mount (detached, or mounted elsewhere) on top of ``target`` (move_mount(2)). Raises OSError."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    syscall(_MOVE_MOUNT, mount, b"", target, b"", flags)


def mount_setattr(
    mount: int, *, set: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False
) -> None:
    """Change attributes and propagation of a mount, or of a tree (mount_setattr(2)). Raises OSError."""
    _set_attributes(mount, recursive, pack("=4Q", set, clear, propagation, 0))


def idmap(mount: int, user_namespace: int, *, recursive: bool = False) -> None:
    """Map the ids of a detached mount by a user namespace (mount_setattr(2)). Raises OSError."""
    _set_attributes(mount, recursive, pack("=4Q", _MOUNT_ATTR_IDMAP, 0, 0, user_namespace))


def _set_attributes(mount: int, recursive: bool, attributes: bytes) -> None:
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    syscall(_MOUNT_SETATTR, mount, b"", flags, attributes, len(attributes))


def mount_old(source: str, target: int, kind: str, attributes: int, options: list[str]) -> None:
    """Mount in one step, by mount(2), with options that fsconfig(2) finds too long. Raises OSError.

    /proc must be the host's.
    """
    flags = sum(flag for attribute, flag in _OLD_FLAGS.items() if attributes & attribute)
    flags |= sum(_OLD_WORDS[word] for word in {*options} & {*_OLD_WORDS})
    data = encode(",".join(option for option in options if option not in _OLD_WORDS))
    if len(data) >= _PAGE:
        raise OSError(errno.E2BIG, "the options fill more than a page", kind)
    call(_mount, encode(source), b"/proc/self/fd/%d" % target, encode(kind), flags, data)


def set_propagation(path: str, propagation: int) -> None:
    """Change how mount events spread at a mount point (MS_SHARED and so on, MS_REC). Raises OSError."""
    call(_mount, None, encode(path), None, propagation, None)


def unmount(path: str, flags: int = 0) -> None:
    """Unmount what is on top of a path (umount2(2)). Raises OSError."""
    call(_umount2, encode(path), flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """Exchange the root of the mount namespace (pivot_root(2)). Raises OSError."""
    call(_pivot_root, encode(new_root), encode(put_old))


def mount_table(process: str = "self") -> list[tuple[int, str, str]]:
    """Return id, mount point and file system type of every mount a process sees (proc_pid_mountinfo(5)).

    /proc must be the host's. Raises OSError.
    """
    with open(f"/proc/{process}/mountinfo", "rb") as file:
        lines = [os.fsdecode(line).split(" ") for line in file]
    return [(int(line[0]), _unescape(line[4]), line[line.index("-") + 1]) for line in lines]


def _unescape(text: str) -> str:
    r"""Undo the kernel's octal escapes of blank, tab, newline and backslash ("\040")."""
    head, *parts = text.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in parts)


def identify(fd: int) -> tuple[int, bool]:
    """Return the id of the mount that a descriptor lives on, and whether it is that mount's root (statx(2)).

    The id is never another mount's where the kernel tells such a one (Linux 6.8). Raises OSError.
    """
    result = bytearray(_STATX_SIZE)
    for mask in (_STATX_MNT_ID_UNIQUE, _STATX_MNT_ID):
        call(function("statx"), fd, b"", AT_EMPTY_PATH, mask, result)
        if unpack_from("=I", result)[0] & mask:
            break
    attributes: int = unpack_from("=Q", result, 8)[0]
    number: int = unpack_from("=Q", result, _STX_MNT_ID)[0]
    return number, bool(attributes & _STATX_ATTR_MOUNT_ROOT)


def mount_id(fd: int) -> int:
    """Return the id of the mount that a descriptor lives on (proc_pid_fdinfo(5)). Raises OSError."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:
        for line in file:
            if line.startswith(b"mnt_id:"):
                return int(line[7:])
    raise OSError(errno.ENOTSUP, "the kernel does not tell mount ids", f"/proc/self/fdinfo/{fd}")
