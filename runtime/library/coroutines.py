"""Containers for asyncio: as container.py and process.py, with coroutines where those wait."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import IO, TYPE_CHECKING, Any, Literal, overload

from ..errors import Aftermath, NajaError, NotFound
from . import asking
from .asking import Answer, ResidentGone
from .container import CompletedContainer, Making, Running, refuse_terminal, run_streams
from .handle import Handle, TimeoutExpired
from .loop import Link, link
from .process import console, ended
from .streams import Streams, Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
    from types import TracebackType
    from typing import Self, Unpack

    from ..types import Event, Resources, User
    from ..types import Process as ProcessConfig
    from .asking import Signal, StrPath
    from .streams import Stream

__all__ = ["Container", "Process", "run"]

_CHUNK = 1 << 16


class Pipes:
    """This end of the pipes, for the loop; bytes, as asyncio's streams are."""

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.stdin: asyncio.StreamWriter | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._read: tuple[list[bytes], list[bytes]] = ([], [])

    async def open(self) -> None:
        """Have the loop look after the pipes. Raises OSError."""
        loop = asyncio.get_running_loop()
        if self.streams.stdin:
            transport, protocol = await loop.connect_write_pipe(
                asyncio.streams.FlowControlMixin, self.streams.stdin
            )
            self.stdin = asyncio.StreamWriter(transport, protocol, None, loop)
            self._transports.append(transport)
        self.stdout = await self._reader(loop, self.streams.stdout)
        self.stderr = await self._reader(loop, self.streams.stderr)

    async def _reader(
        self, loop: asyncio.AbstractEventLoop, file: IO[Any] | None
    ) -> asyncio.StreamReader | None:
        if file is None:
            return None
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        self._transports.append(transport)
        return reader

    async def communicate(self, input: str | bytes | None) -> tuple[Any, Any]:
        """Write ``input``, and read all, to the end; what is no pipe is None."""
        if input is not None and self.stdin is None:
            raise ValueError("input is for a program whose stdin is a PIPE")
        await asyncio.gather(
            self._write(input),
            *(_drain(*each) for each in zip((self.stdout, self.stderr), self._read, strict=True)),
        )
        return self.so_far()

    async def _write(self, input: str | bytes | None) -> None:
        if self.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if input:
                self.stdin.write(self.streams.text.encode(input))
                await self.stdin.drain()
            self.stdin.close()

    def so_far(self) -> tuple[Any, Any]:
        """Return what communicate has read until now; None where there is no pipe."""
        found = []
        for reader, parts in zip((self.stdout, self.stderr), self._read, strict=True):
            found.append(None if reader is None else self.streams.text.decode(b"".join(parts)))
        return found[0], found[1]

    def close(self) -> None:
        """Close all that is open."""
        for transport in self._transports:
            transport.close()
        self.streams.close()


async def _drain(reader: asyncio.StreamReader | None, parts: list[bytes]) -> None:
    while reader and (part := await reader.read(_CHUNK)):
        parts.append(part)


class _Ending:
    """The end of a process, which any number of tasks may wait for."""

    def __init__(self) -> None:
        self._task: asyncio.Task[int] | None = None

    async def wait(self, begin: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """Return the exit code, which somebody has to begin to wait for. Raises NajaError."""
        if self._task is None or (self._task.done() and (self._task.cancelled() or self._task.exception())):
            self._task = asyncio.create_task(begin())
        return await asyncio.shield(self._task)


class Process:
    """A process that was added to a container by ``exec``, with the manners of asyncio.subprocess.Process."""

    def __init__(self, what: str, args: list[str], found: Link, answer: Answer, pipes: Pipes) -> None:
        self._what = what
        #: It goes with the loop, whoever still has this.
        self._link = weakref.ref(found)
        self._number: int = answer.value["process"]
        self._pipes = pipes
        self._ending = _Ending()
        #: What it was called with.
        self.args = args
        #: As the host sees it.
        self.pid: int = answer.value["pid"]
        #: The master of its terminal, where it has one.
        self.console = console(answer)
        #: Its exit code once it was waited for, 128 + N for signal N.
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        answer.drop("pidfd")

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.args!r}, {self._what}, returncode {self.returncode}>"

    def _found(self) -> Link:
        found = self._link()
        if found is None:
            raise NajaError(self._what, why="the loop that it belongs to is closed")
        return found

    async def _wait(self) -> int:
        _, future = self._found().begin("wait", process=self._number)
        return ended(await future, self._what)

    async def wait(self) -> int:
        """Wait for the end, and return the exit code. Raises NajaError."""
        if self.returncode is None:
            self.returncode = await self._ending.wait(self._wait)
        return self.returncode

    async def communicate(self, input: str | bytes | None = None) -> tuple[Any, Any]:
        """Write ``input``, read all of standard output and error, wait for the end; return the two."""
        found = await self._pipes.communicate(input)
        await self.wait()
        return found

    async def send_signal(self, signal: Signal) -> None:
        """Send a signal, by number, name or as signal.SIGTERM; nothing happens where it has ended."""
        if self.returncode is None:
            number = asking.signal_number(signal)
            await self._found().ask("signal", process=self._number, signal=number)

    async def terminate(self) -> None:
        """Send SIGTERM."""
        await self.send_signal("TERM")

    async def kill(self) -> None:
        """Send SIGKILL."""
        await self.send_signal("KILL")

    def close(self) -> None:
        """Close its streams and its terminal; the process goes on."""
        self._pipes.close()
        if self.console:
            self.console.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close its input, wait for its end, and close the rest; an exception kills it first."""
        try:
            if kind:
                await self.kill()
            if self.stdin:
                self.stdin.close()
            await self.wait()
        finally:
            self.close()


class Container(Handle):
    """A container, for asyncio; see ``naja.Container``. What only reads is no coroutine."""

    _pipes: Pipes | None = None
    #: The master of its terminal, where its config asks for one.
    console: IO[bytes] | None = None
    stdin: asyncio.StreamWriter | None = None
    stdout: asyncio.StreamReader | None = None
    stderr: asyncio.StreamReader | None = None

    def __init__(
        self, id: str, *, root: StrPath | None = None, warn: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(id, root=root, warn=warn)
        self._ending = _Ending()

    @classmethod
    async def create(
        cls,
        id: str | None = None,
        bundle: StrPath = ".",
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        logs: bool = False,
        **making: Unpack[Making],
    ) -> Self:
        """Make the container that a bundle describes; its process waits for ``start``."""
        streams = Streams(stdin, stdout, stderr, Text(None, None), logs=logs)
        return await cls._make("create", id, bundle, streams, tied=False, **making)

    @classmethod
    async def start_new(
        cls,
        id: str | None = None,
        bundle: StrPath = ".",
        *,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        logs: bool = False,
        **making: Unpack[Making],
    ) -> Self:
        """Make a container whose program runs at once: ``create`` and ``start``, in half of their time."""
        streams = Streams(stdin, stdout, stderr, Text(None, None), logs=logs)
        return await cls._make("run", id, bundle, streams, tied=False, **making)

    @classmethod
    async def _make(
        cls,
        do: Literal["create", "run"],
        id: str | None,
        bundle: StrPath,
        streams: Streams,
        *,
        tied: bool,
        brief: bool = False,
        **making: Unpack[Making],
    ) -> Self:
        pipes = Pipes(streams)
        try:
            made_id = asking.made_up_id() if id is None else id
            made = cls(made_id, root=making.pop("root", None), warn=making.pop("warn", None))
            descriptors = [*streams.theirs, *making.pop("pass_fds", ())]
            fields = asking.creation(bundle, **making)  # type: ignore[misc]
            fields |= {"tied": tied, **({"brief": True} if brief else {})}
            await pipes.open()
            free = not made._exists()
            answer = await (await link()).ask(do, descriptors, streams=True, **made._place, **fields)
        except ResidentGone as error:
            pipes.close()
            if free:
                with Aftermath(error):
                    await made.delete(force=True)  # It has died in the middle of it.
            raise
        except BaseException:
            pipes.close()
            raise
        streams.handed()
        made.returncode = answer.value.get("code")
        made._streams, made._pipes = streams, pipes
        made.console = console(answer)
        made.pidfd = answer.descriptors.get("pidfd", -1)
        made._warn_all(answer.warnings)
        made.stdin, made.stdout, made.stderr = pipes.stdin, pipes.stdout, pipes.stderr
        return made

    @classmethod
    def get(cls, id: str, *, root: StrPath | None = None, warn: Callable[[str], None] | None = None) -> Self:
        """Find a container, whoever has made it. Raises NotFound, NajaError."""
        found = cls(id, root=root, warn=warn)
        with found._look():
            return found

    async def _ask(self, do: str, **fields: Any) -> None:
        answer = await (await link()).ask(do, **self._place, **fields)
        self._warn_all(answer.warnings)

    async def start(self) -> None:
        """Run the program of a created container, and the poststart hooks. Raises WrongState, NajaError."""
        await self._ask("start")

    async def kill(self, signal: Signal = "TERM", *, all: bool = False) -> None:
        """Send a signal to its process, or to ``all``. Raises WrongState, NajaError, ValueError."""
        await self._ask("signal", signal=asking.signal_number(signal), all=all)

    async def pause(self) -> None:
        """Freeze all processes of the container. Raises WrongState where it is not running, NajaError."""
        await self._ask("pause")

    async def resume(self) -> None:
        """Thaw the container. Raises WrongState where it is not paused, NajaError."""
        await self._ask("resume")

    async def update(self, resources: Resources | None = None, **more: Unpack[Resources]) -> None:
        """Change the limits, as /linux/resources has them. Raises ConfigError, WrongState, NajaError."""
        await self._ask("update", resources={**(resources or {}), **more})

    async def mount(
        self, source: StrPath, destination: StrPath, *, type: str = "bind", options: Sequence[str] = ()
    ) -> None:
        """Mount a path of the host, or a new file system of a ``type``, in the container that is there.

        ``options`` are words as those of /mounts. Raises WrongState, NajaError.
        """
        await self._ask("mount", **asking.mounting(source, destination, type, options))

    async def unmount(self, destination: StrPath) -> None:
        """Take away what ``mount`` has put there. Raises WrongState, NajaError."""
        await self._ask("unmount", destination=os.fspath(destination))

    async def _wait(self) -> int:
        what = f"container {self.id}"
        try:
            return ended(await (await link()).begin("wait", **self._place)[1], what)
        except ResidentGone:
            # The container runs on; another process finds it by its record.
            return ended(await (await link()).begin("wait", **self._place)[1], what)

    async def wait(self) -> int:
        """Wait for the end of the container's process, and return its exit code, 128 + N for signal N.

        Raises NajaError where the kernel does not tell (see ``naja.Container.wait``).
        """
        if self.returncode is None:
            self.returncode = await self._ending.wait(self._wait)
        return self.returncode

    async def events(self, interval: float = 5.0) -> AsyncIterator[Event]:
        """Tell of statistics, and of each time the memory ran out, until the end (``naja.Container.events``).

        A thread of the loop's waits for them, a quarter of a second at a time.
        """
        found = self._events(interval)
        over: Event = {"type": "stats", "id": ""}
        while (event := await asyncio.to_thread(next, found, over)) is not over:
            if event:
                yield event

    async def communicate(self, input: str | bytes | None = None) -> tuple[Any, Any]:
        """Write ``input``, read all of standard output and error, wait for the end; return the two."""
        found = await self._pipes.communicate(input) if self._pipes else (None, None)
        await self.wait()
        return found

    async def exec(
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
        pass_fds: Sequence[int] = (),
        cgroup: Mapping[str, str] | None = None,
        ignore_paused: bool = False,
    ) -> Process:
        """Run another program in the container; see ``naja.Container.exec``."""
        fields: dict[str, Any] = {"program": self._program(program, env, cwd, user, terminal=terminal)}
        fields |= asking.joining(user, cgroup, ignore_paused=ignore_paused)
        streams = Streams(stdin, stdout, stderr, Text(None, None))
        pipes = Pipes(streams)
        try:
            await pipes.open()
            found = await link()
            descriptors = [*streams.theirs, *pass_fds]
            answer = await found.ask("exec", descriptors, streams=True, **self._place, **fields)
        except BaseException:
            pipes.close()
            raise
        streams.handed()
        self._warn_all(answer.warnings)
        words = fields["program"].get("args") or []
        return Process(f"{words[:1]} in container {self.id}", words, found, answer, pipes)

    async def delete(self, *, force: bool = False) -> None:
        """Remove what is left of a stopped container; with ``force`` it is ended first, and may be gone.

        Raises WrongState, NotFound, NajaError.
        """
        try:
            try:
                await self._ask("delete", force=force)
            except ResidentGone:
                await self._ask("delete", force=force)  # What it had begun, the next one ends.
        except NotFound:
            if not force:
                raise

    def close(self) -> None:
        """Close its streams, its terminal and its pidfd; the container goes on."""
        if self._pipes:
            self._pipes.close()
        if self.console:
            self.console.close()
        self._close_pidfd()

    async def __aenter__(self) -> Self:
        await self._ask("tie", tied=True)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()
        with Aftermath(error) if error else contextlib.nullcontext():
            await self.delete(force=True)


@overload
async def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: Literal[True],
    encoding: str | None = None,
    **options: Unpack[Running],
) -> CompletedContainer[str]: ...
@overload
async def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: bool = False,
    encoding: str,
    **options: Unpack[Running],
) -> CompletedContainer[str]: ...
@overload
async def run(
    id: str | None = None,
    bundle: StrPath = ".",
    *,
    text: Literal[False] = False,
    encoding: None = None,
    **options: Unpack[Running],
) -> CompletedContainer[bytes]: ...
async def run(
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
    """Run a bundle's container to its end, and delete it: ``naja.run``, for asyncio.

    Cancelled, it ends and deletes the container.
    """
    form = Text.of(text, encoding, errors)
    streams = run_streams(stdin, stdout, stderr, input=input, capture_output=capture_output, text=form)
    container: Container | None = None
    try:
        async with asyncio.timeout(timeout):
            brief = not keep and input is None
            container = await Container._make(
                "run", id, bundle, streams, tied=not keep, brief=brief, **making
            )
            gone = container.returncode is not None
            refuse_terminal(container)
            out, err = await container.communicate(input)
    except BaseException as error:
        if container:
            with Aftermath(error):
                await container.delete(force=True)
            container.close()
        if isinstance(error, TimeoutError):
            found = container._pipes.so_far() if container and container._pipes else (None, None)
            raise TimeoutExpired(
                f"run {container.id if container else id or bundle}", timeout or 0.0, *found
            ) from None
        raise
    container.close()
    if not (keep or gone):
        await container.delete(force=True)
    done = CompletedContainer(container.id, await container.wait(), out, err)
    if check:
        done.check_returncode()
    return done
