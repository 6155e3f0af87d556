"""What the host's paths are worth: what could be done with one that a container may write to, or read."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Place:
    """``write`` and ``read`` are weights, ``what`` is there; ``roots`` is whether it takes root's rights."""

    __slots__ = ("read", "roots", "what", "write")

    def __init__(self, write: float, read: float, what: str, *, roots: bool = True) -> None:
        self.write = write
        self.read = read
        self.what = what
        self.roots = roots


_ENGINES = Place(9.0, 2.0, "what an engine keeps of its containers")
_PROGRAMS = Place(8.5, 0.1, "programs that the host runs")

#: Directories and files by what they are worth.
_PLACES = {
    "/": Place(9.8, 5.0, "the whole host"),
    "/boot": Place(8.5, 0.3, "the kernel that the host boots"),
    "/dev": Place(5.0, 4.0, "the host's devices"),
    "/etc": Place(9.0, 1.5, "the host's configuration: users, passwords, services"),
    "/etc/gshadow": Place(9.0, 1.5, "passwords of the host"),
    "/etc/kubernetes": Place(9.0, 4.0, "keys of the cluster"),
    "/etc/shadow": Place(9.0, 1.5, "passwords of the host"),
    "/etc/ssh": Place(9.0, 2.0, "the host's keys"),
    "/etc/ssl/private": Place(3.0, 2.0, "the host's keys"),
    "/home": Place(6.0, 2.0, "the homes of users", roots=False),
    "/opt": _PROGRAMS,
    "/proc": Place(8.0, 3.0, "the host's processes, and the kernel's parameters"),
    "/root": Place(8.0, 2.0, "root's home: keys, and what its shell runs"),
    "/run": Place(8.0, 6.0, "sockets and state of the host's services"),
    "/run/systemd": Place(7.0, 3.0, "the service manager's state and sockets"),
    "/sys": Place(4.0, 0.3, "the kernel's devices and parameters"),
    "/sys/fs/bpf": Place(4.0, 0.5, "programs and maps in the kernel"),
    "/sys/fs/cgroup": Place(5.0, 0.2, "the cgroups of the host"),
    "/sys/kernel/debug": Place(6.0, 3.0, "the kernel's insides"),
    "/sys/kernel/tracing": Place(6.0, 3.0, "the kernel's insides"),
    "/tmp": Place(1.5, 0.5, "files that others on the host are about to use", roots=False),
    "/usr": _PROGRAMS,
    "/var": Place(8.0, 2.0, "data of the host's services, and their jobs"),
    "/var/lib": Place(8.0, 2.0, "data of the host's services"),
    "/var/lib/containerd": _ENGINES,
    "/var/lib/containers": _ENGINES,
    "/var/lib/docker": _ENGINES,
    "/var/lib/kubelet": _ENGINES,
    "/var/log": Place(1.5, 0.5, "logs of the host"),
    "/var/spool/cron": Place(9.0, 0.3, "what the host runs at its times"),
}

#: Of these, whatever lies below is worth the same to who writes it, or reads it.
_ALL_BELOW_WRITTEN = (
    *("/boot", "/etc", "/opt", "/proc", "/root", "/run/systemd", "/sys", "/sys/fs/bpf", "/sys/fs/cgroup"),
    *("/sys/kernel/debug", "/sys/kernel/tracing", "/usr", "/var/spool/cron", "/etc/shadow", "/etc/gshadow"),
    *("/etc/kubernetes", "/etc/ssh", "/etc/ssl/private"),
)
_ALL_BELOW_READ = (
    *("/etc/kubernetes", "/etc/ssh", "/etc/ssl/private", "/etc/shadow", "/etc/gshadow", "/root", "/proc"),
    *("/sys/kernel/debug", "/sys/kernel/tracing"),
)

#: Other names of the same directories, on most hosts.
_ALIASES = {"/var/run": "/run", **{f"/{name}": f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}}

_DAEMONS = ("docker.sock", "podman.sock", "containerd.sock", "crio.sock", "buildkitd.sock")
#: Sockets whose owner does what it is told, as root; read-only says nothing to connect(2).
_SOCKETS = {
    **dict.fromkeys(_DAEMONS, Place(9.8, 9.8, "its daemon runs for it whatever it says, as root")),
    "system_bus_socket": Place(4.0, 4.0, "the services of the host take orders on this bus"),
    "snapd.socket": Place(6.0, 6.0, "its daemon installs for it whatever it says"),
}
_SOCKET_DIRECTORIES = {
    f"/run/{name}": _SOCKETS[_DAEMONS[0]] for name in ("containerd", "docker", "podman", "crio")
}

_HARMLESS_DEVICES = frozenset(
    ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue")
)

OTHER = Place(0.7, 0.1, "files of the host", roots=False)


def judge(path: str, resolve: Callable[[str], str] = os.path.realpath) -> Place | None:
    """Return what a path of the host is worth, by what it leads to; None where that is nothing.

    By its name alone where there is no such path here.
    """
    candidates = [_place(_unaliased(path))]
    leads = resolve(path)
    if leads != path:
        candidates.append(_place(_unaliased(leads)))
    return max(candidates, key=_worth)


def _worth(place: Place | None) -> float:
    return place.write if place else -1.0


def _unaliased(path: str) -> str:
    path = os.path.normpath(path)
    for alias, name in _ALIASES.items():
        if path == alias or path.startswith(f"{alias}/"):
            return name + path[len(alias) :]
    return path


def _place(path: str) -> Place | None:
    name = path.rpartition("/")[2]
    if path in _PLACES:
        return _PLACES[path]
    for sockets, key in ((_SOCKETS, name), (_SOCKET_DIRECTORIES, path)):
        if key in sockets:
            return sockets[key]
    if path.startswith("/dev/"):
        first = path.split("/")[2]
        return None if first in _HARMLESS_DEVICES else Place(2.0, 1.5, "a device of the host")
    if os.path.dirname(path) == "/home":
        return _PLACES["/home"]
    above = _nearest(path)
    if above is None:
        return OTHER
    write = _PLACES[above].write if above in _ALL_BELOW_WRITTEN else OTHER.write
    read = _PLACES[above].read if above in _ALL_BELOW_READ else OTHER.read
    roots = write != OTHER.write
    return Place(write, read, _PLACES[above].what if roots else OTHER.what, roots=roots)


def _nearest(path: str) -> str | None:
    """Return the nearest directory above that is worth something by itself, but not "/"."""
    while len(path) > 1:
        path = os.path.dirname(path)
        if path in _PLACES and path != "/":
            return path
    return None
