"""What naja uses of ``os.path``; see ``naja.startup.quick.os``. Paths that are taken apart are text."""

from __future__ import annotations

import posix
from _stat import S_ISDIR, S_ISREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result


def join(first: str, *others: str) -> str:
    """Return the path that leads from each to the next; an absolute one starts anew."""
    path = first
    for other in others:
        if other.startswith("/"):
            path = other
        elif not path or path.endswith("/"):
            path += other
        else:
            path += "/" + other
    return path


def split(path: str) -> tuple[str, str]:
    """Return (all before the last slash, all after it)."""
    head, slash, tail = path.rpartition("/")
    return head.rstrip("/") or head + slash, tail


def dirname(path: str) -> str:
    """Return all before the last slash."""
    return split(path)[0]


def basename(path: str) -> str:
    """Return all after the last slash."""
    return split(path)[1]


def isabs(path: str) -> bool:
    """Tell whether a path starts at the root."""
    return path.startswith("/")


def normpath(path: str) -> str:
    """Return a path without "", "." and as few ".." as its text allows."""
    slashes = len(path) - len(path.lstrip("/"))
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != ".." or (not slashes and parts[-1:] in ([], [".."])):
            parts.append(part)
        elif parts:
            parts.pop()
    # POSIX lets two leading slashes mean something else, and Python keeps them.
    return "/" * (2 if slashes == 2 else min(slashes, 1)) + "/".join(parts) or "."


def abspath(path: str) -> str:
    """Return a path from the root, normalised."""
    return normpath(path if isabs(path) else join(posix.getcwd(), path))


def realpath(path: str) -> str:
    """Return the path of what is there, through all links; ``abspath`` where nothing is."""
    try:
        descriptor = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return abspath(path)
    try:
        return posix.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        posix.close(descriptor)


def exists(path: str | bytes | int) -> bool:
    """Tell whether something is there, links followed."""
    return _mode(path) != 0


def isdir(path: str | bytes | int) -> bool:
    """Tell whether a directory is there, links followed."""
    return S_ISDIR(_mode(path))


def isfile(path: str | bytes | int) -> bool:
    """Tell whether a regular file is there, links followed."""
    return S_ISREG(_mode(path))


def lexists(path: str | bytes) -> bool:
    """Tell whether something is there, be it a link that leads nowhere."""
    try:
        posix.lstat(path)
    except (OSError, ValueError):
        return False
    return True


def samestat(one: stat_result, other: stat_result) -> bool:
    """Tell whether two results of stat are of one file."""
    return one.st_ino == other.st_ino and one.st_dev == other.st_dev


def _mode(path: str | bytes | int) -> int:
    try:
        return posix.stat(path).st_mode
    except (OSError, ValueError):
        return 0
