"""The lives of containers and of their processes: created, started, ended, deleted."""

from __future__ import annotations

from ..errors import NajaError
from ..resident.leftovers import children, end_strays
from . import messages, options, ttrpc, verbs
from .calls import REFUSALS, Calls
from .streams import Stdio, Streams
from .tasks import Process, Task
from .ttrpc import Failure
from .watch import watch_oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..resident.ends import End
    from ..resident.workers import Answer, Report
    from .ttrpc import Reply
    from .watch import Handed

_SIGKILL = 9

#: How long this process outlives a container that somebody else removes, in seconds.
_AFTERWARDS = 3.0


class Lives(Calls):
    """What begins and ends."""

    def _create(self, request: dict[str, Any], reply: Reply) -> None:
        id = request["id"]
        if id in self.tasks or id in self.making:
            raise Failure(ttrpc.ALREADY_EXISTS, f"task {id} already exists")
        self.making.add(id)
        if options.is_plain(request["options"]):
            try:
                self._create_with(options.read(request["options"]), request, reply)
            except BaseException:
                self._unmake(id)
                raise
            return

        def read(answer: Answer) -> None:
            if answer.error:
                self._unmake(id)
                return
            try:
                self._create_with(answer.value, request, reply)
            except (NajaError, OSError) as error:
                self._unmake(id)
                reply.fail(ttrpc.UNKNOWN, str(error))

        self._call("create", reply, lambda _: options.read(request["options"]), read)

    def _unmake(self, id: str) -> None:
        self.making.discard(id)
        self._idle()

    def _create_with(self, chosen: dict[str, Any], request: dict[str, Any], reply: Reply) -> None:
        stdio = Stdio(request["stdin"], request["stdout"], request["stderr"], terminal=request["terminal"])
        streams = Streams(self._loop, self._ends, stdio)
        task = Task(request, options.root(chosen, self._namespace), chosen, Process("", stdio, streams))
        request["root"] = task.root
        verb = verbs.prepare_restore if request["checkpoint"] else verbs.create

        def begin() -> None:
            self._call(
                "create",
                reply,
                lambda report: verb(report, request, chosen),
                lambda answer: self._created(task, reply, answer),
                failure="OCI runtime create failed",
                moves=True,
                streams=streams.descriptors,
                undo=lambda worker: lambda _: verbs.undo_create(request, worker),
            )
            if not request["checkpoint"]:
                streams.handed()

        streams.prepare(self._names(task.id), begin)

    def _names(self, id: str) -> dict[str, str]:
        """Return what a logger is told of whose output it gets."""
        return {"CONTAINER_ID": id, "CONTAINER_NAMESPACE": self._namespace}

    def _created(self, task: Task, reply: Reply, answer: Answer) -> None:
        self.making.discard(task.id)
        if answer.error:
            task.first.streams.close()
            self._idle()
            return
        task.shares_pids = answer.value["shares_pids"]
        self.tasks[task.id] = task
        request = task.request
        names = ("stdin", "stdout", "stderr", "terminal")
        self._publish(
            messages.TASK_CREATE,
            container_id=task.id,
            bundle=task.bundle,
            rootfs=request["rootfs"],
            io={name: request[name] for name in names},
            checkpoint=request["checkpoint"],
            pid=answer.value["pid"],
        )
        reply.give(messages.PID.encode({"pid": answer.value["pid"]}))
        self._attend(task, task.first, answer.value["pid"], answer.descriptors)

    def _attend(self, task: Task, process: Process, pid: int, console: list[int]) -> None:
        """Take care of a process that is there now."""
        process.pid = pid
        if console:
            process.streams.relay(console[0])
        if pid:
            self._ends.watch(pid, lambda end: self._ended(task, process, end))

    # Start.

    def _start(self, request: dict[str, Any], reply: Reply) -> None:
        task, process = self._process(request)
        if process is not task.first:
            self._start_added(task, process, reply)
        elif task.request["checkpoint"] and not process.pid:
            self._restore(task, reply)
        else:
            process.is_starting = True
            self._in_turn(
                "start",
                task,
                reply,
                lambda report: verbs.start(report, task.id, task.root),
                lambda answer: self._started(task, reply, answer.value, answer.descriptors),
                failure="OCI runtime start failed",
            )
            task.turns.take(lambda finished: self._settle_first(task, finished))

    def _started(self, task: Task, reply: Reply, watch: Handed | None, descriptors: list[int]) -> None:
        task.first.status = "running"
        try:
            if watch and descriptors:
                told = lambda: self._publish(messages.TASK_OOM, container_id=task.id)  # noqa: E731
                task.watch = watch_oom(self._loop, watch, descriptors[0], told)
        except OSError as error:
            self._say(f"{task.id}: nobody will hear of an OOM: {error}")
        self._publish(messages.TASK_START, container_id=task.id, pid=task.first.pid)
        reply.give(messages.PID.encode({"pid": task.first.pid}))

    def _settle(self, task: Task, process: Process) -> None:
        """Tell of an end that came while the start was under way."""
        process.is_starting = False
        end, process.end = process.end, None
        if end:
            self._ended(task, process, end)

    def _settle_first(self, task: Task, finished: Callable[[], None]) -> None:
        self._settle(task, task.first)
        finished()

    def _restore(self, task: Task, reply: Reply) -> None:
        def done(answer: Answer) -> None:
            watch = answer.value["watch"]
            descriptors = [answer.descriptors.pop(0)] if watch else []
            self._attend(task, task.first, answer.value["pid"], answer.descriptors)
            self._started(task, reply, watch, descriptors)

        streams = task.first.streams

        def work(report: Any) -> Any:
            return verbs.restore(report, task.request, task.options)

        def job(finished: Callable[[], None]) -> None:
            def hear(answer: Answer) -> None:
                if not answer.error:
                    done(answer)
                finished()

            self._call(
                "restore",
                reply,
                work,
                hear,
                failure="OCI runtime restore failed",
                streams=streams.descriptors,
                undo=lambda worker: lambda _: verbs.undo_create(task.request, worker),
            )
            streams.handed()

        task.turns.take(job)

    def _begin_added(self, task: Task, process: Process) -> None:
        """Have a worker begin to add a process that is to be started soon."""
        values = _order(task, process), process.program
        process.worker = self._workers.begin(verbs.begin_to_execute, values, name="exec")

    def _start_added(self, task: Task, process: Process, reply: Reply) -> None:
        self._require("start", task, process)
        if process.is_starting:
            raise Failure(ttrpc.FAILED_PRECONDITION, REFUSALS["start", "running"])
        self._require("exec", task, task.first)
        order = _order(task, process)
        process.is_starting = True

        def begin() -> None:
            self._call(
                "exec",
                reply,
                lambda report: verbs.execute(report, order, process.program),
                lambda answer: self._started_added(task, process, reply, answer),
                failure="OCI runtime exec failed",
                moves=True,
                streams=process.streams.descriptors,
                undo=lambda _: self._undo_exec(task),
                begun=process.worker,
            )
            process.streams.handed()

        try:
            process.streams.prepare(self._names(process.id), begin)
        except BaseException:
            process.is_starting = False
            raise

    def _undo_exec(self, task: Task) -> Callable[[Report], None]:
        """Return what kills a process that was added to a task, if it was, and of which nobody was told."""
        kept = self.tasks.values()
        known = {process.pid for each in kept for process in (each.first, *each.added.values())}
        strays = children(known | self._workers.pids())
        return lambda _: end_strays(task.first.pid, strays)

    def _started_added(self, task: Task, process: Process, reply: Reply, answer: Answer) -> None:
        if answer.error:
            process.is_starting = False
            process.streams.close()
            process.stop(255)
            return
        process.status = "running"
        reply.give(messages.PID.encode({"pid": answer.value}))
        self._publish(messages.TASK_EXEC_STARTED, container_id=task.id, exec_id=process.id, pid=answer.value)
        self._attend(task, process, answer.value, answer.descriptors)
        self._settle(task, process)

    # The end.

    def _ended(self, task: Task, process: Process, end: End) -> None:
        if process.is_starting:
            process.end = end
            return
        if process is task.first:
            task.end = end
            if task.shares_pids:
                self._end_others(task)
        else:
            self._tell_end(task, process, end)
        if task.end and not task.running():
            first, task.end = task.end, None
            self._tell_end(task, task.first, first)

    def _end_others(self, task: Task) -> None:
        """Kill those that outlive the first process of a container without a pid namespace of its own."""

        def done(answer: Answer) -> None:
            if answer.error:
                self._say(f"{task.id}: kill what is left: {answer.error}")

        self._workers.call(
            lambda report: verbs.kill_others(report, task.id, task.root), done, name="kill what is left"
        )

    def _tell_end(self, task: Task, process: Process, end: End) -> None:
        process.streams.end()
        process.stop(end.code or 0, end.time)
        if process is task.first:
            task.is_paused = False
            self._unwatch(task)
        self._publish(
            messages.TASK_EXIT,
            container_id=task.id,
            id=process.id or task.id,
            pid=process.pid,
            exit_status=process.code,
            exited_at=process.exited_at(),
        )

    def _unwatch(self, task: Task) -> None:
        watch, task.watch = task.watch, None
        if watch:
            watch()

    def _delete(self, request: dict[str, Any], reply: Reply) -> None:
        task, process = self._process(request)
        if process is not task.first:
            self._require("delete", task, process)
            if process.is_starting:
                raise Failure(ttrpc.FAILED_PRECONDITION, REFUSALS["delete", "running"])
            del task.added[process.id]
            self._workers.drop(process.worker)
            process.streams.finish(lambda: reply.give(_exit(process)))
            # Who has added one may add another, and what it takes is at hand then.
            values = _order(task, process), process.program
            self._workers.expect(verbs.begin_to_execute, lambda: verbs.rehearse_execute(*values))
            return
        self._in_turn(
            "delete",
            task,
            reply,
            lambda report: verbs.delete(report, task.id, task.root, task.bundle),
            lambda _: self._deleted(task, reply),
            failure="failed to delete task",
        )

    def _deleted(self, task: Task, reply: Reply) -> None:
        first = task.first

        def leave() -> None:
            self.tasks.pop(task.id, None)
            self._unwatch(task)
            self._publish(
                messages.TASK_DELETE,
                container_id=task.id,
                pid=first.pid,
                exit_status=first.code,
                exited_at=first.exited_at(),
            )
            reply.give(_exit(first))
            self._left()

        for process in task.added.values():
            process.streams.close()
        first.streams.finish(leave)

    def forget(self, id: str) -> None:
        """Drop a container that somebody else has removed."""
        task = self.tasks.pop(id, None)
        if task:
            self._unwatch(task)
            for process in (task.first, *task.added.values()):
                process.streams.close()
                process.stop(128 + _SIGKILL)
        # Whoever removes it waits for the ends of its processes, which are this one's children.
        self._loop.later(_AFTERWARDS, self._idle)


def _order(task: Task, process: Process) -> dict[str, Any]:
    """Return what ``verbs.execute`` is told."""
    order = {"id": task.id, "bundle": task.bundle, "root": task.root, "options": task.options}
    return {**order, "terminal": process.stdio.terminal}


def _exit(process: Process) -> bytes:
    values = {"pid": process.pid, "exit_status": process.code, "exited_at": process.exited_at()}
    return messages.EXIT.encode(values)
