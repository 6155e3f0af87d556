"""What two things allow together that neither does alone. Pure."""

from __future__ import annotations

from ..operations.binds import BindMount
from ..operations.rootfs import MountRoot, MoveRoot
from . import devices, seccomp
from .exposure import Exposure
from .mounts import is_of_cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what is exposed by combinations; none is where a user namespace is in between."""
    if facts.confined:
        return
    if facts.has("CAP_MKNOD") and devices.allows_all(facts):
        what = (
            "makes nodes of the host's disks, and reads and writes them (CAP_MKNOD with all devices allowed)"
        )
        fix = f"{_without(facts, 'CAP_MKNOD')}, or deny devices in /linux/resources/devices"
        yield Exposure("disks-by-mknod", 8.5, facts.capability_origin("CAP_MKNOD"), what, fix)
    if facts.has("CAP_SYS_PTRACE") and "pid" in facts.host:
        what = "takes over processes of the host (CAP_SYS_PTRACE in the host's pid namespace)"
        fix = f"{_without(facts, 'CAP_SYS_PTRACE')}, or give it a pid namespace"
        yield Exposure("ptrace-of-the-host", 9.0, facts.capability_origin("CAP_SYS_PTRACE"), what, fix)
    network = [name for name in ("CAP_NET_ADMIN", "CAP_NET_RAW") if facts.has(name)]
    if network and "network" in facts.host:
        what = f"changes or listens to the host's network ({', '.join(network)} in its namespace)"
        fix = f"{_without(facts, *network)}, or give it a network namespace"
        weight = 4.0 if "CAP_NET_ADMIN" in network else 2.0
        yield Exposure("network-of-the-host", weight, facts.capability_origin(network[0]), what, fix)
    yield from _handles(facts)
    yield from _mounting(facts)
    yield from _leaving(facts)


def _without(facts: Facts, *names: str) -> str:
    return f"remove {', '.join(names)} from /process/capabilities"


def _handles(facts: Facts) -> Iterator[Exposure]:
    binds = [bind for bind in facts.all(BindMount) if not is_of_cgroups(facts, bind.origin)]
    if facts.has("CAP_DAC_READ_SEARCH") and seccomp.free(facts, "open_by_handle_at"):
        through = binds[0].source if binds else "its root"
        what = f"opens any file of the file system below {through} by handle (CAP_DAC_READ_SEARCH)"
        fix = f"{_without(facts, 'CAP_DAC_READ_SEARCH')}, or deny open_by_handle_at in /linux/seccomp"
        yield Exposure("files-by-handle", 6.0, facts.capability_origin("CAP_DAC_READ_SEARCH"), what, fix)


def _mounting(facts: Facts) -> Iterator[Exposure]:
    if not facts.has("CAP_SYS_ADMIN"):
        return
    where = facts.capability_origin("CAP_SYS_ADMIN")
    if seccomp.free(facts, "mount"):
        what = "mounts the host's disks and its procfs anew, past masks and read-only flags (CAP_SYS_ADMIN)"
        fix = f"{_without(facts, 'CAP_SYS_ADMIN')}, or deny mount, fsopen and move_mount in /linux/seccomp"
        yield Exposure("mounts-anew", 7.0, where, what, fix)
    root = facts.one(MountRoot)
    if root and root.shared:
        what = "what it mounts over shared directories, the host sees and uses (CAP_SYS_ADMIN)"
        fix = f"{_without(facts, 'CAP_SYS_ADMIN')}, or set /linux/rootfsPropagation to rslave"
        yield Exposure("mounts-on-the-host", 6.0, where, what, fix)


def _leaving(facts: Facts) -> Iterator[Exposure]:
    needed = ("CAP_SYS_ADMIN", "CAP_SYS_CHROOT")
    if all(facts.has(name) for name in needed) and ("mount" in facts.host or facts.all(MoveRoot)):
        what = f"joins the mount namespace that it is in, whose root is the host's ({', '.join(needed)})"
        fix = f"{_without(facts, needed[0])}, or give it a mount namespace and do without --no-pivot"
        yield Exposure("leaves-its-root", 9.5, facts.capability_origin(needed[0]), what, fix)
