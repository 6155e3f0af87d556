"""Limits for one added process and its children: ``exec --limit``.

They are those of a cgroup of its own below the container's, which is removed when the process has ended;
where others are left in it, by a later process with limits, or with the container. On version 1 it is made
in the hierarchies that have what is to be limited. On version 2 a cgroup divides memory among those below it
only if no process is in itself, and a container's has its own; pids, cpu and cpuset it divides among
threaded ones as well (cgroup-v2, Threads).
"""

from __future__ import annotations

import os
import time
from errno import EBUSY, EEXIST, ENOENT, EOPNOTSUPP

from ..cgroups.hierarchies import by_controller, subgroup
from ..errors import Aftermath, NajaError, Unsupported
from ..linux.cgroupfs import GONE, read, write
from ..operations.base import RUNTIME, Context, apply_all
from ..operations.ownership import lock, remove_empty, share

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..cgroups import Manager
    from ..operations.base import Operation

#: What the names of these cgroups begin with.
_PREFIX = "exec-"

#: Those that version 2 divides among threaded cgroups too.
_THREADED = ("pids", "cpu", "cpuset")

#: How long a cgroup is tried to be removed whose processes were seen to end, in seconds.
_PATIENCE = 0.2


class Limits:
    """The cgroup of one added process. ``place`` makes it, ``remove`` takes it away."""

    def __init__(self, resources: dict[str, Any]) -> None:
        """``resources`` has the shape of /linux/resources."""
        self._resources = resources
        self._name = _PREFIX + os.urandom(4).hex()
        #: What keeps others from removing what was made while nobody is in it yet.
        self._locks: list[int] = []
        #: What was made, outer ones first, and on version 2 the controllers that are to be divided for it.
        self._made: list[str] = []
        self._parent = ""
        self._enabled: list[str] = []

    def place(self, manager: Manager, below: dict[str, str], warn: Callable[[str], None]) -> dict[str, str]:
        """Make the cgroup with its limits. Raises NajaError; then nothing of it is left.

        ``below`` is what ``--cgroup`` names, by controller: the new one is in there. Returns the same with
        the new one.
        """
        manager.require_own()
        try:
            if manager.kind == "v2":
                return self._place_v2(manager, below, warn)
            return self._place_v1(manager, below, warn)
        except BaseException as error:
            with Aftermath(error):
                self.remove()
            raise

    def _controllers(self) -> list[str]:
        names = [name for name in ("memory", "pids") if self._resources.get(name)]
        cpu = self._resources.get("cpu") or {}
        if "quota" in cpu:
            names.append("cpu")
        return [*names, "cpuset"] if "cpus" in cpu else names

    def _place_v1(
        self, manager: Manager, below: dict[str, str], warn: Callable[[str], None]
    ) -> dict[str, str]:
        from ..cgroups.limits_v1 import limits

        single, places = by_controller(manager.paths), {}
        whole = dict(below)
        for controller in self._controllers():
            if controller not in single:
                raise Unsupported(f"--limit: the container has no cgroup of the controller {controller}")
            base = below.get(controller, below.get("", ""))
            # Of hierarchies with several controllers one cgroup is made.
            places[controller] = subgroup(single[controller], f"{base}/{self._name}")
            self._make(places[controller])
            whole[controller] = f"{base}/{self._name}"
        if "cpuset" in places:
            self._inherit_cpuset(places["cpuset"])
        self._apply(limits(self._resources, places), warn)
        return whole

    def _inherit_cpuset(self, directory: str) -> None:
        """Give a new cpuset what its parent has: nobody can enter an empty one (cpuset(7))."""
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{directory}/{file}"):
                write(f"{directory}/{file}", read(f"{os.path.dirname(directory)}/{file}"))

    def _place_v2(
        self, manager: Manager, below: dict[str, str], warn: Callable[[str], None]
    ) -> dict[str, str]:
        from ..cgroups.base import require
        from ..cgroups.limits_v2 import limits

        base = below.get("", "")
        parent = subgroup(manager.places[""], base)
        require([(controller, "--limit") for controller in self._controllers()], parent)
        directory = f"{parent}/{self._name}"
        self._make(directory, enables=True)
        if read(f"{directory}/cgroup.type") == "domain invalid":
            write(f"{directory}/cgroup.type", "threaded")
        operations, _ = limits(self._resources, directory)
        self._apply(operations, warn)
        return {"": f"{base}/{self._name}"}

    def _make(self, directory: str, *, enables: bool = False) -> None:
        if directory in self._made:
            return
        parent = os.path.dirname(directory)
        try:
            with _Alone(parent):
                if enables:
                    self._enable(parent)
                for name in os.listdir(parent):
                    if name.startswith(_PREFIX):
                        remove_empty(f"{parent}/{name}")
                os.mkdir(os.fsencode(directory), 0o755)
                self._made.append(directory)
                self._locks.append(share(directory))
        except OSError as error:
            why = "--cgroup names none" if error.errno == ENOENT else ""
            raise NajaError.from_os_error(f"--limit: make cgroup {directory}", error, why=why) from None

    def _enable(self, parent: str) -> None:
        """Let a cgroup divide the controllers that are needed among those below it. Raises NajaError."""
        self._parent = parent
        file = f"{parent}/cgroup.subtree_control"
        enabled = read(file).split()
        # Those first that may be refused.
        for controller in sorted(self._controllers(), key=lambda name: name in _THREADED):
            try:
                if controller not in enabled:
                    write(file, f"+{controller}")
            except OSError as error:
                if error.errno not in (EBUSY, EOPNOTSUPP):
                    raise NajaError.from_os_error(
                        f"--limit: enable {controller} in {parent}", error
                    ) from None
                why = "cgroup v2 divides it only where no process is in the cgroup itself, and there are some"
                raise Unsupported(f"--limit: {controller} in {parent}", why=why) from None
            self._enabled.append(controller)

    def entered(self) -> None:
        """The process is in the cgroup, so nobody else can remove it."""
        for held in self._locks:
            if held >= 0:
                os.close(held)
        self._locks = []

    def _apply(self, operations: list[Operation], warn: Callable[[str], None]) -> None:
        try:
            apply_all(operations, Context(RUNTIME, warn))
        except NajaError as error:
            error.origin = "--limit"
            raise

    def remove(self) -> None:
        """Remove the cgroup; where processes are left in it, it stays."""
        self.entered()
        for directory in reversed(self._made):
            _remove(directory)
        if self._enabled:
            _disable(self._parent, reversed(self._enabled))
        self._made, self._enabled = [], []


class _Alone:
    """Keeps others that set limits off a cgroup meanwhile.

    Who is inside of the container can hold the lock, too, but not for longer than the wait for it.
    """

    __slots__ = ("_directory", "_lock")

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __enter__(self) -> None:
        self._lock = lock(self._directory)

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def _disable(parent: str, controllers: Iterable[str]) -> None:
    """Let a cgroup divide these no more, if there is none below it whose limits would go with that."""
    try:
        with _Alone(parent), os.scandir(parent) as entries:
            if not any(entry.is_dir(follow_symlinks=False) for entry in entries):
                for controller in controllers:
                    write(f"{parent}/cgroup.subtree_control", f"-{controller}")
    except OSError:
        return  # All of it is gone.


def _remove(directory: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            os.rmdir(os.fsencode(directory))
        except OSError as error:
            if error.errno == EBUSY and time.monotonic() < deadline:
                time.sleep(0.005)  # Who has just been reaped may be in there a moment longer.
                continue
            if error.errno not in (EBUSY, EEXIST, *GONE):
                raise
        return
