"""A state root that is full, read-only or gone: what cannot be written down is not done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.small import fill, remount, tmpfs
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture
def small_root(naja: Runtime) -> Iterator[str]:
    """The state root is a small file system of its own."""
    with tmpfs(naja.root, "size=256k", "mode=700"):
        yield naja.root


def marked(bundle: Bundle) -> Callable[[], bool]:
    """Have the container leave a mark; return what tells whether it is there."""
    bundle.shell("echo > /mark; exec sleep 1000")
    return lambda: os.path.exists(os.path.join(bundle.rootfs, "mark"))


@pytest.mark.usefixtures("small_root")
def test_start_on_a_full_root_starts_nothing(naja: Runtime, bundle: Bundle) -> None:
    runs = marked(bundle)
    naja.create(bundle)
    filler = fill(naja.root)
    result = naja.start(bundle, check=False)
    assert (result.status, "No space left on device" in result.stderr) == (1, True), result
    assert naja.status(bundle) == "created"
    assert not runs()
    os.unlink(filler)
    naja.start(bundle)
    wait_until(runs)
    assert naja.status(bundle) == "running"
    naja.delete(bundle, "--force")


@pytest.mark.usefixtures("small_root")
def test_start_on_a_read_only_root_starts_nothing(naja: Runtime, bundle: Bundle) -> None:
    runs = marked(bundle)
    naja.create(bundle)
    remount(naja.root, "ro")
    result = naja.start(bundle, check=False)
    assert (result.status, "Read-only file system" in result.stderr) == (1, True), result
    assert naja.status(bundle) == "created"
    assert not runs()
    remount(naja.root, "rw")
    naja.delete(bundle, "--force")
