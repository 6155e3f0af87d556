"""The mounts that containerd has a shim make of a snapshot: the root file system of a container."""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT

from ..errors import NajaError
from ..linux import mounts
from ..operations.filesystem import new_mount
from ..plan.mount_options import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Its place in a bundle.
NAME = "rootfs"

#: What mount(2) takes of options, and a margin.
_ROOM = 4000


def mount_all(requests: list[dict[str, Any]], bundle: str) -> None:
    """Make the mounts of a container (api/types/mount.proto). Raises NajaError; then none is left."""
    if not requests:
        return
    root = os.path.join(bundle, NAME)
    try:
        os.makedirs(root, 0o711, exist_ok=True)
        for request in requests:
            _mount(request, _place(root, request["target"]))
    except BaseException as error:
        unmount_all(bundle)
        if isinstance(error, OSError):
            raise NajaError.from_os_error("mount the root file system", error) from None
        raise


def _place(root: str, target: str) -> str:
    path = os.path.normpath(os.path.join(root, target.lstrip("/")))
    if path != root and not path.startswith(f"{root}/"):
        raise NajaError(f"mount on {target}, which is outside of the root file system")
    return path


def _mount(request: dict[str, Any], path: str) -> None:
    kind, source = request["type"], request["source"]
    options = MountOptions(request["options"], f"rootfs mount {kind}")
    target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if kind == "bind" or options.bind:
            made = mounts.open_tree(-100, os.path.abspath(source), recursive=options.recursive)
            added, cleared = options.attributes
            if added | cleared:
                mounts.mount_setattr(made, set=added, clear=cleared)
        elif any(len(value or "") > mounts.LONGEST_VALUE for _, value, _ in options.parameters):
            _mount_long(kind, source, target, options)
            return
        else:
            made = new_mount(kind, source, options.parameters, options.attributes[0], options.origin)
        try:
            mounts.move_mount(made, target)
        finally:
            os.close(made)
    finally:
        os.close(target)


def _mount_long(kind: str, source: str, target: int, options: MountOptions) -> None:
    """Mount with options that are long: an image may have many layers. Changes the working directory."""
    values = {name: value for name, value, _ in options.parameters}
    layers = (values.get("lowerdir") or "").split(":")
    if len(layers) > 1 and sum(len(value or "") + len(name) + 2 for name, value in values.items()) > _ROOM:
        # Named from the directory that they have in common, as containerd does it.
        common = os.path.commonpath(layers)
        os.chdir(common)
        values["lowerdir"] = ":".join(os.path.relpath(layer, common) for layer in layers)
    words = [name if value is None else f"{name}={value}" for name, value in values.items()]
    mounts.mount_old(source, target, kind, options.attributes[0], words)


def unmount_all(bundle: str) -> None:
    """Unmount what is on the root file system, however often. Raises NajaError."""
    path = os.path.join(bundle, NAME)
    for _, place, _ in reversed(mounts.mount_table()):
        if place == path or place.startswith(f"{path}/"):
            _unmount(place)


def _unmount(path: str) -> None:
    try:
        mounts.unmount(path)
    except OSError as error:
        if error.errno == EBUSY:
            # Somebody looks at it, who shall not keep the rest from going.
            mounts.unmount(path, mounts.MNT_DETACH)
        elif error.errno not in (EINVAL, ENOENT):
            raise NajaError.from_os_error(f"unmount {path}", error) from None
