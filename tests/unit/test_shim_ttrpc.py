"""ttrpc: calls and their answers, and whatever else somebody may send."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from naja.resident.loop import Loop
from naja.shim import ttrpc
from naja.shim.ttrpc import Caller, Failure, Frames, Reply, Server
from naja.shim.wire import Malformed
from tests.support.ttrpc import Client, header
from tests.support.wait import wait_until

ECHO = "test.Echo"


class Echo:
    """A server of its own thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.said: list[str] = []
        self.kept: list[Reply] = []
        self.abandoned: list[Reply] = []
        self.loop = Loop(self.said.append)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(8)
        methods = {"Say": self.say, "Keep": self.keep, "Fail": self.fail, "Break": self.breaks}
        self.server = Server(self.loop, listener, {ECHO: methods})
        self._wake, self._waker = os.pipe()
        self.loop.watch(self._wake, self.loop.stop)
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def say(self, payload: bytes, reply: Reply) -> None:
        reply.give(payload)

    def keep(self, payload: bytes, reply: Reply) -> None:
        self.kept.append(reply)
        reply.abandoned = lambda: self.abandoned.append(reply)

    def fail(self, payload: bytes, reply: Reply) -> None:
        raise Failure(ttrpc.NOT_FOUND, "no such thing\udcff")

    def breaks(self, payload: bytes, reply: Reply) -> None:
        raise Malformed("a payload that makes no sense")

    def close(self) -> None:
        os.write(self._waker, b"x")
        self._thread.join()
        for descriptor in (self._wake, self._waker):
            os.close(descriptor)


@pytest.fixture
def echo(tmp_path: Path) -> Iterator[Echo]:
    server = Echo(str(tmp_path / "s"))
    yield server
    server.close()
    assert not server.said


@pytest.fixture
def client(echo: Echo) -> Iterator[Client]:
    connected = Client(echo.path)
    yield connected
    connected.close()


def failure(client: Client, service: str, method: str, timeout: float = 0) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        client.call(service, method, b"", timeout)
    return caught.value.code, caught.value.message


def test_calls_are_answered_in_any_order(echo: Echo, client: Client) -> None:
    kept = client.begin(ECHO, "Keep", b"")
    assert client.call(ECHO, "Say", b"hello") == b"hello"
    wait_until(lambda: echo.kept)
    echo.loop.soon(lambda: echo.kept[0].give(b"late"))  # A connection is its loop's alone.
    client.call(ECHO, "Say")  # The loop does what another thread has asked for when it is awake.
    assert client.end(kept) == b"late"


def test_a_message_of_four_mebibytes_less_its_envelope(client: Client) -> None:
    payload = os.urandom(ttrpc.LONGEST - 100)
    stream = 0
    # Both ways at once: who only writes would never get what is written to it.
    writer = threading.Thread(target=lambda: client.begin(ECHO, "Say", payload))
    writer.start()
    stream = 1
    assert client.end(stream) == payload
    writer.join()


def test_what_is_not_there_is_unimplemented(client: Client) -> None:
    assert failure(client, "test.Nobody", "Say") == (ttrpc.UNIMPLEMENTED, "service test.Nobody")
    assert failure(client, ECHO, "Sing") == (ttrpc.UNIMPLEMENTED, "method Sing")


def test_failures_have_their_code_and_words(client: Client) -> None:
    assert failure(client, ECHO, "Fail") == (ttrpc.NOT_FOUND, "no such thing\ufffd")
    assert failure(client, ECHO, "Break")[0] == ttrpc.INVALID_ARGUMENT


def test_the_time_for_a_call_is_limited(echo: Echo, client: Client) -> None:
    begun = time.monotonic()
    assert failure(client, ECHO, "Keep", 0.1) == (ttrpc.DEADLINE_EXCEEDED, "context deadline exceeded")
    assert time.monotonic() - begun > 0.09
    wait_until(lambda: echo.abandoned == echo.kept)
    echo.kept[0].give(b"too late")
    assert client.call(ECHO, "Say", b"on") == b"on"


def test_who_is_gone_waits_no_longer(echo: Echo) -> None:
    client = Client(echo.path)
    client.begin(ECHO, "Keep", b"")
    wait_until(lambda: echo.kept)
    client.close()
    wait_until(lambda: echo.abandoned == echo.kept)
    echo.kept[0].give(b"to nobody")


#: What is sent, and the streams and codes that are answered.
HOSTILE: dict[str, tuple[bytes, list[tuple[int, int]]]] = {
    "too long": (header(ttrpc.LONGEST + 1, 1, 1) + bytes(ttrpc.LONGEST + 1), [(1, ttrpc.RESOURCE_EXHAUSTED)]),
    "even stream": (header(0, 2, 1), [(2, ttrpc.INVALID_ARGUMENT)]),
    "stream 0": (header(0, 0, 1), [(0, ttrpc.INVALID_ARGUMENT)]),
    "stream used again": (header(0, 9, 1) * 2, [(9, ttrpc.UNIMPLEMENTED), (9, ttrpc.INVALID_ARGUMENT)]),
    "stream that goes back": (
        header(0, 9, 1) + header(0, 7, 1),
        [(9, ttrpc.UNIMPLEMENTED), (7, ttrpc.INVALID_ARGUMENT)],
    ),
    "data on no stream": (header(3, 1, 3) + b"abc", [(1, ttrpc.INVALID_ARGUMENT)]),
    "no protobuf": (header(4, 1, 1) + b"\xff\xff\xff\xff", [(1, ttrpc.INVALID_ARGUMENT)]),
    "unknown type": (header(3, 1, 77) + b"abc", []),
    "a response": (header(3, 1, 2) + b"abc", []),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_frames_end_nothing(client: Client, name: str) -> None:
    data, expected = HOSTILE[name]
    client.socket.sendall(data)
    client._stream = 99
    stream = client.begin(ECHO, "Say", b"still here")
    found: list[tuple[int, Any]] = []
    while len(found) <= len(expected):
        for answered, message in client.receive():
            result = ttrpc.outcome(message)
            found.append((answered, result.code if isinstance(result, Failure) else result))
    assert found == [*expected, (stream, b"still here")]


@pytest.mark.parametrize("data", [header(100, 1, 1), header(100, 1, 1) + b"x" * 99, b"\x00" * 9, b""])
def test_a_frame_that_is_cut_off(echo: Echo, data: bytes) -> None:
    client = Client(echo.path)
    client.socket.sendall(data)
    client.close()
    other = Client(echo.path)
    assert other.call(ECHO, "Say", b"still here") == b"still here"
    other.close()


def test_who_does_not_read_gets_no_more(echo: Echo) -> None:
    deaf = Client(echo.path, timeout=0.5)
    with pytest.raises(TimeoutError):
        for _ in range(200):
            deaf.begin(ECHO, "Say", bytes(1 << 18))
    other = Client(echo.path)
    assert other.call(ECHO, "Say", b"still here") == b"still here"
    for each in (deaf, other):
        each.close()


@given(
    some.lists(some.tuples(some.integers(0, 2**32 - 1), some.integers(0, 255), some.binary())), some.data()
)
def test_frames_come_in_any_pieces(frames: list[tuple[int, int, bytes]], data: some.DataObject) -> None:
    stream = b"".join(ttrpc.frame(*each) for each in frames)
    found, taken = Frames(), []
    while stream:
        size = data.draw(some.integers(1, len(stream)))
        taken += found.feed(stream[:size])
        stream = stream[size:]
    assert taken == frames


def test_a_message_too_long_in_pieces() -> None:
    frames = Frames()
    assert frames.feed(header(ttrpc.LONGEST + 10, 5, 1)) == [(5, 1, None)]
    for _ in range(ttrpc.LONGEST // 4096):
        assert frames.feed(bytes(4096)) == []
    assert frames.feed(bytes(10) + ttrpc.frame(7, 1, b"next")) == [(7, 1, b"next")]


def test_a_caller_calls_again_where_it_was_hung_up_on(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    loop = Loop()
    caller = Caller(loop, path)
    results: list[bytes | Failure] = []

    def note(result: bytes | Failure) -> None:
        results.append(result)
        loop.stop()

    caller.call(ECHO, "Say", b"nobody", 5, note)
    assert isinstance(results[0], Failure) and results[0].code == ttrpc.UNAVAILABLE
    for turn in (b"one", b"two"):
        echo = Echo(path)
        caller.call(ECHO, "Say", turn, 5, note)
        loop.run()
        assert results[-1] == turn
        caller.call(ECHO, "Keep", b"", 0.05, note)
        loop.run()
        assert isinstance(results[-1], Failure) and results[-1].code == ttrpc.DEADLINE_EXCEEDED
        echo.close()
        os.unlink(path)
        # Its sockets are open as long as it is known.
        for peer in [*echo.server._peers]:
            peer.connection._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        echo.server._listener.close()
        loop.later(0.05, loop.stop)
        loop.run()
