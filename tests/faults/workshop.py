"""Where one container after the other is made, for a point or a race, and what must not be left of it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

from tests.faults.commands import BUNDLE, HOOKS, ID, PID_FILE
from tests.faults.inside import Expected, Inspector
from tests.faults.supervisor import Supervisor
from tests.support.bundle import CAPABILITIES, Bundle, make_rootfs
from tests.support.command import runtime_command
from tests.support.leaks import become_subreaper, children, mounts_below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.commands import Command
    from tests.faults.supervisor import Result

#: Numbers of capabilities (linux/capability.h).
_NUMBERS = {"CAP_AUDIT_WRITE": 29, "CAP_KILL": 5, "CAP_NET_BIND_SERVICE": 10}
_GRANTED = sum(1 << _NUMBERS[name] for name in CAPABILITIES)
_MAPPED = [{"containerID": 0, "hostID": 100000, "size": 65536}]
_SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["add_key", "keyctl"], "action": "SCMP_ACT_ERRNO"}],
}

#: How long a command may take, on a machine that has much to do.
BOUND = 40.0
#: How long what was killed may take to end.
PATIENCE = 10.0


class Workshop:
    """A directory with a bundle, for one worker."""

    def __init__(self, place: str) -> None:
        """Make it in a directory. The calling process becomes the parent of all orphans."""
        become_subreaper()
        self.directory = tempfile.mkdtemp(prefix="worker-", dir=place)
        os.chmod(self.directory, 0o711)  # A user namespace's root has to get through.
        make_rootfs(os.path.join(self.directory, "busybox"))
        self._bundle = Bundle(os.path.join(self.directory, "bundle"), "none", self._path("busybox"))
        self._hierarchies = [line for line in _mount_points("cgroup") if line.startswith("/sys/fs/cgroup")]
        self._numbers = itertools.count()
        self._temporary = self._path("tmp")

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def bench(self, command: Command) -> Bench:
        """Return what the next container needs."""
        id = f"najafault{os.getpid()}x{next(self._numbers)}"
        config = self._bundle.config
        config["linux"]["cgroupsPath"] = f"/{id}"
        config["linux"]["seccomp"] = _SECCOMP
        config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
        if command.user_namespace:
            config["linux"]["namespaces"].append({"type": "user"})
            config["linux"] |= {"uidMappings": _MAPPED, "gidMappings": _MAPPED}
        else:
            config["linux"].pop("uidMappings", None)
            config["linux"].pop("gidMappings", None)
        config["hooks"] = HOOKS if command.hooks else {}
        self._bundle.args(*command.program)
        shutil.rmtree(self._temporary, ignore_errors=True)
        os.mkdir(self._temporary)
        expected = Expected(id, self._bundle.rootfs, command.user_namespace, _GRANTED)
        return Bench(self, expected, self._bundle.path, self._hierarchies)


class Bench:
    """One container's place: its ID, its bundle, and the supervisor of all commands about it."""

    def __init__(
        self, workshop: Workshop, expected: Expected, bundle: str, hierarchies: Sequence[str]
    ) -> None:
        self.id = expected.id
        self.root = os.path.join(workshop.directory, "root")
        self.inspector = Inspector(expected)
        self.supervisor = Supervisor(self.inspector)
        self._directory = workshop.directory
        self._temporary = os.path.join(workshop.directory, "tmp")
        self._hierarchies = hierarchies
        self._values = {
            ID: self.id,
            BUNDLE: bundle,
            PID_FILE: os.path.join(self._temporary, "pid"),
        }
        #: Whether somebody was killed who may have been about to write a file.
        self.killed_a_writer = False

    def argv(self, words: Sequence[str]) -> list[str]:
        """Return a whole command line."""
        return [*runtime_command(), "--root", self.root, *(self._values.get(word, word) for word in words)]

    def command(self, words: Sequence[str]) -> Result:
        """Run a command to its end, without a fault."""
        return self.supervisor.command(self.argv(words), BOUND)

    def prepare(self, before: Sequence[Sequence[str]]) -> None:
        """Make a situation. Raises AssertionError where that fails."""
        for words in before:
            result = self.command(words)
            assert result.status == 0, result
        if before:
            self.supervisor.wait(lambda: bool(self.inspector.births) or before[0][0] == "create", BOUND)

    def status(self) -> str:
        """Return the container's status; empty where there is none."""
        result = self.command(("state", self.id))
        return str(json.loads(result.stdout)["status"]) if result.status == 0 else ""

    def limit_of_pids(self) -> str:
        """Return the limit that `update` changes."""
        for hierarchy in self._hierarchies:
            path = os.path.join(hierarchy, self.id, "pids.max")
            if os.path.exists(path):
                with open(path) as file:
                    return file.read().strip()
        return ""

    def left(self) -> list[str]:
        """Return what is left, after a while for what was killed to go."""
        found: list[str] = []

        def nothing() -> bool:
            found[:] = self._look()
            return not found

        self.supervisor.wait(nothing, PATIENCE)
        return found

    def _look(self) -> list[str]:
        found = [f"process {pid}: {line}" for pid, line in children().items()]
        found += [f"mount {point}" for point in mounts_below(self._directory)]
        paths = [os.path.join(hierarchy, self.id) for hierarchy in self._hierarchies]
        found += [f"cgroup {path}" for path in paths if os.path.exists(path)]
        names = os.listdir(self.root) if os.path.isdir(self.root) else []
        found += [f"state {name}" for name in names if not self._is_kept(name)]
        return found + [f"file {name}" for name in os.listdir(self._temporary) if not self._is_kept(name)]

    def _is_kept(self, name: str) -> bool:
        """Tell whether a file may stay: a seccomp filter, a pid file, or one that a killed writer left."""
        finished = name == "pid" or (name.startswith("seccomp,") and name.count(",") == 1)
        return finished or (self.killed_a_writer and name.startswith(("seccomp,", ".pid.")))

    def clean(self) -> None:
        """End everything, and remove by force what was left."""
        self.supervisor.end()
        for point in reversed(mounts_below(self._directory)):
            os.system(f"umount --lazy {point}")
        for hierarchy in self._hierarchies:
            for path, _, _ in os.walk(os.path.join(hierarchy, self.id), topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        shutil.rmtree(os.path.join(self.root, self.id), ignore_errors=True)


def _mount_points(kind: str) -> list[str]:
    with open("/proc/self/mountinfo") as mountinfo:
        lines = [line.split(" - ") for line in mountinfo]
    return [before.split(" ")[4] for before, after in lines if after.startswith(kind)]
