"""The plan that adds a process to a running container. Pure."""

from __future__ import annotations

from ..operations.base import INIT, RUNTIME, STAGE
from ..operations.joining import ChangeRoot, FindRoot, OpenProc, OpenRoot
from ..operations.limits import ResetAffinity
from ..operations.namespaces import GiveBirth, JoinProcess, OutliveRuntime
from ..operations.stdio import ReopenNull, TakeStreams
from . import Phase, Plan, cgroup, console, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .request import Request


def compile_exec(
    request: Request,
    pid: int,
    kinds: list[str],
    program: dict[str, Any],
    origin: str = "/process",
    *,
    place: int | str = 0,
    follow: bool = True,
    late: bool = False,
) -> Plan:
    """Return the plan that adds a process to a running container.

    ``pid`` is the container's process, ``kinds`` the namespaces in which it differs from the caller,
    ``program`` the process document (the shape of config.json's /process), which stands at ``origin``;
    ``place`` is what stands for the container's process below /proc whatever becomes of its pid
    (``process.Held.name``), by default that. With ``follow`` the cgroup will do that this is in by now,
    where the named one takes nobody. ``late`` where the stage begins before the runtime has its streams.
    Raises NajaError.
    """
    place = place or pid
    beside = place if follow else 0
    opened, entered = cgroup.offer(request, beside=beside)
    preparation = find_root(request, place) + process.prepare(request, program, origin) + opened
    before, after = process.affinity(program, origin)
    first: list[Operation] = [TakeStreams()] if late else []
    first += process.stage(request, program, origin)
    return Plan(
        [
            Phase(RUNTIME, "prepare", preparation),
            Phase(
                STAGE,
                "namespaces",
                [*first, *before, JoinProcess(pid, kinds), GiveBirth()],
                passes=not {"user", "time"}.intersection(kinds),
            ),
            Phase(
                INIT,
                "identity",
                [
                    *enter_root(request, program),
                    *process.identity(request, program, origin),
                    OutliveRuntime(),
                    *entered,
                ],
            ),
            Phase(
                RUNTIME,
                "created",
                console.send(request, program)
                + cgroup.enter(request, beside=beside)
                + (after or [ResetAffinity()])
                + (process.streams(program, origin) if "user" in kinds else [])
                + process.created(request, program, origin, container_pid=pid),
            ),
            Phase(INIT, "exec", process.final(request, program, origin), executes=True),
        ]
    )


def find_root(request: Request, place: int | str) -> list[Operation]:
    """Return what the runtime does to find the root of the container that a process is to join.

    ``place`` is what stands below /proc for the container's process.
    """
    return [] if "mount" in request.namespaces() else [FindRoot(place)]


def enter_root(request: Request, program: dict[str, Any]) -> list[Operation]:
    """Return what a process does that has joined a running container: descriptors and a terminal."""
    operations: list[Operation] = [
        OpenProc(),
        OpenRoot() if "mount" in request.namespaces() else ChangeRoot(),
    ]
    if program.get("terminal"):
        return [*operations, console.open_in(program, mount=False), console.use()]
    return [*operations, ReopenNull()]
