"""Control groups: what a container may use, what it has used, and all of its processes at once.

A container's cgroups are made and entered by the operations of ``naja.plan.cgroup``; afterwards
a ``Manager`` stands for them. Which one it is depends on what the host has mounted and on who
manages it: v1 (and hybrid) or v2, with systemd in between or not.
"""

from __future__ import annotations

from ..errors import NajaError
from .hierarchies import Hierarchies, by_controller, detect, directories, locate, membership, subgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .base import Manager as Manager

__all__ = ["Hierarchies", "describe", "detect", "directories", "manager", "membership", "restore"]


def manager(
    cgroups_path: str, id: str, *, systemd: bool, rootless: bool, hierarchies: Hierarchies
) -> Manager:
    """Return the manager of the cgroups that a container is to have; nothing is made by that.

    ``cgroups_path`` is linux.cgroupsPath, "" where there is none. Raises NajaError for a path that
    systemd's naming does not allow, and where systemd is needed to tell and does not answer.
    """
    unit = ""
    if systemd:
        from .units import locate_unit, unit_name

        unit = unit_name(cgroups_path, id)
        paths = locate_unit(hierarchies, cgroups_path, id, rootless=rootless)
    else:
        paths = locate(hierarchies, cgroups_path, id)
    return restore(
        {
            "kind": hierarchies.kind,
            "places": directories(hierarchies.mounts, paths),
            "word": "",
            "made": [],
            "adopted": [],
            "resctrl": [],
            "unit": unit,
            "invocation": "",
            "rootless": rootless,
        }
    )


def restore(record: dict[str, Any]) -> Manager:
    """Return the manager that ``Manager.record`` told of. Raises NajaError where it makes no sense."""
    if record["unit"]:
        from .systemd import restore_unit

        return restore_unit(record)
    if record["kind"] == "v1":
        from .v1 import ManagerV1

        return ManagerV1(record)
    if record["kind"] == "v2":
        from .v2 import ManagerV2

        return ManagerV2(record)
    raise NajaError(f"cgroup kind {record['kind']!r} in the container's record is unknown")


def describe(
    manager: Manager, hierarchies: Hierarchies, *, below: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the keyword arguments of ``Request`` that tell where the container's cgroups are.

    ``below`` is for ``exec --cgroup``: a cgroup below the container's, by controller, "" standing for
    all that are not named. Raises NajaError for one that leads out of the container's cgroup, or for a
    controller that it has not.
    """
    mounts: dict[str, str] = {}
    paths: dict[str, str] = {}
    known = by_controller(manager.places)
    for single in below or ():
        if single and single not in known:
            raise NajaError(f"--cgroup: {single} is no controller of the container's cgroups")
    for name, place in manager.places.items():
        # A hierarchy that is not mounted any more is told as one mounted at the root.
        mounts[name] = hierarchies.mounts.get(name, "")
        paths[name] = place[len(mounts[name]) :] or "/"
        if below:
            named = next((below[single] for single in name.split(",") if single in below), None)
            paths[name] = subgroup(paths[name], below.get("", "") if named is None else named)
    return {"cgroup_kind": manager.kind, "cgroup_mounts": mounts, "cgroup_paths": paths}
