"""NOTIFY_SOCKET: what a container says to sd_notify(3) reaches the service manager that started naja."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
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

#: Says each argument to the socket; pauses at the word "pause", and stays at "stay".
_SPEAKER = """
import os, socket, sys, time
speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for word in sys.argv[1:]:
    if word == "stay":
        time.sleep(1000)
    if word == "pause":
        time.sleep(1)
        continue
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
    """What it says is passed on as long as naja is there, in its order.

    The service's main process stays naja: the manager would not be told how one ends that is not its child.
    """
    bundle = speaking("STATUS=starting", "READY=1\nSTATUS=up", "WATCHDOG=1")
    naja.run_attached(bundle, env=manager.environment)
    assert manager.hear() == "STATUS=starting"
    assert manager.hear() == "READY=1\nSTATUS=up"
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


@pytest.fixture(params=["missing", "FIFO", "file", "unheard", "stream", "long"])
def nowhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """What $NOTIFY_SOCKET may say where nobody will hear anything."""
    path = tmp_path / "nowhere"
    if request.param == "FIFO":
        os.mkfifo(path)
    elif request.param == "file":
        path.touch()
    elif request.param in ("unheard", "stream"):
        kind = socket.SOCK_STREAM if request.param == "stream" else socket.SOCK_DGRAM
        with socket.socket(socket.AF_UNIX, kind) as closed:
            closed.bind(str(path))
    return str(path) + "x" * (200 if request.param == "long" else 0)


@pytest.mark.parametrize("verb", ["start", "run --detach", "run"])
def test_where_nobody_hears_nobody_waits(naja: Runtime, bundle: Bundle, nowhere: str, verb: str) -> None:
    """The container never says that it is ready, and there is no one who wants to know."""
    environment = {**os.environ, "NOTIFY_SOCKET": nowhere}
    bundle.args("/bin/sleep", "0.1" if verb == "run" else "1000")
    if verb == "start":
        naja.create(bundle, env=environment)
        result = naja.run("start", bundle.id, env=environment, timeout=10)
    elif verb == "run":
        result = naja.run_attached(bundle, env=environment, timeout=10)
    else:
        result = naja.run_detached(bundle, env=environment, timeout=10)
    assert "leads nowhere" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_name_with_a_line_break(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """What the environment holds is a part of the line that warns, and no line of its own."""
    environment = {**os.environ, "NOTIFY_SOCKET": f"{tmp_path}/a\nnaja: all is well\x1b[2J"}
    done = naja.run_attached(bundle.args("/bin/true"), env=environment)
    assert done.stderr.count("\n") == 1
    assert r"/a\nnaja: all is well\x1b[2J leads nowhere" in done.stderr


def test_a_manager_that_does_not_read(
    naja: Runtime, speaking: Callable[..., Bundle], manager: Manager
) -> None:
    """Its socket is full; the program runs, and whoever started it gets to know that."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.connect(manager.socket.getsockname())
        other.setblocking(False)
        try:
            while True:
                other.send(b"noise")
        except BlockingIOError:
            pass
    bundle = speaking("STATUS=up", "READY=1", "stay")
    naja.create(bundle, env=manager.environment)
    result = naja.run("start", bundle.id, env=manager.environment, timeout=20)
    assert "is not passed on" in result.stderr
    assert naja.status(bundle) == "running"


def test_a_manager_that_goes(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    bundle = speaking("STATUS=1", "pause", "STATUS=2", "stay")
    naja.create(bundle, env=manager.environment)
    argv = naja.command("start", bundle.id)
    with subprocess.Popen(argv, env=manager.environment, stderr=subprocess.PIPE, text=True) as starting:
        assert manager.hear() == "STATUS=1"
        manager.socket.close()
        _, said = starting.communicate(timeout=20)
    assert (starting.returncode, "is not passed on" in said) == (0, True), said


def test_a_start_after_one_that_failed(
    naja: Runtime, speaking: Callable[..., Bundle], manager: Manager
) -> None:
    """What the first has left in the state directory is in nobody's way."""
    bundle = speaking("READY=1", "stay")
    naja.create(bundle, env=manager.environment)
    obstacle = os.path.join(naja.root, bundle.id, "state.json.new")
    os.mkdir(obstacle)
    assert naja.run("start", bundle.id, env=manager.environment, check=False).status == 1
    os.rmdir(obstacle)
    naja.run("start", bundle.id, env=manager.environment)
    assert manager.hear().endswith("READY=1")


def test_whatever_the_umask(naja: Runtime, speaking: Callable[..., Bundle], manager: Manager) -> None:
    """The container's user gets to the socket."""
    bundle = speaking("READY=1")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.save()
    naja.run_attached(bundle, env=manager.environment, umask=0o077)
    assert manager.hear().endswith("READY=1")
