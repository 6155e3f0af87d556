"""What kind of cgroups there is, which controllers, and whether a container's cgroup can be made."""

from __future__ import annotations

import contextlib
import os

from .. import cgroups
from ..cgroups.hierarchies import locate
from ..errors import NajaError
from ..linux import bpf, process
from ..linux.cgroupfs import read, write
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..cgroups import Hierarchies
    from .host import Host

#: What is limited by each controller (of /linux/resources), and its name on version 1 where that differs.
_CONTROLLERS = {
    "memory": ("memory", "memory"),
    "cpu": ("cpu", "cpu"),
    "cpuset": ("cpu/cpus, cpu/mems", "cpuset"),
    "pids": ("pids", "pids"),
    "io": ("blockIO", "blkio"),
    "hugetlb": ("hugepageLimits", "hugetlb"),
    "rdma": ("rdma", "rdma"),
    "devices": ("devices", "devices"),
    "net_cls": ("network/classID", "net_cls"),
    "net_prio": ("network/priorities", "net_prio"),
}
_V1_ONLY = ("net_cls", "net_prio")


class Probe:
    """Cgroups where a container's would be, for the time of a ``with``.

    ``places`` has their directories by hierarchy, ``refused`` why there is none.
    """

    def __init__(self, hierarchies: Hierarchies, path: str = "") -> None:
        self.hierarchies = hierarchies
        name = f"naja-doctor-{os.getpid()}"
        if path.startswith("/"):
            name = f"{os.path.dirname(path).rstrip('/')}/{name}"
        self._wanted = cgroups.directories(hierarchies.mounts, locate(hierarchies, name, name))
        self.places: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self._made: list[str] = []

    def __enter__(self) -> Probe:
        for hierarchy, place in self._wanted.items():
            try:
                self._make(place)
                self.places[hierarchy] = place
            except OSError as error:
                self.refused[hierarchy] = str(NajaError.from_os_error(f"make {place}", error))
        return self

    def _make(self, place: str) -> None:
        above = os.path.dirname(place)
        if not os.path.isdir(above):
            self._make(above)
        os.mkdir(place)
        self._made.append(place)
        for file in ("cpuset.cpus", "cpuset.mems"):
            # Of version 1: it holds nothing, and nobody can be in it.
            if os.path.exists(f"{place}/{file}") and not read(f"{place}/{file}"):
                with contextlib.suppress(OSError):
                    write(f"{place}/{file}", read(f"{above}/{file}"))

    def __exit__(self, *_: object) -> None:
        for place in reversed(self._made):
            with contextlib.suppress(OSError):  # Somebody else has put something into one above.
                os.rmdir(place)


def findings(host: Host) -> Iterator[Finding]:
    """Yield findings about cgroups."""
    hierarchies = cgroups.detect()
    if not hierarchies.mounts:
        remedy = "mount cgroup2 on /sys/fs/cgroup"
        yield Finding("cgroups", "none are mounted", needed="/linux/resources", remedy=remedy)
        return
    hybrid = hierarchies.kind == "v1" and "" in hierarchies.mounts
    yield Finding(
        "cgroups", needed="/linux/resources", detail="v1, v2 beside it" if hybrid else hierarchies.kind
    )
    with Probe(hierarchies) as probe:
        refused = next(iter(probe.refused.values()), "")
        remedy = "run it below a systemd that delegates (systemd-run --user --scope), or as root"
        needed = "/linux/cgroupsPath and limits"
        yield Finding("cgroup-made", "" if probe.places else refused, needed=needed, remedy=remedy)
        for controller in _CONTROLLERS:
            yield _controller(probe, controller)
        yield _born_inside(probe)
    yield _systemd(host)


def _controller(probe: Probe, controller: str) -> Finding:
    limits, name = _CONTROLLERS[controller]
    needed = ", ".join(f"/linux/resources/{limit}" for limit in limits.split(", "))
    kind = probe.hierarchies.kind
    if kind == "v2":
        why, remedy = _of_v2(probe, controller)
    else:
        why, remedy = _of_v1(probe, name)
        if why and controller in ("hugetlb", "rdma") and "" in probe.places:
            why, remedy = _of_v2(probe, controller)  # As naja does it on a hybrid host.
    return Finding(f"controller-{controller}", why, needed=needed, remedy=remedy)


def _of_v1(probe: Probe, name: str) -> tuple[str, str]:
    hierarchy = next((key for key in probe.hierarchies.mounts if name in key.split(",")), None)
    if hierarchy is None:
        known = any(line.split()[0] == name for line in read("/proc/cgroups").splitlines())
        if known:
            return "its hierarchy is not mounted", f"mount -t cgroup -o {name} {name} /sys/fs/cgroup/{name}"
        return "the kernel has none", "another kernel, or cgroup_enable= on its command line"
    return probe.refused.get(hierarchy, ""), "the rights over its hierarchy"


def _of_v2(probe: Probe, controller: str) -> tuple[str, str]:
    if controller in _V1_ONLY:
        return "cgroup v2 has nothing like it", "a host with cgroup v1, or filter by cgroup path (nftables)"
    place = probe.places.get("")
    if place is None:
        return probe.refused.get("", "no cgroup can be made"), "a cgroup that is delegated to the user"
    if controller == "devices":
        return _device_filter(place), "CAP_BPF, or root: a user's container can make no devices anyway"
    if controller in read(f"{place}/cgroup.controllers").split():
        return "", ""
    return _to_be_enabled(probe.hierarchies.mounts[""], os.path.dirname(place), controller)


def _to_be_enabled(top: str, directory: str, controller: str) -> tuple[str, str]:
    """Tell why a controller cannot be enabled below a cgroup and, as naja does it, on the way there."""
    above, levels = directory, []
    while controller not in read(f"{above}/cgroup.controllers").split():
        levels.append(above)
        if above == top:
            remedy = "another kernel, or cgroup_enable= on its command line; or v1 has it: cgroup_no_v1="
            return f"{above} has not got it", remedy
        above = os.path.dirname(above)
    if levels and not os.access(f"{above}/cgroup.subtree_control", os.W_OK):
        remedy = f"systemd: Delegate={controller}; else write +{controller} to cgroup.subtree_control above"
        return f"{directory} has not got it", remedy
    why = next(filter(None, (_enabled(level, controller) for level in (above, *reversed(levels)))), "")
    return why, "no process may be in the cgroup above, and its files must be the user's"


def _enabled(directory: str, controller: str) -> str:
    """Tell why a controller that is there cannot be enabled below a cgroup; "" where it can."""
    file = f"{directory}/cgroup.subtree_control"
    if not os.access(file, os.W_OK):
        return f"{file} may not be written to"
    inhabited = os.path.exists(f"{directory}/cgroup.type") and bool(read(f"{directory}/cgroup.procs"))
    return f"there are processes in {directory}" if inhabited else ""


def _device_filter(place: str) -> str:
    descriptor = os.open(os.fsencode(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bpf.attach_device_filter(descriptor, bpf.device_program([], allow_all=True))
    except OSError as error:
        return str(NajaError.from_os_error("attach a BPF program to a cgroup", error))
    finally:
        os.close(descriptor)
    return ""


def _born_inside(probe: Probe) -> Finding:
    """CLONE_INTO_CGROUP: naja does without where it is not there."""
    needed = "a process that is never outside of its cgroup"
    place = probe.places.get("")
    if place is None:
        return Finding("clone-into-cgroup", "no cgroup v2 can be made", needed=needed, remedy="cgroup v2")
    descriptor = os.open(os.fsencode(place), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        pid = process.clone3(0, cgroup_fd=descriptor)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    except OSError as error:
        why = str(NajaError.from_os_error("clone3 into a cgroup", error))
        return Finding("clone-into-cgroup", why, needed=needed, remedy="Linux 5.7")
    finally:
        os.close(descriptor)
    return Finding("clone-into-cgroup", needed=needed)


def _systemd(host: Host) -> Finding:
    needed = "--systemd-cgroup"
    try:
        from ..systemd.bus import Systemd

        with Systemd(user=host.rootless) as systemd:
            version = systemd.property("Version")
    except (NajaError, OSError, ImportError) as error:
        which = (
            "the user's systemd (loginctl enable-linger USER)" if host.rootless else "systemd as process 1"
        )
        remedy = f"it takes {which}, its bus (the package dbus), and the Python package jeepney"
        return Finding("systemd", str(error), needed=needed, remedy=remedy)
    return Finding("systemd", needed=needed, detail=version)
