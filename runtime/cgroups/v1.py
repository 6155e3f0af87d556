"""The manager of cgroups in v1 hierarchies, and on hybrid hosts (the kernel's admin-guide/cgroup-v1)."""

from __future__ import annotations

import os
import time

from ..errors import Unsupported
from ..linux.cgroupfs import DENIED, read, write
from .base import Manager, require
from .hierarchies import by_controller, detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .events import OomWatch


class ManagerV1(Manager):
    """A container's cgroups, one in each hierarchy."""

    kind = "v1"

    def _directory(self) -> str:
        # Any hierarchy knows all processes; the freezer's is the one that a kill relies on.
        return self._path("freezer") or next(iter(self.paths.values()), "")

    def _settings(self, resources: dict[str, Any]) -> list[Operation]:
        from .limits_v1 import devices, limits, split

        single = by_controller(self.paths)
        resources, beside = split(resources, single)
        operations = limits(resources, single)
        if beside:
            from . import limits_v2

            more, needed = limits_v2.limits(beside, single[""])
            require(needed, single[""])
            operations += more
        if "devices" in resources:
            operations += devices(resources, single, rootless=self.rootless)
        return operations

    def statistics(self) -> dict[str, Any]:
        """What all hierarchies have counted. Raises OSError."""
        from .statistics_v1 import statistics

        return statistics(by_controller(self.paths))

    def watch_oom(self) -> OomWatch:
        """By the memory hierarchy. Raises Unsupported where the container has none."""
        from .events import OomWatchV1

        directory = by_controller(self.paths).get("memory")
        if not directory:
            raise Unsupported("notice of running out of memory", why="the container has no memory cgroup")
        return OomWatchV1(directory)

    def _frozen(self) -> bool:
        # Or about to be.
        return read(f"{self._path('freezer')}/freezer.state") != "THAWED"

    def _can_freeze(self) -> bool:
        return os.path.isdir(self._path("freezer"))

    def _try_freeze(self, attempt: int) -> bool:
        file = f"{self._path('freezer')}/freezer.state"
        if attempt % 25 == 24:
            # A process that forks faster than it is frozen gets away with it for ever, unless it can
            # come to an end of that in between (cgroup-v1/freezer-subsystem).
            write(file, "THAWED")
            time.sleep(0.01)
        write(file, "FROZEN")
        if read(file) == "FROZEN":
            return True
        time.sleep(0.001)
        return read(file) == "FROZEN"

    def _thaw(self) -> None:
        write(f"{self._path('freezer')}/freezer.state", "THAWED")

    def _thaw_all(self) -> None:
        top = self._path("freezer")
        if _has_children(top):
            # The container may have frozen those below on their own, and nobody ends in them.
            from . import tree

            tree.thaw(top)
        else:
            self.thaw()

    def _free_the_killed(self) -> None:
        if not self.frozen():
            return
        # A cgroup above is frozen, which is not ours to thaw. Where naja runs nothing is.
        from . import tree

        here = detect()
        try:
            tree.kill_elsewhere(self._path("freezer"), here.mounts["freezer"] + here.own["freezer"])
        except OSError as error:
            if error.errno not in DENIED:
                raise

    def what_holds(self) -> str:
        """Look for a cgroup that is frozen by itself. Raises OSError."""
        directory = self._path("freezer")
        while os.path.exists(f"{directory}/freezer.self_freezing"):
            if read(f"{directory}/freezer.self_freezing") == "1":
                return f"cgroup {directory} is frozen"
            directory = os.path.dirname(directory)
        return ""


def _has_children(directory: str) -> bool:
    """Say whether there are cgroups below one; each is a link to it."""
    try:
        return os.stat(os.fsencode(directory)).st_nlink > 2
    except FileNotFoundError:
        return False
