"""The manager of a cgroup in a v2 tree (the kernel's admin-guide/cgroup-v2)."""

from __future__ import annotations

import os
import select

from ..errors import NajaError, Unsupported
from ..linux.cgroupfs import GONE, read, write
from .base import Manager, require
from .resources import ORIGIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .events import OomWatch

_SIGKILL = 9
_SWAP_MAX = "memory.swap.max"


class ManagerV2(Manager):
    """A container's cgroup."""

    kind = "v2"

    def _directory(self) -> str:
        return self.paths.get("", "")

    def _complete(self, resources: dict[str, Any], configured: dict[str, Any]) -> dict[str, Any]:
        return complete(resources, self._directory(), configured)

    def _settings(self, resources: dict[str, Any]) -> list[Operation]:
        from .limits_v2 import devices, limits

        directory = self._directory()
        operations, needed = limits(resources, directory)
        require(needed, directory)
        if "devices" in resources:
            operations += devices(resources, directory, rootless=self.rootless)
        return operations

    def statistics(self) -> dict[str, Any]:
        """What the enabled controllers have counted. Raises OSError."""
        from .statistics_v2 import statistics

        return statistics(self._directory())

    def watch_oom(self) -> OomWatch:
        """By the memory controller. Raises Unsupported where it is not enabled."""
        from .events import OomWatchV2

        directory = self._directory()
        if not os.path.exists(f"{directory}/memory.events"):
            raise Unsupported("notice of running out of memory", why="the container has no memory controller")
        return OomWatchV2(directory)

    def _frozen(self) -> bool:
        # Or asked to freeze.
        return read(f"{self._directory()}/cgroup.freeze") == "1"

    def _can_freeze(self) -> bool:
        return os.path.isdir(self._directory())

    def _try_freeze(self, attempt: int) -> bool:
        events = os.open(os.fsencode(f"{self._directory()}/cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            if attempt == 0:
                write(f"{self._directory()}/cgroup.freeze", "1")
            if "frozen 1" in os.pread(events, 256, 0).decode():
                return True
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            poll.poll(50)
            return "frozen 1" in os.pread(events, 256, 0).decode()
        finally:
            os.close(events)

    def _thaw(self) -> None:
        write(f"{self._directory()}/cgroup.freeze", "0")

    def inhabited(self) -> bool:
        """Say whether there are processes in the container's cgroup or below it. Raises OSError."""
        directory = self._directory()
        try:
            return bool(directory) and "populated 1" in read(f"{directory}/cgroup.events")
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False

    def _kill(self, signal: int) -> None:
        # SIGKILL at one stroke, where the kernel can.
        if signal == _SIGKILL:
            try:
                write(f"{self._directory()}/cgroup.kill", "1")
            except OSError:
                # Before Linux 5.14, in a threaded cgroup, on a read-only mount: one by one.
                super()._kill(signal)
        else:
            super()._kill(signal)


def complete(resources: dict[str, Any], directory: str, configured: dict[str, Any]) -> dict[str, Any]:
    """Add to a change of limits the limits in force in a cgroup that its translation depends on.

    A config gives limits of memory and of memory with swap, a quota and a period; v2 takes the
    difference of the first two, and the last two in one file. ``configured`` is what the config asked for.
    Raises NajaError.
    """
    memory, cpu = dict(resources.get("memory") or {}), dict(resources.get("cpu") or {})
    if memory.get("swap") and not memory.get("limit"):
        memory["limit"] = _limit(_in_force(f"{directory}/memory.max", "max"))
    elif memory.get("limit", 0) > 0 and not memory.get("swap"):
        _keep_total(memory, directory, (configured, resources))
    if bool(cpu.get("quota")) != bool(cpu.get("period")):
        quota, period = _in_force(f"{directory}/cpu.max", "max 100000").split()
        cpu["quota"] = cpu.get("quota") or _limit(quota)
        cpu["period"] = cpu.get("period") or int(period)
    return {**resources, "memory": memory, "cpu": cpu}


def _keep_total(memory: dict[str, Any], directory: str, asked: tuple[dict[str, Any], ...]) -> None:
    """Let a new limit of memory leave that of memory and swap together as it is. Raises NajaError.

    Where swap was ``asked`` to be limited by itself (``unified``), that stays.
    """
    swap = _limit(_in_force(f"{directory}/{_SWAP_MAX}", "max"))
    before = _limit(_in_force(f"{directory}/memory.max", "max"))
    if -1 in (swap, before) or any(_SWAP_MAX in (limits.get("unified") or {}) for limits in asked):
        return
    memory["swap"] = before + swap
    if memory["swap"] < memory["limit"]:
        raise NajaError(
            f"memory limit {memory['limit']}",
            why=f"memory and swap together are limited to {memory['swap']}, which has to be changed too",
            origin=f"{ORIGIN}/memory/limit",
        )


def _in_force(path: str, otherwise: str) -> str:
    try:
        return read(path)
    except FileNotFoundError:
        # That the controller is not there is found, and told, when its limits are to be set.
        return otherwise


def _limit(text: str) -> int:
    return -1 if text == "max" else int(text)
