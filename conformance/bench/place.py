"""Where everything is measured: one bundle for all, and the same host for every runtime."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import TYPE_CHECKING

from conformance.bench.subject import Failed
from tests.support.bundle import Bundle, make_rootfs

if TYPE_CHECKING:
    from conformance.bench.subject import Subject

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x00020000, 0x4000, 1 << 18, 2
UNIFIED = "/sys/fs/cgroup/unified"


def hide_unified() -> bool:
    """Enter a private mount namespace without the v2 tree of a hybrid layout; True where there was one.

    A file system of this namespace's own takes its place: the peers make directories there all the same.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    hybrid = os.path.ismount(UNIFIED)
    place = UNIFIED.encode()
    if (
        libc.unshare(CLONE_NEWNS)
        or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        or (hybrid and (libc.umount2(place, MNT_DETACH) or libc.mount(b"none", place, b"tmpfs", 0, None)))
    ):
        number = ctypes.get_errno()
        raise Failed(f"a private mount namespace: {os.strerror(number)}")
    return hybrid


class Place:
    """A directory with bundles, a state root for each runtime, and the IDs of this bench's containers."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.pid_file = os.path.join(directory, "pid")
        self.rootfs = os.path.join(directory, "rootfs")
        make_rootfs(self.rootfs)
        self._made: list[str] = []

    def bundle(self, name: str, *args: str) -> Bundle:
        """Make a bundle whose container runs ``args``; any number of containers may come from it."""
        bundle = Bundle(os.path.join(self.directory, name), self.id(name), self.rootfs)
        # The cgroup is named after the ID then.
        del bundle.linux["cgroupsPath"]
        return bundle.args(*args)

    def id(self, name: str) -> str:
        """Return the ID of a container of this bench."""
        id = f"bench{os.getpid()}{name}"
        if id not in self._made:
            self._made.append(id)
        return id

    def root(self, subject: Subject) -> tuple[str, str]:
        """Return the option that names a runtime's state root."""
        return "--root", os.path.join(self.directory, f"state-{subject.name}")

    def reap(self, pid_file: str = "") -> int:
        """Wait for the process in a pid file, which as an orphan is a child of this one.

        Returns the most memory, in KiB, that it had at a time.
        """
        with open(pid_file or self.pid_file) as file:
            return os.wait4(int(file.read()), 0)[2].ru_maxrss

    def clean(self, subject: Subject) -> None:
        """Remove what a runtime that failed half-way may have left."""
        for id in self._made:
            try:
                subject.cost(*self.root(subject), "delete", "--force", id)
            except Failed as error:
                print(error, file=sys.stderr)


def rewrite(bundle: Bundle) -> None:
    """Write config.json of a bundle again, small: how it is laid out is nobody's concern here."""
    with open(os.path.join(bundle.path, "config.json"), "w") as file:
        json.dump(bundle.config, file)
