"""The start gate: who may open it, who cannot keep others from it, and what a program that fails leaves."""

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from naja.container.lifecycle import Container
from tests.support.child import ChildFailed, in_child
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


def gate(naja: Runtime, bundle: Bundle) -> str:
    return os.path.join(naja.root, bundle.id, "gate")


def connect(path: str) -> socket.socket:
    """Connect to a socket, whose path may be too long for an address."""
    peer = socket.socket(socket.AF_UNIX)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 5, 0))
    directory = os.open(os.path.dirname(path), os.O_PATH)
    try:
        peer.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    finally:
        os.close(directory)
    return peer


def script(bundle: Bundle, content: str) -> Bundle:
    bundle.write("/script", content)
    return bundle.args("/script")


def hook(bundle: Bundle, command: str) -> Bundle:
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", command]}]}
    return bundle.save()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda bundle: script(bundle, "echo no interpreter is named\n"),
        lambda bundle: script(bundle, "#!/no/such/interpreter\n"),
        lambda bundle: script(bundle, "#!/script\n"),
        lambda bundle: script(bundle, ""),
        lambda bundle: bundle.args("/bin/echo", "x" * (128 << 10)),
        lambda bundle: hook(bundle, "exit 3"),
        lambda bundle: hook(bundle, "kill -9 $$"),
    ],
    ids=["ENOEXEC", "interpreter", "ELOOP", "empty", "E2BIG", "hook", "killed hook"],
)
def test_who_cannot_become_its_program_has_ended_when_start_returns(
    naja: Runtime, bundle: Bundle, spoil: Callable[[Bundle], Bundle]
) -> None:
    """And has not ended well: whoever made it and waits for it is told no success."""
    naja.create(spoil(bundle))
    pid = naja.state(bundle)["pid"]
    assert naja.start(bundle, check=False).status == 1
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    assert ended, "it still lives"
    assert (ended.si_code, ended.si_status) == (os.CLD_EXITED, 1)
    naja.delete(bundle)


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_only_the_owner_may_open_the_gate(naja: Runtime, bundle: Bundle, umask: int) -> None:
    naja.create(bundle, umask=umask)
    status = os.stat(gate(naja, bundle))
    assert (stat.S_ISSOCK(status.st_mode), stat.S_IMODE(status.st_mode)) == (True, 0o600)
    assert stat.S_IMODE(os.stat(os.path.dirname(gate(naja, bundle))).st_mode) == 0o711
    naja.start(bundle)


@pytest.mark.parametrize("words", [b"", b"sta", b"START", b"start!", b"x" * 4096])
def test_who_says_something_else_keeps_nobody_waiting(naja: Runtime, bundle: Bundle, words: bytes) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    peers = [connect(gate(naja, bundle)) for _ in range(3)]
    for peer in peers:
        peer.send(words)
    assert naja.status(bundle) == "created"
    naja.start(bundle)
    assert naja.status(bundle) == "running"
    for peer in peers:
        peer.close()


def test_who_says_start_and_goes_has_started_nothing(naja: Runtime, bundle: Bundle) -> None:
    """He could not be told what goes wrong, nor would he write down that it runs."""
    naja.create(bundle.args("/bin/sleep", "1000"))
    pid = naja.state(bundle)["pid"]
    os.kill(pid, signal.SIGSTOP)
    with connect(gate(naja, bundle)) as peer:
        peer.send(b"start")
    os.kill(pid, signal.SIGCONT)
    naja.start(bundle)


def test_a_crowd_at_the_gate(naja: Runtime, bundle: Bundle) -> None:
    """More than may stand there, and more than the process may have descriptors."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 10}]
    naja.create(bundle.args("/bin/sleep", "1000"))
    peers = [connect(gate(naja, bundle)) for _ in range(40)]
    naja.start(bundle)
    assert naja.status(bundle) == "running"
    for peer in peers:
        peer.close()


@pytest.fixture
def flood() -> Iterator[Callable[[str], None]]:
    """Flood a gate with connections that say nothing, until the test ends."""
    over = threading.Event()
    threads = []

    def pour(path: str) -> None:
        peers = []
        while not over.is_set():
            try:
                peers.append(connect(path))
            except OSError:
                continue
            if len(peers) > 100:
                peers.pop(0).close()

    def begin(path: str) -> None:
        threads.append(threading.Thread(target=pour, args=(path,)))
        threads[-1].start()

    yield begin
    over.set()
    for thread in threads:
        thread.join()


def test_a_flood_at_the_gate(naja: Runtime, bundle: Bundle, flood: Callable[[str], None]) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    flood(gate(naja, bundle))
    naja.start(bundle)
    assert naja.status(bundle) == "running"


def test_a_start_that_was_cut_off(naja: Runtime, bundle: Bundle) -> None:
    """The program runs, and nobody has written it down: the container is not "created" for good."""
    naja.create(bundle.args("/bin/sleep", "1000"))

    def cut_off() -> None:
        container = Container.load(bundle.id, root=naja.root)
        container._open_gate = lambda opens=container._open_gate: (opens(), os._exit(0))  # type: ignore
        container.start()

    with pytest.raises(ChildFailed):
        in_child(cut_off)
    assert naja.status(bundle) == "running"
    assert "already running" in naja.start(bundle, check=False).stderr


def test_a_start_that_was_cut_off_before(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))

    def cut_off() -> None:
        container = Container.load(bundle.id, root=naja.root)
        container._open_gate = lambda: os._exit(0)  # type: ignore[method-assign]
        container.start()

    with pytest.raises(ChildFailed):
        in_child(cut_off)
    assert naja.status(bundle) == "created"
    naja.start(bundle)
    wait_until(lambda: naja.status(bundle) == "running")
