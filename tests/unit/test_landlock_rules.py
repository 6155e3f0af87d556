"""What an annotation naja.landlock asks the kernel for, and which kernel that takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from naja.config import landlock
from naja.errors import NajaError, Unsupported
from naja.linux import landlock as kernel
from naja.operations.base import INIT, Context
from naja.operations.landlock import MakeLandlockRules


def read(**document: Any) -> landlock.Rules:
    return landlock.read(json.dumps(document))


@pytest.mark.parametrize(
    ("document", "needed"),
    [
        ({"paths": {"/": "rwx"}}, (3, "6.2")),
        ({"paths": {}}, (3, "6.2")),
        ({"paths": {"/": ["ioctl_dev"]}}, (5, "6.10")),
        ({"bind": []}, (4, "6.7")),
        ({"connect": [1], "paths": {"/": "r"}}, (4, "6.7")),
        ({"scope": ["signal"]}, (6, "6.12")),
        ({}, (1, "5.13")),
    ],
)
def test_what_it_takes(document: dict[str, Any], needed: tuple[int, str]) -> None:
    assert read(**document).needed() == needed


def test_what_is_denied() -> None:
    everything = sum(kernel.ACCESS.values())
    seldom = kernel.ACCESS["ioctl_dev"]
    assert read(paths={"/": "r"}).files == everything & ~seldom
    assert read(paths={"/": ["ioctl_dev"], "/x": ["ioctl_dev"]}).files == everything
    assert (read(bind=[]).files, read(bind=[]).net) == (0, kernel.BIND_TCP)
    assert read(bind=[], connect=[]).net == kernel.BIND_TCP | kernel.CONNECT_TCP
    assert read(scope=["signal", "signal"]).scope == kernel.SCOPES["signal"]


def test_letters_are_all_rights() -> None:
    ((_, access),) = read(paths={"/": "rwx"}).paths
    assert access == sum(kernel.ACCESS.values()) & ~kernel.ACCESS["ioctl_dev"]


def test_an_error_names_the_place() -> None:
    with pytest.raises(
        NajaError, match=r"naja.landlock, asked for by config.json .*: /bind/0 is no TCP port"
    ):
        read(bind=[-1])


@pytest.mark.parametrize(("found", "words"), [(0, "this kernel has none"), (2, "this kernel's is 2")])
def test_a_kernel_that_is_too_old(monkeypatch: pytest.MonkeyPatch, found: int, words: str) -> None:
    monkeypatch.setattr(kernel, "abi", lambda: found)
    operation = MakeLandlockRules([], [], (1, 0, 0), (3, "6.2"), origin=landlock.ORIGIN)
    with pytest.raises(Unsupported, match=f"it takes version 3, of Linux 6.2, and {words}"):
        operation.apply(Context(INIT, print))
