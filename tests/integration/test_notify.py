"""NOTIFY_SOCKET: what a container says to sd_notify(3) reaches the service manager that started naja."""

from __future__ import annotations

import json
import os
import shutil
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.needs import requires_path
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

pytestmark = requires_path("/usr/bin/python3", "Python, to speak from inside the container")

#: Says each argument to the socket; then ends, or waits where the last word is "stay".
_SPEAKER = """
import os, socket, sys, time
speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for word in sys.argv[1:]:
    if word == "stay":
        time.sleep(1000)
    speaker.sendto(word.encode(), os.environ["NOTIFY_SOCKET"])
"""


class Manager:
    """A service manager's socket."""

    def __init__(self, address: str) -> None:
        """Bind it; an ``address`` with an @ is abstract."""
        self.environment = {**os.environ, "NOTIFY_SOCKET": address}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(10)

    def hear(self) -> str:
        return self.socket.recv(4096).decode()

    def hears_nothing(self) -> bool:
        self.socket.settimeout(0.3)
        try:
            self.socket.recv(4096)
        except TimeoutError:
            return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, tag: str) -> Iterator[Manager]:
    manager = Manager(f"@{tag}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield manager
    manager.socket.close()


@pytest.fixture
def speaking(naja: Runtime, bundle: Bundle) -> Callable[..., Bundle]:
    """Give the bundle's container the host's Python, and let it say some words."""

    def make(*words: str) -> Bundle:
        # The programs of the host stand in for those of the image.
        shutil.rmtree(bundle.rootfs)
        os.unlink(os.path.join(bundle.path, "config.json"))
        naja.run("spec", "--host", "--bundle", bundle.path, "/usr/bin/python3", "-c", _SPEAKER, *words)
        with open(os.path.join(bundle.path, "config.json")) as file:
            bundle.config = json.load(file)
        bundle.process["terminal"] = False
        bundle.linux["cgroupsPath"] = f"/{bundle.id}"
        return bundle.save()

    return make


def test_attached(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    """What it says is passed on as long as naja is there, in its order."""
    bundle = speaking("STATUS=starting", "READY=1\nSTATUS=up", "WATCHDOG=1")
    naja.run_attached(bundle, env=manager.environment)
    assert manager.hear() == "STATUS=starting"
    ready = manager.hear()
    assert ready.startswith("MAINPID=")
    assert ready.partition("\n")[2] == "READY=1\nSTATUS=up"
    assert manager.hear() == "WATCHDOG=1"


def test_detached(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    """Naja returns when the container is ready, and says which process it is."""
    bundle = speaking("READY=1", "stay")
    naja.run_detached(bundle, env=manager.environment)
    assert manager.hear() == f"MAINPID={naja.state(bundle)['pid']}\nREADY=1"


def test_created_then_started(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    """It is ``start`` that passes the messages on."""
    bundle = speaking("STATUS=starting", "READY=1", "stay")
    naja.create(bundle, env=manager.environment)
    assert manager.hears_nothing()
    manager.socket.settimeout(10)
    naja.run("start", bundle.id, env=manager.environment)
    assert manager.hear() == "STATUS=starting"
    assert manager.hear() == f"MAINPID={naja.state(bundle)['pid']}\nREADY=1"


def test_only_what_is_about_the_container_is_passed_on(
    naja: Runtime, speaking: Callable[..., Bundle], manager: Manager
) -> None:
    """The manager trusts naja, which is root: it would end whatever process MAINPID names."""
    bundle = speaking(
        "MAINPID=1", "NOTIFYACCESS=all\nSTATUS=a=b\nMAINPID=1", "READY=1\nMAINPID=1\nFDSTORE=1", "stay"
    )
    naja.run_detached(bundle, env=manager.environment)
    assert manager.hear() == "STATUS=a=b"
    assert manager.hear() == f"MAINPID={naja.state(bundle)['pid']}\nREADY=1"


def test_ended_before_it_was_ready(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    bundle = speaking("STATUS=about to fail")
    naja.run_detached(bundle, env=manager.environment)
    assert manager.hear() == "STATUS=about to fail"
    wait_until(lambda: naja.status(bundle) == "stopped")


def test_the_socket_is_all_that_is_shared(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The container finds the socket where runc has it, and can make nothing beside it."""
    manager = Manager(str(tmp_path / "notify"))
    bundle.process["env"].append("NOTIFY_SOCKET=/of/the/image")
    bundle.shell("echo $NOTIFY_SOCKET; ls /run/notify; touch /run/notify/x; env | grep -c NOTIFY")
    result = naja.run_attached(bundle, env=manager.environment)
    manager.socket.close()
    assert result.stdout.split() == ["/run/notify/notify.sock", "notify.sock", "1"]
    assert "Read-only file system" in result.stderr


def test_last_words(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    """What it said before it ended is passed on, however soon that was."""
    words = [f"STATUS={number}" for number in range(10)]
    bundle = speaking(*words)
    for run in (naja.run_attached, naja.run_detached):
        run(bundle, env=manager.environment)
        assert [manager.hear() for _ in words] == words
        if run == naja.run_detached:
            naja.delete(bundle, "--force")


def test_without_a_manager(naja: Runtime, bundle: Bundle) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    result = naja.run_attached(bundle.shell("echo [$NOTIFY_SOCKET]; ls /run"), env=environment)
    assert result.stdout == "[]\n"
