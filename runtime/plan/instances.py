"""Compiles mounts of what each namespace has an instance of: procfs, sysfs, mqueue, control groups. Pure.

A mount of type ``cgroup`` is the container's view of its own control groups. On a host of version 2 it
is the unified tree. On one of version 1 it is a tmpfs with a directory for each hierarchy, as the host
has it.
"""

from __future__ import annotations

from ..errors import Unsupported
from ..linux import mounts
from ..operations.base import thaw
from ..operations.binds import BindMount
from ..operations.devices import MakeSymlink
from ..operations.mounts import MountFilesystem
from .cgroup import is_optional

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from ..operations.filesystem import Parameter
    from ..operations.instances import MountInstance
    from .mount import Mount
    from .request import Request

_TMPFS = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC


#: The namespace that a file system shows.
_SHOWN = {"proc": "pid", "sysfs": "network", "mqueue": "ipc", "cgroup": "cgroup", "cgroup2": "cgroup"}


#: What the kernel takes as options of control groups: of every file system, and by version.
_FLAGS = {"dirsync", "iversion", "lazytime", "mand", "sync", "favordynmods", "nofavordynmods"}
_OPTIONS_V1 = {"all", "clone_children", "cpuset_v2_mode", "noprefix", "xattr"}
_OPTIONS_V2 = {"memory_hugetlb_accounting", "memory_localevents", "memory_recursiveprot", "nsdelegate"}
_OPTIONS_V2 |= {"pids_localevents"}


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
    _check_options(mount, request)
    if is_unified(mount, request):
        return _compile_unified(mount, request)
    keep = mount.name if readonly_later(mount, request) else ""
    operations: list[Operation] = [_top(mount, _TMPFS, keep=keep)]
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
    return operations


def _check_options(mount: Mount, request: Request) -> None:
    """Refuse what the kernel would: it is not asked where hierarchies are bound, or need options of ours."""
    known = _FLAGS | _OPTIONS_V2
    if not is_unified(mount, request):
        known = _FLAGS | _OPTIONS_V1 | {word for key in request.cgroup_mounts for word in key.split(",")}
    for name, value, origin in mount.options.parameters:
        word = name if value is None else f"{name}={value}"
        if word not in known:
            what = f"option {word!r} of the mount on {mount.destination}"
            raise Unsupported(what, why="it is none of control groups", origin=origin)


def is_unified(mount: Mount, request: Request) -> bool:
    """Tell whether a mount shows the one tree of version 2, which may be beside those of version 1."""
    beside = mount.kind == "cgroup2" and "" in request.cgroup_paths
    return mount.kind in ("cgroup", "cgroup2") and (request.cgroup_kind == "v2" or beside)


def _compile_unified(mount: Mount, request: Request) -> list[Operation]:
    operations = [_hierarchy(mount, request, "", mount.destination)]
    shared = request.cgroup_kind == "v2" and "cgroup" not in request.namespaces()
    if shared and request.rootless and not _is_readonly(mount):
        # Of a tree that shows all that is its user's, the container may change its own part (CVE-2023-25809).
        path = request.cgroup_paths[""]
        bind = BindMount(
            request.cgroup_mounts[""] + path,
            mount.destination + path,
            attributes=mount.options.all_attributes(),
            optional=True,
            origin=mount.origin,
        )
        operations.append(bind)
    if is_optional(request):
        # Where there is nothing to show it hides what was there.
        operations.insert(0, _top(mount, _TMPFS | mounts.MOUNT_ATTR_RDONLY))
    return operations


def _is_readonly(mount: Mount) -> bool:
    return bool(mount.options.all_attributes()[0] & mounts.MOUNT_ATTR_RDONLY)


def _top(mount: Mount, attributes: int, *, keep: str = "") -> MountFilesystem:
    """Mount the directory that the hierarchies are in."""
    return MountFilesystem(
        "tmpfs",
        mount.destination,
        attributes=(attributes, 0),
        parameters=[("mode", "755", mount.origin)],
        propagation=mount.options.propagation,
        keep=keep,
        origin=mount.origin,
    )


def _if_made(operation: Operation, request: Request, key: str) -> Operation:
    """Without root naja makes only those cgroups that it may, and shows no others (CVE-2023-25809)."""
    if not is_optional(request):
        return operation
    from ..operations.instances import WhereMade

    return WhereMade(request.cgroup_mounts[key] + request.cgroup_paths[key], operation)


def readonly_later(mount: Mount, request: Request) -> bool:
    """Tell whether it is a directory of hierarchies that becomes read-only when all is mounted."""
    if mount.bind or mount.options.remount or mount.kind != "cgroup" or request.cgroup_kind == "v2":
        return False
    return _is_readonly(mount)


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
        return _if_made(apart, request, key)
    from ..operations.instances import WhereShared

    return WhereShared("cgroup", _bind(mount, request, key, destination), apart)


def _bind(mount: Mount, request: Request, key: str, destination: str) -> Operation:
    """Bind the hierarchy from the runtime's cgroup namespace, which the container shares.

    Mounting version 2 anew there would reset the options of the host's own mount (nsdelegate), so all
    of it is bound, as /proc/self/cgroup tells paths from its top; of version 1 the container's cgroup.
    """
    unified = request.cgroup_kind == "v2"
    source = request.cgroup_mounts.get(key, "/sys/fs/cgroup")
    added, cleared = mount.options.all_attributes()
    if not unified:
        source += request.cgroup_paths[key]
    elif request.rootless:
        added, cleared = added | mounts.MOUNT_ATTR_RDONLY, cleared & ~mounts.MOUNT_ATTR_RDONLY
    bind = BindMount(
        source,
        destination,
        recursive=True,
        recursive_attributes=(added, cleared),
        propagation=mount.options.propagation,
        optional=request.rootless,
        origin=mount.origin,
    )
    return _if_made(bind, request, key) if unified else bind


def _controllers(key: str, origin: str) -> list[Parameter]:
    """Turn the name of a hierarchy of version 1 ("cpu,cpuacct", "name=systemd") into mount options."""
    options = [word.partition("=") for word in key.split(",")]
    return [(name, value if equals else None, origin) for name, equals, value in options]
