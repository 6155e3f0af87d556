"""Where a mount goes: its mount point below the root, opened or made, and fit to be mounted on."""

from __future__ import annotations

import errno
import os

from ..errors import NajaError
from ..linux import files

#: Files of procfs that may be covered one by one, as lxcfs does to show a container its own limits.
COVERABLE = frozenset(
    "/proc/" + name
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "net/dev",
        "slabinfo",
        "stat",
        "swaps",
        "sys/crypto/fips_enabled",
        "sys/kernel/ns_last_pid",
        "uptime",
    )
)


def open_directory(
    root: int, destination: str, origin: str, *, ordinary: bool = False, mode: int = 0o755
) -> int:
    """Open the directory to mount on, or make it with a mode; with ``ordinary`` no link may lead there.

    procfs and sysfs ask for that: a link would put them elsewhere than the masks look for them
    (CVE-2019-19921). Returns an O_PATH descriptor. Raises NajaError.
    """
    try:
        target = files.mkdir_in_root(root, destination, mode, symlinks=not ordinary)
    except OSError as error:
        why = ""
        if error.errno == errno.ENOTDIR:
            why = _not_a_directory(root, destination)
        elif error.errno == errno.ELOOP and ordinary:
            why = "it must be mounted on an ordinary directory, and there is a symbolic link"
        raise _failed(root, destination, error, why, origin) from None
    if not ordinary:
        _refuse_proc(target, destination, origin)
    return target


def _not_a_directory(root: int, destination: str) -> str:
    """Say which part of a mount point is not the directory that it would have to be."""
    try:
        os.close(files.open_in_root(root, destination, os.O_PATH))
    except OSError:
        return "something on the way is not a directory"
    return "it is not a directory, and what is to be mounted there is one"


def open_file(root: int, destination: str, origin: str, *, follow: bool = True) -> int:
    """Open or make the file to mount on. Returns an O_PATH descriptor. Raises NajaError."""
    try:
        if destination in COVERABLE:
            proc = files.open_in_root(root, "/proc", os.O_PATH | os.O_DIRECTORY, symlinks=False)
            if files.filesystem_magic(proc) == files.PROC_SUPER_MAGIC:
                # What links there are below here are the kernel's own (/proc/net).
                return _open_coverable(proc, destination.removeprefix("/proc/"))
            os.close(proc)
        if follow:
            target = files.create_file_in_root(root, destination)
        else:
            target = _open_unfollowed(root, destination)
    except OSError as error:
        raise _failed(root, destination, error, "", origin) from None
    _refuse_proc(target, destination, origin)
    return target


def _open_coverable(proc: int, name: str) -> int:
    try:
        resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_MAGICLINKS
        return files.openat2(proc, name, os.O_PATH, resolve=resolve)
    finally:
        os.close(proc)


def _open_unfollowed(root: int, destination: str) -> int:
    try:
        return files.open_in_root(root, destination, os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        return files.create_file_in_root(root, destination)


def _refuse_proc(target: int, destination: str, origin: str) -> None:
    """Keep procfs uncovered: security labels and masks depend on it (CVE-2019-16884)."""
    if files.filesystem_magic(target) == files.PROC_SUPER_MAGIC:
        os.close(target)
        raise NajaError(f"mount on {destination}", why="nothing may be mounted inside /proc", origin=origin)


def _failed(root: int, destination: str, error: OSError, why: str, origin: str) -> NajaError:
    if error.errno == errno.EACCES:
        from ..linux import unexecutable

        why = unexecutable.unopened(destination, error, root)
    if error.errno == errno.EROFS:
        why = "it is not there, and cannot be made, as the file system is read-only: make it there beforehand"
    return NajaError.from_os_error(f"open the mount point {destination}", error, why=why, origin=origin)
