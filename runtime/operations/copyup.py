"""Copies a tree by descriptors: what a tmpfs with ``tmpcopyup`` hides is put into it first."""

from __future__ import annotations

import errno
import os
import stat

from ..errors import NajaError
from ..linux import files

#: Names of the image are names only: none of them is followed.
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW

#: How deep directories may be nested. Each level takes four descriptors, of which a process may have 1024.
_DEEPEST = 200


def copy_tree(source: int, target: int, proc: int, depth: int = 0) -> None:
    """Copy everything below one directory into another, with owners, modes, times and attributes.

    Both are descriptors (O_PATH is enough), ``proc`` is one of a procfs. Raises OSError, and
    NajaError for a tree that is too deep.
    """
    if depth > _DEEPEST:
        raise NajaError("copy what the tmpfs hides", why=f"directories are nested more than {_DEEPEST} deep")
    reader = os.open(".", _ENTER | os.O_CLOEXEC, dir_fd=source)
    writer = -1
    try:
        writer = os.open(".", _ENTER | os.O_CLOEXEC, dir_fd=target)
        for name in os.listdir(reader):
            _copy_entry(reader, writer, name, proc, depth)
        _copy_metadata(reader, writer)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _copy_entry(source: int, target: int, name: str, proc: int, depth: int) -> None:
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFDIR:
        os.mkdir(name, 0o700, dir_fd=target)
        below = _open(source, name, os.O_PATH | os.O_DIRECTORY)
        made = _open(target, name, os.O_PATH | os.O_DIRECTORY)
        try:
            copy_tree(below, made, proc, depth + 1)
        finally:
            os.close(below)
            os.close(made)
    elif kind == stat.S_IFREG:
        _copy_file(source, target, name, proc)
    else:
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)


def _copy_file(source: int, target: int, name: str, proc: int) -> None:
    found = _open(source, name, os.O_PATH)
    if not stat.S_ISREG(os.fstat(found).st_mode):
        os.close(found)
        raise OSError(errno.EAGAIN, "the file was replaced by another kind", name)
    reader = files.reopen(proc, found, os.O_RDONLY)
    try:
        writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target)
        try:
            while os.sendfile(writer, reader, None, 1 << 24):
                pass
            _copy_metadata(reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _open(directory: int, name: str, flags: int) -> int:
    resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
    return files.openat2(directory, name, flags | os.O_NOFOLLOW, resolve=resolve)


def _copy_metadata(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        try:
            os.setxattr(target, name, os.getxattr(source, name))
        except OSError as error:
            # A tmpfs takes no "user." attributes before Linux 6.6; labels may be the policy's own.
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
