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
    try:
        _write(os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory), value, name)
    except OSError as error:
        error.filename = _absolute(directory, name)
        raise


def _absolute(directory: int, name: bytes) -> str:
    """Return the path of a file below an open directory, as far as it can be told."""
    try:
        return os.path.normpath(os.path.join(os.readlink(f"/proc/self/fd/{directory}"), os.fsdecode(name)))
    except OSError:
        return os.fsdecode(name)


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
    try:
        return _read(os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), name)
    except OSError as error:
        error.filename = _absolute(directory, name)
        raise


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
    """Return the directory of a process's cgroup, in the tree that ``directory`` is, or was, part of.

    ``process`` is its pid, or what else stands for it below /proc (``process.Held.name``). Raises OSError:
    ENOENT where the cgroup is out of sight.
    """
    point, root, controllers = _tree_of(directory)
    for line in read(f"/proc/{process}/cgroup").split("\n"):
        _, names, path = line.split(":", 2)
        if not (controllers.issuperset(names.split(",")) if names else controllers == {""}):
            continue
        if root == "/":
            return (point + path).rstrip("/")
        if f"{path}/".startswith(f"{root}/"):
            return point + path[len(root) :]
    raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))


def _tree_of(directory: str) -> tuple[str, str, set[str]]:
    """Return where the hierarchy of a cgroup is mounted, its root there, and its controllers: {""} for v2."""
    found = "", "", {""}
    for point, root, controllers in cgroup_mounts(read("/proc/self/mountinfo")):
        # Of those that lie one on the other the last one is seen.
        if f"{directory}/".startswith(f"{point}/") and len(point) >= len(found[0]):
            found = point, root, controllers
    if not found[0]:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
    return found


def cgroup_mounts(mountinfo: str) -> list[tuple[str, str, set[str]]]:
    """Return the mount point, root and controllers ({""} for v2) of all cgroup trees (proc_pid_mountinfo(5)).

    A v1 tree's other options are among its controllers.
    """
    mounts = []
    for line in mountinfo.splitlines():
        if " - cgroup" not in line:
            continue
        left, right = line.split(" - ", 1)
        root, point = left.split(" ", 5)[3:5]
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            controllers = set(options.split(",")) if kind == "cgroup" else {""}
            mounts.append((_unescape(point), _unescape(root), controllers))
    return mounts


def _unescape(path: str) -> str:
    """Undo the octal escapes of mountinfo (space, tab, newline, backslash)."""
    if "\\" not in path:
        return path
    head, *rest = path.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)


def type_of(directory: str) -> str:
    """Say which type a cgroup of a v2 tree is of, where that is not the usual one (cgroup-v2, Threads)."""
    try:
        kind = read(f"{directory}/cgroup.type")
    except OSError:
        return ""  # A v1 cgroup has none.
    return f'the cgroup is of type "{kind}"' if kind != "domain" else ""
