"""Who has which address of a bridge's subnet: one JSON file for each bridge, guarded by a lock."""

from __future__ import annotations

import argparse
import fcntl
import ipaddress
import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from hooklib.program import HookError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


@dataclass(frozen=True)
class Port:
    """A port of the host that leads to a port of a container."""

    host: int
    container: int
    protocol: str = "tcp"
    #: Address of the host; "" for all of them.
    listen: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "[ADDRESS:]HOST:CONTAINER[/PROTOCOL]". Raises argparse.ArgumentTypeError."""
        ports, _, protocol = text.partition("/")
        first, _, container = ports.rpartition(":")
        listen, _, host = first.rpartition(":")
        try:
            numbers = int(host), int(container)
            if listen:
                ipaddress.IPv4Address(listen)
        except ValueError:
            numbers = 0, 0
        if protocol not in ("", "tcp", "udp") or not all(0 < number < 1 << 16 for number in numbers):
            raise argparse.ArgumentTypeError(f"{text!r} is not [ADDRESS:]HOST:CONTAINER[/tcp|udp]")
        return cls(*numbers, protocol or "tcp", listen)

    @classmethod
    def add_option(cls, parser: argparse.ArgumentParser) -> None:
        """Have a command line take ports, as ``publish``."""
        parser.add_argument(
            "--publish",
            type=cls.parse,
            action="append",
            default=[],
            metavar="[ADDRESS:]HOST:CONTAINER[/tcp|udp]",
            help="have a port of the host lead to one of the container; may be repeated",
        )


@dataclass
class Lease:
    """What one container has: an address, the end of its cable on the host, ports."""

    id: str
    address: str
    #: Name of the host's end of the veth pair; it goes when the container's network namespace goes.
    veth: str
    ports: list[Port] = field(default_factory=list)
    #: Whether it reaches the world under the host's address.
    masquerade: bool = False

    @property
    def has_rules(self) -> bool:
        """Whether the packet filter has to know of it."""
        return self.masquerade or bool(self.ports)


class Leases:
    """The leases of a bridge, locked; used as a context manager.

    Changes are written by ``save``.
    """

    def __init__(self, directory: str, bridge: str, subnet: ipaddress.IPv4Network) -> None:
        self._path = os.path.join(directory, f"{bridge}.json")
        self.bridge = bridge
        self.subnet = subnet
        #: Whether the bridge was made by this hook, and so is its to remove.
        self.made = False
        self.all: list[Lease] = []

    def __enter__(self) -> Self:
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            with open(self._path) as file:
                self._read(json.load(file))
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError) as error:
            raise HookError(f"{self._path} is damaged: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def _read(self, document: dict[str, Any]) -> None:
        self.made = document["made"]
        self.all = [
            Lease(**{**entry, "ports": [Port(**port) for port in entry["ports"]]})
            for entry in document["leases"]
        ]
        subnet = ipaddress.IPv4Network(document["subnet"])
        if self.all and subnet != self.subnet:
            raise HookError(f"{self.bridge} has containers of subnet {subnet}, not of {self.subnet}")

    def save(self) -> None:
        """Write the leases; readers see the old file or the new one, whole."""
        leases = [asdict(lease) for lease in self.all]
        with open(f"{self._path}.new", "w") as file:
            json.dump({"subnet": str(self.subnet), "made": self.made, "leases": leases}, file, indent=1)
        os.rename(f"{self._path}.new", self._path)

    @property
    def gateway(self) -> ipaddress.IPv4Address:
        """The bridge's own address: the first of the subnet."""
        return self.subnet.network_address + 1

    def free_address(self, wanted: str = "") -> str:
        """Return an address that nobody has: ``wanted`` where given, else the lowest. Raises HookError."""
        taken = {lease.address for lease in self.all} | {str(self.gateway)}
        if wanted:
            if ipaddress.IPv4Address(wanted) not in self.subnet:
                raise HookError(f"address {wanted} is not of subnet {self.subnet}")
            if wanted in taken:
                raise HookError(f"address {wanted} is taken")
            return wanted
        for address in self.subnet.hosts():
            if str(address) not in taken:
                return str(address)
        raise HookError(f"subnet {self.subnet} has no free address")

    def check_port(self, wanted: Port) -> None:
        """Refuse a port of the host that another container has. Raises HookError."""
        for lease in self.all:
            for port in lease.ports:
                same = (port.host, port.protocol) == (wanted.host, wanted.protocol)
                if same and (not port.listen or not wanted.listen or port.listen == wanted.listen):
                    raise HookError(f"port {port.host}/{port.protocol} leads to container {lease.id} already")

    def find(self, id: str) -> Lease | None:
        """Return the lease of a container, None where it has none."""
        return next((lease for lease in self.all if lease.id == id), None)
