"""What can be mounted, and how: the calls, overlay, id-mapped mounts, device nodes."""

from __future__ import annotations

import os
import stat
import sys

from ..errors import NajaError
from ..linux import files, mounts, namespaces
from ..operations.sources import make_user_namespace
from .attempt import tried
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .host import Host

#: File systems of which each namespace has its own, or which need no device.
_VIRTUAL = {
    *("autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs"),
    *("efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore", "ramfs", "rpc_pipefs"),
    *("securityfs", "sysfs", "tracefs", "tmpfs", "overlay"),
}
_IDS = [(0, 100000, 65536)]


def findings(host: Host) -> Iterator[Finding]:
    """Yield findings about mounts."""
    why = host.inside(_mount_by_descriptor)
    yield Finding(
        "mount-calls", why, needed="every container", remedy="Linux 5.12, and no filter that denies them"
    )
    why = host.inside(_mount_overlay)
    needed = "the overlay that seals Python, 0.2 ms (else it is copied into memory), and engines' storage"
    yield Finding("overlay", why, needed=needed, remedy="modprobe overlay; for users Linux 5.11")
    needed = '/mounts/*/uidMappings, and options "idmap"'
    yield Finding("idmap-tmpfs", _maps(host, _tmpfs), needed=needed, remedy="Linux 6.3, and root")
    remedy = "map the ids of its layers instead, below which it may lie (Linux 5.19)"
    yield Finding("idmap-overlay", _maps(host, _overlay), needed=needed, remedy=remedy)
    for kind, point in _disks():
        why = _maps(host, _copy(point))
        yield Finding(f"idmap-{kind}", why, needed=needed, detail=point, remedy="root, and a newer kernel")
    why = tried(_make_node) if host.privileged else host.inside(_make_node)
    remedy = "CAP_MKNOD, and a cgroup that allows it; where it is missing naja shows the host's nodes instead"
    yield Finding("device-nodes", why, needed="/linux/devices", remedy=remedy)


def _unshare() -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.set_propagation("/", mounts.MS_PRIVATE | mounts.MS_REC)


def _mount_by_descriptor() -> None:
    _unshare()
    mount = _tmpfs()
    mounts.mount_setattr(mount, set=mounts.MOUNT_ATTR_RDONLY)
    directory = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.move_mount(mount, files.open_in_root(directory, "proc", os.O_PATH))
    os.close(mounts.open_tree(mount))


def _mount_overlay() -> None:
    _unshare()
    os.close(_overlay())


def _tmpfs() -> int:
    return _made("tmpfs")


def _made(kind: str, **options: str) -> int:
    """Return a detached mount of a new file system. Raises OSError."""
    filesystem = mounts.fsopen(kind)
    try:
        for name, value in options.items():
            mounts.fsconfig_string(filesystem, name, value)
        mounts.fsconfig_create(filesystem)
        return mounts.fsmount(filesystem)
    finally:
        os.close(filesystem)


def _overlay() -> int:
    """Return a detached overlay of the directories that naja seals Python with. Raises OSError."""
    directories = [os.path.dirname(path) for path in (os.path.realpath(sys.executable), __file__)]
    return _made("overlay", lowerdir=":".join(directories))


def _copy(point: str) -> Callable[[], int]:
    return lambda: mounts.open_tree(files.AT_FDCWD, point)


def _maps(host: Host, make: Callable[[], int]) -> str:
    """Try to map the ids of a mount, as the runtime does it: with its own rights."""

    def attempt() -> None:
        user = make_user_namespace(_IDS, _IDS)
        if host.privileged:
            _unshare()
        mounts.idmap(make(), user)

    return tried(attempt)


def _disks() -> list[tuple[str, str]]:
    """Return type and mount point of the file systems of disks, of each type the first."""
    found: dict[str, str] = {}
    for _, point, kind in mounts.mount_table():
        if kind not in _VIRTUAL and not kind.startswith("fuse"):
            found.setdefault(kind, point)
    return [*found.items()]


def _make_node() -> None:
    _unshare()
    directory = files.open_in_root(os.open("/", os.O_PATH | os.O_DIRECTORY), "tmp", os.O_PATH)
    mounts.move_mount(_tmpfs(), directory)
    os.chdir("/tmp")
    os.mknod("null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    try:
        os.close(os.open("null", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        raise NajaError.from_os_error("open a node that was made", error) from None
