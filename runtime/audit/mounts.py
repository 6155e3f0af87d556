"""What the container sees of the host's files: binds, disks, the root itself; and how mounts spread."""

from __future__ import annotations

import os
import stat

from ..linux import mounts
from ..operations.binds import BindMount
from ..operations.masks import MakePathReadonly, MaskPath
from ..operations.mounts import MakeReadonly, MountFilesystem, Remount
from ..operations.namespaces import LeaveMountNamespace
from ..operations.rootfs import MakeRootReadonly, MountRoot, MoveRoot, SetHostPropagation
from ..operations.sources import OpenSource
from .exposure import Exposure
from .paths import Place, judge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .facts import Facts

#: File systems that hold nothing of a disk's.
_WITHOUT_DISK = frozenset(
    ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "overlay", "ramfs", "hugetlbfs")
)
_FLAGS = (
    (mounts.MOUNT_ATTR_NOSUID, "nosuid", 0.1),
    (mounts.MOUNT_ATTR_NODEV, "nodev", 0.1),
    (mounts.MOUNT_ATTR_NOEXEC, "noexec", 0.05),
)
_SOCKET = Place(3.0, 3.0, "a socket: whoever listens there hears what it says", roots=False)


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what mounts expose."""
    yield from _root(facts)
    for bind in facts.all(BindMount):
        if not is_of_cgroups(facts, bind.origin):
            yield from _bind(facts, bind)
    for mount in facts.all(MountFilesystem):
        yield from _filesystem(facts, mount)


def entry(facts: Facts, origin: str) -> dict[str, Any]:
    """Return the entry of ``mounts`` that an operation comes from, {} where it is none."""
    section, _, index = origin[1:].partition("/")
    listed: list[dict[str, Any]] = facts.config.get("mounts") or []
    number = index.partition("/")[0]
    return listed[int(number)] if section == "mounts" and number.isdecimal() else {}


def is_of_cgroups(facts: Facts, origin: str) -> bool:
    """Tell whether an operation shows the container its own cgroups."""
    return entry(facts, origin).get("type") in ("cgroup", "cgroup2")


def is_readonly(facts: Facts, destination: str, *, deep: bool = False) -> bool:
    """Tell whether a path inside is made read-only (or hidden) after all is mounted."""
    later = facts.all(MakePathReadonly), facts.all(MaskPath)
    paths = [operation.path for operations in later for operation in operations]
    if not deep:
        paths += [made.destination for made in facts.all(MakeReadonly) if made.destination == destination]
    return any(path == destination or destination.startswith(f"{path.rstrip('/')}/") for path in paths)


def _root(facts: Facts) -> Iterator[Exposure]:
    if not facts.all(MakeRootReadonly):
        what = "the root file system can be written to, and what is put there is there at the next start"
        yield Exposure(
            "root-writable", 0.3, facts.origin("root", "readonly"), what, "set /root/readonly to true"
        )
    root = facts.one(MountRoot)
    if root and facts.resolve(root.path) == "/":
        what = "its root is the host's"
        yield Exposure("root-is-the-hosts", 9.8, "/root/path", what, "give it a root of its own")
    if root and root.shared and not facts.all(LeaveMountNamespace):
        what = "what it mounts appears on the host, where its directories are shared there"
        fix = "set /linux/rootfsPropagation to rslave or rprivate"
        yield Exposure("root-shared", 2.5 * facts.reach, "/linux/rootfsPropagation", what, fix)
    if facts.all(MoveRoot):
        what = "its root is moved and not pivoted to (--no-pivot): the host's mounts stay below it"
        yield Exposure("no-pivot", 1.0 * facts.reach, "", what, "make it without --no-pivot")


def _bind(facts: Facts, bind: BindMount) -> Iterator[Exposure]:
    place = judge(bind.source, facts.resolve)
    if place is None:
        return
    if _is_socket(bind.source) and place.write < _SOCKET.write:
        place = _SOCKET
    share = facts.reach if place.roots and not _is_mapped(facts, bind) else 1.0
    shown = f"{bind.source} of the host"
    if place.what.startswith(("its daemon", "the services", "a socket")):
        what = f"{shown}: {place.what}"
        yield Exposure("host-socket", place.read * share, bind.origin, what, f"remove {bind.origin}")
        return
    if _is_writable(facts, bind):
        what = f"writes to {shown} (on {bind.destination}): {place.what}"
        fix = f'add "ro" to {bind.origin}/options, or remove {bind.origin}'
        yield Exposure("host-path-written", place.write * share, bind.origin, what, fix)
    else:
        what = f"reads {shown} (on {bind.destination}): {place.what}"
        yield Exposure("host-path-read", place.read * share, bind.origin, what, f"remove {bind.origin}")
        yield from _below(facts, bind, place)
    yield from _flags(facts, bind)
    yield from _propagation(facts, bind)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def _is_mapped(facts: Facts, bind: BindMount) -> bool:
    """Tell whether the ids of a mount are mapped, so that who is mapped to root writes as root."""
    sources = [source for source in facts.all(OpenSource) if source.name == bind.prepared]
    return any(source.uids or source.namespace for source in sources)


def _is_writable(facts: Facts, bind: BindMount) -> bool:
    readonly = (bind.attributes[0] | bind.recursive_attributes[0]) & mounts.MOUNT_ATTR_RDONLY
    remounts = [mount for mount in facts.all(Remount) if mount.destination == bind.destination]
    for mount in remounts:
        added = mount.attributes[0] | mount.recursive_attributes[0]
        cleared = mount.attributes[1] | mount.recursive_attributes[1]
        readonly = (readonly | added) & ~(cleared & ~added) & mounts.MOUNT_ATTR_RDONLY
    return not readonly and not is_readonly(facts, bind.destination)


def _below(facts: Facts, bind: BindMount, place: Place) -> Iterator[Exposure]:
    """Yield that what is mounted below a read-only bind can be written to ("rbind" with "ro")."""
    deep = bind.recursive_attributes[0] & mounts.MOUNT_ATTR_RDONLY
    if bind.recursive and not deep and not is_readonly(facts, bind.destination, deep=True):
        what = f"what the host has mounted below {bind.source} is not read-only: ro is for the top alone"
        fix = f'put "rro" in the place of "ro" in {bind.origin}/options'
        weight = 0.5 * place.write * facts.reach if place.roots else 0.5 * place.write
        yield Exposure("bind-below-written", weight, f"{bind.origin}/options", what, fix)


def _flags(facts: Facts, bind: BindMount) -> Iterator[Exposure]:
    present = bind.attributes[0] | bind.recursive_attributes[0]
    writable = _is_writable(facts, bind)
    missing = []
    for bit, word, weight in _FLAGS:
        needless = (word == "nosuid" and not facts.gains) or (word == "noexec" and not writable)
        device = word == "nodev" and bind.source.startswith("/dev")
        if not (present & bit or needless or device):
            missing.append((word, weight))
    if missing:
        words = [word for word, _ in missing]
        reasons = {"nosuid": "set-uid programs", "nodev": "devices", "noexec": "programs"}
        what = f"{', '.join(reasons[word] for word in words)} on {bind.destination} work"
        fix = f"add {', '.join(words)} to {bind.origin}/options"
        yield Exposure(
            "bind-flags", sum(weight for _, weight in missing), f"{bind.origin}/options", what, fix
        )


def _propagation(facts: Facts, bind: BindMount) -> Iterator[Exposure]:
    """Yield how mounts spread: a copy of a mount is what that was, unless it is made something else."""
    kind, root = bind.propagation & ~mounts.MS_REC, facts.one(MountRoot)
    host = facts.one(SetHostPropagation)
    private = host is not None and bool(host.propagation & mounts.MS_PRIVATE)
    if kind in (0, mounts.MS_SHARED) and root and root.shared:
        what = f"what it mounts below {bind.destination} appears on the host below {bind.source}"
        fix = f"put rprivate into {bind.origin}/options, or set /linux/rootfsPropagation to rslave"
        yield Exposure("bind-shared", 2.0, f"{bind.origin}/options", what, fix)
    elif kind not in (mounts.MS_PRIVATE, mounts.MS_UNBINDABLE) and not private:
        what = f"what the host mounts below {bind.source} later appears on {bind.destination}"
        fix = f"put rprivate into {bind.origin}/options"
        yield Exposure("bind-slave", 0.1, f"{bind.origin}/options", what, fix)


def _filesystem(facts: Facts, mount: MountFilesystem) -> Iterator[Exposure]:
    if mount.kind == "overlay":
        yield from _overlay(facts, mount)
    elif mount.kind not in _WITHOUT_DISK and mount.source.startswith("/"):
        writable = not mount.attributes[0] & mounts.MOUNT_ATTR_RDONLY
        what = f"{mount.source} of the host on {mount.destination}: the kernel reads whatever is there"
        weight = 4.0 if writable else 2.0
        yield Exposure("host-disk", weight, mount.origin, what, f"remove {mount.origin}")


def _overlay(facts: Facts, mount: MountFilesystem) -> Iterator[Exposure]:
    for name, value, origin in mount.parameters:
        written = name == "upperdir"
        if name not in ("upperdir", "lowerdir", "lowerdir+") or not value:
            continue
        for path in [value] if written else value.split(":"):
            place = judge(path, facts.resolve)
            if place and path.startswith("/"):
                weight = (place.write if written else place.read) * (facts.reach if place.roots else 1.0)
                key = "host-path-written" if written else "host-path-read"
                verb = "writes to" if written else "reads"
                what = f"{verb} {path} of the host (on {mount.destination}): {place.what}"
                yield Exposure(key, weight, origin or mount.origin, what, f"remove {mount.origin}")
