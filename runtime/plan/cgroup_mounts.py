"""Compiles a mount of type ``cgroup``: the container's view of its own control groups. Pure.

On a host of version 2 it is the unified tree. On one of version 1 it is a tmpfs with a directory
for each hierarchy, as the host has it.
"""

from __future__ import annotations

from runtime.linux import mounts
from runtime.operations.binds import BindMount
from runtime.operations.devices import MakeSymlink
from runtime.operations.mounts import MakeReadonly, MountFilesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.operations.base import Operation
    from runtime.operations.mounts import Parameter
    from runtime.plan.mount import Mount
    from runtime.plan.request import Request

_TMPFS = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


def compile_cgroup(mount: Mount, request: Request) -> list[Operation]:
    """Return the operations that mount the control groups. Raises NajaError."""
    if request.cgroup_kind == "v2":
        return [_hierarchy(mount, request, "", mount.destination)]
    readonly = bool(mount.options.all_attributes()[0] & mounts.MOUNT_ATTR_RDONLY)
    operations: list[Operation] = [
        MountFilesystem(
            "tmpfs",
            mount.destination,
            attributes=(_TMPFS, 0),
            parameters=[("mode", "755", mount.origin)],
            propagation=mount.options.propagation,
            keep=mount.name if readonly else "",
            origin=mount.origin,
        )
    ]
    for key, point in request.cgroup_mounts.items():
        if key not in request.cgroup_paths:
            continue
        directory = point.rpartition("/")[2]
        operations.append(_hierarchy(mount, request, key, f"{mount.destination}/{directory}"))
        if "," in directory:
            operations += [
                MakeSymlink(f"{mount.destination}/{name}", directory, origin=mount.origin)
                for name in directory.split(",")
            ]
    if readonly:
        operations.append(MakeReadonly(mount.name, mount.destination, origin=mount.origin))
    return operations


def _hierarchy(mount: Mount, request: Request, key: str, destination: str) -> Operation:
    """Mount one hierarchy: a new mount starts at the root of a new cgroup namespace by itself."""
    attributes = mount.options.all_attributes()
    if request.namespaces().get("cgroup") == "":
        kind, parameters = ("cgroup", _controllers(key, mount.origin)) if key else ("cgroup2", [])
        return MountFilesystem(
            kind, destination, attributes=attributes, parameters=parameters, origin=mount.origin
        )
    source = request.cgroup_mounts.get(key, "/sys/fs/cgroup")
    # Mounting version 2 anew from the host's cgroup namespace would reset the options of the host's
    # own mount (nsdelegate), so it is bound: all of it, as /proc/self/cgroup tells paths from its top.
    if request.cgroup_kind != "v2":
        source += request.cgroup_paths[key]
    return BindMount(
        source,
        destination,
        recursive=True,
        recursive_attributes=attributes,
        propagation=mount.options.propagation,
        # Without root naja makes only those cgroups that it may, and shows no others (CVE-2023-25809).
        optional=request.rootless,
        origin=mount.origin,
    )


def _controllers(key: str, origin: str) -> list[Parameter]:
    """Turn the name of a hierarchy of version 1 ("cpu,cpuacct", "name=systemd") into mount options."""
    options = [word.partition("=") for word in key.split(",")]
    return [(name, value if equals else None, origin) for name, equals, value in options]
