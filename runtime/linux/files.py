"""Files below a root that is not trusted: openat2(2) and what is built on it.

A path inside a container's root file system is never walked as a string from the host's side: an
image can hold symbolic links, and a shared volume can change while it is being walked. The kernel
resolves it below a descriptor, and whatever is done next is done to the descriptor it returns.
"""

from __future__ import annotations

import errno
import os
import stat
from struct import pack, unpack_from

from .libc import call, function, syscall

_OPENAT2 = 437

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

#: Kinds of file systems, as statfs(2) names them.
PROC_SUPER_MAGIC = 0x9FA0
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270
OVERLAYFS_MAGIC = 0x794C7630
DEVPTS_SUPER_MAGIC = 0x1CD1
PIPEFS_MAGIC = 0x50495045
SOCKFS_MAGIC = 0x534F434B

#: How often a lookup that raced with a rename is tried again before somebody is playing games.
_RETRIES = 128
#: As many symbolic links as the kernel itself follows (path_resolution(7)).
_MOST_LINKS = 40


def encode(path: str) -> bytes:
    """Return a path as the kernel takes it. Raises OSError (EINVAL) for one with a NUL inside."""
    if "\0" in path:
        raise OSError(errno.EINVAL, "a path cannot hold a NUL byte", path)
    return os.fsencode(path)


def openat2(dirfd: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` below ``dirfd`` under the rules of ``resolve``; close-on-exec (openat2(2)).

    Returns the descriptor. Raises OSError.
    """
    name = encode(path)
    how = pack("=3Q", flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(_RETRIES):
        try:
            return syscall(_OPENAT2, dirfd, name, how, len(how))
        except OSError as error:
            # EAGAIN: a rename during the walk made ".." unsafe to follow.
            if error.errno not in (errno.EAGAIN, errno.EINTR):
                raise
    raise OSError(errno.EAGAIN, "the path changed under every attempt to open it", path)


def open_beneath(dirfd: int, path: str, flags: int) -> int:
    """Open what is really there below ``dirfd``: no way up, no mount on the way, no magic link.

    Meant for procfs and the like, where a mount on top would be a trap (CVE-2025-52881). Returns the
    descriptor. Raises OSError; EXDEV where the path leaves the directory or its file system.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS
    return openat2(dirfd, path, flags, resolve=resolve)


def open_in_root(rootfd: int, path: str, flags: int, *, symlinks: bool = True) -> int:
    """Open ``path`` as a process would whose root is ``rootfd``; never a magic link.

    With ``symlinks=False`` no component may be a symbolic link (ELOOP). Returns the descriptor.
    Raises OSError.
    """
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    if not symlinks:
        resolve |= RESOLVE_NO_SYMLINKS
    return openat2(rootfd, path, flags, resolve=resolve)


def reopen(proc: int, fd: int, flags: int) -> int:
    """Open the file behind an O_PATH descriptor, once it was looked at (proc_pid_fd(5)).

    To open a device does something already, and to open a FIFO may wait. ``proc`` is the root of a
    procfs. Returns a close-on-exec descriptor; ``fd`` is closed. Raises OSError.
    """
    try:
        return os.open(f"self/fd/{fd}", flags | os.O_CLOEXEC, dir_fd=proc)
    finally:
        os.close(fd)


def mkdir_in_root(rootfd: int, path: str, mode: int = 0o755, *, symlinks: bool = True) -> int:
    """Open a directory below ``rootfd``, making whatever is missing of it (mkdirat(2)).

    ``mode`` is for the last one, whatever the umask; those on the way there have 0755. A symbolic link
    that leads nowhere is made to lead somewhere, inside the root. Returns an O_PATH descriptor. Raises
    OSError.
    """
    for _ in range(_MOST_LINKS):
        try:
            return open_in_root(rootfd, path, os.O_PATH | os.O_DIRECTORY, symlinks=symlinks)
        except FileNotFoundError:
            parts = [part for part in path.split("/") if part]
        directory, depth = _deepest(rootfd, parts, symlinks)
        while depth < len(parts):
            last = depth == len(parts) - 1
            entered = _make_and_enter(directory, parts[depth], mode if last else 0o755)
            if isinstance(entered, str):
                break
            directory, depth = entered, depth + 1
        else:
            return directory
        if not symlinks:
            break
        path = os.path.join("/", *parts[:depth], entered, *parts[depth + 1 :])
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _deepest(rootfd: int, parts: list[str], symlinks: bool) -> tuple[int, int]:
    """Return the deepest directory of a path that exists, and how many components lead to it."""
    depth = len(parts) - 1
    while True:
        path = "/" + "/".join(parts[:depth])
        try:
            return open_in_root(rootfd, path, os.O_PATH | os.O_DIRECTORY, symlinks=symlinks), depth
        except FileNotFoundError:
            if depth == 0:
                raise
            depth -= 1


def _make_and_enter(directory: int, name: str, mode: int) -> int | str:
    """Make a directory in another, which is closed, and open it.

    Where a symbolic link bears the name already, return what it says instead.
    """
    try:
        mask = os.umask(0)
        try:
            os.mkdir(encode(name), mode, dir_fd=directory)
        except FileExistsError:
            pass
        finally:
            os.umask(mask)
        try:
            resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV
            return openat2(directory, name, os.O_PATH | os.O_DIRECTORY, resolve=resolve)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
        return _read_link(name, directory)
    finally:
        os.close(directory)


def _read_link(name: str, directory: int) -> str:
    try:
        return os.fsdecode(os.readlink(encode(name), dir_fd=directory))
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # It was one a moment ago: somebody is playing games.
        raise OSError(errno.EAGAIN, "a symbolic link was replaced under the lookup", name) from None


def create_file_in_root(rootfd: int, path: str, mode: int = 0o644) -> int:
    """Open a file below ``rootfd``, making it (empty) and its directories where they are missing.

    It is made with mknodat(2), which unlike open(O_CREAT) can neither follow a link nor open what is
    already there (CVE-2024-45310). Returns an O_PATH descriptor. Raises OSError.
    """
    for _ in range(_MOST_LINKS):
        try:
            return open_in_root(rootfd, path, os.O_PATH)
        except FileNotFoundError:
            head, name = os.path.split(path.rstrip("/"))
        if name in (".", ".."):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        directory = mkdir_in_root(rootfd, head or "/")
        try:
            os.mknod(encode(name), stat.S_IFREG | mode, dir_fd=directory)
            return openat2(directory, name, os.O_PATH | os.O_NOFOLLOW, resolve=RESOLVE_BENEATH)
        except FileExistsError:
            # A symbolic link to nowhere: make the file that it names, below the root.
            path = os.path.join(head, _read_link(name, directory))
        finally:
            os.close(directory)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


_fstatfs = function("fstatfs")


def filesystem_magic(fd: int) -> int:
    """Return the kind of file system behind a descriptor (f_type of statfs(2)). Raises OSError."""
    result = bytearray(120)
    call(_fstatfs, fd, result)
    magic: int = unpack_from("@l", result)[0]
    return magic


def is_device(status: os.stat_result, kind: int, major: int, minor: int) -> bool:
    """Tell whether a file is the device node of that kind (S_IFCHR, S_IFBLK) and number."""
    return stat.S_IFMT(status.st_mode) == kind and status.st_rdev == os.makedev(major, minor)
