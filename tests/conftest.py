"""Fixtures for all tests. What is in ROOT_DIRECTORIES needs root and must leave no trace."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.support.bundle import Bundle, make_rootfs
from tests.support.command import Runtime
from tests.support.leaks import Watch, become_subreaper
from tests.support.needs import need_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOT_DIRECTORIES = ("integration", "engines", "faults")

_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    if os.geteuid() == 0:
        become_subreaper()


# How long an example takes is the machine's affair.
settings.register_profile("naja", deadline=None)
settings.register_profile("fast", deadline=None, max_examples=10)
settings.load_profile("naja")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The engines last: gRPC leaves threads behind, and a raw clone of a process with threads cannot even
    # change its user (libc waits for the threads that it believes to be there).
    items.sort(key=lambda item: item.path.parent.name == "engines")
    for item in items:
        if item.path.parent.name in ROOT_DIRECTORIES:
            item.add_marker(pytest.mark.root)
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def tag() -> str:
    """Part of the ID of every container of this test; no other test's IDs have it."""
    return f"najatest{os.getpid()}x{next(_numbers)}x"


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest, tmp_path: Path, tag: str) -> Iterator[Watch | None]:
    """Fail a root test that leaves a mount, cgroup, process or state of a container.

    Tests of engines are watched over in their sandbox (tests/engines/traces.py).
    """
    watched = request.node.get_closest_marker("root") and not request.node.get_closest_marker("engine")
    if not watched or os.geteuid() != 0:
        yield None
        return
    watch = Watch(tag, str(tmp_path))
    yield watch
    leaks = watch.leaks()
    if leaks:
        watch.clean()
        pytest.fail("left behind:\n" + "\n".join(leaks))


@pytest.fixture(scope="session")
def busybox_rootfs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A busybox root file system to copy from; do not write to it."""
    need_command("busybox")
    path = tmp_path_factory.mktemp("busybox") / "rootfs"
    make_rootfs(str(path))
    return str(path)


@pytest.fixture
def naja(tmp_path: Path, leak_check: Watch | None) -> Runtime:
    """The runtime under test ($NAJA, "runc" for instance, else naja), with a private ``--root``."""
    root = str(tmp_path / "root")
    if leak_check:
        leak_check.roots.append(root)
    return Runtime(root)


@pytest.fixture
def busybox_bundle(
    tmp_path: Path, busybox_rootfs: str, tag: str, naja: Runtime
) -> Iterator[Callable[[], Bundle]]:
    """Make bundles: call it for each; its container, if any is left, is deleted by force after the test."""
    made: list[Bundle] = []

    def make() -> Bundle:
        number = len(made)
        made.append(Bundle(str(tmp_path / f"bundle{number}"), f"{tag}{number}", busybox_rootfs))
        return made[-1]

    yield make
    for bundle in made:
        if bundle.id in naja.ids():
            naja.delete(bundle, "--force", check=False)


@pytest.fixture
def bundle(busybox_bundle: Callable[[], Bundle]) -> Bundle:
    """One busybox bundle."""
    return busybox_bundle()
