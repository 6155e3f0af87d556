"""What a container leaves on the host when it is not removed well: mounts, cgroups, processes, state."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass, field

PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Have orphans below this process become its children (prctl(2)), so that none gets away unseen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children() -> dict[int, str]:
    """Return this process's children: state letter and command line by pid; zombies are reaped."""
    found = {}
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        pids = [int(word) for word in file.read().split()]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
            if state == "Z":
                os.waitpid(pid, os.WNOHANG)
                continue
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                found[pid] = command.read().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, ChildProcessError):
            continue
    return found


def cgroups_named(text: str) -> list[str]:
    """Return the cgroup directories, three levels deep at most, with ``text`` in their name."""
    found = []
    for directory, below, _ in os.walk("/sys/fs/cgroup"):
        found += [os.path.join(directory, name) for name in below if text in name]
        if directory.count("/") > 6:
            below.clear()
    return found


def mounts_below(path: str) -> list[str]:
    """Return the mount points at or below ``path`` in this mount namespace."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as mountinfo:
        points = [line.split(" ")[4] for line in mountinfo]
    return [point for point in points if point == path or point.startswith(path + "/")]


@dataclass
class Watch:
    """What is looked after during a test; ``leaks`` says what was left when it ended."""

    #: Part of the name of every cgroup that the test's containers make.
    tag: str
    #: The test's directory; mounts in it must go.
    directory: str
    #: State directories (``--root``), which must be empty in the end.
    roots: list[str] = field(default_factory=list)
    before: set[int] = field(default_factory=lambda: set(children()))

    def leaks(self, patience: float = 2) -> list[str]:
        """Return a line for each thing left; the kernel gets ``patience`` seconds to let the dead go."""
        end = time.monotonic() + patience
        while (found := self._look()) and time.monotonic() < end:
            time.sleep(0.05)
        return found

    def _look(self) -> list[str]:
        found = [f"process {pid}: {line}" for pid, line in children().items() if pid not in self.before]
        found += [f"mount {point}" for point in mounts_below(self.directory)]
        found += [f"cgroup {path}" for path in cgroups_named(self.tag)]
        for root in self.roots:
            names = os.listdir(root) if os.path.isdir(root) else []
            paths = [os.path.join(root, name) for name in names if not name.startswith(".")]
            # A container's state is a directory; filters that are kept for the next one are files.
            found += [f"state {path}" for path in paths if os.path.isdir(path)]
        return found

    def clean(self) -> None:
        """Remove by force what was left, so that one failure does not make others."""
        for pid in set(children()) - self.before:
            os.kill(pid, signal.SIGKILL)
        for point in reversed(mounts_below(self.directory)):
            ctypes.CDLL(None).umount2(os.fsencode(point), 2)  # MNT_DETACH
        end = time.monotonic() + 2
        while (left := cgroups_named(self.tag)) and time.monotonic() < end:
            for path in reversed(left):
                try:
                    os.rmdir(path)
                except OSError:
                    time.sleep(0.02)
