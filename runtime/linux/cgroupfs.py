"""Files of cgroups and of file systems like theirs: one value or line each, read and written at once.

cgroups(7); the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import errno
import os
import time

#: What the kernel says of a cgroup that has gone, before or after a file of it was opened: whoever may write
#: to the tree can remove one at any moment, systemd does when its last process has ended.
GONE = (errno.ENOENT, errno.ENODEV)

#: What a caller without privileges gets for an answer on a tree that is not its own.
DENIED = (errno.EPERM, errno.EACCES, errno.EROFS)


def write(path: str, value: str) -> None:
    """Write a value to an existing file of a cgroup in one write(2). Raises OSError."""
    _write(os.open(os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC), value, path)


def write_below(directory: int, name: bytes, value: str) -> None:
    """As ``write``, to a file that is named from an open directory on. Raises OSError."""
    _write(os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory), value, name)


def _write(descriptor: int, value: str, name: str | bytes) -> None:
    try:
        os.write(descriptor, os.fsencode(value))
    except OSError as error:
        error.filename = name
        raise
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """Return the text of a file of a cgroup, without the last newline. Raises OSError."""
    return _read(os.open(os.fsencode(path), os.O_RDONLY | os.O_CLOEXEC), path)


def read_below(directory: int, name: bytes) -> str:
    """As ``read``, of a file that is named from an open directory on. Raises OSError."""
    return _read(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), name)


def _read(descriptor: int, name: str | bytes) -> str:
    try:
        text = b""
        while chunk := os.read(descriptor, 65536):
            text += chunk
    except OSError as error:
        error.filename = name
        raise
    finally:
        os.close(descriptor)
    return os.fsdecode(text).rstrip("\n")


def move(directory: str, pid: int) -> None:
    """Move a process into a cgroup. Raises OSError."""
    for _ in range(5):
        try:
            write(f"{directory}/cgroup.procs", str(pid))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # The kernel says so of a process that is just being born.
            refused = error
            time.sleep(0.03)
        else:
            return
    raise refused


def cgroup_of(process: int | str, directory: str) -> str:
    """Return the directory of a process's v2 cgroup, in the tree that ``directory`` is part of.

    ``process`` is its pid, or what else stands for it below /proc (``process.Held.name``). Raises OSError.
    """
    for line in read(f"/proc/{process}/cgroup").split("\n"):
        if line.startswith("0::"):
            path = line[3:]
            # The process is in or below ``directory``, whose end is a part of the path.
            parts = directory.split("/")
            for length in range(len(parts) - 1, 0, -1):
                tail = "/" + "/".join(parts[-length:])
                if path == tail or path.startswith(f"{tail}/"):
                    return directory + path[len(tail) :]
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def type_of(directory: str) -> str:
    """Say which type a cgroup of a v2 tree is of, where that is not the usual one (cgroup-v2, Threads)."""
    try:
        kind = read(f"{directory}/cgroup.type")
    except OSError:
        return ""  # A v1 cgroup has none.
    return f'the cgroup is of type "{kind}"' if kind != "domain" else ""
