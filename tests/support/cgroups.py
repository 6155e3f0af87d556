"""Cgroup trees that a container, or somebody beside it, has made: deep, wide, frozen, threaded."""

from __future__ import annotations

import os
import signal
import time

from naja import cgroups
from naja.cgroups import tree
from naja.linux.cgroup_walk import walk

#: A mount namespace in which nothing but a v2 tree is mounted, as a prefix of a command.
ONLY_V2 = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    "umount --recursive --lazy /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 99\n"
    'cd "$OLDPWD" 2>/dev/null; exec "$@"',
    "sh",
]


def places(name: str) -> list[str]:
    """Return where a cgroup would be, in each hierarchy of this host."""
    return [f"{mount}/{name}" for mount in cgroups.detect().mounts.values()]


def dig(top: str, depth: int, name: str) -> int:
    """Make cgroups, one in the other, below ``top``; return an open directory of the innermost."""
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    return here


def put(directory: int, file: str, value: str) -> None:
    """Write to a file of a cgroup that is open."""
    descriptor = os.open(file, os.O_WRONLY, dir_fd=directory)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def clear(top: str) -> None:
    """End all that is in a cgroup and below it, and remove it: whatever a test has left there."""
    end = time.monotonic() + 10
    while os.path.isdir(top) and time.monotonic() < end:
        for directory, name in walk(top):
            for file, value in ((b"freezer.state", "THAWED"), (b"cgroup.freeze", "0")):
                if os.path.exists(f"/proc/self/fd/{directory}/{os.fsdecode(name + b'/' + file)}"):
                    put(directory, os.fsdecode(name + b"/" + file), value)
        for pid in tree.processes(top):
            os.kill(pid, signal.SIGKILL)
        try:
            tree.remove(top, 0.1)
        except Exception:
            time.sleep(0.05)
