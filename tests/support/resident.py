"""A caller of ``naja resident``: the messages of naja.resident.messages, said by hand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

MOST = 1 << 20


class Refused(Exception):
    """A request was answered with an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['what']}: {error['why']}", error)
        self.error = error


class Caller:
    """One connection; ``ask`` says something and waits for the answer to it."""

    def __init__(self, connection: socket.socket, root: str) -> None:
        self.connection = connection
        self.connection.settimeout(30)
        self.root = root
        self._number = 0
        self._answers: dict[int | None, tuple[dict[str, Any], list[int]]] = {}

    def begin(self, do: str, descriptors: Sequence[int] = (), **fields: Any) -> int:
        """Ask for something, and return the number that its answer will have."""
        self._number += 1
        message = {"call": self._number, "do": do, **fields}
        socket.send_fds(self.connection, [json.dumps(message).encode()], list(descriptors))
        return self._number

    def answer(self, number: int | None) -> tuple[dict[str, Any], list[int]]:
        """Wait for an answer, and return it with its descriptors."""
        while number not in self._answers:
            packet, descriptors, _, _ = socket.recv_fds(self.connection, MOST, 16)
            if not packet:
                raise EOFError("the resident process is gone")
            message = json.loads(packet)
            self._answers[message["call"]] = message, descriptors
        return self._answers.pop(number)

    def value(self, number: int) -> tuple[Any, list[int]]:
        """Wait for an answer, and return its value with its descriptors. Raises Refused."""
        message, descriptors = self.answer(number)
        if "error" in message:
            raise Refused(message["error"])
        return message["value"], descriptors

    def ask(self, do: str, descriptors: Sequence[int] = (), **fields: Any) -> Any:
        """Ask, and return the answer's value; its descriptors are closed. Raises Refused."""
        value, given = self.value(self.begin(do, descriptors, **fields))
        for descriptor in given:
            os.close(descriptor)
        return value

    def of(self, whose: Bundle, do: str, descriptors: Sequence[int] = (), **fields: Any) -> Any:
        """Ask for something about a bundle's container, or about a process in it."""
        if "process" in fields:
            return self.ask(do, descriptors, **fields)
        return self.ask(do, descriptors, root=self.root, id=whose.id, **fields)

    def create(self, bundle: Bundle, descriptors: Sequence[int] = (), **fields: Any) -> Any:
        """Create a bundle's container."""
        return self.of(bundle, "create", descriptors, bundle=bundle.path, **fields)

    def code(self, bundle: Bundle, **fields: Any) -> Any:
        """Wait for an end, and return the exit code."""
        return self.of(bundle, "wait", **fields)["code"]

    def leave(self) -> None:
        """Close the connection."""
        self.connection.close()


class Resident(Caller):
    """A resident process with one caller."""

    def __init__(self, naja: Runtime, **options: Any) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([*naja.argv, "resident"], stdin=theirs.fileno(), **options)
        theirs.close()
        super().__init__(ours, naja.root)

    def leave(self) -> None:
        """Close the connection, and wait until the process has ended by itself."""
        super().leave()
        self.process.wait(timeout=30)

    def memory(self) -> int:
        """Return how many bytes are the process's own."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Anonymous:"))

    def descriptors(self) -> list[str]:
        """Return what the process has open."""
        directory = f"/proc/{self.process.pid}/fd"
        return sorted(os.readlink(f"{directory}/{number}") for number in os.listdir(directory))
