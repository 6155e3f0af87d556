"""The network devices of the host that a container gets (config-linux.md, Network Devices)."""

from __future__ import annotations

import os

from ..config.pattern import escape
from ..errors import NajaError
from ..operations.network import CheckDevice, MoveDevice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..operations.base import Operation
    from .request import Request

#: IFNAMSIZ without the byte that ends a name (netdevice(7)).
_LONGEST_NAME = 15


def adopt(request: Request) -> list[Operation]:
    """Return what the runtime does once the container's process is in its network namespace.

    All devices are checked before the first one moves. Raises NajaError for names that the kernel
    would not take, for two devices of one name, and where the container has no network namespace.
    """
    devices = request.config["linux"].get("netDevices") or {}
    if devices and "network" not in request.namespaces():
        raise NajaError("network devices need a network namespace to move into", origin="/linux/netDevices")
    checks: list[Operation] = []
    moves: list[Operation] = []
    taken: dict[str, str] = {}
    for device, entry in devices.items():
        origin = f"/linux/netDevices/{escape(device)}"
        name = entry.get("name") or device
        _check_name(device, origin)
        _check_name(name.removesuffix("%d"), f"{origin}/name", _LONGEST_NAME - 2 * name.endswith("%d"))
        if name in taken and not name.endswith("%d"):
            raise NajaError(
                f"network device {device} cannot become {name} inside",
                why=f"so does network device {taken[name]}",
                origin=f"{origin}/name",
            )
        taken[name] = device
        checks.append(CheckDevice(device, name, origin=origin))
        moves.append(MoveDevice(device, name, origin=origin))
    return checks + moves


def _check_name(name: str, origin: str, longest: int = _LONGEST_NAME) -> None:
    """Refuse what cannot be the name of a network device. Raises NajaError."""
    good = name not in ("", ".", "..") and name.isprintable() and len(os.fsencode(name)) <= longest
    if not good or any(character in "/:% " for character in name):
        raise NajaError(f"{name!r} cannot be the name of a network device", origin=origin)
