"""The verbs about resources: update changes limits, events shows what is used."""

from __future__ import annotations

import time

from ... import config
from ...config import json
from ...container.lifecycle import Container
from ...errors import NajaError, Unsupported, WrongState
from ..output import show
from ..parser import UsageError
from ..values import integer, json_file, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...linux.process import Held
    from ..output import Log
    from ..parser import Command


def _text(option: str, text: str) -> str:
    del option
    return text


#: Each option of update: the section and property of linux.resources, and how its value is read.
_LIMITS: dict[str, tuple[str, str, Callable[[str, str], Any]]] = {
    "cpu-period": ("cpu", "period", integer),
    "cpu-quota": ("cpu", "quota", integer),
    "cpu-burst": ("cpu", "burst", integer),
    "cpu-share": ("cpu", "shares", integer),
    "cpu-rt-period": ("cpu", "realtimePeriod", integer),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", integer),
    "cpu-idle": ("cpu", "idle", integer),
    "cpuset-cpus": ("cpu", "cpus", _text),
    "cpuset-mems": ("cpu", "mems", _text),
    "memory": ("memory", "limit", size),
    "memory-reservation": ("memory", "reservation", size),
    "memory-swap": ("memory", "swap", size),
    "kernel-memory": ("memory", "kernel", size),
    "kernel-memory-tcp": ("memory", "kernelTCP", size),
    "pids-limit": ("pids", "limit", integer),
}


def update(command: Command, log: Log) -> None:
    """Change the limits of a container, by options or by a file."""
    options = command.options
    file = options["resources"]
    resources = json_file(file) if file else from_options(options)
    if not (file or resources):
        # An engine that has nothing to change says so in a file, and that is no error.
        raise UsageError("there is nothing to update: name a limit (naja help update)")
    config.check_resources(resources, f"--resources {file}" if file else "resources")
    container = Container.load(command.id, root=command.root, warn=log.warning)
    try:
        container.update(resources)
    except NajaError as error:
        error.origin = error.origin and _typed(error.origin, file)
        raise


def _typed(origin: str, file: str) -> str:
    """Return what asked for a limit: not config.json, but a place in a file, or an option."""
    pointer = origin.removeprefix("/linux/resources")
    if file:
        return f"--resources {file} {pointer or '/'}"
    _, section, name = f"{pointer}//".split("/")[:3]
    return next((f"--{option}" for option, limit in _LIMITS.items() if limit[:2] == (section, name)), "")


def from_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return linux.resources as the options of update describe it. Raises NajaError."""
    for option in ("l3-cache-schema", "mem-bw-schema"):
        if options[option]:
            raise Unsupported(f"--{option}", why="Intel RDT can be set when a container is created")
    resources: dict[str, Any] = {}
    for option, (section, name, read) in _LIMITS.items():
        if options[option]:
            resources.setdefault(section, {})[name] = read(option, options[option])
    if options["blkio-weight"]:
        resources["blockIO"] = {"weight": options["blkio-weight"]}
    memory = resources.get("memory", {})
    if memory.get("limit") == -1:
        # The kernel refuses a limit of memory and swap that is below that of memory alone.
        memory.setdefault("swap", -1)
    return resources


def events(command: Command, log: Log) -> None:
    """Print statistics, once; or again and again, and out-of-memory events, until the container ends."""
    interval = command.options["interval"]
    if interval <= 0:
        raise NajaError("duration interval must be greater than 0")
    if not command.arguments:
        from .watching import events as events_of_all

        events_of_all(command, log, interval)
        return
    container = Container.load(command.id, root=command.root, warn=log.warning)
    if container.status() == "stopped":
        raise WrongState("container not running", why=container.id)
    if command.options["stats"]:
        _show_event("stats", container.id, data=container.statistics())
        return
    with container.lasting("container not running") as held, container.cgroup.watch_oom() as watch:
        due = time.monotonic() + interval
        while not watch.ended() and not held.ending():
            if watch.wait(max(0.0, due - time.monotonic())):
                _show_event("oom", container.id)
            elif time.monotonic() >= due:
                if not _show_statistics(container, held):
                    break
                due += interval
        if watch.last():
            _show_event("oom", container.id)


def _show_statistics(container: Container, held: Held) -> bool:
    """Show them once more; False where the container has ended. Raises NajaError, OSError."""
    try:
        data = container.cgroup.statistics()
    except (NajaError, OSError):
        if held.ending():
            return False
        raise
    _show_event("stats", container.id, data=data)
    return True


def _show_event(kind: str, id: str, **more: Any) -> None:
    show(json.dumps({"type": kind, "id": id, **more}) + "\n")
