"""Compiles mounts of what each namespace has an instance of: procfs, sysfs, mqueue, control groups. Pure.

A mount of type ``cgroup`` is the container's view of its own control groups. On a host of version 2 it
is the unified tree. On one of version 1 it is a tmpfs with a directory for each hierarchy, as the host
has it.
"""

from __future__ import annotations

from ..linux import mounts
from ..operations.base import thaw
from ..operations.binds import BindMount
from ..operations.devices import MakeSymlink
from ..operations.mounts import MakeReadonly, MountFilesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from ..operations.instances import MountInstance
    from ..operations.mounts import Parameter
    from .mount import Mount
    from .request import Request

_TMPFS = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


#: The namespace that a file system shows.
_SHOWN = {"proc": "pid", "sysfs": "network", "mqueue": "ipc", "cgroup": "cgroup", "cgroup2": "cgroup"}


def filesystem(
    kind: str, destination: str, request: Request, *, name: str = "", **others: Any
) -> MountFilesystem:
    """Return the operation that mounts a file system; ``others`` are as for MountFilesystem.

    ``name`` is for the descriptor of a mount that is made early.
    """
    namespaces = request.namespaces()
    namespace = _SHOWN.get(kind, "")
    path = namespaces.get(namespace, "")
    new = namespace in namespaces and not path
    if not namespace or (new and not request.rootless and "user" not in namespaces):
        return MountFilesystem(kind, destination, **others)
    from ..operations.instances import MountInstance  # A module that few containers need.

    # A namespace that is older than the user namespace is not its own.
    early = name if "user" in namespaces and not new else ""
    path_or_new = None if new else path
    return MountInstance(kind, destination, namespace=namespace, path=path_or_new, early=early, **others)


def early(operations: list[Operation]) -> list[Operation]:
    """Return what is to be mounted for those of ``operations`` before a user namespace is entered."""
    from ..operations.instances import MountInstance, WhereShared

    single = [thaw(one.apart) if isinstance(one, WhereShared) else one for one in operations]
    return [_early(one) for one in single if isinstance(one, MountInstance) and one.early]


def _early(instance: MountInstance) -> Operation:
    from ..operations.early import MountEarly

    return MountEarly(
        instance.kind,
        instance.early,
        source=instance.source,
        attributes=instance.attributes[0],
        parameters=instance.parameters,
        namespace=instance.namespace,
        joined=bool(instance.path),
        origin=instance.origin,
    )


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
    """Mount one hierarchy: a mount begins at the root of the cgroup namespace by itself."""
    path = request.namespaces().get("cgroup")
    if path is None:
        return _bind(mount, request, key, destination)
    kind, parameters = ("cgroup", _controllers(key, mount.origin)) if key else ("cgroup2", [])
    apart = filesystem(
        kind,
        destination,
        request,
        name=f"{mount.name} {key}",
        attributes=mount.options.all_attributes(),
        parameters=parameters,
        origin=mount.origin,
    )
    if not path:
        return apart
    from ..operations.instances import WhereShared

    return WhereShared("cgroup", _bind(mount, request, key, destination), apart)


def _bind(mount: Mount, request: Request, key: str, destination: str) -> BindMount:
    """Bind the hierarchy from the runtime's cgroup namespace, which the container shares.

    Mounting version 2 anew there would reset the options of the host's own mount (nsdelegate), so all
    of it is bound, as /proc/self/cgroup tells paths from its top; of version 1 the container's cgroup.
    """
    source = request.cgroup_mounts.get(key, "/sys/fs/cgroup")
    if request.cgroup_kind != "v2":
        source += request.cgroup_paths[key]
    return BindMount(
        source,
        destination,
        recursive=True,
        recursive_attributes=mount.options.all_attributes(),
        propagation=mount.options.propagation,
        # Without root naja makes only those cgroups that it may, and shows no others (CVE-2023-25809).
        optional=request.rootless,
        origin=mount.origin,
    )


def _controllers(key: str, origin: str) -> list[Parameter]:
    """Turn the name of a hierarchy of version 1 ("cpu,cpuacct", "name=systemd") into mount options."""
    options = [word.partition("=") for word in key.split(",")]
    return [(name, value if equals else None, origin) for name, equals, value in options]
