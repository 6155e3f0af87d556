"""containerd's task service (api/runtime/task/v3/shim.proto; v2 is the same under another name)."""

from __future__ import annotations

import os

from ..config import json
from ..errors import NajaError
from . import messages, ttrpc, verbs
from .lives import Lives
from .messages import unwrap, wrap
from .streams import Stdio, Streams
from .tasks import Process
from .ttrpc import Failure
from .wire import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..resident.workers import Answer, Report
    from .ttrpc import Reply
    from .wire import Message

NAMES = ("containerd.task.v2.Task", "containerd.task.v3.Task")

_SIGKILL = 9

_TYPES: dict[str, Message] = {
    "State": messages.PROCESS,
    "Create": messages.CREATE,
    "Start": messages.PROCESS,
    "Delete": messages.PROCESS,
    "Pids": messages.CONTAINER,
    "Pause": messages.CONTAINER,
    "Resume": messages.CONTAINER,
    "Checkpoint": messages.CHECKPOINT,
    "Kill": messages.KILL,
    "Exec": messages.EXEC,
    "ResizePty": messages.RESIZE,
    "CloseIO": messages.CLOSE_IO,
    "Update": messages.UPDATE,
    "Wait": messages.PROCESS,
    "Stats": messages.CONTAINER,
    "Connect": messages.CONTAINER,
    "Shutdown": messages.SHUTDOWN,
}


class Service(Lives):
    """The service; ``methods`` is what a server of ttrpc asks."""

    @property
    def methods(self) -> dict[str, ttrpc.Method]:
        """What does the calls, by their names."""
        return {name: self._method(name, kind) for name, kind in _TYPES.items()}

    def _method(self, name: str, kind: Message) -> ttrpc.Method:
        function = getattr(self, _FUNCTIONS[name])

        def method(payload: bytes, reply: Reply) -> None:
            try:
                function(kind.decode(payload), reply)
            except NajaError as error:
                raise Failure(ttrpc.UNKNOWN, str(error)) from None
            except OSError as error:
                raise Failure(ttrpc.UNKNOWN, str(NajaError.from_os_error(name, error))) from None
            except Malformed:
                raise
            except Failure:
                raise
            except Exception:
                reply.fail(ttrpc.INTERNAL, f"internal error in {name}")
                raise

        return method

    def _state(self, request: dict[str, Any], reply: Reply) -> None:
        task, process = self._process(request)
        values = {
            "id": process.id or task.id,
            "bundle": task.bundle,
            "pid": process.pid,
            "status": messages.STATUSES[task.status(process)],
            "stdin": process.stdio.stdin,
            "stdout": process.stdio.stdout,
            "stderr": process.stdio.stderr,
            "terminal": process.stdio.terminal,
            "exit_status": process.code,
            "exited_at": process.exited_at(),
            "exec_id": process.id,
        }
        reply.give(messages.STATE.encode(values))

    def _pause(self, request: dict[str, Any], reply: Reply) -> None:
        self._freeze(request, reply, "pause", verbs.pause, messages.TASK_PAUSED)

    def _resume(self, request: dict[str, Any], reply: Reply) -> None:
        self._freeze(request, reply, "resume", verbs.resume, messages.TASK_RESUMED)

    def _freeze(
        self,
        request: dict[str, Any],
        reply: Reply,
        name: str,
        verb: Callable[[Report, str, str], None],
        event: Message,
    ) -> None:
        """Pause a task, or let it go on, and publish that."""
        task = self._task(request)

        def done(_: Answer) -> None:
            task.is_paused = name == "pause" and task.first.status == "running"
            self._publish(event, container_id=task.id)
            reply.give(b"")

        work = lambda report: verb(report, task.id, task.root)  # noqa: E731
        self._in_turn(name, task, reply, work, done, failure=f"OCI runtime {name} failed")

    def _update(self, request: dict[str, Any], reply: Reply) -> None:
        task = self._task(request)
        resources = request["resources"]["value"] if request["resources"] else b"{}"
        work = lambda report: verbs.update(report, task.id, task.root, resources)  # noqa: E731
        self._in_turn("update", task, reply, work, lambda _: reply.give(b""))

    def _checkpoint(self, request: dict[str, Any], reply: Reply) -> None:
        task = self._task(request)
        wanted = unwrap(request["options"], messages.CHECKPOINT_OPTIONS, messages.OLD_CHECKPOINT_OPTIONS)
        order = {"id": task.id, "root": task.root, "bundle": task.bundle, "path": request["path"]}
        order["path"] = order["path"] or task.options["criu_image_path"]

        def done(_: Answer) -> None:
            self._publish(messages.TASK_CHECKPOINTED, container_id=task.id, checkpoint=order["path"])
            reply.give(b"")

        work = lambda report: verbs.checkpoint(report, order, wanted)  # noqa: E731
        self._in_turn("checkpoint", task, reply, work, done)

    def _exec(self, request: dict[str, Any], reply: Reply) -> None:
        task = self._task(request)
        id = request["exec_id"]
        if not id or id in task.added:
            raise Failure(ttrpc.ALREADY_EXISTS, f"id {id}")
        self._require("exec", task, task.first)
        program = _program(request["spec"])
        program["terminal"] = request["terminal"]
        stdio = Stdio(request["stdin"], request["stdout"], request["stderr"], terminal=request["terminal"])
        process = Process(id, stdio, Streams(self._loop, self._ends, stdio))
        process.program = program
        task.added[id] = process
        reply.give(b"")
        # Who asks for it starts it next: what need not wait for that is done meanwhile.
        self._begin_added(task, process)
        self._publish(messages.TASK_EXEC_ADDED, container_id=task.id, exec_id=id)

    def _kill(self, request: dict[str, Any], reply: Reply) -> None:
        task, process = self._process(request)
        signal, all = request["signal"], request["all"]
        if process is not task.first:
            if not process.pid:
                raise Failure(ttrpc.FAILED_PRECONDITION, "process not created")
            self._signal(process, signal)
        elif all or (signal == _SIGKILL and (task.is_paused or task.shares_pids)):

            def done(answer: Answer) -> None:
                if not answer.error:
                    reply.give(b"")

            self._call(
                "kill", reply, lambda report: verbs.kill(report, task.id, task.root, signal, all), done
            )
            return
        else:
            self._signal(process, signal)
        reply.give(b"")

    def _signal(self, process: Process, signal: int) -> None:
        if process.status == "stopped" or process.end or not process.pid:
            raise Failure(ttrpc.NOT_FOUND, "process already finished")
        try:
            # Our child, and not reaped: the pid is nobody else's.
            os.kill(process.pid, signal)
        except ProcessLookupError:
            raise Failure(ttrpc.NOT_FOUND, "process already finished") from None

    def _resize_pty(self, request: dict[str, Any], reply: Reply) -> None:
        _, process = self._process(request)
        process.streams.resize(request["width"], request["height"])
        reply.give(b"")

    def _close_io(self, request: dict[str, Any], reply: Reply) -> None:
        _, process = self._process(request)
        if request["stdin"]:
            process.streams.close_stdin()
        reply.give(b"")

    def _pids(self, request: dict[str, Any], reply: Reply) -> None:
        task = self._task(request)

        def done(answer: Answer) -> None:
            if answer.error:
                return
            added = {process.pid: process.id for process in task.running()}
            details = messages.PROCESS_DETAILS
            found = [
                {"pid": pid, "info": wrap(details, {"exec_id": added[pid]}) if pid in added else None}
                for pid in answer.value
            ]
            reply.give(messages.PIDS.encode({"processes": found}))

        self._call("pids", reply, lambda report: verbs.processes(report, task.id, task.root), done)

    def _stats(self, request: dict[str, Any], reply: Reply) -> None:
        task = self._task(request)

        def done(answer: Answer) -> None:
            if not answer.error:
                name, content = answer.value
                reply.give(messages.STATS.encode({"stats": {"type_url": name, "value": content}}))

        self._call("stats", reply, lambda report: verbs.statistics(report, task.id, task.root), done)

    def _wait(self, request: dict[str, Any], reply: Reply) -> None:
        _, process = self._process(request)
        if process.status == "stopped":
            process.answer(reply)
        else:
            process.waiting.append(reply)
            reply.abandoned = lambda: process.waiting.remove(reply) if reply in process.waiting else None

    def _connect(self, request: dict[str, Any], reply: Reply) -> None:
        task = self.tasks.get(request["id"])
        pid = task.first.pid if task else 0
        reply.give(messages.CONNECT.encode({"shim_pid": os.getpid(), "task_pid": pid}))

    def _shutdown(self, request: dict[str, Any], reply: Reply) -> None:
        reply.give(b"")
        self._idle()


def _program(spec: dict[str, Any] | None) -> dict[str, Any]:
    """Return what is to be run, which is not yet checked. Raises Failure."""
    try:
        program = json.loads(spec["value"] if spec else b"{}", "the process")
    except NajaError as error:
        raise Failure(ttrpc.INVALID_ARGUMENT, str(error)) from None
    if type(program) is not dict:
        raise Failure(ttrpc.INVALID_ARGUMENT, "the process is no JSON object")
    return program


def _function_name(method: str) -> str:
    """Return the function for a method ("CloseIO" → "_close_io")."""
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in method)
    return words.replace("_i_o", "_io")


_FUNCTIONS = {name: _function_name(name) for name in _TYPES}
