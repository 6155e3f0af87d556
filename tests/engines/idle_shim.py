"""A shim that does nothing, and answers each call at once: what then is left are containerd and its client.

    python -m tests.engines.idle_shim DIRECTORY EVENTS

It says that a process ends as soon as it has begun; ``sleep`` never does. Listens in DIRECTORY, in which
``write`` puts what containerd is to call for it; EVENTS is where containerd takes them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from naja.resident.loop import Loop
from naja.shim import address, messages, ttrpc
from naja.shim.publisher import Publisher
from naja.shim.service import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from naja.shim.ttrpc import Reply

#: What containerd calls for each container.
_PROGRAM = """#!/bin/sh
case "$*" in *start) printf %s unix://{socket} > address; printf %s unix://{socket};; esac
"""


def write(directory: str) -> str:
    """Write the program, and return its path."""
    path = os.path.join(directory, "containerd-shim-idle-v2")
    with open(path, "w") as file:
        file.write(_PROGRAM.format(socket=os.path.join(directory, "idle.sock")))
    os.chmod(path, 0o755)
    return path


class _Process:
    def __init__(self, request: dict[str, Any], *, stays: bool) -> None:
        self.streams = [request[name] for name in ("stdin", "stdout", "stderr") if request[name]]
        self.status = "created"
        self.stays = stays
        self.waiting: list[Reply] = []

    def open(self) -> list[int]:
        """Open its FIFOs, as whoever has the other ends waits for."""
        return [os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC) for path in self.streams]

    def end(self) -> None:
        self.status = "stopped"
        for reply in self.waiting:
            self.answer(reply)

    def answer(self, reply: Reply) -> None:
        reply.give(messages.WAIT.encode({"exited_at": messages.timestamp()}))


class _Service:
    def __init__(self, publish: Callable[..., None]) -> None:
        self._publish = publish
        self._all: dict[tuple[str, str], _Process] = {}
        self.methods: dict[str, ttrpc.Method] = {
            "Create": self._create,
            "Exec": self._exec,
            "Start": self._start,
            "State": self._state,
            "Wait": self._wait,
            "Kill": self._kill,
            "Delete": self._delete,
            "CloseIO": lambda _, reply: reply.give(b""),
            "Shutdown": lambda _, reply: reply.give(b""),
            "Connect": lambda _, reply: reply.give(messages.CONNECT.encode({"shim_pid": os.getpid()})),
        }

    def _find(self, payload: bytes) -> tuple[dict[str, Any], _Process]:
        request = messages.PROCESS.decode(payload)
        try:
            return request, self._all[request["id"], request["exec_id"]]
        except KeyError:
            raise ttrpc.Failure(ttrpc.NOT_FOUND, "no such process") from None

    def _create(self, payload: bytes, reply: Reply) -> None:
        request = messages.CREATE.decode(payload)
        with open(os.path.join(request["bundle"], "config.json"), "rb") as file:
            stays = json.load(file)["process"]["args"][0] == "sleep"
        self._all[request["id"], ""] = _Process(request, stays=stays)
        reply.give(messages.PID.encode({"pid": os.getpid()}))
        self._publish(messages.TASK_CREATE, container_id=request["id"], pid=os.getpid())

    def _exec(self, payload: bytes, reply: Reply) -> None:
        request = messages.EXEC.decode(payload)
        self._all[request["id"], request["exec_id"]] = _Process(request, stays=False)
        reply.give(b"")
        self._publish(messages.TASK_EXEC_ADDED, container_id=request["id"], exec_id=request["exec_id"])

    def _start(self, payload: bytes, reply: Reply) -> None:
        request, process = self._find(payload)
        process.status = "running"
        streams = process.open()
        reply.give(messages.PID.encode({"pid": os.getpid()}))
        kind = messages.TASK_EXEC_STARTED if request["exec_id"] else messages.TASK_START
        more = {"exec_id": request["exec_id"]} if request["exec_id"] else {}
        self._publish(kind, container_id=request["id"], pid=os.getpid(), **more)
        for stream in streams:
            os.close(stream)
        if not process.stays:
            process.end()
            ended = {"id": request["exec_id"] or request["id"], "exited_at": messages.timestamp()}
            self._publish(messages.TASK_EXIT, container_id=request["id"], **ended)

    def _state(self, payload: bytes, reply: Reply) -> None:
        request, process = self._find(payload)
        exec_id = request["exec_id"]
        values = {"id": exec_id or request["id"], "pid": os.getpid(), "exec_id": exec_id}
        reply.give(messages.STATE.encode({**values, "status": messages.STATUSES[process.status]}))

    def _wait(self, payload: bytes, reply: Reply) -> None:
        _, process = self._find(payload)
        if process.status == "stopped":
            process.answer(reply)
        else:
            process.waiting.append(reply)

    def _kill(self, payload: bytes, reply: Reply) -> None:
        reply.give(b"")
        self._find(payload)[1].end()

    def _delete(self, payload: bytes, reply: Reply) -> None:
        request, _ = self._find(payload)
        del self._all[request["id"], request["exec_id"]]
        reply.give(messages.EXIT.encode({"pid": os.getpid(), "exited_at": messages.timestamp()}))
        if not request["exec_id"]:
            self._publish(messages.TASK_DELETE, container_id=request["id"], exited_at=messages.timestamp())


def main(directory: str, events: str) -> None:
    """Serve for ever."""
    loop = Loop()
    listener = address.listen(os.path.join(directory, "idle.sock"))
    assert listener
    service = _Service(Publisher(loop, events, "default", loop.say).publish)
    server = ttrpc.Server(loop, listener, dict.fromkeys(NAMES, service.methods))
    loop.run()
    del server


if __name__ == "__main__":
    main(*sys.argv[1:])
