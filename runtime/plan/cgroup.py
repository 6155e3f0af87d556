"""The part of a plan that deals with cgroups: config → operations. Pure.

config-linux.md, Cgroups Path and Control groups.
"""

from __future__ import annotations

from ..cgroups.hierarchies import by_controller, directories
from ..operations.cgroup import (
    AwaitThaw,
    DelegateCgroup,
    EnableControllers,
    EnterCgroup,
    EnterOpenCgroups,
    InheritCpuset,
    MakeCgroup,
    OfferCgroups,
    OpenCgroups,
    SettleType,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .request import Request

_ORIGIN = "/linux/cgroupsPath"


def prepare(request: Request) -> list[Operation]:
    """Return the operations that make the container's cgroups and set their limits.

    To be done before the container's process enters (see ``enter``). Raises Unsupported for a limit
    that this host has no controller for, and NajaError for one that makes no sense.
    """
    make, limit = _operations(request)
    if request.systemd_cgroup:
        from .scope import start_unit

        operations = start_unit(request, make)
    else:
        operations = make + limit
    if (settings := (request.config.get("linux") or {}).get("intelRdt")) is not None:
        from ..cgroups import intelrdt

        operations += intelrdt.prepare(settings, request.id)
    return operations


def await_thaw(request: Request, *, alone: bool = False) -> list[Operation]:
    """Return the operation that waits until a process in the container's cgroups can go on.

    With ``alone`` the init enters them by itself.
    """
    places = by_controller(directories(request.cgroup_mounts, request.cgroup_paths))
    files = [
        f"{places[name]}/{file}"
        for name, file in (("freezer", "freezer.state"), ("", "cgroup.events"))
        if name in places
    ]
    # systemd starts its units with a process in them.
    return [AwaitThaw(files, alone=alone)] if files and not request.systemd_cgroup else []


def enter(request: Request, *, beside: int | str = 0) -> list[Operation]:
    """Return the operations that put the container's process, or one more, into its cgroups.

    ``beside`` is what stands below /proc for the container's first process, where one more is to enter.
    """
    operations: list[Operation] = []
    if request.systemd_cgroup:
        from .scope import limit_unit

        operations += limit_unit(request, _operations(request)[1])
    if places := _places(request):
        operations.append(EnterCgroup(places, optional=is_optional(request), beside=beside))
    if (settings := (request.config.get("linux") or {}).get("intelRdt")) is not None:
        from ..cgroups import intelrdt

        operations += intelrdt.enter(settings, request.id)
    return operations


def enter_alone(request: Request) -> tuple[list[Operation], list[Operation]]:
    """Return what an init that enters its cgroups by itself does first, in sight of the host, and later."""
    places = _places(request)
    return [OpenCgroups(places)], [EnterOpenCgroups(places, alone=True)]


def offer(request: Request, *, beside: int | str = 0) -> tuple[list[Operation], list[Operation]]:
    """Return what has an init enter v1 cgroups by itself, before ``enter``: the runtime's, and its own."""
    places = _places(request)
    # systemd has its own way, and a caller without privileges his own rights.
    if not places or request.cgroup_kind == "v2" or request.systemd_cgroup or request.rootless:
        return [], []
    single = by_controller(directories(request.cgroup_mounts, request.cgroup_paths))
    freezer = f"{single['freezer']}/freezer.state" if "freezer" in single else ""
    return [OfferCgroups(places, freezer=freezer, beside=beside)], [EnterOpenCgroups(places, alone=False)]


def _places(request: Request) -> list[str]:
    return list(directories(request.cgroup_mounts, request.cgroup_paths).values())


def _operations(request: Request) -> tuple[list[Operation], list[Operation]]:
    """Return the operations that make the cgroups, and those that limit them."""
    resources = (request.config.get("linux") or {}).get("resources") or {}
    if request.cgroup_kind == "v2":
        return _operations_v2(request, resources)
    return _operations_v1(request, resources)


def _operations_v1(request: Request, resources: dict[str, Any]) -> tuple[list[Operation], list[Operation]]:
    # Each kind of host has its own tables, so only one is imported.
    from ..cgroups.limits_v1 import devices, limits, split

    places = directories(request.cgroup_mounts, request.cgroup_paths)
    make = _make_directories(request, places)
    for name, mount in request.cgroup_mounts.items():
        if "cpuset" in name.split(",") and name in request.cgroup_paths:
            make.append(InheritCpuset(mount, request.cgroup_paths[name]))
    single = by_controller(places)
    resources, beside = split(resources, single)
    settings = limits(resources, single) + devices(resources, single, rootless=request.rootless)
    if beside:
        from ..cgroups import limits_v2

        more, needed = limits_v2.limits(beside, single[""])
        make.append(EnableControllers(request.cgroup_mounts[""], request.cgroup_paths[""], needed))
        settings += more
    elif "" in places:
        make.append(SettleType(request.cgroup_mounts[""], request.cgroup_paths[""]))
    return make, settings


def _operations_v2(request: Request, resources: dict[str, Any]) -> tuple[list[Operation], list[Operation]]:
    from ..cgroups.limits_v2 import devices, limits

    (mount,), (path,) = request.cgroup_mounts.values(), request.cgroup_paths.values()
    settings, needed = limits(resources, mount + path)
    make = _make_directories(request, {"": mount + path})
    make.append(EnableControllers(mount, path, needed))
    make += delegation(request, mount + path)
    return make, settings + devices(resources, mount + path, rootless=request.rootless)


def _make_directories(request: Request, places: dict[str, str]) -> list[Operation]:
    optional = is_optional(request)
    return [MakeCgroup(path, optional=optional, origin=_ORIGIN) for path in places.values()]


def is_optional(request: Request) -> bool:
    """Say whether the container may do without its cgroups: nobody named them, and we may not make them."""
    return request.rootless and not (request.config.get("linux") or {}).get("cgroupsPath")


def delegation(request: Request, directory: str) -> list[Operation]:
    """Return the operation that gives a v2 cgroup to the container's user, where it is to have it.

    That is where it sees its own cgroup as the root of a writable tree (config-linux.md, Cgroup
    ownership).
    """
    config = request.config
    if request.namespaces().get("cgroup") != "":
        return []
    for index, mount in enumerate(config.get("mounts") or ()):
        options = mount.get("options") or ()
        at_its_place = mount["destination"].rstrip("/") == "/sys/fs/cgroup"
        if at_its_place and mount.get("type") in ("cgroup", "cgroup2") and "ro" not in options:
            origin = f"/mounts/{index}"
            break
    else:
        return []
    user = (config.get("process") or {}).get("user") or {}
    uid = _on_host(user.get("uid", 0), (config.get("linux") or {}).get("uidMappings") or [])
    # Without privileges the cgroup is the caller's, who is the container's user.
    return [] if request.rootless or not uid else [DelegateCgroup(directory, uid, origin=origin)]


def _on_host(uid: int, mappings: list[dict[str, int]]) -> int:
    """Return the host's name for a uid of the container; 0 (no change of owner) where it has none."""
    for mapping in mappings:
        if 0 <= uid - mapping["containerID"] < mapping["size"]:
            return mapping["hostID"] + uid - mapping["containerID"]
    return 0 if mappings else uid
