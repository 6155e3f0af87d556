"""linux.netDevices: devices move between two network namespaces of the test; the host's stay alone."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError
from naja.linux import namespaces
from naja.operations.base import RUNTIME, Context, apply_all
from naja.plan import network
from naja.plan.request import Request
from tests.support.needs import need_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

OWN = "/proc/self/ns/net"


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    """Put the test (the runtime, to the container) into a network namespace of its own."""
    need_command("ip", "nsenter", "unshare")
    before = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    namespaces.unshare(namespaces.CLONE_NEWNET)
    ip("link", "add", "veth0", "type", "veth", "peer", "name", "peer0")
    yield
    namespaces.setns(before, namespaces.CLONE_NEWNET)
    os.close(before)


@pytest.fixture
def container() -> Iterator[int]:
    """Return the pid of a process in another network namespace."""
    process = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
    own = os.stat(OWN).st_ino
    wait_until(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino != own, what="unshare")
    yield process.pid
    process.send_signal(signal.SIGKILL)
    process.wait()


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def inside(pid: int, *words: str) -> str:
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def move(pid: int, devices: dict[str, Any]) -> None:
    config = {"linux": {"namespaces": [{"type": "network"}], "netDevices": devices}}
    context = Context(RUNTIME, print)
    context.pid = pid
    apply_all(network.adopt(Request(config)), context)


def names(listing: str) -> list[str]:
    return [line.split()[1].split("@")[0].rstrip(":") for line in listing.splitlines()]


def test_moves_by_name_and_is_up(container: int) -> None:
    move(container, {"veth0": {}})
    assert "veth0" not in names(ip("-o", "link"))
    assert ",UP" in inside(container, "link", "show", "dev", "veth0")


def test_is_renamed(container: int) -> None:
    move(container, {"veth0": {"name": "eth0"}})
    assert names(inside(container, "-o", "link")) == ["lo", "eth0"]


def test_template_takes_the_first_free_number(container: int) -> None:
    inside(container, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    move(container, {"veth0": {"name": "eth%d"}, "peer0": {"name": "eth%d"}})
    assert sorted(names(inside(container, "-o", "link"))) == ["eth0", "eth1", "eth2", "eth3", "lo"]
    assert ",UP" in inside(container, "link", "show", "dev", "eth2")


def test_taken_name_is_an_error_before_anything_moves(container: int) -> None:
    inside(container, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
    with pytest.raises(NajaError) as caught:
        move(container, {"peer0": {"name": "other"}, "veth0": {"name": "eth0"}})
    assert caught.value.errno == errno.EEXIST
    assert caught.value.origin == "/linux/netDevices/veth0"
    assert {"veth0", "peer0"} <= set(names(ip("-o", "link")))


def test_missing_device_is_an_error_before_anything_moves(container: int) -> None:
    with pytest.raises(NajaError) as caught:
        move(container, {"veth0": {}, "veth7": {}})
    assert caught.value.errno == errno.ENODEV
    assert "veth7" in str(caught.value)
    assert "veth0" in names(ip("-o", "link"))


def test_loopback_cannot_move(container: int) -> None:
    with pytest.raises(NajaError, match="keeps this kind of device") as caught:
        move(container, {"lo": {"name": "host%d"}})
    assert caught.value.origin == "/linux/netDevices/lo"


def test_the_own_namespace_is_refused() -> None:
    with pytest.raises(NajaError, match="own network namespace"):
        move(os.getpid(), {"veth0": {"name": "eth0"}})
    assert "veth0" in names(ip("-o", "link"))


def test_permanent_global_addresses_are_kept(container: int) -> None:
    ip("link", "set", "veth0", "up")
    ip("address", "add", "10.9.0.1/24", "broadcast", "+", "dev", "veth0", "label", "veth0:a")
    ip("address", "add", "10.9.0.2", "peer", "10.9.0.3/32", "dev", "veth0")
    ip("address", "add", "10.9.1.4/24", "metric", "77", "noprefixroute", "dev", "veth0")
    ip("address", "add", "fd09::1/64", "nodad", "dev", "veth0")
    ip("address", "add", "fd09::2/64", "preferred_lft", "0", "dev", "veth0")
    move(container, {"veth0": {"name": "eth0"}})
    listing = " ".join(inside(container, "-o", "address", "show", "dev", "eth0").split())
    assert "inet 10.9.0.1/24 brd 10.9.0.255 scope global eth0:a" in listing
    assert "inet 10.9.0.2 peer 10.9.0.3/32 scope global eth0" in listing
    assert "inet 10.9.1.4/24 metric 77 scope global noprefixroute eth0" in listing
    assert "inet6 fd09::1/64 scope global nodad" in listing
    assert "inet6 fd09::2/64 scope global deprecated" in listing


def test_temporary_and_local_addresses_stay_behind(container: int) -> None:
    ip("address", "add", "10.9.0.1/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", "veth0")
    ip("address", "add", "10.9.1.1/24", "scope", "link", "dev", "veth0")
    ip("address", "add", "10.9.2.1/32", "scope", "host", "dev", "veth0")
    move(container, {"veth0": {}})
    assert "inet " not in inside(container, "address", "show", "dev", "veth0")


def test_mtu_and_hardware_address_are_kept(container: int) -> None:
    ip("link", "set", "veth0", "mtu", "1789", "address", "02:11:22:33:44:55")
    move(container, {"veth0": {}})
    shown = inside(container, "link", "show", "dev", "veth0")
    assert "mtu 1789" in shown
    assert "02:11:22:33:44:55" in shown


def test_an_index_taken_inside_is_no_obstacle(container: int) -> None:
    index = ip("-o", "link", "show", "veth0").split(":")[0]
    inside(container, "link", "add", "other", "index", index, "type", "veth", "peer", "name", "another")
    move(container, {"veth0": {}})
    assert ",UP" in inside(container, "link", "show", "dev", "veth0")


def test_from_the_config(bundle: Bundle, naja: Runtime) -> None:
    ip("address", "add", "10.9.0.1/24", "dev", "veth0")
    bundle.linux["netDevices"] = {"veth0": {"name": "eth%d"}}
    bundle.args("ip", "-o", "address")
    shown = naja.run_attached(bundle).stdout
    assert "inet 10.9.0.1/24" in shown
    assert "eth0" in shown


def test_a_failure_is_said_with_its_place(bundle: Bundle, naja: Runtime) -> None:
    bundle.linux["netDevices"] = {"veth7": {}}
    done = naja.run_attached(bundle.save(), check=False)
    assert "network device veth7: No such device (ENODEV)" in done.stderr
    assert "/linux/netDevices/veth7" in done.stderr


def test_it_stays_in_a_namespace_that_outlives_the_container(
    bundle: Bundle, naja: Runtime, container: int
) -> None:
    """Runtimes must not move devices out before a namespace is deleted (config-linux.md)."""
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = f"/proc/{container}/ns/net"
    bundle.linux["netDevices"] = {"veth0": {}}
    naja.run_attached(bundle.save())
    assert "veth0" in names(inside(container, "-o", "link"))
    assert "veth0" not in names(ip("-o", "link"))
