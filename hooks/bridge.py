#!/usr/bin/env python3
"""Connect a container to a bridge: a hook for createRuntime (or prestart) and poststop.

Name it in both places with the same arguments. At createRuntime it makes the bridge where it does not
exist, connects it with the container's network namespace by a veth pair, gives the container a free
address of the subnet and a default route, and lets it reach the world (masquerade) and be reached
(--publish). At poststop it takes back all of that; the bridge goes with the last container.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import ipaddress
import os
from typing import TYPE_CHECKING, Any

from hooklib import firewall
from hooklib.leases import Lease, Leases, Port
from hooklib.program import Arguments, HookError, read_state, run

if TYPE_CHECKING:
    from collections.abc import Iterator


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = Arguments("bridge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bridge", default="naja0", metavar="NAME", help="name of the bridge (naja0)")
    parser.add_argument(
        "--subnet",
        type=ipaddress.IPv4Network,
        default=ipaddress.IPv4Network("10.90.0.0/16"),
        help="addresses of the bridge, which has the first, and of its containers (10.90.0.0/16)",
    )
    parser.add_argument("--address", default="", help="the container's address (the lowest that is free)")
    parser.add_argument("--interface", default="eth0", metavar="NAME", help="its name inside (eth0)")
    parser.add_argument("--mtu", type=int, default=0, help="of the bridge and the interface (the kernel's)")
    Port.add_option(parser)
    parser.add_argument(
        "--masquerade",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="let containers reach the world under the host's address",
    )
    parser.add_argument("--firewall", choices=("auto", "iptables", "nft"), default="auto")
    parser.add_argument("--directory", default="/run/naja-bridge", help="for the leases (/run/naja-bridge)")
    return parser.parse_args()


def main() -> None:
    """Do what the container's state asks for."""
    options = arguments()
    state = read_state()
    with Leases(options.directory, options.bridge, options.subnet) as leases, connection() as host:
        network = Network(options, leases, host)
        if state["status"] == "stopped":
            network.disconnect(state["id"])
        else:
            network.connect(state["id"], state["pid"])


class Network:
    """A bridge and the containers on it."""

    def __init__(self, options: argparse.Namespace, leases: Leases, host: Any) -> None:
        self.options = options
        self.leases = leases
        #: Netlink connection into the host's network namespace.
        self.host = host

    def connect(self, id: str, pid: int) -> None:
        """Connect a container. Raises HookError; then nothing has changed."""
        rules_are_stale = self.forget_the_dead()
        veth = "naja" + hashlib.sha256(os.fsencode(id)).hexdigest()[:8]
        if self.host.link_lookup(ifname=veth):
            raise HookError(f"container {id} is connected to {self.leases.bridge} already")
        for port in self.options.publish:
            self.leases.check_port(port)
        address = self.leases.free_address(self.options.address)
        lease = Lease(id, address, veth, self.options.publish, self.options.masquerade)
        self.leases.all.append(lease)
        try:
            self.plug_in(lease, self.make_bridge(), f"/proc/{pid}/ns/net")
            if lease.has_rules or rules_are_stale:
                self.update_firewall()
        except BaseException:
            self.disconnect(id)
            raise
        self.leases.save()

    def disconnect(self, id: str) -> None:
        """Take back what ``connect`` did. It is no error where there is nothing of it."""
        lease = self.leases.find(id)
        if lease is None:
            return
        self.leases.all.remove(lease)
        for index in self.host.link_lookup(ifname=lease.veth):
            with doing(f"remove {lease.veth}"):
                self.host.link("del", index=index)
        if not self.leases.all and self.leases.made:
            for index in self.host.link_lookup(ifname=self.leases.bridge):
                with doing(f"remove bridge {self.leases.bridge}"):
                    self.host.link("del", index=index)
            self.leases.made = False
        self.leases.save()
        if lease.has_rules:
            self.update_firewall()

    def forget_the_dead(self) -> bool:
        """Drop the leases of containers that went without poststop: their cable is gone.

        Returns whether any of them had rules.
        """
        dead = [lease for lease in self.leases.all if not self.host.link_lookup(ifname=lease.veth)]
        self.leases.all = [lease for lease in self.leases.all if lease not in dead]
        return any(lease.has_rules for lease in dead)

    def make_bridge(self) -> int:
        """Return the index of the bridge; make it where it does not exist."""
        name, mtu = self.leases.bridge, self.mtu()
        with doing(f"make bridge {name}"):
            if not self.host.link_lookup(ifname=name):
                self.host.link("add", ifname=name, kind="bridge", **mtu)
                self.leases.made = True
            index: int = self.host.link_lookup(ifname=name)[0]
            gateway = str(self.leases.gateway)
            if not list(self.host.get_addr(index=index, local=gateway)):
                self.host.addr("add", index=index, address=gateway, prefixlen=self.leases.subnet.prefixlen)
            self.host.link("set", index=index, state="up")
        return index

    def plug_in(self, lease: Lease, bridge: int, namespace: str) -> None:
        """Lay the cable, and set up the container's end."""
        inside = self.options.interface
        if os.path.samefile(namespace, "/proc/self/ns/net"):
            raise HookError("the container has no network namespace of its own")
        with open(namespace, "rb") as file, connection(file.fileno()) as container:
            with doing(f"connect {lease.veth} with {inside} of container {lease.id}"):
                # The other end is born inside: its name cannot be taken on the host.
                peer = {"ifname": inside, "net_ns_fd": file.fileno(), **self.mtu()}
                self.host.link("add", ifname=lease.veth, kind="veth", peer=peer, **self.mtu())
                index = self.host.link_lookup(ifname=lease.veth)[0]
                self.host.link("set", index=index, master=bridge, state="up")
            with doing(f"set up {inside} of container {lease.id}"):
                self.set_up(container, lease.address)

    def set_up(self, container: Any, address: str) -> None:
        """Set up the container's end: an address, a default route, and the loopback device."""
        index = container.link_lookup(ifname=self.options.interface)[0]
        container.addr("add", index=index, address=address, prefixlen=self.leases.subnet.prefixlen)
        container.link("set", index=index, state="up")
        container.link("set", index=container.link_lookup(ifname="lo")[0], state="up")
        container.route("add", dst="0.0.0.0/0", gateway=str(self.leases.gateway))

    def mtu(self) -> dict[str, int]:
        """Return the link's attribute for the MTU, where one was asked for."""
        return {"mtu": self.options.mtu} if self.options.mtu else {}

    def update_firewall(self) -> None:
        """Make the packet filter's rules those of the leases; without any lease there are none."""
        name = firewall.find(self.options.firewall)
        if not self.leases.all:
            firewall.remove(name, self.leases.bridge)
            return
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        firewall.apply(name, self.leases)


@contextlib.contextmanager
def connection(namespace: int | None = None) -> Iterator[Any]:
    """Give a netlink connection into the caller's network namespace, or the one behind a descriptor."""
    try:
        from pyroute2 import IPRoute  # type: ignore[import-untyped]
    except ImportError:
        raise HookError("pyroute2 is missing: run this with the Python that naja is installed for") from None
    from naja.linux.namespaces import CLONE_NEWNET, setns

    if namespace is None:
        opened = IPRoute()
    else:
        # A socket belongs for good to the namespace in which it was made.
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        setns(namespace, CLONE_NEWNET)
        try:
            opened = IPRoute()
        finally:
            setns(own, CLONE_NEWNET)
            os.close(own)
    with opened:
        yield opened


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what was being done when the kernel refused a netlink request."""
    from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

    try:
        yield
    except NetlinkError as error:
        raise HookError(f"{what}: {os.strerror(error.code)}") from None


if __name__ == "__main__":
    run("bridge", main)
