"""What the task service knows of containers and their processes, while they are there."""

from __future__ import annotations

import time

from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..resident.ends import End
    from .streams import Stdio, Streams
    from .ttrpc import Reply

    Job = Callable[[Callable[[], None]], None]


class Turns:
    """Jobs that are done one after the other, each until it says that it is done."""

    __slots__ = ("_waiting", "is_busy")

    def __init__(self) -> None:
        self._waiting: list[Job] = []
        self.is_busy = False

    def take(self, job: Job) -> None:
        """Do a job, at once where nobody is before it; it is given what it has to call when it is done."""
        self._waiting.append(job)
        if not self.is_busy:
            self._next()

    def _next(self) -> None:
        self.is_busy = bool(self._waiting)
        if self._waiting:
            self._waiting.pop(0)(self._next)


class Process:
    """A process of a container, the first one or one that was added: "created", "running" or "stopped"."""

    def __init__(self, id: str, stdio: Stdio, streams: Streams) -> None:
        #: "" for the first one.
        self.id = id
        self.stdio = stdio
        self.streams = streams
        #: What one that is to be added runs (the shape of config.json's /process).
        self.program: dict[str, Any] = {}
        self.pid = 0
        self.status = "created"
        self.code = 0
        self.ended_at = 0
        #: The worker that has begun to add it, by its pid.
        self.worker = 0
        #: Those who wait for its end.
        self.waiting: list[Reply] = []
        #: While its start is under way its end, which is told of afterwards.
        self.is_starting = False
        self.end: End | None = None

    def exited_at(self) -> dict[str, int] | None:
        """Return when it has ended, as a Timestamp; None where it has not."""
        return messages.timestamp(self.ended_at) if self.ended_at else None

    def stop(self, code: int, ended_at: int = 0) -> None:
        """Note that it has ended, and tell those who wait."""
        self.status = "stopped"
        self.code = code
        self.ended_at = ended_at or time.time_ns()
        waiting, self.waiting = self.waiting, []
        for reply in waiting:
            self.answer(reply)

    def answer(self, reply: Reply) -> None:
        """Tell how it has ended."""
        reply.give(messages.WAIT.encode({"exit_status": self.code, "exited_at": self.exited_at()}))


class Task:
    """A container, with its processes."""

    def __init__(self, request: dict[str, Any], root: str, options: dict[str, Any], first: Process) -> None:
        self.id: str = request["id"]
        self.bundle: str = request["bundle"]
        #: The state root that it is kept under.
        self.root = root
        self.options = options
        self.request = request
        self.first = first
        self.added: dict[str, Process] = {}
        self.is_paused = False
        self.shares_pids = False
        self.turns = Turns()
        #: The end of the first process, told when those of all others are.
        self.end: End | None = None
        #: What watches for its out-of-memory kills, to be closed with it.
        self.watch: Callable[[], None] | None = None

    def status(self, process: Process) -> str:
        """Return the status of one of its processes."""
        return "paused" if self.is_paused and process.status == "running" else process.status

    def running(self) -> list[Process]:
        """Return the added processes that run."""
        return [process for process in self.added.values() if process.status == "running"]

    def process(self, id: str) -> Process | None:
        """Return a process of it; "" for the first one."""
        return self.added.get(id) if id else self.first
