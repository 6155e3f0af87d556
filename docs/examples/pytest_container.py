"""A plugin for pytest: each test that asks for ``container`` gets one of its own, which goes with the test.

    pytest -p pytest_container

The container has this machine's own programs, read-only, and no network. A marker says what is to be
different: ``@pytest.mark.container(memory="32m", pids=8)`` limits it, ``mounts={"/srv/data": "/data"}`` shows
it directories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import naja

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Shell = Callable[[str], str]


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line("markers", "container(memory, pids, cpus, mounts): what a container is to have")


@pytest.fixture
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[naja.Container]:
    """A container that waits, for ``exec``; pytest shows what its first process said if the test fails."""
    marker = request.node.get_closest_marker("container")
    options = dict(marker.kwargs) if marker else {}
    bundle = naja.Bundle.from_host("/bin/sleep", "2147483647")
    for source, destination in options.pop("mounts", {}).items():
        bundle.mount(source, destination, readonly=True)
    path = bundle.limit(**options).write(tmp_path / "bundle")
    with naja.Container.start_new(None, path, stdin=naja.DEVNULL) as started:
        yield started


@pytest.fixture
def shell(container: naja.Container) -> Shell:
    """Run a line of shell in the container, and return what it writes; a failure fails the test."""

    def run(line: str) -> str:
        process = container.exec(["sh", "-c", line], stdout=naja.PIPE, stderr=naja.STDOUT, text=True)
        with process:
            output: str = process.communicate(timeout=60)[0]
        assert process.returncode == 0, output
        return output

    return run
