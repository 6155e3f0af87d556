"""What callers of a resident naja may ask for: each request, with what it takes, to what the keeper does.

A request is {"call": N, "do": WHAT, ...}, and the answer to it, at any later time, {"call": N, "value": ...}
or {"call": N, "error": ...} (messages.failure), with "warnings" where there are some. N is the caller's, and
null in answers to what was no request. All but those about a process, and the first two, name "root" and
"id"; beside that:

- hello: nothing. Value: "version", "package" and "pid".
- connect: a descriptor of one more such connection, which is served as this one is.
- cancel: to the N of a request. What that has begun is undone; there is no other answer than the request's.
- create, run: "bundle", what _CREATE lists; "tied": whether it is deleted when this caller leaves;
  "brief" (of run): where its program ends at once the container is deleted, and the value is that of wait;
  "streams": true where descriptors for 0, 1 and 2 come along, more are for 3 and on. Value: "pid" and
  "descriptors", the names of those that come with it ("pidfd", "console").
- exec: "program", what _EXEC lists, descriptors as for create. Value: the same, and "process", a number.
- wait: nothing, or "process" alone. Answered at the end, with "code" (128 + N for signal N) and "time" (ns).
- signal: "signal", and "all"; or "signal" and "process" alone.
- mount: "source", "destination", what _MOUNT lists. unmount: "destination".
- delete: "force". update: "resources". tie: "tied". start, state, statistics, processes, pause, resume:
  nothing.
"""

from __future__ import annotations

import os
import stat

from ..container import state
from ..container.record import is_text
from ..errors import NajaError
from ..linux import process
from ..startup import precompiled
from ..version import VERSION
from .ends import End
from .workers import Answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .keeper import Done, Keeper, Kept, Process
    from .messages import Message
    from .workers import Call

_SIGKILL = 9

#: How many processes one caller may have without having waited for their ends.
_MOST_PROCESSES = 4096

#: What may be asked for beside the bundle, and beside the program (naja.container.creation, execution).
_CREATE = {
    **dict.fromkeys(("console_socket", "pid_file"), str),
    **dict.fromkeys(("no_pivot", "no_new_keyring", "rootless", "systemd_cgroup"), bool),
}
_EXEC = {"console_socket": str, "pid_file": str, "cgroup": dict, "ignore_paused": bool, "user": str}
_MOUNT: dict[str, type] = {"kind": str, "options": list}

_WORDS = {str: "text", int: "a number", bool: "true or false", dict: "an object", list: "a list"}


class Request:
    """One request: its fields are taken one by one, and what is left over is refused."""

    def __init__(self, message: Message, descriptors: list[int], done: Done) -> None:
        self._fields = message
        self._descriptors = descriptors
        #: To be called once.
        self.done = done
        #: The worker that is at it, where it can be told to stop.
        self.call: Call | None = None
        #: What it waits for.
        self.watched: tuple[Process, Callable[[End], None]] | None = None
        #: Whether the caller is gone, and what comes of it is to be undone.
        self.abandoned = False

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def watch(self, found: Process, callback: Callable[[End], None]) -> None:
        """Wait for the end of a process."""
        self.watched = (found, callback)
        found.watch(callback)

    def abandon(self) -> None:
        """Note that the caller is gone."""
        self.abandoned = True
        if self.watched:
            found, callback = self.watched
            found.ignore(callback)

    def take(self, name: str, kind: type, otherwise: Any = None) -> Any:
        """Return a field, ``otherwise`` (if that is not None) where it is missing. Raises NajaError."""
        value = self._fields.pop(name, otherwise)
        if type(value) is not kind:
            raise NajaError(f"{name} is missing" if value is None else f"{name} is not {_WORDS[kind]}")
        return value

    def path(self, name: str) -> str:
        """Return a field that is an absolute path. Raises NajaError."""
        value: str = self.take(name, str)
        if not (value.startswith("/") and is_text(value)):
            raise NajaError(f"{name} is no absolute path")
        return value

    def id(self) -> str:
        """Return the ID of a container. Raises NajaError."""
        value: str = self.take("id", str)
        state.check_id(value)
        return value

    def options(self, known: dict[str, type]) -> dict[str, Any]:
        """Return those of the optional fields that are there. Raises NajaError."""
        return {name: self.take(name, kind) for name, kind in known.items() if name in self._fields}

    def streams(self) -> dict[str, list[int]]:
        """Return the descriptors: standard streams where "streams" is true, then others to be preserved.

        No way to the host's files is among them. Raises NajaError.
        """
        first = 3 if self.take("streams", bool, False) else 0
        if len(self._descriptors) < first:
            raise NajaError("three standard streams are to come with the message")
        for descriptor in self._descriptors:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise NajaError("a descriptor of a directory would lead out of the container")
        return {"streams": self._descriptors[:first], "preserved": self._descriptors[first:]}

    def connection(self) -> int:
        """Return a copy of the only descriptor, a connected socket as callers have it. Raises NajaError."""
        if len(self._descriptors) != 1:
            raise NajaError("one descriptor is to come with the message")
        return os.dup(self._descriptors[0])

    def end(self, *, descriptors: bool = False) -> None:
        """See that nothing is left that nobody has asked for. Raises NajaError."""
        if self._fields:
            raise NajaError(f"{next(iter(self._fields))} is not known here")
        if self._descriptors and not descriptors:
            raise NajaError("descriptors that nobody has asked for")


class Requests:
    """Does what one caller asks for; ``connect`` is told of one more."""

    def __init__(self, keeper: Keeper, connect: Callable[[int], None]) -> None:
        self._keeper = keeper
        self._connect_to = connect
        #: The containers that go with the caller.
        self._tied: set[Kept] = set()
        #: Those that the caller has added to containers, by number, until it has waited for them.
        self._processes: dict[int, Process] = {}
        self._number = 0

    def perform(self, request: Request) -> None:
        """Begin to do what is asked for. Raises NajaError where it is not understood."""
        name = request.take("do", str)
        if name not in _ACTIONS:
            raise NajaError(f"{name} is nothing that could be done")
        _ACTIONS[name](self, request)

    def leave(self) -> None:
        """Take leave of the caller: what is tied to it goes. Others that have gone already are no error."""
        for kept in self._tied:
            if self._keeper.keeps(kept):
                self._keeper.delete(kept, lambda _: None, force=True)

    def _hello(self, request: Request) -> None:
        request.end()
        request.done(Answer({"version": VERSION, "package": precompiled.PACKAGE, "pid": os.getpid()}))

    def _connect(self, request: Request) -> None:
        connection = request.connection()
        try:
            request.end(descriptors=True)
            self._connect_to(connection)
        except BaseException:
            os.close(connection)
            raise
        request.done(Answer())

    def _tie(self, request: Request) -> None:
        tied = request.take("tied", bool)

        def tie(kept: Kept) -> None:
            (self._tied.add if tied else self._tied.discard)(kept)
            request.done(Answer())

        self._of_container(request, tie)

    def _create(self, request: Request, *, gate: bool = True) -> None:
        names = request.path("root"), request.id(), request.path("bundle")
        tied, brief = request.take("tied", bool, False), request.take("brief", bool, False)
        options = {"brief": brief and not gate, **request.options(_CREATE), **request.streams(), "gate": gate}
        request.end(descriptors=True)

        def created(answer: Answer) -> None:
            if isinstance(answer.value, End):
                request.done(_told(answer.value))
                return
            if request.abandoned and answer.error is None:
                self._keeper.delete(answer.value, request.done, force=True)
                return
            if tied and answer.error is None:
                self._tied.add(answer.value)
            _introduce(answer, request.done)

        request.call = self._keeper.create(*names, created, **options)

    def _exec(self, request: Request) -> None:
        program = request.take("program", dict)
        options = {**request.options(_EXEC), **request.streams()}

        def added(answer: Answer) -> None:
            if request.abandoned and answer.error is None:
                answer.value.signal(_SIGKILL)
            number = self._note(answer.value) if answer.error is None else 0
            _introduce(answer, request.done, process=number)

        def add(kept: Kept) -> Call | None:
            if len(self._processes) >= _MOST_PROCESSES:
                raise NajaError(f"{_MOST_PROCESSES} processes that nobody has waited for")
            return self._keeper.exec(kept, program, added, **options)

        self._of_container(request, add, descriptors=True)

    def _note(self, added: Process) -> int:
        self._number += 1
        self._processes[self._number] = added
        return self._number

    def _wait(self, request: Request) -> None:
        if "process" in request:
            number, found = self._process(request)

            def ended(end: End) -> None:
                self._processes.pop(number, None)
                request.done(_told(end))

            request.end()
            request.watch(found, ended)
        else:
            self._of_container(
                request, lambda kept: request.watch(kept, lambda end: request.done(_told(end)))
            )

    def _process(self, request: Request) -> tuple[int, Process]:
        number = request.take("process", int)
        if number not in self._processes:
            raise NajaError("there is no such process, or it was waited for")
        return number, self._processes[number]

    def _signal(self, request: Request) -> None:
        number = request.take("signal", int)
        if not 0 <= number < 65:
            raise NajaError(f"{number} is no signal")
        if "process" in request:
            _, found = self._process(request)
            request.end()
            request.done(Answer(found.signal(number)))
            return
        all = request.take("all", bool, False)
        self._of_container(request, lambda kept: self._keeper.signal(kept, number, request.done, all=all))

    def _delete(self, request: Request) -> None:
        force = request.take("force", bool, False)
        root, id = request.path("root"), request.id()
        request.end()
        if kept := self._keeper.find(root, id):
            self._tied.discard(kept)
            self._keeper.delete(kept, request.done, force=force)
        else:
            self._keeper.remove(root, id, request.done, force=force)

    def _mount(self, request: Request) -> None:
        paths = request.take("source", str), request.take("destination", str)
        options = request.options(_MOUNT)
        self._of_container(request, lambda kept: self._keeper.mount(kept, *paths, request.done, **options))

    def _unmount(self, request: Request) -> None:
        destination = request.take("destination", str)
        self._of_container(request, lambda kept: self._keeper.unmount(kept, destination, request.done))

    def _update(self, request: Request) -> None:
        resources = request.take("resources", dict)
        self._of_container(request, lambda kept: self._keeper.update(kept, resources, request.done))

    def _of_container(
        self, request: Request, then: Callable[[Kept], Call | None], *, descriptors: bool = False
    ) -> None:
        """Do something with the container that a request names; others may have made it."""
        root, id = request.path("root"), request.id()
        request.end(descriptors=descriptors)
        kept = self._keeper.find(root, id)
        if kept:
            request.call = then(kept)
        else:
            self._keeper.take_over(root, id, lambda answer: _go_on(answer, then, request))


def _go_on(answer: Answer, then: Callable[[Kept], Call | None], request: Request) -> None:
    try:
        if answer.error:
            raise answer.error
        if request.abandoned:
            raise NajaError("the caller is gone")
        request.call = then(answer.value)
    except NajaError as error:
        request.done(Answer(error=error))


def _introduce(answer: Answer, done: Done, **more: int) -> None:
    """Tell of a process. Its pidfd and the master of its terminal, if any, come along: "descriptors"."""
    if answer.error is None:
        pid, names = answer.value.pid, ["console"] * len(answer.descriptors)
        try:
            answer.descriptors.insert(0, process.pidfd_open(pid))
            names.insert(0, "pidfd")
        except OSError as error:
            answer.warnings.append(str(NajaError.from_os_error("open a pidfd", error)))
        answer.value = {"pid": pid, "descriptors": names, **more}
    done(answer)


def _told(end: End) -> Answer:
    return Answer({"code": end.code, "time": end.time})


def _plain(name: str) -> Callable[[Requests, Request], None]:
    """Return the action of a request that names a container and no more."""

    def perform(requests: Requests, request: Request) -> None:
        do: Callable[[Kept, Done], Call | None] = getattr(requests._keeper, name)
        requests._of_container(request, lambda kept: do(kept, request.done))

    return perform


_ACTIONS: dict[str, Callable[[Requests, Request], None]] = {
    "hello": Requests._hello,
    "connect": Requests._connect,
    "create": Requests._create,
    "run": lambda requests, request: requests._create(request, gate=False),
    "tie": Requests._tie,
    "exec": Requests._exec,
    "wait": Requests._wait,
    "signal": Requests._signal,
    "delete": Requests._delete,
    "update": Requests._update,
    "mount": Requests._mount,
    "unmount": Requests._unmount,
    **{name: _plain(name) for name in ("start", "state", "statistics", "processes", "pause", "resume")},
}
