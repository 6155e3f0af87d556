"""The operation that makes device nodes for a user namespace, in which none can be made."""

from __future__ import annotations

import os
import stat

from ..linux import files, mounts, namespaces
from .base import Context, Operation
from .devices import KINDS
from .errand import by_child
from .filesystem import new_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: Path in the container, letter of the kind, major, minor.
    Device = tuple[str, str, int, int]
    #: Mode, uid and gid.
    Access = tuple[int, int, int]
    #: Ranges of ids: the first inside, the first on the host, how many.
    Mappings = list[tuple[int, int, int]]


class MakeNodes(Operation):
    """Make nodes with the runtime's rights, and hand over a mount of each.

    Where nothing but the number is asked for, the host's node will do if it has one (BindDevice); and
    where the runtime may make none, it has to.
    """

    __slots__ = ("devices", "gids", "namespace", "uids")

    def __init__(
        self,
        devices: list[tuple[str, Device, Access, bool]],
        *,
        uids: Mappings,
        gids: Mappings,
        namespace: str = "",
    ) -> None:
        self.origin = "/linux/devices"
        #: The name of the descriptor, what is to be made, and whether mode or owner were asked for.
        self.devices = devices
        self.uids = uids
        self.gids = gids
        #: Path of the user namespace, where that is joined: it knows its ids itself.
        self.namespace = namespace

    def describe(self) -> str:
        made = [
            f"{device[0]}{'' if asked else ', if the host has none'}" for _, device, _, asked in self.devices
        ]
        return f"make devices before the user namespace is entered: {'; '.join(made)}"

    def apply(self, context: Context) -> None:
        missing = [
            (name, device, access)
            for name, device, access, asked in self.devices
            if asked or not _host_has(device)
        ]
        if missing:
            uids, gids = self._mappings() if self.namespace else (self.uids, self.gids)
            names, descriptors = by_child("make devices", lambda: _make(missing, uids, gids), self.origin)
            context.descriptors.update(zip(names, descriptors, strict=True))
            context.handover += names

    def _mappings(self) -> tuple[Mappings, Mappings]:
        what = f"read the id maps of the user namespace {self.namespace}"
        (uids, gids), _ = by_child(what, lambda: (_read_mappings(self.namespace), []), self.origin)
        return uids, gids


def _read_mappings(namespace: str) -> tuple[Mappings, Mappings]:
    """Return how a user namespace maps uids and gids, as whoever is in it may read; for a child."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    namespaces.setns(descriptor, namespaces.CLONE_NEWUSER)
    return _read_map("uid"), _read_map("gid")


def _read_map(kind: str) -> Mappings:
    with open(f"/proc/self/{kind}_map", "rb") as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return [(inside, outside, size) for inside, outside, size in rows]


def _on_host(number: int, mappings: Mappings) -> int:
    """Return an id as the host has it; 0, who is nobody inside, where the container has no such id."""
    for inside, outside, size in mappings:
        if inside <= number < inside + size:
            return outside + number - inside
    return 0


def _host_has(device: Device) -> bool:
    path, kind, major, minor = device
    try:
        return files.is_device(os.stat(path), KINDS[kind], major, minor)
    except OSError:
        return False


def _make(
    devices: list[tuple[str, Device, Access]], uids: Mappings, gids: Mappings
) -> tuple[list[str], list[int]]:
    """Return the names of the nodes that may be made, and a detached mount of each.

    Only a mounted file system can be copied from, and it is to be seen nowhere: so this is for a child,
    in a mount namespace that ends with it.
    """
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_PRIVATE | mounts.MS_REC)
    directory = new_mount("tmpfs", "tmpfs", [("mode", "755", "")], mounts.MOUNT_ATTR_NOSUID, "")
    mounts.move_mount(directory, os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    os.umask(0)
    names, made = [], []
    for name, (_, kind, major, minor), (mode, uid, gid) in devices:
        try:
            os.mknod(name, KINDS[kind] | stat.S_IMODE(mode), os.makedev(major, minor), dir_fd=directory)
        except PermissionError:
            continue
        os.chown(name, _on_host(uid, uids), _on_host(gid, gids), dir_fd=directory)
        names.append(name)
        made.append(mounts.open_tree(directory, name))
    return names, made
