"""The part of a plan that lets systemd make the container's cgroup: config → operations. Pure."""

from __future__ import annotations

from ..cgroups import units, variants
from ..cgroups.systemd import limit_operation
from ..operations.cgroup import MakeCgroup
from ..operations.scope import StartUnit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..operations.base import Operation
    from .request import Request


def start_unit(request: Request, make: list[Operation]) -> list[Operation]:
    """Return the operations that start the container's unit.

    ``make`` are those that make the cgroups without systemd. They follow, for systemd makes only
    those in hierarchies that it uses.
    """
    path = _path(request)
    unit = units.unit_name(path, request.id)
    slice = units.slice_name(path, request.id, rootless=request.rootless)
    properties = units.scope_properties(unit, slice, request.id, request.cgroup_kind)
    properties += variants.annotated(request.config.get("annotations") or {}, slice)
    for operation in make:
        if isinstance(operation, MakeCgroup):
            operation.inhabited = True
    return [StartUnit(unit, properties, user=request.rootless), *make]


def limit_unit(request: Request, limit: list[Operation]) -> list[Operation]:
    """Return the operations that set the limits of the container's unit.

    Not before the container's process is ready: systemd put the stage or the init into the cgroup,
    whose memory would count. ``limit`` are those that set them without systemd. They follow, for
    systemd knows only the most common limits, and rounds some.
    """
    resources = (request.config.get("linux") or {}).get("resources") or {}
    unit = units.unit_name(_path(request), request.id)
    tell = limit_operation(unit, {"devices": [], **resources}, request.cgroup_kind, user=request.rootless)
    return [tell, *limit]


def _path(request: Request) -> str:
    return (request.config.get("linux") or {}).get("cgroupsPath") or ""
