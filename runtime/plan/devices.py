"""Compiles the content of /dev: default devices and links, ``linux.devices``. Pure."""

from __future__ import annotations

from ..operations.devices import BindDevice, MakeDevice, MakeSymlink

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        path, kind = "/" + device["path"].lstrip("/"), device["type"]
        major, minor = device.get("major", 0), device.get("minor", 0)
        if (path, kind, major, minor) == _PTMX:
            continue  # The link below is the one of the container's own terminals.
        taken.add(path)
        if bind and kind != "p":
            operations.append(BindDevice(path, kind, major, minor, origin=origin))
            continue
        mode, uid, gid = (device.get(name) for name in ("fileMode", "uid", "gid"))
        operations.append(
            MakeDevice(
                path,
                kind,
                major,
                minor,
                mode=0o666 if mode is None else mode,
                uid=uid or 0,
                gid=gid or 0,
                origin=origin,
            )
        )
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
