"""What cgroup hierarchies this host has mounted, and where a container's cgroup lies in them.

cgroups(7). A *hierarchy* is one mounted tree: a v1 tree with its controllers ("memory",
"cpu,cpuacct"), a named v1 tree without any ("name=systemd"), or the v2 tree (""). A *hybrid* host
has v1 trees with controllers and a v2 tree beside them.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from ..linux.cgroupfs import cgroup_mounts

_TOP = "/sys/fs/cgroup"


class Hierarchies:
    """The mounted hierarchies; plain data."""

    __slots__ = ("kind", "mounts", "own")

    def __init__(self, kind: str, mounts: dict[str, str], own: dict[str, str]) -> None:
        #: "v2" where the v2 tree is the only one that counts, "v1" otherwise (hybrid too).
        self.kind = kind
        #: Mount point by hierarchy name, as in /proc/self/cgroup.
        self.mounts = mounts
        #: The caller's own cgroup below each mount point ("/user.slice"), by the same names.
        self.own = own

    def is_others(self, path: str) -> bool:
        """Tell whether a path is that of a cgroup, and of none that the caller is in."""
        inside = [f"{mount}{self.own[name]}/" for name, mount in self.mounts.items()]
        is_cgroup = any(path.startswith(f"{mount}/") for mount in self.mounts.values())
        return is_cgroup and not any(own.startswith(f"{path}/") for own in inside)


def detect() -> Hierarchies:
    """Look at this process's mounts and cgroups. Raises OSError where /proc cannot be read."""
    return parse(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))


def membership(pid: int) -> dict[str, str]:
    """Return a process's cgroup below each mount point, by hierarchy name; none where it has ended."""
    try:
        return parse(_read("/proc/self/mountinfo"), _read(f"/proc/{pid}/cgroup")).own
    except OSError:
        return {}


def parse(mountinfo: str, membership: str) -> Hierarchies:
    """Make sense of the texts of /proc/PID/mountinfo (proc(5)) and /proc/PID/cgroup (cgroups(7))."""
    trees = cgroup_mounts(mountinfo)
    v1 = [tree for tree in trees if tree[2] != {""}]
    v2 = [(point, root) for point, root, controllers in trees if controllers == {""}]
    kind = "v2" if any(point == _TOP for point, _ in v2) or (v2 and not v1) else "v1"
    mounts: dict[str, str] = {}
    own: dict[str, str] = {}
    for line in membership.splitlines():
        _, name, path = line.split(":", 2)
        if name:
            names = set(name.split(","))
            found = [(point, root) for point, root, options in v1 if names <= options]
        else:
            found = v2
        if not found or (kind == "v2" and name):
            continue
        # A tree may be mounted many times (every container has its own view): the host's place first.
        point, root = next((entry for entry in found if f"{entry[0]}/".startswith(f"{_TOP}/")), found[0])
        mounts[name] = point
        own[name] = _below(root, path)
    return Hierarchies(kind, mounts, own)


def _below(root: str, path: str) -> str:
    """Return a cgroup's path as seen below a mount whose root is another cgroup (inside a container)."""
    if root == "/":
        return path
    # Outside of what is mounted (no cgroup namespace, yet a partial view): the top of the view.
    return path[len(root) :] if path.startswith(f"{root}/") else "/"


def _read(path: str) -> str:
    with open(path, "rb") as file:
        return os.fsdecode(file.read())


def locate(hierarchies: Hierarchies, cgroups_path: str, id: str) -> dict[str, str]:
    """Return the container's cgroup below each mount point, by hierarchy name.

    config-linux.md, Cgroups Path, with runc's reading of what it leaves open: an absolute path
    starts at the mount point; a relative one (the id, where there is none) at the caller's own
    cgroup on v1, and beside it on v2, where a cgroup with processes cannot have children with
    controllers. ``..`` goes nowhere above the mount point.
    """
    if cgroups_path.startswith("/"):
        return dict.fromkeys(hierarchies.mounts, _clean(cgroups_path))
    inner = _clean(cgroups_path or id)
    paths: dict[str, str] = {}
    for name, own in hierarchies.own.items():
        base = os.path.dirname(own) if hierarchies.kind == "v2" else own
        paths[name] = _clean(base + inner)
    return paths


def _clean(path: str) -> str:
    # Two slashes at the start would stay two: POSIX lets them mean something special.
    return os.path.normpath("/" + path.lstrip("/"))


def directories(mounts: dict[str, str], paths: dict[str, str]) -> dict[str, str]:
    """Return the container's directory in each hierarchy, by hierarchy name."""
    return {name: (mounts[name] + path).rstrip("/") or "/" for name, path in paths.items()}


def by_controller(directories: dict[str, str]) -> dict[str, str]:
    """Return the directories by the name of each single controller ("cpu", "cpuacct")."""
    return {single: path for name, path in directories.items() for single in name.split(",")}


def subgroup(directory: str, path: str) -> str:
    """Return a cgroup below ``directory`` (``exec --cgroup``). Raises NajaError where it is not below."""
    if ".." in path.split("/"):
        raise NajaError(f"sub-cgroup {path!r}", why="it must not contain '..'")
    return directory + _clean(path) if path.strip("/") else directory
