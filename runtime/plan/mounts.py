"""Compiles ``root``, ``mounts`` and what ``linux`` says of them into operations. Pure.

Everything is mounted from outside, below the root's descriptor, while the host is still in sight;
pivoting comes last. So neither a source nor a mask is ever looked up inside the container.

Where the container has no mount namespace of its own all this is done in one that is left again. What
it takes along is a copy of the tree, which is in no mount table: nothing of it can be seen on the host,
and nothing has to be cleaned up.
"""

from __future__ import annotations

import os

from ..errors import NajaError, Unsupported
from ..linux import mounts
from ..operations.base import Warn
from ..operations.binds import BindMount
from ..operations.joining import OpenProc
from ..operations.masks import MakePathReadonly, MaskPath
from ..operations.mounts import MakeReadonly, Remount
from ..operations.rootfs import (
    MakeDirectory,
    MakeRootReadonly,
    MountRoot,
    MoveRoot,
    PivotRoot,
    RequireKernel,
    ReturnToMountNamespace,
    SetHostPropagation,
    SetRootPropagation,
    TakeRoot,
    UseUmask,
)
from ..operations.stdio import ReopenNull
from . import console, devices, instances, sources
from .mount import clean, read_mounts
from .mount_options import PROPAGATION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .mount import Mount
    from .mount_options import Parameter
    from .request import Request

#: Kernel interfaces: their read-only flag is the mount's, for others may share the file system.
_KERNEL_FILESYSTEMS = frozenset(("proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2", "tmpfs"))


def _linux(request: Request) -> dict[str, Any]:
    return request.config.get("linux") or {}


def prepare(request: Request) -> list[Operation]:
    """Return what the runtime opens and makes before the namespaces are made. Raises NajaError."""
    entries = read_mounts(request)
    of_host, _ = _propagation(request)
    operations: list[Operation] = []
    for mount in entries:
        operations += sources.open_first(mount, request, of_host)
    return operations + devices.prepare(request, entries)


def before_hooks(request: Request) -> list[Operation]:
    """Return what the init does to build the root file system, up to the hooks. Raises NajaError."""
    operations: list[Operation] = [RequireKernel(), UseUmask(), OpenProc()]
    if _linux(request).get("mountLabel") and not request.selinux:
        # Nothing is lost: without SELinux no file system has labels, and nobody looks for them.
        operations.append(Warn("SELinux is not active: mounts have no label", origin="/linux/mountLabel"))
    of_host, _ = _propagation(request)
    if of_host:
        operations.append(SetHostPropagation(of_host, origin=_propagation_origin(request)))
    operations.append(MountRoot(_root_path(request), shared=not of_host))
    entries = read_mounts(request)
    for mount in entries:
        operations += _mount(mount, request)
        if mount.is_root:
            operations.append(TakeRoot(_root_path(request), origin=mount.origin))
    operations += devices.compile_devices(request, entries)
    process = request.process
    if process.get("terminal"):
        operations.append(console.open_in(process, mount=True))
    cwd = clean(process.get("cwd") or "/")
    if cwd != "/":
        operations.append(MakeDirectory(cwd, origin="/process/cwd"))
    return operations


def after_hooks(request: Request) -> list[Operation]:
    """Return what the init does after the hooks: close what was open, and pivot. Raises NajaError."""
    entries = read_mounts(request)
    operations: list[Operation] = [
        MakeReadonly(mount.name, mount.destination, origin=mount.options.place("ro", "rro"))
        for mount in entries
        if not mount.is_root and (mount.readonly_later or instances.readonly_later(mount, request))
    ]
    operations += _path_operations(request)
    if (request.config.get("root") or {}).get("readonly"):
        operations.append(MakeRootReadonly())
    elif entries and entries[0].is_root and entries[0].readonly_later:
        operations.append(MakeRootReadonly(origin=entries[0].options.place("ro", "rro")))
    operations.append(_enter_root(request))
    _, of_root = _propagation(request)
    if of_root:
        operations.append(SetRootPropagation(of_root))
    if request.process.get("terminal"):
        operations.append(console.use())
    else:
        operations.append(ReopenNull())
    return operations


def _enter_root(request: Request) -> Operation:
    if not _has_own_mounts(request):
        return ReturnToMountNamespace()
    return MoveRoot(_root_path(request)) if request.no_pivot else PivotRoot()


def _has_own_mounts(request: Request) -> bool:
    return "mount" in request.namespaces()


def _root_path(request: Request) -> str:
    return os.path.join(request.bundle, request.config["root"]["path"])


def _propagation(request: Request) -> tuple[int, int]:
    """Return the propagation of the host's mounts in here, and in the end of the root (0: as it is)."""
    value = _linux(request).get("rootfsPropagation")
    if not value:
        return mounts.MS_SLAVE | mounts.MS_REC, 0
    if value not in PROPAGATION:
        raise NajaError(f"unknown propagation {value!r}", origin="/linux/rootfsPropagation")
    of_root = PROPAGATION[value] & ~mounts.MS_REC
    if of_root == mounts.MS_SHARED:
        return 0, of_root
    if of_root == mounts.MS_SLAVE:
        return mounts.MS_SLAVE | mounts.MS_REC, of_root
    return mounts.MS_PRIVATE | mounts.MS_REC, of_root


def _propagation_origin(request: Request) -> str:
    return "/linux/rootfsPropagation" if _linux(request).get("rootfsPropagation") else ""


def _path_operations(request: Request) -> list[Operation]:
    """Masks and read-only paths; each path once, wherever it is named again."""
    linux = _linux(request)
    operations: list[Operation] = []
    readonly = {
        clean(path): index for index, path in reversed([*enumerate(linux.get("readonlyPaths") or ())])
    }
    masked = {clean(path): index for index, path in reversed([*enumerate(linux.get("maskedPaths") or ())])}
    for path, index in reversed(readonly.items()):
        operations.append(MakePathReadonly(path, origin=f"/linux/readonlyPaths/{index}"))
    label = _label(request)
    for path, index in reversed(masked.items()):
        operations.append(MaskPath(path, label=label, origin=f"/linux/maskedPaths/{index}"))
    return operations


def _label(request: Request) -> str:
    return (_linux(request).get("mountLabel") or "") if request.selinux else ""


def _mount(mount: Mount, request: Request) -> list[Operation]:
    options = mount.options
    if options.propagation & mounts.MS_UNBINDABLE and not _has_own_mounts(request):
        why = "without a mount namespace of the container's own its mounts are copied"
        what = f"an unbindable mount on {mount.destination}"
        raise Unsupported(what, why=why, origin=options.place("unbindable", "runbindable"))
    if options.remount:
        return [_remount(mount)]
    if mount.bind:
        # The kernel and the other runtimes pass over options of the file system, which is its source's.
        warnings = [
            Warn(f"option {name!r} does nothing on a bind mount", origin=place)
            for name, _, place in options.parameters
        ]
        opened = sources.open_in_turn(mount, request, _propagation(request)[0])
        return [*warnings, *opened, _bind(mount, prepared=sources.is_prepared(mount, request))]
    if mount.kind == "cgroup" or instances.is_unified(mount, request):
        return instances.compile_cgroup(mount, request)
    return [_filesystem(mount, request)]


def _remount(mount: Mount) -> Remount:
    options = mount.options
    return Remount(
        mount.destination,
        attributes=options.attributes,
        recursive_attributes=options.recursive_attributes,
        parameters=options.parameters,
        propagation=options.propagation,
        origin=mount.origin,
    )


def _bind(mount: Mount, *, prepared: bool) -> BindMount:
    options = mount.options
    attributes, unnamed = options.attributes, options.unnamed()
    if mount.readonly_later:
        attributes = attributes[0] & ~mounts.MOUNT_ATTR_RDONLY, attributes[1]
        unnamed |= mounts.MOUNT_ATTR_RDONLY
    return BindMount(
        mount.source,
        mount.destination,
        recursive=options.recursive,
        attributes=attributes,
        recursive_attributes=options.recursive_attributes,
        unnamed=unnamed,
        propagation=options.propagation,
        follow=(not options.source_nofollow, not options.destination_nofollow),
        copy_symlink=options.copy_symlink,
        prepared=mount.name if prepared else "",
        origin=mount.origin,
    )


def _filesystem(mount: Mount, request: Request) -> Operation:
    options = mount.options
    added, cleared = options.all_attributes()
    parameters = options.parameters
    if mount.readonly_later:
        added &= ~mounts.MOUNT_ATTR_RDONLY
    if mount.kind not in _KERNEL_FILESYSTEMS and added & mounts.MOUNT_ATTR_RDONLY:
        parameters = [("ro", None, options.place("ro", "rro")), *parameters]
    if mount.kind == "devpts":
        parameters = _without_unmapped_group(parameters, request)
    label = _label(request)
    if label and mount.kind not in ("proc", "sysfs") and not options.has_parameter("context"):
        parameters = [*parameters, ("context", label, "/linux/mountLabel")]
    return instances.filesystem(
        mount.kind,
        mount.destination,
        request,
        name=mount.name,
        source=mount.source,
        attributes=(added, cleared),
        parameters=parameters,
        propagation=options.propagation,
        copy_up=options.copy_up,
        keep=mount.name if mount.readonly_later and not mount.is_root else "",
        origin=mount.origin,
    )


def _without_unmapped_group(parameters: list[Parameter], request: Request) -> list[Parameter]:
    """Leave out ``gid=5`` of devpts where the user namespace has no such group.

    Every default config names the group "tty"; without it terminals keep the group of their opener.
    """
    gids = _linux(request).get("gidMappings") or ()
    if request.namespaces().get("user") != "" or not gids:
        return parameters
    mapped = any(entry["containerID"] <= 5 < entry["containerID"] + entry["size"] for entry in gids)
    return [entry for entry in parameters if mapped or entry[:2] != ("gid", "5")]
