"""Mounts that a checkpoint leaves out, since what they show is the host's: bind mounts, masks.

CRIU calls these external. It knows each by its mount point while it saves, and writes a name into
the image; when it restores, it asks for what goes by that name. Here the name is the destination in
config.json, or /dev/null for a mask, so that images are understood by runc too.
"""

from __future__ import annotations

import os
import stat

from ..errors import NajaError, Unsupported
from ..linux import files, mounts, namespaces
from ..operations.base import RUNTIME, Context, apply_all
from ..operations.binds import BindMount
from ..operations.devices import BindDevice
from ..operations.filesystem import new_mount
from ..operations.masks import MaskPath, open_null
from ..operations.target import open_directory, open_file
from ..plan import Request, sources
from ..plan import mounts as plan
from ..plan.mount import read_mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    External = BindMount | BindDevice | MaskPath

_MASK = "/dev/null"


def externals(request: Request) -> list[External]:
    """Return the operations of a container's plan that show something of the host in it."""
    if request.cgroup_kind == "v1":
        # CRIU takes v1 hierarchies for the host's, whether they are bound or mounted.
        request = _without_cgroup_namespace(request)
    operations = plan.before_hooks(request) + plan.after_hooks(request)
    return [operation for operation in operations if isinstance(operation, BindMount | BindDevice | MaskPath)]


def _without_cgroup_namespace(request: Request) -> Request:
    linux = request.config["linux"]
    kept = [entry for entry in linux.get("namespaces") or () if entry["type"] != "cgroup"]
    config = {**request.config, "linux": {**linux, "namespaces": kept}}
    return Request(**{**vars(request), "config": config})


def _place(operation: External) -> str:
    return operation.destination if isinstance(operation, BindMount) else operation.path


def _name(operation: External) -> str:
    return _MASK if isinstance(operation, MaskPath) else _place(operation)


def saved(process: int | str, request: Request) -> list[str]:
    """Return what CRIU is to leave out of a running container: "mnt[MOUNT POINT]:NAME" for each.

    ``process`` is its process's pid, or what else stands for it below /proc (``process.Held.name``).
    Where they are the kernel says, not the config, as an image may lead a destination elsewhere by a
    symbolic link. Raises NajaError where CRIU could take one for another (CVE-2026-119101).
    """
    _refuse_dependent(request)
    root = os.open(f"/proc/{process}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    table = mounts.mount_table(str(process))
    points = {number: point for number, point, _ in table}
    covered = [point for _, point, _ in table]
    found: dict[str, str] = {}
    try:
        for operation in externals(request):
            point = _mount_point(root, operation, points)
            if not point:
                continue
            if covered.count(point) > 1:
                what = f"checkpoint the mount on {point}"
                raise Unsupported(what, why="another mount covers it", origin=operation.origin)
            if found.setdefault(point, _name(operation)) != _name(operation):
                what = f"{_name(operation)} and {found[point]} are one mount point, {point}"
                raise NajaError(what, origin=operation.origin)
    finally:
        os.close(root)
    return [_entry(point, name) for point, name in found.items()]


def _refuse_dependent(request: Request) -> None:
    """Refuse mounts that can only be made while the others are made, which is CRIU's affair at a restore."""
    for mount in read_mounts(request):
        why = "it is the root file system" if mount.is_root else ""
        if sources.is_prepared(mount, request) and sources.is_among(mount, request):
            why = "its source may be what another mount shows"
        if why:
            raise Unsupported(f"checkpoint the mount on {mount.destination}", why=why, origin=mount.origin)


def _mount_point(root: int, operation: External, points: dict[int, str]) -> str:
    """Return where a mount is in the container; "" where the container has it no more, or never had."""
    try:
        mount = files.open_in_root(root, _place(operation), os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        # A masked directory is below a tmpfs, which CRIU can save.
        if isinstance(operation, MaskPath) and not files.is_device(os.fstat(mount), stat.S_IFCHR, 1, 3):
            return ""
        point = points.get(mounts.mount_id(mount), "")
        return point if os.readlink(f"/proc/self/fd/{mount}") == point else ""
    finally:
        os.close(mount)


def _entry(key: str, value: str) -> str:
    """Write a mount as CRIU reads it. Raises Unsupported where it would be read differently."""
    if "]:" in key:
        raise Unsupported(f"checkpoint or restore the mount {key}", why='"]:" has a meaning of its own')
    return f"mnt[{key}]:{value}"


def restored(request: Request, staging: str) -> list[str]:
    """Return what CRIU is to put in the place of the mounts left out, "mnt[NAME]:PATH" for each.

    ``staging`` is the directory that ``stage`` fills. Raises NajaError.
    """
    entries: dict[str, str] = {}
    for number, operation in enumerate(externals(request)):
        name, path = _name(operation), os.path.join(staging, _staged_name(operation, number))
        if entries.setdefault(name, path) != path:
            raise Unsupported(f"restore two mounts on {name}", origin=operation.origin)
    return [_entry(name, path) for name, path in entries.items()]


def _staged_name(operation: External, number: int) -> str:
    """Return the name in the staging directory; all that show the null device share one."""
    return (
        "null" if isinstance(operation, MaskPath | BindDevice) and _name(operation) == _MASK else str(number)
    )


def stage(request: Request, staging: str, warn: Callable[[str], None]) -> None:
    """Show CRIU, in a mount namespace of its own, what the container's root and bind mounts are to be.

    They have their flags and id mappings before CRIU sees them: it copies them, and nothing that was
    read-only is writable for a moment. Raises NajaError, OSError.
    """
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_REC | mounts.MS_SLAVE)
    context = Context(RUNTIME, warn)
    directory = new_mount("tmpfs", "tmpfs", [("mode", "755", "")], 0, "")
    _put(directory, staging)
    apply_all(plan.prepare(request), context)
    context.descriptors["rootfs"] = directory
    for number, operation in enumerate(externals(request)):
        if isinstance(operation, BindMount):
            operation.destination = f"/{number}"
            operation.propagation = 0  # CRIU's business, as it was saved.
            apply_all([operation], context)
        else:
            _stage_device(directory, _staged_name(operation, number), operation)
    root = os.path.join(request.bundle, request.config["root"]["path"])
    _put(mounts.open_tree(files.AT_FDCWD, root), root)


def _stage_device(directory: int, name: str, operation: BindDevice | MaskPath) -> None:
    try:
        os.mknod(name, stat.S_IFREG | 0o600, dir_fd=directory)
    except FileExistsError:
        return  # The null device, from another mask.
    mount = operation.open() if isinstance(operation, BindDevice) else open_null(operation.origin)
    place = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=directory)
    mounts.move_mount(mount, place)
    os.close(place)
    os.close(mount)


def _put(mount: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.move_mount(mount, place)
    os.close(place)


def make_mount_points(request: Request) -> None:
    """Make the mount points that a new root file system lacks; CRIU makes none. Raises NajaError.

    Those inside of another mount come with that.
    """
    path = os.path.join(request.bundle, request.config["root"]["path"])
    root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    above: list[str] = []
    try:
        for mount in read_mounts(request):
            if mount.options.remount or any(mount.destination.startswith(f"{path}/") for path in above):
                continue
            is_file = mount.bind and not os.path.isdir(mount.source)
            opened = (open_file if is_file else open_directory)(root, mount.destination, mount.origin)
            os.close(opened)
            above.append(mount.destination)
    finally:
        os.close(root)


def make_root_readonly(pid: int) -> None:
    """Make the root of a restored container read-only; of all mounts CRIU forgets that one's flags.

    Its processes are there, but do not run yet. Raises NajaError.
    """
    what, origin = "make the root file system read-only", "/root/readonly"
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        code = 255
        try:
            namespaces.setns(namespace, namespaces.CLONE_NEWNS)
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            mounts.mount_setattr(root, set=mounts.MOUNT_ATTR_RDONLY)
            code = 0
        except OSError as error:
            code = error.errno or code
        finally:
            os._exit(code)
    os.close(namespace)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise NajaError(what, errno=max(code, 0), origin=origin)
