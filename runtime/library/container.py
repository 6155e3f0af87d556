"""Containers for programs with threads: ``Container``, and ``run``, which is all of a life in one call."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Any, AnyStr, Generic, Literal, TypedDict, overload

from ..errors import Aftermath, NajaError, NotFound
from . import asking
from .asking import Answer, ResidentGone
from .connection import connection
from .handle import Handle, ProgramFailed, TimeoutExpired
from .process import Process, console, deadline_of, ended
from .streams import PIPE, Streams, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from ..types import Event, Resources, User
    from ..types import Process as ProcessConfig
    from .asking import Signal, StrPath
    from .connection import Pending
    from .streams import Stream

__all__ = ["CompletedContainer", "Container", "run"]


class Making(TypedDict, total=False):
    """How a container is made; all of it may be left out."""

    #: The state root.
    root: StrPath | None
    #: Told in a line what is worth saying but no error; else standard error is.
    warn: Callable[[str], None] | None
    #: Descriptors that the container has as 3 and on.
    pass_fds: Sequence[int]
    #: As the options of the command ``naja create``.
    no_pivot: bool
    no_new_keyring: bool
    systemd_cgroup: bool
    rootless: bool | None
    console_socket: StrPath | None
    pid_file: StrPath | None


class Container(Handle):
    """A container. Make one with ``create`` or ``start_new``, find one with ``get``.

    As a context manager it goes with the block, or with the program: it is ended and deleted.
    """

    _ending: Pending | None = None
    #: The master of its terminal, where its config asks for one.
    console: IO[bytes] | None = None

    @classmethod
    def create(
        cls,
        id: str | None = None,
        bundle: StrPath = ".",
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        logs: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **making: Unpack[Making],
    ) -> Self:
        """Make the container that a bundle describes; its process waits for ``start``.

        Without an ``id`` it is given one. Its standard streams are the program's, or what ``stdin``,
        ``stdout`` and ``stderr`` say: a descriptor, a file, PIPE, DEVNULL, STDOUT. With ``logs`` what it
        writes is kept for ``logs``. ``text``, ``encoding`` and ``errors`` are those of subprocess. Raises
        NajaError; then nothing of it is left.
        """
        streams = Streams(stdin, stdout, stderr, Text.of(text, encoding, errors), logs=logs)
        return cls._make("create", id, bundle, streams, None, tied=False, **making)

    @classmethod
    def start_new(
        cls,
        id: str | None = None,
        bundle: StrPath = ".",
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        logs: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        **making: Unpack[Making],
    ) -> Self:
        """Make a container whose program runs at once: ``create`` and ``start``, in half of their time."""
        streams = Streams(stdin, stdout, stderr, Text.of(text, encoding, errors), logs=logs)
        return cls._make("run", id, bundle, streams, None, tied=False, **making)

    @classmethod
    def _make(
        cls,
        do: Literal["create", "run"],
        id: str | None,
        bundle: StrPath,
        streams: Streams,
        deadline: float | None,
        *,
        tied: bool,
        brief: bool = False,
        **making: Unpack[Making],
    ) -> Self:
        """Make a container, which has the streams then. Raises NajaError, TimeoutError.

        One that is ``brief`` may have ended, and be deleted; then it has its ``returncode``.
        """
        try:
            made_id = asking.made_up_id() if id is None else id
            made = cls(made_id, root=making.pop("root", None), warn=making.pop("warn", None))
            descriptors = [*streams.theirs, *making.pop("pass_fds", ())]
            fields = asking.creation(bundle, **making)  # type: ignore[misc]
            fields |= {"tied": tied, **({"brief": True} if brief else {})}
            free = not made._exists()
            link = connection()
            pending = link.begin(do, descriptors, streams=True, **made._place, **fields)
            answer = link.take(pending, deadline)
        except ResidentGone as error:
            streams.close()
            if free:
                with Aftermath(error):
                    made.delete(force=True)  # It has died in the middle of it.
            raise
        except BaseException:
            streams.close()
            raise
        streams.handed()
        made._take(answer, streams)
        return made

    def _take(self, answer: Answer, streams: Streams) -> None:
        self._streams = streams
        self.returncode = answer.value.get("code")
        self.pidfd = answer.descriptors.get("pidfd", -1)
        self.console = console(answer)
        self._warn_all(answer.warnings)

    @classmethod
    def get(cls, id: str, *, root: StrPath | None = None, warn: Callable[[str], None] | None = None) -> Self:
        """Find a container, whoever has made it. Raises NotFound, NajaError."""
        found = cls(id, root=root, warn=warn)
        with found._look():
            return found

    @classmethod
    def load(cls, id: str, *, root: StrPath | None = None, warn: Callable[[str], None] | None = None) -> Self:
        """As ``get``."""
        return cls.get(id, root=root, warn=warn)

    @property
    def stdin(self) -> IO[Any] | None:
        """What its standard input is written to, where that is a PIPE."""
        return self._streams.stdin if self._streams else None

    @property
    def stdout(self) -> IO[Any] | None:
        """What its standard output is read from, where that is a PIPE."""
        return self._streams.stdout if self._streams else None

    @property
    def stderr(self) -> IO[Any] | None:
        """What its standard error is read from, where that is a PIPE."""
        return self._streams.stderr if self._streams else None

    def _ask(self, do: str, **fields: Any) -> Answer:
        answer = connection().ask(do, **self._place, **fields)
        self._warn_all(answer.warnings)
        return answer

    def start(self) -> None:
        """Run the program of a created container, and the poststart hooks. Raises WrongState, NajaError."""
        self._ask("start")

    def kill(self, signal: Signal = "TERM", *, all: bool = False) -> None:
        """Send a signal, by number, name or as signal.SIGTERM, to its process, or to ``all`` that it has.

        Raises WrongState where it is not running, NajaError, and ValueError for what is no signal.
        """
        self._ask("signal", signal=asking.signal_number(signal), all=all)

    def pause(self) -> None:
        """Freeze all processes of the container. Raises WrongState where it is not running, NajaError."""
        self._ask("pause")

    def resume(self) -> None:
        """Thaw the container. Raises WrongState where it is not paused, NajaError."""
        self._ask("resume")

    def update(self, resources: Resources | None = None, **more: Unpack[Resources]) -> None:
        """Change the limits: ``update(pids={"limit": 100})``; the shape is that of /linux/resources.

        Raises ConfigError, WrongState, NajaError.
        """
        self._ask("update", resources={**(resources or {}), **more})

    def mount(
        self, source: StrPath, destination: StrPath, *, type: str = "bind", options: Sequence[str] = ()
    ) -> None:
        """Mount a path of the host, or a new file system of a ``type``, in the container that is there.

        ``options`` are words as those of /mounts. Raises WrongState, NajaError.
        """
        self._ask("mount", **asking.mounting(source, destination, type, options))

    def unmount(self, destination: StrPath) -> None:
        """Take away what ``mount`` has put there. Raises WrongState, NajaError."""
        self._ask("unmount", destination=os.fspath(destination))

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the container's process has ended, and return its exit code, 128 + N for signal N.

        Raises TimeoutExpired after so many seconds, and NajaError where the container was not made by this
        program and the kernel does not tell how it has ended (Linux 6.15 does).
        """
        if self.returncode is None:
            self.returncode = self._wait(deadline_of(timeout), timeout)
        return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, None where it has not ended. Raises NajaError."""
        try:
            return self.wait(0)
        except TimeoutExpired:
            return None

    def _wait(self, deadline: float | None, timeout: float | None) -> int:
        try:
            return self._wait_once(deadline, timeout)
        except ResidentGone:
            # The container runs on; another process finds it by its record.
            self._ending = None
            return self._wait_once(deadline, timeout)

    def _wait_once(self, deadline: float | None, timeout: float | None) -> int:
        link, pending = connection(), self._ending
        if pending is None:
            pending = self._ending = link.begin("wait", **self._place)
        try:
            answer = link.wait(pending, deadline)
        except TimeoutError:
            raise TimeoutExpired(f"wait for container {self.id}", timeout or 0.0) from None
        self._ending = None
        return ended(answer, f"container {self.id}")

    def events(self, interval: float = 5.0) -> Iterator[Event]:
        """Tell of statistics, every so many seconds, and of each time the memory ran out, until the end.

        Raises WrongState where the container is not running, and NajaError.
        """
        for event in self._events(interval):
            if event:
                yield event

    def communicate(self, input: str | bytes | None = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write ``input``, read all of standard output and error, wait for the end; return the two.

        What is no PIPE is None. Raises TimeoutExpired; it may be called again then, and nothing is lost.
        """
        deadline = deadline_of(timeout)
        out = err = None
        if self._streams:
            try:
                out, err = self._streams.communicate(input, deadline)
            except TimeoutError:
                found = self._streams.so_far()
                raise TimeoutExpired(f"wait for container {self.id}", timeout or 0.0, *found) from None
        if self.returncode is None:
            self.returncode = self._wait(deadline, timeout)
        return out, err

    def exec(
        self,
        program: list[str] | tuple[str, ...] | ProcessConfig,
        *,
        env: Mapping[str, str] | None = None,
        cwd: StrPath | None = None,
        user: int | str | User | None = None,
        terminal: bool = False,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        pass_fds: Sequence[int] = (),
        cgroup: Mapping[str, str] | None = None,
        ignore_paused: bool = False,
    ) -> Process:
        """Run another program in the container; it is a list of words, or has the shape of /process.

        What is not said is as for the container's own process: environment (to which ``env`` adds), PATH,
        directory, user, capabilities, limits. ``user`` is a name, a number, "UID:GID", or has the shape of
        /process/user. ``cgroup`` names cgroups below the container's own, by controller ("" for all).
        Streams are as for ``create``. Raises WrongState, ConfigError, NajaError.
        """
        fields: dict[str, Any] = {"program": self._program(program, env, cwd, user, terminal=terminal)}
        fields |= asking.joining(user, cgroup, ignore_paused=ignore_paused)
        streams = Streams(stdin, stdout, stderr, Text.of(text, encoding, errors))
        try:
            link = connection()
            descriptors = [*streams.theirs, *pass_fds]
            answer = link.take(link.begin("exec", descriptors, streams=True, **self._place, **fields))
        except BaseException:
            streams.close()
            raise
        streams.handed()
        self._warn_all(answer.warnings)
        words = fields["program"].get("args") or []
        return Process(f"{words[:1]} in container {self.id}", words, link, answer, streams)

    def delete(self, *, force: bool = False) -> None:
        """Remove what is left of a stopped container. Raises WrongState, NotFound, NajaError.

        With ``force`` it is ended first, and may be gone.
        """
        try:
            try:
                self._ask("delete", force=force)
            except ResidentGone:
                self._ask("delete", force=force)  # What it had begun, the next one ends.
        except NotFound:
            if not force:
                raise

    def close(self) -> None:
        """Close its streams, its terminal and its pidfd; the container goes on."""
        if self._streams:
            self._streams.close()
        if self.console:
            self.console.close()
        self._close_pidfd()

    def __enter__(self) -> Self:
        self._ask("tie", tied=True)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
        if error is None:
            self.delete(force=True)
        else:
            with Aftermath(error):
                self.delete(force=True)


class CompletedContainer(Generic[AnyStr]):
    """A container that has ended; ``stdout`` and ``stderr`` are what it has written, if that was captured."""

    def __init__(self, id: str, returncode: int, stdout: AnyStr, stderr: AnyStr) -> None:
        self.id = id
        #: Its exit code, 128 + N where signal N ended it.
        self.returncode = returncode
        self.stdout: AnyStr = stdout
        self.stderr: AnyStr = stderr

    def __repr__(self) -> str:
        return f"<CompletedContainer {self.id!r}, returncode {self.returncode}>"

    def check_returncode(self) -> None:
        """Raise ProgramFailed where it is not 0."""
        if self.returncode:
            raise ProgramFailed(f"run {self.id}", self.returncode, self.stdout, self.stderr)


class Running(Making, total=False):
    """What ``run`` takes beside text and encoding; all of it may be left out."""

    #: As for ``Container.create``.
    stdin: Stream
    stdout: Stream
    stderr: Stream
    #: What is written to the standard input, which is a pipe then.
    input: str | bytes | None
    #: Whether stdout and stderr are to be pipes.
    capture_output: bool
    #: Seconds until it is ended.
    timeout: float | None
    #: Whether an exit code other than 0 is an error.
    check: bool
    #: Whether it is not deleted when it has ended.
    keep: bool
    errors: str | None


@overload
def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: Literal[True],
    encoding: str | None = None,
    **options: Unpack[Running],
) -> CompletedContainer[str]: ...
@overload
def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: bool = False,
    encoding: str,
    **options: Unpack[Running],
) -> CompletedContainer[str]: ...
@overload
def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: Literal[False] = False,
    encoding: None = None,
    **options: Unpack[Running],
) -> CompletedContainer[bytes]: ...
def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    input: str | bytes | None = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    keep: bool = False,
    text: bool = False,
    encoding: str | None = None,
    errors: str | None = None,
    **making: Unpack[Making],
) -> CompletedContainer[Any]:
    """Run a bundle's container to its end, and delete it.

    The options are those of ``subprocess.run`` and of ``Container.create`` (``Running`` lists them); without
    an ``id`` it is given one. Raises TimeoutExpired after ``timeout`` seconds, ProgramFailed with ``check``,
    and NajaError; then, as after an exception of the program's own, the container was ended and deleted.
    """
    form = Text.of(text, encoding, errors)
    streams = run_streams(stdin, stdout, stderr, input=input, capture_output=capture_output, text=form)
    deadline = deadline_of(timeout)
    try:
        # Who is to be written to shall not wait for a moment.
        brief = not keep and input is None
        container = Container._make(
            "run", id, bundle, streams, deadline, tied=not keep, brief=brief, **making
        )
        gone = container.returncode is not None
    except TimeoutError:
        raise TimeoutExpired(f"run {id or bundle}", timeout or 0.0) from None
    try:
        refuse_terminal(container)
        out, err = container.communicate(
            input, None if deadline is None else max(0.0, deadline - time.monotonic())
        )
    except BaseException as error:
        with Aftermath(error):
            container.delete(force=True)
        container.close()
        if isinstance(error, TimeoutExpired):
            raise TimeoutExpired(f"run {container.id}", timeout or 0.0, error.stdout, error.stderr) from None
        raise
    container.close()
    if not (keep or gone):
        container.delete(force=True)
    done = CompletedContainer(container.id, container.wait(), out, err)
    if check:
        done.check_returncode()
    return done


def run_streams(
    stdin: Stream, stdout: Stream, stderr: Stream, *, input: Any, capture_output: bool, text: Text
) -> Streams:
    """Open the streams that ``run`` is asked for. Raises ValueError, OSError."""
    if input is not None:
        if stdin is not None:
            raise ValueError("stdin and input exclude each other")
        stdin = PIPE
    if capture_output:
        if stdout is not None or stderr is not None:
            raise ValueError("capture_output excludes stdout and stderr")
        stdout = stderr = PIPE
    return Streams(stdin, stdout, stderr, text)


def refuse_terminal(container: Any) -> None:
    """Refuse a terminal that nobody would serve. Raises NajaError."""
    if container.console:
        why = "set it to false, or use Container.create and its console"
        raise NajaError(f"run {container.id} with a terminal", why=why, origin="/process/terminal")
