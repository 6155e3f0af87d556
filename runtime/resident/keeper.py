"""The containers that a resident naja keeps: what is done with them is a call, and their ends are told.

What takes time is done by workers, in the very code of the commands; so other commands (``naja kill``) may
come to the same containers at any time, and the state on disk is all that a later process needs to take
over from this one.
"""

from __future__ import annotations

import os

from ..container import state
from ..container.creation import Creation
from ..container.execution import add
from ..container.lifecycle import Container
from ..container.running import started
from ..errors import Aftermath, NajaError, WrongState
from ..linux import process
from ..process.launch import Launch
from .ends import End
from .leftovers import children, end_strays, remove_unfinished
from .workers import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .ends import Ends
    from .loop import Loop
    from .workers import Call, Report, Workers

    Done = Callable[[Answer], None]

_SIGKILL = 9

#: How long a worker waits for the end of a program that may be brief, in milliseconds.
_MOMENT = 0.05

#: waitid(2): whatever signal it ends with.
_WALL = 0x40000000


class Process:
    """A process in a container: its end is told to whoever watches it, and kept."""

    def __init__(self, loop: Loop, pid: int, pidfd: int = -1) -> None:
        self._loop = loop
        self.pid = pid
        #: Of one that is not this process's child.
        self._pidfd = pidfd
        self._watchers: list[Callable[[End], None]] = []
        #: How it has ended, once it has.
        self.end: End | None = None

    def watch(self, callback: Callable[[End], None]) -> None:
        """Call back once, at its end; soon, where it has ended already."""
        if end := self.end:
            self._loop.soon(lambda: callback(end))
        else:
            self._watchers.append(callback)

    def ignore(self, callback: Callable[[End], None]) -> None:
        """Call back no more."""
        if callback in self._watchers:
            self._watchers.remove(callback)

    def signal(self, number: int) -> bool:
        """Send it a signal; False where it has ended. Raises OSError."""
        if self.end:
            return False
        try:
            if self._pidfd >= 0:
                process.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)  # No other process has the pid, until this one is reaped.
        except ProcessLookupError:
            return False
        return True

    def has_ended(self, end: End) -> None:
        """Note its end, and tell it."""
        self.end = end
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            self._loop.guard(watcher, end)


class Kept(Process):
    """A container, and its first process."""

    def __init__(self, loop: Loop, root: str, found: dict[str, Any], held: int, pidfd: int = -1) -> None:
        super().__init__(loop, found["pid"], pidfd)
        self.root = root
        self.id: str = found["id"]
        self.bundle: str = found["bundle"]
        self._status: str = found["status"]
        #: Of its state directory, which is held: the number of one that is gone goes to the next.
        self.identity = _identity(os.path.join(root, self.id) if held < 0 else held)
        self._held = held
        #: Whether it is to go with whoever has made it.
        self.tied = False

    @property
    def status(self) -> str:
        """As far as it is known here: "created", "running", "paused" or "stopped"."""
        return "stopped" if self.end else self._status

    def becomes(self, status: str) -> None:
        """Note what has been done with it."""
        self._status = status

    def let_go(self) -> None:
        """Hold its state directory no longer: it is not kept any more."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


class Keeper:
    """Keeps containers, by state root and ID. What is called ``done`` is told of the outcome, in the loop."""

    def __init__(self, loop: Loop, ends: Ends, workers: Workers) -> None:
        self._loop = loop
        self._ends = ends
        self._workers = workers
        self._kept: dict[tuple[str, str], Kept] = {}
        #: The children that are known.
        self._running: set[int] = set()

    def find(self, root: str, id: str) -> Kept | None:
        """Return a container that is kept; not where another command has made one in its place."""
        kept = self._kept.get((root, id))
        if kept and _identity(os.path.join(root, id)) not in (kept.identity, None):
            self._forget(root, id)
            return None
        return kept

    def keeps(self, kept: Kept) -> bool:
        """Tell whether a container is still kept."""
        return self.find(kept.root, kept.id) is kept

    def containers(self) -> list[Kept]:
        """Return all that are kept."""
        return list(self._kept.values())

    def create(
        self,
        root: str,
        id: str,
        bundle: str,
        done: Done,
        *,
        streams: Sequence[int] = (),
        preserved: Sequence[int] = (),
        gate: bool = True,
        brief: bool = False,
        **options: Any,
    ) -> Call | None:
        """Create a container; its process waits for ``start``. The answer's value is a ``Kept``.

        Without a ``gate`` its program runs at once; ``brief``, where that ends at once too, the container is
        deleted, and the value an ``End``.

        Where it has a terminal, its master is the answer's descriptor, unless ``options`` name a
        console_socket. They are those of ``naja.container.creation.Creation``.
        """
        known = os.path.exists(os.path.join(root, id))
        call: Call | None = None

        def created(answer: Answer) -> None:
            if answer.error is None and "code" in answer.value:
                answer.value = End(answer.value["pid"], answer.value["code"])
            elif answer.error is None:
                answer.value = self._keep(root, answer.value, _held(answer))
            elif answer.killed and not known:
                worker = call.pid if call else 0
                self._clear(lambda _: remove_unfinished(root, id, worker), answer, done)
                return
            done(answer)

        making = {"root": root, "gate": gate, "preserve_fds": len(preserved), **options}
        given: dict[str, Any] = {"streams": streams, "preserved": preserved}
        if brief:
            values = (id, bundle, making, True)
            call = self._workers.call_ahead(
                _create, values, created, rehearse=lambda: _rehearse(bundle, root), name=f"run {id}", **given
            )
        else:
            name = f"{'create' if gate else 'run'} {id}"
            call = self._workers.call(
                lambda report: _create(report, id, bundle, making), created, name=name, moves=True, **given
            )
        return call

    def take_over(self, root: str, id: str, done: Done) -> None:
        """Keep a container that somebody else has made, by its record. The answer's value is a ``Kept``.

        How its process ends may not be known: ``End.code`` is None where the kernel does not tell.
        """

        def taken(answer: Answer) -> None:
            if answer.error is None:
                try:
                    answer.value = self._keep_other(root, answer.value, _held(answer))
                except (OSError, NajaError) as error:
                    answer = Answer(error=NajaError(f"take over container {id}", why=str(error)))
            done(answer)

        self._workers.call(lambda report: _look_up(report, root, id), taken, name=f"take over {id}")

    def start(self, kept: Kept, done: Done) -> Call | None:
        """Have a created container run its program."""
        return self.call(kept, "start", lambda container: container.start(), done, then="running")

    def delete(self, kept: Kept, done: Done, *, force: bool = False) -> None:
        """Remove what is left of a container, which is kept no longer."""

        def deleted(answer: Answer) -> None:
            if answer.error is None or isinstance(answer.error, state.NoContainer):
                self._forget(kept.root, kept.id)
            done(answer)

        self.call(kept, "delete", lambda container: container.delete(force=force), deleted, broken=True)

    def remove(self, root: str, id: str, done: Done, *, force: bool = False) -> None:
        """Remove what is left of a container that is not kept, and whose record may tell nothing any more."""

        def work(report: Report) -> None:
            Container.open(id, root=root, warn=report.warn).delete(force=force)

        self._workers.call(work, done, name=f"delete {id}")

    def signal(self, kept: Kept, number: int, done: Done, *, all: bool = False) -> None:
        """Send a signal to the container's process, or to all of its processes."""
        if all or number == _SIGKILL:
            self.call(kept, "kill", lambda container: container.kill(number, all=all), done)
            return
        error = None if kept.signal(number) else WrongState("container not running", why=kept.id)
        self._loop.soon(lambda: done(Answer(error=error)))

    def pause(self, kept: Kept, done: Done) -> Call | None:
        """Freeze all processes of a container."""
        return self.call(kept, "pause", lambda container: container.pause(), done, then="paused")

    def resume(self, kept: Kept, done: Done) -> Call | None:
        """Thaw a container."""
        return self.call(kept, "resume", lambda container: container.resume(), done, then="running")

    def update(self, kept: Kept, resources: dict[str, Any], done: Done) -> Call | None:
        """Change the limits; ``resources`` has the shape of /linux/resources."""

        def work(container: Container) -> None:
            from .. import config

            config.check_resources(resources, "resources")
            container.update(resources)

        return self.call(kept, "update", work, done)

    def mount(self, kept: Kept, source: str, destination: str, done: Done, **options: Any) -> Call | None:
        """Mount something in a container; ``options`` are those of ``naja.container.mounting.mount``."""

        def work(container: Container) -> None:
            container.mount(source, destination, **options)

        return self.call(kept, "mount", work, done)

    def unmount(self, kept: Kept, destination: str, done: Done) -> Call | None:
        """Take away what ``mount`` has put there."""
        return self.call(kept, "umount", lambda container: container.unmount(destination), done)

    def state(self, kept: Kept, done: Done) -> Call | None:
        """Ask for the state document (runtime.md, State)."""
        return self.call(kept, "state", lambda container: container.state(), done)

    def statistics(self, kept: Kept, done: Done) -> Call | None:
        """Ask what the cgroups have counted, in the shape of runc's ``events --stats``."""
        return self.call(kept, "events", lambda container: container.statistics(), done)

    def processes(self, kept: Kept, done: Done) -> Call | None:
        """Ask for the pids of all processes in the container."""
        return self.call(kept, "ps", lambda container: container.processes(), done)

    def exec(
        self,
        kept: Kept,
        program: dict[str, Any],
        done: Done,
        *,
        streams: Sequence[int] = (),
        preserved: Sequence[int] = (),
        **options: Any,
    ) -> Call | None:
        """Add a process (the shape of config.json's /process). The answer's value is a ``Process``.

        Its terminal's master is the answer's descriptor. ``options`` are those of
        ``naja.container.execution.add``.
        """

        def work(report: Report) -> int:
            return _exec(report, kept, program, {"preserve_fds": len(preserved), **options})

        def added(answer: Answer) -> None:
            if answer.error is None:
                answer.value = Process(self._loop, answer.value)
                self._watch(answer.value)
            elif answer.killed:
                strays = children(self._running | self._workers.pids())
                self._clear(lambda _: end_strays(kept.pid, strays), answer, done)
                return
            done(answer)

        name = f"exec in {kept.id}"
        return self._workers.call(work, added, name=name, streams=streams, preserved=preserved, moves=True)

    def call(
        self,
        kept: Kept,
        name: str,
        work: Callable[[Container], Any],
        done: Done,
        *,
        then: str = "",
        broken: bool = False,
    ) -> Call | None:
        """Have a worker do something with a container, which ``then`` has that status.

        With ``broken`` its record may tell nothing any more.
        """

        def do(report: Report) -> Any:
            find = Container.open if broken else Container.load
            return work(find(kept.id, root=kept.root, warn=report.warn))

        def finished(answer: Answer) -> None:
            if answer.error is None and then:
                kept.becomes(then)
            done(answer)

        return self._workers.call(do, finished, name=f"{name} {kept.id}")

    def _keep(self, root: str, found: dict[str, Any], held: int) -> Kept:
        kept = Kept(self._loop, root, found, held)
        self._note(kept)
        self._watch(kept)
        return kept

    def _note(self, kept: Kept) -> None:
        self._forget(kept.root, kept.id)
        self._kept[kept.root, kept.id] = kept

    def _forget(self, root: str, id: str) -> None:
        if kept := self._kept.pop((root, id), None):
            kept.let_go()

    def _watch(self, started: Process) -> None:
        def ended(end: End) -> None:
            self._running.discard(started.pid)
            started.has_ended(end)

        self._running.add(started.pid)
        self._ends.watch(started.pid, ended)

    def _keep_other(self, root: str, found: dict[str, Any], held: int) -> Kept:
        """Keep what somebody else has made. ``held`` is taken over, whatever comes of it."""
        first = None
        try:
            first = process.Held.find(found["pid"], found["start_time"])
            kept = Kept(self._loop, root, found, held, first.pidfd if first else -1)
            if first:
                self._ends.follow(first.pidfd, first.pid, kept.has_ended)
        except BaseException:
            if first:
                first.close()
            if held >= 0:
                os.close(held)
            raise
        if first:
            os.close(first.directory)
        else:
            kept.end = End(kept.pid, None)
        self._note(kept)
        return kept

    def _clear(self, work: Callable[[Report], None], answer: Answer, done: Done) -> None:
        """Have a worker take back what a killed one had begun; then tell that it was killed."""

        def cleared(second: Answer) -> None:
            if answer.error and second.error:
                answer.error.add_note(str(second.error))
            done(answer)

        self._workers.call(work, cleared, name="undo")


def _rehearse(bundle: str, root: str) -> None:
    """Do what touches nothing of what the next container takes; it may be like this one. Raises NajaError."""
    Creation("rehearsal", bundle, root=root, warn=lambda _: None, gate=False, takes_console=True).plan()


def _create(
    report: Report, id: str, bundle: str, options: dict[str, Any], brief: bool = False
) -> dict[str, Any]:
    """Create a container, and return what is to be known of it."""
    with Launch(options["preserve_fds"]) as launch:
        creation = Creation(id, bundle, warn=report.warn, takes_console=True, brief=brief, **options)
        creation.make(launch)
        if creation.over:
            try:
                return {"pid": creation.init, "code": _reap(creation.init)}
            finally:
                creation.take_back()
        container = None if options["gate"] else started(creation)
    if container and brief and creation.console < 0:
        code = _see_off(container, creation.init)
        if code is not None:
            return {"pid": creation.init, "code": code}
    report.descriptors.append(creation.directory.hand_over())
    if creation.console >= 0:
        report.descriptors.append(creation.console)
    return _essence(creation.record)


def _see_off(container: Container, pid: int) -> int | None:
    """Wait a moment for the end of a program, and delete its container then; return the exit code.

    None where it goes on. That takes no second worker, and no time of the resident process's.
    """
    try:
        if not process.ends_within(pid, _MOMENT):
            return None
        code = _reap(pid)
    except BaseException as error:
        with Aftermath(error):
            container.delete(force=True)
        raise
    container.delete(force=True)
    return code


def _reap(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, _WALL)[1])
    return 128 - code if code < 0 else code


def _held(answer: Answer) -> int:
    """Take the descriptor of the state directory, which comes first; -1 where there was no room for it."""
    return answer.descriptors.pop(0) if answer.descriptors else -1


def _identity(directory: str | int) -> tuple[int, int] | None:
    """Return what tells a state directory from one that comes after it; None where there is none."""
    try:
        status = os.stat(directory)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _look_up(report: Report, root: str, id: str) -> dict[str, Any]:
    container = Container.load(id, root=root)
    status = container.status()
    if not container.record:
        raise NajaError("container has no state: its create was cut off", why=id)
    report.descriptors.append(container.directory.hand_over())
    return {**_essence(container.record), "status": status}


def _essence(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("id", "bundle", "status", "pid", "start_time")}


def _exec(report: Report, kept: Kept, program: dict[str, Any], options: dict[str, Any]) -> int:
    """Add a process, and return its pid."""
    from .. import config

    config.check_process(program, "process")
    container = Container.load(kept.id, root=kept.root, warn=report.warn)
    pid, console = add(container, program, takes_console=True, **options)
    if console >= 0:
        report.descriptors.append(console)
    return pid
