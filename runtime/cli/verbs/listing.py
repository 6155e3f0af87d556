"""The verbs that show what is there: list and ps."""

from __future__ import annotations

from ...config import json
from ...container import state
from ...container.lifecycle import Container
from ...container.listing import list_containers
from ...errors import NajaError, one_line
from ..output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..output import Log
    from ..parser import Command


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


def table(rows: Sequence[Sequence[str]]) -> str:
    """Lay out rows in columns as runc does: at least 12 wide, 3 spaces apart."""
    widths = [max(12, 3 + max(len(cell) for cell in column)) for column in list(zip(*rows, strict=True))[:-1]]
    lines = []
    for *cells, last in rows:
        lines.append("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + last)
    return "".join(f"{line}\n" for line in lines)
