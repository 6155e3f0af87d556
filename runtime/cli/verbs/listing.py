"""The verbs that show what is there: list, ps, top."""

from __future__ import annotations

import time

from ...config import json
from ...container import state
from ...container.lifecycle import Container
from ...container.listing import list_containers
from ...errors import NajaError, one_line
from ..output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..output import Log
    from ..parser import Command

#: Erases a terminal and goes to its upper left corner.
_CLEAR = "\x1b[H\x1b[2J"


def list_(command: Command, log: Log) -> None:
    """List all containers below the state root."""
    as_json = _is_json(command.options["format"])
    documents = list_containers(command.root, warn=log.warning)
    if command.options["quiet"]:
        show("".join(f"{document['id']}\n" for document in documents))
    elif as_json:
        show(json.dumps(documents) + "\n")
    else:
        columns = ("id", "pid", "status", "bundle", "created", "owner")
        rows = [[one_line(str(document[column])) for column in columns] for document in documents]
        show(table([[column.upper() for column in columns], *rows]))


def ids(command: Command, _log: Log) -> None:
    """Print the IDs of all containers, whatever their records say: a shell is waiting."""
    show("".join(f"{id}\n" for id in state.ids(command.root or state.default_root())))


def ps(command: Command, log: Log) -> None:
    """List the processes of a container: their pids as JSON, or the lines of the host's ps(1)."""
    as_json = _is_json(command.options["format"])
    pids = Container.load(command.id, root=command.root, warn=log.warning).processes()
    if as_json:
        show(json.dumps(pids) + "\n")
    else:
        show(_ps_lines(_run_ps(command.arguments[1:] or ["-ef"]), pids))


def _is_json(format: str) -> bool:
    if format not in ("table", "json"):
        raise NajaError(f"invalid format option: {format}", why="table or json")
    return format == "json"


def _run_ps(options: Sequence[str]) -> str:
    """Return what ps(1) prints. Raises NajaError."""
    # Loaded here, as engines ask for JSON.
    import subprocess

    try:
        result = subprocess.run(["ps", *options], capture_output=True, check=False)
    except OSError as error:
        raise NajaError.from_os_error("run ps", error) from None
    if result.returncode:
        what = f"ps {' '.join(options)} failed with status {result.returncode}"
        raise NajaError(what, why=" ".join(result.stderr.decode(errors="surrogateescape").split()))
    return result.stdout.decode(errors="surrogateescape")


def _ps_lines(output: str, pids: Sequence[int]) -> str:
    """Keep the title of what ps printed, and the lines of these processes."""
    title, *lines = output.splitlines() or [""]
    names = title.split()
    if "PID" not in names:
        raise NajaError("ps printed no column PID", why="the container's processes cannot be told apart")
    column, wanted = names.index("PID"), {str(pid) for pid in pids}
    kept = [line for line in lines if line.split()[column : column + 1] and line.split()[column] in wanted]
    return "".join(f"{line}\n" for line in (title, *kept))


def top(command: Command, log: Log) -> None:
    """Show what each container uses, until interrupted."""
    interval = command.options["interval"]
    if interval <= 0:
        raise NajaError("the interval must be more than 0")
    before = _statistics(command, log)
    while True:
        time.sleep(interval)
        now = _statistics(command, log)
        rows = [_usage(id, before[id], now[id], interval) for id in sorted(now) if id in before]
        text = table([["ID", "PIDS", "CPU", "MEMORY", "LIMIT"], *rows])
        if command.options["once"]:
            show(text)
            return
        show(_CLEAR + text)
        before = now


def _statistics(command: Command, log: Log) -> dict[str, dict[str, Any]]:
    """Return the statistics of all containers with a process, by ID."""
    found = {}
    for document in list_containers(command.root, warn=lambda _: None):
        if document["status"] == "stopped":
            continue
        try:
            container = Container.load(document["id"], root=command.root, warn=log.warning)
            found[document["id"]] = container.statistics()
        except NajaError:
            continue  # It ended meanwhile.
    return found


def _usage(id: str, before: dict[str, Any], now: dict[str, Any], interval: float) -> list[str]:
    """Return a row of the table; a dash where the cgroup does not count."""
    cpu = ["-", "-"]
    total = [statistics.get("cpu", {}).get("usage", {}).get("total") for statistics in (before, now)]
    if None not in total:
        cpu = [f"{(total[1] - total[0]) / interval / 1e7:.1f} %"]
    memory = now.get("memory", {}).get("usage", {})
    pids = now.get("pids", {}).get("current", "-")
    return [id, str(pids), cpu[0], _bytes(memory.get("usage")), _bytes(memory.get("limit"))]


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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns as runc does: at least 12 wide, 3 spaces apart."""
    widths = [max(12, 3 + max(len(cell) for cell in column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for *cells, last in rows:
        lines.append("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + last)
    return "".join(f"{line}\n" for line in lines)
