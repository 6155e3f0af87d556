"""Looks at a process that is about to become the program of a container: is it inside?"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.supervisor import status_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.listener import Call

#: The namespaces that every container of these tests has of its own.
NAMESPACES = ("pid", "net", "ipc", "uts", "mnt")
#: A container's /proc has fewer processes than that, a host's has more.
FEW = 16

#: The last word of a container's program, of one that is added, of a hook that runs inside.
FIRST, ADDED, HOOK = "first-of-the-container", "added-to-the-container", "hook-in-the-container"


@dataclass
class Expected:
    """What the container's config promises to its program."""

    id: str
    rootfs: str
    user_namespace: bool
    capabilities: int
    #: How many filters the program is under, the listener's included.
    filters: int = 2


@dataclass
class Inspector:
    """Asked about everybody who executes anything; collects what is wrong."""

    expected: Expected
    complaints: list[str] = field(default_factory=list)
    #: The namespaces of the containers that were born.
    births: list[tuple[str, ...]] = field(default_factory=list)
    #: How many executed a program of which kind.
    programs: Counter[str] = field(default_factory=Counter)

    def __call__(self, call: Call, words: list[str]) -> bool:
        """Tell whether ``words`` are a container's program; if so, look at the process that executes it."""
        if not words or not words[0].startswith("/bin/") or words[-1] not in (FIRST, ADDED, HOOK):
            return False
        self.programs[words[-1]] += 1
        try:
            complaints = self._look(call.task, words[-1])
        except (FileNotFoundError, ProcessLookupError):
            return True  # It was killed before it could execute anything.
        if call.waits():  # Who has been killed meanwhile is nowhere any more.
            self.complaints += [f"the program would run {complaint}" for complaint in complaints]
        return True

    def _look(self, pid: int, kind: str) -> list[str]:
        kinds = (*NAMESPACES, "user") if self.expected.user_namespace else NAMESPACES
        links = tuple(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds)
        own = [os.readlink(f"/proc/self/ns/{kind}") for kind in kinds]
        pairs = zip(kinds, links, own, strict=True)
        found = [f"in the host's {kind} namespace" for kind, link, host in pairs if link == host]
        if kind != ADDED:
            self.births.append(links)
        elif links not in self.births and links not in _of_orphans(kinds):
            found.append("in namespaces that no container has together")
        rights = [] if kind == HOOK else self._rights(pid)
        return found + self._root(pid) + rights + self._descriptors(pid) + self._cgroup(pid)

    def _root(self, pid: int) -> list[str]:
        root, rootfs = os.stat(f"/proc/{pid}/root"), os.stat(self.expected.rootfs)
        if (root.st_dev, root.st_ino) != (rootfs.st_dev, rootfs.st_ino):
            return ["outside of its root file system"]
        processes = [name for name in os.listdir(f"/proc/{pid}/root/proc") if name.isdecimal()]
        return [f"with {len(processes)} processes in /proc"] if len(processes) > FEW else []

    def _rights(self, pid: int) -> list[str]:
        status = status_of(pid)
        if not status:
            raise ProcessLookupError
        held = 0
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            held |= int(status[kind], 16)
        more = held & ~self.expected.capabilities
        found = [f"with the capabilities {more:x}"] if more else []
        if status["NoNewPrivs"] != "1":
            found.append("without no_new_privs")
        if int(status["Seccomp_filters"]) != self.expected.filters:
            found.append(f"under {status['Seccomp_filters']} seccomp filters")
        return found

    def _descriptors(self, pid: int) -> list[str]:
        found = []
        for name in os.listdir(f"/proc/{pid}/fd"):
            with open(f"/proc/{pid}/fdinfo/{name}") as file:
                flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
            if int(name) > 2 and not flags & os.O_CLOEXEC:
                found.append(f"with {os.readlink(f'/proc/{pid}/fd/{name}')} as descriptor {name}")
        return found

    def _cgroup(self, pid: int) -> list[str]:
        with open(f"/proc/{pid}/cgroup") as file:
            outside = [line.strip() for line in file if not line.rstrip().endswith("/" + self.expected.id)]
        return [f"in the cgroup {line}" for line in outside]


def _of_orphans(kinds: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the namespaces of containers that were created, and not started yet."""
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        pids = file.read().split()
    found = []
    for pid in pids:
        try:
            found.append(tuple(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds))
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended.
    return found
