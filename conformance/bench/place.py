"""Where everything is measured: one bundle for all, and the same host for every runtime."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import tempfile
from typing import TYPE_CHECKING

from conformance.bench.subject import Failed
from tests.support.bundle import Bundle, make_rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.bench.subject import Subject

CLONE_NEWNS, MS_REC, MS_PRIVATE, MNT_DETACH = 0x00020000, 0x4000, 1 << 18, 2
UNIFIED = "/sys/fs/cgroup/unified"
#: Where runtimes keep their state: a file system in memory.
RUN = "/run"


def hide_unified() -> bool:
    """Enter a private mount namespace without the v2 tree of a hybrid layout; True where there was one.

    A file system of this namespace's own takes its place: the peers make directories there all the same.
    """
    hybrid = os.path.ismount(UNIFIED)
    _call("unshare", CLONE_NEWNS)
    _call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
    if hybrid:
        _call("umount2", UNIFIED.encode(), MNT_DETACH)
        _mount_memory(UNIFIED)
    return hybrid


def run_in_memory() -> None:
    """Have /run in memory in the own mount namespace, as distributions have it, where it is on a disk here.

    On an ext4 without a journal a new file takes the longer the more others were removed in the last minute.
    """
    if not os.path.ismount(RUN):
        _mount_memory(RUN)


def _mount_memory(path: str) -> None:
    _call("mount", b"none", path.encode(), b"tmpfs", 0, None)


def _call(name: str, *arguments: int | bytes | None) -> None:
    """Call a function of libc's that returns 0. Raises Failed."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise Failed(f"a private mount namespace: {name}: {os.strerror(ctypes.get_errno())}")


class Place:
    """Two directories and the IDs of this bench's containers.

    ``directory`` has the bundles; ``run``, in memory, a state root for each runtime and the pid files.
    """

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[Place]:
        """Make both directories for the time of a ``with``, in the own mount namespace. Raises Failed."""
        run_in_memory()
        prefix = "naja-bench-"
        with (
            tempfile.TemporaryDirectory(prefix=prefix) as directory,
            tempfile.TemporaryDirectory(prefix=prefix, dir=RUN) as run,
        ):
            yield cls(directory, run)

    def __init__(self, directory: str, run: str) -> None:
        self.directory = directory
        self.run = run
        self.pid_file = os.path.join(run, "pid")
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
        return "--root", os.path.join(self.run, f"state-{subject.name}")

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
