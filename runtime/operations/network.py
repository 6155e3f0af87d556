"""Operations that move network devices of the host into the container (config-linux.md, Network Devices).

The runtime applies them, on the host; so pyroute2, whose import takes longer than all else that
``create`` does, is loaded only where a config has network devices.
"""

from __future__ import annotations

import errno
import os

from ..errors import NajaError, package_missing
from ..linux import namespaces
from .base import Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RT_SCOPE_UNIVERSE = 0
_IFA_F_NODAD, _IFA_F_DEPRECATED, _IFA_F_PERMANENT = 0x02, 0x20, 0x80
#: Flags of an address that its owner chose; the kernel finds out the others by itself
#: (linux/if_addr.h: NODAD, HOMEADDRESS, MANAGETEMPADDR, NOPREFIXROUTE, MCAUTOJOIN).
_CHOSEN = _IFA_F_NODAD | 0x10 | 0x100 | 0x200 | 0x400
#: What an address is, beside its length, as netlink names it.
_ATTRIBUTES = ("address", "local", "broadcast", "rt_priority", "proto")
_FOREVER = 0xFFFFFFFF
_LONGEST_NAME = 15


class CheckDevice(Operation):
    """Check that a device can move, before the first one does."""

    __slots__ = ("device", "name")

    def __init__(self, device: str, name: str, *, origin: str) -> None:
        self.origin = origin
        self.device = device
        #: What it is to be called inside; "%d" at its end stands for a number that the kernel chooses.
        self.name = name

    def describe(self) -> str:
        return f"check that network device {self.device} can become {self.name} inside"

    def explain(self, error: OSError, context: Context) -> str:
        denied = error.errno in (errno.EACCES, errno.EPERM)
        return "only root may move a device of the host's" if denied else ""

    def apply(self, context: Context) -> None:
        with _Namespace(context.pid) as namespace:
            if namespace.is_own():
                raise NajaError(
                    f"network device {self.device} cannot move",
                    why="the container is in the runtime's own network namespace",
                )
            with _connect() as outside, namespace.connect() as inside:
                _find(outside, self.device)
                if not self.name.endswith("%d") and inside.link_lookup(ifname=self.name):
                    raise NajaError(
                        f"network device {self.device} cannot become {self.name} inside", errno=errno.EEXIST
                    )


class MoveDevice(Operation):
    """Move a device into the container's network namespace with its permanent global addresses, and up.

    It is never moved back: it belongs to its namespace from then on.
    """

    __slots__ = ("device", "name")

    def __init__(self, device: str, name: str, *, origin: str) -> None:
        self.origin = origin
        self.device = device
        self.name = name

    def describe(self) -> str:
        renamed = f" as {self.name}" if self.name != self.device else ""
        return f"move network device {self.device} into the container{renamed}"

    def apply(self, context: Context) -> None:
        with _Namespace(context.pid) as namespace, _connect() as outside, namespace.connect() as inside:
            try:
                self._move(outside, inside, namespace.descriptor)
            except _netlink_error() as error:
                why = (
                    "the kernel keeps this kind of device in its namespace"
                    if error.code == errno.EINVAL
                    else ""
                )
                raise NajaError(self.describe(), errno=error.code, why=why) from None

    def _move(self, outside: Any, inside: Any, namespace: int) -> None:
        link = _find(outside, self.device)
        # The move loses them all; and taking the device down first would lose those of IPv6.
        addresses = [address for address in outside.get_addr(index=link["index"]) if _is_kept(address)]
        index, choice = _free_index(inside, link["index"])
        # One request moves and renames, so that a name taken inside is met by the new one only.
        outside.link("set", index=link["index"], net_ns_fd=namespace, ifname=self.name, **choice)
        name = _get(inside.get_links(index)[0], "IFLA_IFNAME")
        for address in addresses:
            inside.addr("add", index=index, **_portable(address, self.device, name))
        inside.link("set", index=index, state="up")


class _Namespace:
    """The network namespace of a process, held open."""

    def __init__(self, pid: int) -> None:
        self._path = f"/proc/{pid}/ns/net"

    def __enter__(self) -> _Namespace:
        self.descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
        os.close(self._own)

    def is_own(self) -> bool:
        """Say whether it is the caller's own."""
        return os.path.sameopenfile(self.descriptor, self._own)

    def connect(self) -> Any:
        """Return a netlink connection into it. Raises OSError."""
        # A socket belongs for good to the namespace in which it was made.
        namespaces.setns(self.descriptor, namespaces.CLONE_NEWNET)
        try:
            return _connect()
        finally:
            namespaces.setns(self._own, namespaces.CLONE_NEWNET)


def _connect() -> Any:
    """Return a netlink connection into the caller's network namespace. Raises NajaError, OSError."""
    try:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]
    except ImportError as error:
        raise package_missing("moving a network device", "pyroute2", error) from None
    return IPRoute()


def _netlink_error() -> Any:
    from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

    return NetlinkError


def _find(connection: Any, device: str) -> Any:
    """Return the link message of a device. Raises NajaError."""
    for index in connection.link_lookup(ifname=device):
        return connection.get_links(index)[0]
    there = ", ".join(_get(link, "IFLA_IFNAME") for link in connection.get_links())
    raise NajaError(f"network device {device}", errno=errno.ENODEV, why=f"there are {there}")


def _get(message: Any, attribute: str) -> Any:
    return message.get_attr(attribute)


def _free_index(inside: Any, index: int) -> tuple[int, dict[str, int]]:
    """Return the index that a device will have inside, and how to ask for it.

    It is how the device is found again where the kernel chooses its name. The kernel keeps the
    index where it is free; since Linux 5.13 another one can be asked for.
    """
    taken = {link["index"] for link in inside.get_links()}
    if index not in taken:
        return index, {}
    index = max(taken) + 1
    return index, {"new_ifindex": index}


def _is_kept(address: Any) -> bool:
    flags = _get(address, "IFA_FLAGS") or address["flags"]
    return bool(flags & _IFA_F_PERMANENT) and address["scope"] == _RT_SCOPE_UNIVERSE


def _portable(address: Any, old: str, new: str) -> dict[str, Any]:
    """Return what makes an address anew, on a device that was called ``old`` and is ``new`` now."""
    flags = _get(address, "IFA_FLAGS") or address["flags"]
    request = {
        "family": address["family"],
        "prefixlen": address["prefixlen"],
        "scope": address["scope"],
        "flags": flags & _CHOSEN,
        "preferred_lft": 0 if flags & _IFA_F_DEPRECATED else _FOREVER,
        "valid_lft": _FOREVER,
    }
    for name in _ATTRIBUTES:
        value = _get(address, f"IFA_{name.upper()}")
        if value is not None:
            request[name] = value
    # A label is the device's name, or starts with it and a colon.
    label = new + (_get(address, "IFA_LABEL") or old).removeprefix(old)
    if len(os.fsencode(label)) <= _LONGEST_NAME:
        request["label"] = label
    return request
