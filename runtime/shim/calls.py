"""What all of the task service stands on: finding a task, and having a worker do something for it."""

from __future__ import annotations

from ..errors import NajaError
from . import ttrpc
from .tasks import Process, Task
from .ttrpc import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..resident.ends import Ends
    from ..resident.loop import Loop
    from ..resident.workers import Answer, Report, Workers
    from .publisher import Publisher
    from .ttrpc import Reply

#: What is said of these statuses, where they do not allow what is asked for, as containerd's own shim has it.
REFUSALS = {
    ("pause", "created"): "cannot pause task in created state",
    ("pause", "paused"): "cannot pause a paused container",
    ("pause", "stopped"): "cannot pause a stopped container",
    ("resume", "created"): "cannot resume task in created state",
    ("resume", "running"): "cannot resume a running process",
    ("resume", "stopped"): "cannot resume a stopped container",
    ("update", "stopped"): "cannot update a stopped container",
    ("checkpoint", "created"): "cannot checkpoint a task in created state",
    ("checkpoint", "stopped"): "cannot checkpoint a stopped container",
    ("start", "running"): "cannot start a running process",
    ("start", "paused"): "cannot start a paused process",
    ("start", "stopped"): "cannot start a stopped process",
    ("delete", "running"): "cannot delete a running process",
    ("delete", "paused"): "cannot delete a paused process",
    ("exec", "paused"): "cannot exec in a paused state",
    ("exec", "stopped"): "cannot exec in a stopped state",
}


class Calls:
    """The tasks of one process, and what they stand on."""

    def __init__(
        self,
        loop: Loop,
        workers: Workers,
        ends: Ends,
        publisher: Publisher,
        namespace: str,
        *,
        say: Callable[[str], None],
        idle: Callable[[], None],
        left: Callable[[], object],
    ) -> None:
        """``say`` is told what nobody waits to hear; ``idle`` is called where the process
        may end, ``left`` where a task has gone.
        """
        self._loop = loop
        self._workers = workers
        self._ends = ends
        self._publish = publisher.publish
        self._namespace = namespace
        self._say = say
        self._idle = idle
        self._left = left
        self.tasks: dict[str, Task] = {}
        #: Containers that are being made.
        self.making: set[str] = set()

    def _task(self, request: dict[str, Any]) -> Task:
        task = self.tasks.get(request["id"])
        if task is None:
            raise Failure(ttrpc.NOT_FOUND, "container not created")
        return task

    def _process(self, request: dict[str, Any]) -> tuple[Task, Process]:
        task = self._task(request)
        process = task.process(request["exec_id"])
        if process is None:
            raise Failure(ttrpc.NOT_FOUND, f"process does not exist {request['exec_id']}")
        return task, process

    def _require(self, verb: str, task: Task, process: Process) -> None:
        """Refuse what the status of a process does not allow. Raises Failure."""
        why = REFUSALS.get((verb, task.status(process)))
        if why:
            raise Failure(ttrpc.FAILED_PRECONDITION, why)

    def _call(
        self,
        name: str,
        reply: Reply,
        work: Callable[..., Any],
        done: Callable[[Answer], None],
        *,
        failure: str = "",
        streams: list[int] | None = None,
        moves: bool = False,
        undo: Callable[[int], Callable[[Report], Any]] | None = None,
        begun: int = 0,
    ) -> None:
        """Have a worker do something; ``done`` hears of it, and ``reply`` of an error, after ``failure``.

        ``undo`` returns what another worker does where the first, whose pid it is given, was killed.
        ``begun`` is a worker that has begun with it, if there still is one.
        """

        def hear(answer: Answer) -> None:
            if answer.killed and call and undo:
                self._workers.call(undo(call.pid), lambda second: tell(_joined(answer, second)), name="undo")
            else:
                tell(answer)

        def tell(answer: Answer) -> None:
            for warning in answer.warnings:
                self._say(f"{name}: {warning}")
            if answer.error:
                self._fail(reply, answer.error, failure)
            done(answer)

        call = self._workers.go_on(begun, hear, name=name, streams=streams or ())
        if call is None:
            call = self._workers.call(work, hear, name=name, streams=streams or (), moves=moves)

    def _fail(self, reply: Reply, error: NajaError, failure: str) -> None:
        text = "; and then: ".join((str(error), *getattr(error, "__notes__", ())))
        code = ttrpc.ALREADY_EXISTS if "already exists" in error.what else ttrpc.UNKNOWN
        reply.fail(code, f"{failure}: {text}" if failure else text)

    def _in_turn(
        self,
        verb: str,
        task: Task,
        reply: Reply,
        work: Callable[..., Any],
        done: Callable[[Answer], None],
        *,
        failure: str = "",
    ) -> None:
        """Have a worker do what a container can do one of at a time, and its status has to allow."""

        def job(finished: Callable[[], None]) -> None:
            def hear(answer: Answer) -> None:
                try:
                    if not answer.error:
                        done(answer)
                finally:
                    finished()

            try:
                self._require(verb, task, task.first)
            except Failure as error:
                reply.fail(error.code, error.message)
                finished()
                return
            self._call(verb, reply, work, hear, failure=failure)

        task.turns.take(job)


def _joined(answer: Answer, undone: Answer) -> Answer:
    """Add to the answer of a killed worker why what it had begun could not be taken back."""
    if answer.error and undone.error:
        answer.error.add_note(str(undone.error))
    return answer
