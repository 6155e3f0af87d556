"""What the container sees and changes of the kernel: procfs, sysfs, cgroups, sysctls. Pure."""

from __future__ import annotations

from ..linux import mounts
from ..operations.binds import BindMount
from ..operations.kernel import WriteSysctl
from ..operations.masks import MaskPath
from ..operations.mounts import MountFilesystem
from .exposure import Exposure
from .mounts import is_of_cgroups, is_readonly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

#: What should be hidden, with weights; the kernel's memory takes CAP_SYS_RAWIO.
_MASKED = {
    "/proc/acpi": 0.1,
    "/proc/asound": 0.05,
    "/proc/kcore": 0.2,
    "/proc/keys": 0.2,
    "/proc/latency_stats": 0.05,
    "/proc/sched_debug": 0.1,
    "/proc/scsi": 0.2,
    "/proc/timer_list": 0.1,
    "/proc/timer_stats": 0.05,
    "/sys/devices/virtual/powercap": 0.1,
    "/sys/firmware": 0.1,
}
#: What should be read-only: weight, and what root does with it.
_READONLY = {
    "/proc/bus": (0.5, "sets up the host's devices on its buses"),
    "/proc/fs": (0.3, "changes parameters of the host's file systems"),
    "/proc/irq": (0.5, "says which processor serves which interrupt of the host"),
    "/proc/sys": (
        5.0,
        "sets parameters of the kernel, such as what it runs as root (core_pattern, modprobe)",
    ),
    "/proc/sysrq-trigger": (5.0, "reboots or crashes the host"),
}


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what is exposed of the kernel."""
    shown = {mount.destination: mount for mount in facts.all(MountFilesystem)}
    binds = {bind.destination for bind in facts.all(BindMount)}
    proc, sys = shown.get("/proc"), shown.get("/sys")
    seen = {"/proc"} if proc or "/proc" in binds else set()
    seen |= {"/sys"} if sys or "/sys" in binds else set()
    yield from _unmasked(facts, seen)
    if proc and proc.kind == "proc" and not _is_readonly(facts, proc):
        yield from _writable_proc(facts)
    if sys and sys.kind == "sysfs" and not _is_readonly(facts, sys):
        what = "writes to /sys: the kernel's devices and parameters"
        fix = f'add "ro" to {sys.origin}/options'
        yield Exposure("sys-written", 4.0 * facts.reach, sys.origin, what, fix)
    yield from _cgroups(facts)
    for operation in facts.all(WriteSysctl):
        what = f"sysctl {operation.key} = {operation.value} in its namespaces"
        yield Exposure("sysctl", 0.05, operation.origin, what, f"remove {operation.origin}")


def _is_readonly(facts: Facts, mount: MountFilesystem) -> bool:
    return bool(mount.attributes[0] & mounts.MOUNT_ATTR_RDONLY) or is_readonly(facts, mount.destination)


def _unmasked(facts: Facts, seen: set[str]) -> Iterator[Exposure]:
    hidden = [mask.path for mask in facts.all(MaskPath)]
    paths = [
        path
        for path in _MASKED
        if path[: path.index("/", 1)] in seen
        and not any(path == mask or path.startswith(f"{mask}/") for mask in hidden)
    ]
    if paths:
        weight = sum(_MASKED[path] for path in paths)
        if "/proc/kcore" in paths and facts.has("CAP_SYS_RAWIO"):
            weight += 5.0
        where = facts.origin("linux", "maskedPaths")
        what = f"sees what the kernel tells of the host: {', '.join(paths)}"
        yield Exposure("unmasked", weight, where, what, "add them to /linux/maskedPaths")


def _writable_proc(facts: Facts) -> Iterator[Exposure]:
    for path, (weight, what) in _READONLY.items():
        if not is_readonly(facts, path):
            where = facts.origin("linux", "readonlyPaths")
            key = "proc-written-" + path.rpartition("/")[2]
            yield Exposure(
                key,
                weight * facts.reach,
                where,
                f"writes to {path}: {what}",
                f"add {path} to /linux/readonlyPaths",
            )


def _cgroups(facts: Facts) -> Iterator[Exposure]:
    shown: list[MountFilesystem | BindMount] = [*facts.all(MountFilesystem), *facts.all(BindMount)]
    for mount in shown:
        if not is_of_cgroups(facts, mount.origin) or getattr(mount, "kind", "") == "tmpfs":
            continue
        added = mount.attributes[0] | getattr(mount, "recursive_attributes", (0, 0))[0]
        if not added & mounts.MOUNT_ATTR_RDONLY and not is_readonly(facts, mount.destination):
            what = "changes its own limits: its cgroups are writable"
            fix = f'add "ro" to {mount.origin}/options'
            yield Exposure("cgroups-written", 1.0 * facts.reach, mount.origin, what, fix)
            return
