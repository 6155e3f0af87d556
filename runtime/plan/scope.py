"""The part of a plan that lets systemd make the container's cgroup: config → operations. Pure."""

from __future__ import annotations

from runtime.cgroups import devices, units, variants
from runtime.cgroups.hierarchies import directories
from runtime.operations.cgroup import EnterCgroup, MakeCgroup
from runtime.operations.scope import StartUnit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.operations.base import Operation
    from runtime.plan.request import Request


def enter_unit(request: Request, make: list[Operation]) -> list[Operation]:
    """Return the operations that start the container's unit with its process in it, and set the limits.

    ``make`` are the operations that make the cgroups without systemd. They follow, as systemd makes
    only those in hierarchies that it uses, and knows only the most common limits.
    """
    linux = request.config.get("linux") or {}
    resources = linux.get("resources") or {}
    path = linux.get("cgroupsPath") or ""
    unit = units.unit_name(path, request.id)
    slice = units.slice_name(path, request.id, rootless=request.rootless)
    allow_all, rules = devices.rules(resources.get("devices") or [])
    start = StartUnit(
        unit,
        [
            *units.scope_properties(unit, slice, request.id, request.cgroup_kind),
            *units.limit_properties(resources, request.cgroup_kind),
            *variants.annotated(request.config.get("annotations") or {}),
        ],
        user=request.rootless,
        allow_all_devices=allow_all,
        device_exceptions=devices.exceptions(allow_all, rules),
    )
    for operation in make:
        if isinstance(operation, MakeCgroup):
            operation.inhabited = True
    places = list(directories(request.cgroup_mounts, request.cgroup_paths).values())
    return [start, *make, EnterCgroup(places, optional=False)]
