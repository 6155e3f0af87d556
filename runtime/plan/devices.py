"""Compiles the content of /dev: default devices and links, ``linux.devices``. Pure."""

from __future__ import annotations

from ..operations.devices import BindDevice, MakeDevice, MakeSymlink
from . import sources
from .mount import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .mount import Mount
    from .request import Request

#: The devices that every container has (config-linux.md, Default Devices).
_DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)

#: And the symbolic links (runtime-linux.md, Dev symbolic links).
_DEFAULT_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)


#: The device of all terminals; those of a container are a file system of their own.
_PTMX = ("/dev/ptmx", "c", 5, 2)


def dev_is_bound(entries: list[Mount]) -> bool:
    """Tell whether /dev is somebody else's directory, which has its own devices and is left alone."""
    return any(mount.bind and mount.destination == "/dev" for mount in entries)


def prepare(request: Request, entries: list[Mount]) -> list[Operation]:
    """Return what the runtime does for devices in a user namespace, which may make none."""
    listed = (request.config.get("linux") or {}).get("devices")
    if not listed or not _are_made(request) or dev_is_bound(entries):
        return []
    from ..operations.nodes import MakeNodes  # A module that few containers need.

    devices = []
    for index, device in enumerate(listed):
        path, kind = clean(device["path"]), device["type"]
        if kind != "p" and (path, kind, device["major"], device["minor"]) != _PTMX:
            asked = any(device.get(name) is not None for name in ("fileMode", "uid", "gid"))
            node = (path, kind, device["major"], device["minor"])
            devices.append((_name(index), node, _access(device), asked))
    linux, namespace = request.config["linux"], request.namespaces()["user"]
    uids, gids = sources.triples(linux.get("uidMappings")), sources.triples(linux.get("gidMappings"))
    return [MakeNodes(devices, uids=uids, gids=gids, namespace=namespace)] if devices else []


def _are_made(request: Request) -> bool:
    return "user" in request.namespaces() and not request.rootless


def _name(index: int) -> str:
    return f"device {index}"


def _access(device: dict[str, Any]) -> tuple[int, int, int]:
    """Return mode, uid and gid that a device is to have."""
    mode = device.get("fileMode")
    return 0o666 if mode is None else mode, device.get("uid") or 0, device.get("gid") or 0


def compile_devices(request: Request, entries: list[Mount]) -> list[Operation]:
    """Return the operations that fill /dev. Raises NajaError."""
    if dev_is_bound(entries):
        return []
    # A user namespace may not make device nodes, only show those of the host.
    bind = request.rootless or "user" in request.namespaces()
    operations: list[Operation] = []
    taken = {mount.destination for mount in entries}
    for index, device in enumerate((request.config.get("linux") or {}).get("devices") or ()):
        origin = f"/linux/devices/{index}"
        path, kind = clean(device["path"]), device["type"]
        major, minor = device.get("major", 0), device.get("minor", 0)
        if (path, kind, major, minor) == _PTMX:
            continue  # The link below is the one of the container's own terminals.
        taken.add(path)
        if bind and kind != "p":
            prepared = _name(index) if _are_made(request) else ""
            operations.append(BindDevice(path, kind, major, minor, prepared=prepared, origin=origin))
            continue
        mode, uid, gid = _access(device)
        operations.append(MakeDevice(path, kind, major, minor, mode=mode, uid=uid, gid=gid, origin=origin))
    for path, major, minor in _DEFAULT_DEVICES:
        if path not in taken:
            operations.append((BindDevice if bind else MakeDevice)(path, "c", major, minor))
    operations += [MakeSymlink(path, target) for path, target in _DEFAULT_LINKS if path not in taken]
    if "/dev/core" not in taken:
        # Not every kernel is built with one.
        operations.append(MakeSymlink("/dev/core", "/proc/kcore", exists="/proc/kcore"))
    if "/dev/ptmx" not in taken:
        operations.append(MakeSymlink("/dev/ptmx", "pts/ptmx", replace=True))
    return operations
