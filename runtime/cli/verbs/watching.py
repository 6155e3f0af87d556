"""The verb ``top``, and ``events`` of all containers."""

from __future__ import annotations

import os
import time

from ...config import json
from ...container.watching import Crowd
from ...errors import NajaError
from ..output import show
from .listing import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..output import Log
    from ..parser import Command

#: Erases a terminal and goes to its upper left corner.
_CLEAR = "\x1b[H\x1b[2J"

_TITLE = ["ID", "PIDS", "CPU", "MEMORY", "LIMIT", "READ", "WRITTEN"]


def events(command: Command, log: Log, interval: float) -> None:
    """Print statistics, ends and out-of-memory events of all containers, until interrupted."""
    crowd = Crowd(command.root, log.warning)
    if command.options["stats"]:
        crowd.look()
        for id, data in crowd.statistics().items():
            _show({"type": "stats", "id": id, "data": data})
        return
    for event in crowd.events(interval):
        _show(event)


def _show(event: dict[str, Any]) -> None:
    show(json.dumps(event) + "\n")


def top(command: Command, log: Log) -> None:
    """Show what each container uses, so many times, or until interrupted.

    A terminal shows one look in the place of the other; elsewhere they follow each other.
    """
    interval, looks = command.options["interval"], command.options["number"]
    if interval <= 0:
        raise NajaError("the interval must be more than 0")
    if looks < 0:
        raise NajaError("--number", why="it must not be less than 0")
    if command.options["once"]:
        looks = 1
    crowd = Crowd(command.root, log.warning)
    crowd.look()
    before, at = crowd.statistics(), time.monotonic()
    done = 0
    while not looks or done < looks:
        _pass(crowd, interval)
        crowd.look()
        now, then = crowd.statistics(), time.monotonic()
        rows = [_usage(id, before[id], now[id], then - at) for id in now if id in before]
        _show_look(table([_TITLE, *rows]), first=not done)
        before, at = now, then
        done += 1


def _pass(crowd: Crowd, interval: float) -> None:
    """Let time pass; those that end meanwhile are forgotten."""
    due = time.monotonic() + interval
    while (left := due - time.monotonic()) > 0:
        for _ in crowd.wait(left):
            pass


def _show_look(text: str, *, first: bool) -> None:
    if not os.isatty(1):
        show(text if first else f"\n{text}")
        return
    try:
        lines = text.splitlines()[: os.get_terminal_size(1).lines - 1]
    except OSError:
        lines = text.splitlines()
    show(_CLEAR + "".join(f"{line}\n" for line in lines))


def _usage(id: str, before: dict[str, Any], now: dict[str, Any], seconds: float) -> list[str]:
    """Return a row of the table; a dash where the cgroup does not count."""
    cpu = "-"
    totals = [statistics.get("cpu", {}).get("usage", {}).get("total") for statistics in (before, now)]
    if None not in totals:
        cpu = f"{(totals[1] - totals[0]) / seconds / 1e7:.1f} %"
    memory = now.get("memory", {}).get("usage", {})
    pids = now.get("pids", {}).get("current", "-")
    moved = now.get("blkio", {}).get("ioServiceBytesRecursive")
    read, written = (_moved(moved, way) for way in ("Read", "Write"))
    return [id, str(pids), cpu, _bytes(memory.get("usage")), _bytes(memory.get("limit")), read, written]


def _moved(counted: list[dict[str, Any]] | None, way: str) -> str:
    """Return how much was read from, or written to, all devices together."""
    if counted is None:
        return "-"
    return _bytes(sum(entry.get("value", 0) for entry in counted if entry.get("op") == way))


def _bytes(count: int | None) -> str:
    """Return a number of bytes for people; a limit that no machine reaches is none."""
    if count is None or count >= 1 << 60:
        return "-"
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB"))
    unit = next(units)
    for larger in units:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
