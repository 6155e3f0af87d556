"""The plan of linux.netDevices: what is asked for, and what is refused before anything is touched."""

from __future__ import annotations

from typing import Any

import pytest

from naja.errors import NajaError
from naja.operations.network import CheckDevice, MoveDevice
from naja.plan import network
from naja.plan.request import Request


def request(devices: Any, *kinds: str) -> Request:
    spaces = [{"type": kind} for kind in kinds or ("network",)]
    return Request({"linux": {"namespaces": spaces, "netDevices": devices}})


def test_nothing_to_move() -> None:
    assert network.adopt(Request({"linux": {"namespaces": []}})) == []
    assert network.adopt(request({}, "mount")) == []


def test_all_are_checked_before_one_moves() -> None:
    assert network.adopt(request({"eth1": {"name": "eth0"}, "wg0": {}})) == [
        CheckDevice("eth1", "eth0", origin="/linux/netDevices/eth1"),
        CheckDevice("wg0", "wg0", origin="/linux/netDevices/wg0"),
        MoveDevice("eth1", "eth0", origin="/linux/netDevices/eth1"),
        MoveDevice("wg0", "wg0", origin="/linux/netDevices/wg0"),
    ]


def test_descriptions() -> None:
    check, move = network.adopt(request({"eth1": {"name": "eth%d"}}))
    assert check.describe() == "check that network device eth1 can become eth%d inside"
    assert move.describe() == "move network device eth1 into the container as eth%d"


def test_an_empty_name_is_the_device_s_own() -> None:
    assert network.adopt(request({"eth1": {"name": ""}})) == network.adopt(request({"eth1": {}}))


def test_needs_a_network_namespace() -> None:
    with pytest.raises(NajaError, match="need a network namespace") as caught:
        network.adopt(request({"eth0": {}}, "mount"))
    assert caught.value.origin == "/linux/netDevices"


@pytest.mark.parametrize(
    "name",
    ["a/b", "a:b", "a b", ".", "..", "x" * 16, "x" * 14 + "%d", "%", "%d%d", "%da", "%d", "a\n", "\udcff"],
)
def test_names_that_the_kernel_would_not_take(name: str) -> None:
    with pytest.raises(NajaError, match="cannot be the name") as caught:
        network.adopt(request({"eth0": {"name": name}}))
    assert caught.value.origin == "/linux/netDevices/eth0/name"


def test_a_device_of_the_host_is_no_template() -> None:
    with pytest.raises(NajaError, match="cannot be the name") as caught:
        network.adopt(request({"eth%d": {}}))
    assert caught.value.origin == "/linux/netDevices/eth%d"


def test_longest_names() -> None:
    assert network.adopt(request({"x" * 15: {"name": "y" * 13 + "%d"}}))


def test_two_devices_of_one_name() -> None:
    with pytest.raises(NajaError, match="so does network device eth1") as caught:
        network.adopt(request({"eth1": {"name": "eth0"}, "eth2": {"name": "eth0"}}))
    assert caught.value.origin == "/linux/netDevices/eth2/name"


def test_a_template_serves_many() -> None:
    assert len(network.adopt(request({"a": {"name": "eth%d"}, "b": {"name": "eth%d"}}))) == 4


def test_origin_is_a_json_pointer() -> None:
    assert network.adopt(request({"a~b": {}}))[0].origin == "/linux/netDevices/a~0b"
