"""exec and attach as `kubectl` has them: streams through the CRI's streaming server, on a WebSocket.

Each message is a byte that names the stream, and its data (k8s.io/apimachinery, remotecommand
version 4). The server listens on loopback in the sandbox's network namespace.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from naja.linux import namespaces

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

STDIN, STDOUT, STDERR, STATUS, SIZE = range(5)


class Streams:
    """A command's streams, until it ends; ``out`` and ``err`` are what it wrote so far."""

    def __init__(self, url: str, network: str) -> None:
        """Connect to the URL that the CRI answered; ``network`` is the path of a network namespace."""
        place = urlsplit(url)
        assert place.hostname
        assert place.port
        self._connection = connect(
            url.replace("http:", "ws:", 1),
            sock=socket_in(network, place.hostname, place.port),
            subprotocols=[Subprotocol("v4.channel.k8s.io")],
            proxy=None,
        )
        self._socket = self._connection.__enter__()
        self.out = self.err = ""
        self._code: int | None = None

    def send(self, text: str) -> None:
        """Write to its standard input."""
        self._socket.send(bytes([STDIN]) + text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """Give its terminal a size."""
        self._socket.send(bytes([SIZE]) + json.dumps({"Width": columns, "Height": rows}).encode())

    def expect(self, text: str) -> None:
        """Read until its output has ``text``. Raises AssertionError where it never comes."""
        while text not in self.out:
            assert self._read(), f"{text!r} never appeared; it wrote:\n{self.out}"

    def wait(self) -> int:
        """Read to the end, and return its exit code."""
        while self._read():
            pass
        assert self._code is not None, "no status came"
        return self._code

    def _read(self) -> bool:
        """Take a message. Returns whether there was one; raises TimeoutError after ten seconds."""
        try:
            message = self._socket.recv(timeout=10)
        except ConnectionClosed:
            return False
        assert isinstance(message, bytes)
        kind, data = message[0], message[1:]
        if kind == STATUS:
            self._code = exit_code(json.loads(data))
        elif kind == STDOUT:
            self.out += data.decode(errors="replace")
        else:
            self.err += data.decode(errors="replace")
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)


def exit_code(status: dict[str, object]) -> int:
    """Return the exit code in a Status of Kubernetes'. Raises AssertionError where it has none."""
    if status.get("status") == "Success":
        return 0
    details = status.get("details")
    for cause in details.get("causes", []) if isinstance(details, dict) else []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise AssertionError(status)


def socket_in(network: str, host: str, port: int) -> socket.socket:
    """Return a TCP socket of another network namespace, connected; a thread is lent for it."""
    made: list[socket.socket] = []

    def make() -> None:
        namespace = os.open(network, os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.setns(namespace, namespaces.CLONE_NEWNET)
        finally:
            os.close(namespace)
        made.append(socket.create_connection((host, port), timeout=10))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert made, f"no connection to {host}:{port}"
    made[0].settimeout(None)
    return made[0]
