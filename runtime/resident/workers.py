"""Workers: what takes time, or may hang, is done in a fork of the warm process, and answered once.

A verb's code waits for locks, hooks and the kernel as it likes, changes its own signals and standard streams,
and becomes the parent of a container's process; it has all of naja loaded already. What it allocates ends
with it. The resident process itself never waits for anything but its loop.
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import gc
import marshal
import os
from struct import Struct

from ..errors import ChannelClosed, NajaError, remade, unborn, worded
from ..linux import process
from ..linux.channel import Channel, receive_part
from ..startup import precompiled
from .warmer import Warmer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from .ends import End, Ends
    from .loop import Loop, Timer

_SIGKILL, _SIGTERM = 9, 15

#: How long a worker may take to undo what it has begun, in seconds.
_PATIENCE = 10.0

#: After how many seconds the next worker is born ahead.
_REST = 0.01

#: How long a worker that has begun waits to be told to go on, and one that is to begin soon, in seconds.
_AHEAD = 2.0

#: Where ``arrange`` puts the channel of a worker that has no descriptors yet.
_FIRST = 3

_LENGTH = Struct("=II")
_CHUNK, _MOST_DESCRIPTORS = 1 << 16, 250


class Report:
    """What a worker tells beside the value that it returns."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        #: Handed to whoever called.
        self.descriptors: list[int] = []

    def warn(self, text: str) -> None:
        """Note what is worth saying but no error."""
        self.warnings.append(text)


class Answer:
    """What has become of a call: a value and descriptors, or an error.

    ``killed`` where the worker has ended without a word: nobody has undone what it had begun.
    """

    __slots__ = ("descriptors", "error", "killed", "value", "warnings")

    def __init__(
        self,
        value: Any = None,
        descriptors: Sequence[int] = (),
        *,
        error: NajaError | None = None,
        warnings: Sequence[str] = (),
        killed: bool = False,
    ) -> None:
        self.value = value
        self.descriptors = list(descriptors)
        self.error = error
        self.warnings = list(warnings)
        self.killed = killed


class Call:
    """A worker that has not answered yet."""

    def __init__(self, name: str, done: Callable[[Answer], None], channel: int, pid: int) -> None:
        self.name = name
        self.done: Callable[[Answer], None] | None = done
        self.channel = channel
        self.pid = pid
        self.content = bytearray()
        self.descriptors: list[int] = []
        self.timer: Timer | None = None


class Spare:
    """A worker that was born ahead, and waits for what it is to do."""

    def __init__(self, pid: int, channel: Channel, work: Callable[..., Any]) -> None:
        self.pid = pid
        self.channel = channel
        #: What it can do.
        self.work = work
        #: Whether it has said so; till then it may never do.
        self.ready = False


class Ahead:
    """A worker that has begun, and waits for its streams and the word to go on (``begin``)."""

    def __init__(self, pid: int, channel: Channel, timer: Timer) -> None:
        self.pid = pid
        self.channel = channel
        self.timer = timer


class Workers:
    """Has work done in forks of this process, several at a time."""

    def __init__(self, loop: Loop, ends: Ends) -> None:
        self._loop = loop
        self._ends = ends
        self._calls: dict[int, Call] = {}
        self._warmer = Warmer()
        self._spare: Spare | None = None
        self._ahead: dict[int, Ahead] = {}
        ends.ask(self._listen_to_all)

    def call(
        self,
        work: Callable[[Report], Any],
        done: Callable[[Answer], None],
        *,
        name: str,
        streams: Sequence[int] = (),
        preserved: Sequence[int] = (),
        moves: bool = False,
    ) -> Call | None:
        """Have a worker do something, and call ``done`` with its answer, once, in the loop.

        What ``work`` returns has to be marshal's kind of value. ``streams`` become its standard streams (else
        it has those of this process), ``preserved`` its descriptors from 3 on; it has no others. ``moves``
        where it is about to move into a cgroup. ``name`` says in errors what failed. Returns what ``cancel``
        takes; None where no worker could be born, which ``done`` is told.
        """
        if moves:
            self._warmer.ring()
        try:
            parent = os.getpid()
            ours, theirs, pid = _fork()
        except OSError as error:
            failure = NajaError.from_os_error(f"{name}: start a worker", error, why=unborn(error))
            self._loop.soon(lambda: done(Answer(error=failure)))
            return None
        if not pid:
            _live(work, name, theirs.fileno(), (*streams, *preserved), len(streams), parent=parent)
        theirs.close()
        return self._begin(name, done, ours, pid, moves=moves)

    def call_ahead(
        self,
        work: Callable[..., Any],
        values: tuple[Any, ...],
        done: Callable[[Answer], None],
        *,
        rehearse: Callable[[], object],
        name: str,
        streams: Sequence[int] = (),
        preserved: Sequence[int] = (),
    ) -> Call | None:
        """Have a worker that was born ahead do ``work(report, *values)``, if there is one.

        It moves into a cgroup; ``values`` are marshal's. The next one is born soon, and does ``rehearse``
        while nobody waits for it: most of what a fork costs is the first use of its memory. Else as ``call``.
        """
        self._warmer.ring()

        def finished(answer: Answer) -> None:
            done(answer)
            # Beside this one it would take more time than it saves.
            self._loop.later(_REST, lambda: self._prepare(work, rehearse))

        if spare := self._take_spare(work, (name, values, len(streams)), [*streams, *preserved]):
            return self._begin(name, finished, spare.channel.socket, spare.pid, moves=True)
        return self.call(
            lambda report: work(report, *values),
            finished,
            name=name,
            streams=streams,
            preserved=preserved,
            moves=True,
        )

    def _take_spare(self, work: Callable[..., Any], order: tuple[Any, ...], given: list[int]) -> Spare | None:
        """Have the worker that was born ahead do its work, if it is that and is ready; return it then."""
        spare = self._spare
        if spare is None or not spare.ready or spare.work is not work:
            return None
        self._spare = None
        try:
            spare.channel.send(order, given)
        except (ChannelClosed, OSError):
            spare.channel.close()  # It has been killed.
            return None
        return spare

    def begin(self, work: Callable[..., Any], values: tuple[Any, ...], *, name: str) -> int:
        """Have a worker begin what it is soon told to do, or else does not: ``go_on``, ``drop``.

        ``work`` is given its report and ``values``, which are marshal's, and calls ``wait_for_word`` when it
        has got as far as it may. It moves into a cgroup. Returns the worker's pid, 0 where none is.
        """
        self._warmer.ring()
        if spare := self._take_spare(work, (name, values, 0), []):
            pid, channel = spare.pid, spare.channel
        else:
            try:
                parent = os.getpid()
                ours, theirs, pid = _fork()
            except OSError:
                return 0  # The call says why.
            if not pid:
                _live(lambda report: work(report, *values), name, theirs.fileno(), (), 0, parent=parent)
            theirs.close()
            channel = Channel(ours)
        self._ahead[pid] = Ahead(pid, channel, self._loop.later(_AHEAD, lambda: self.drop(pid)))
        self._ends.watch(pid, lambda _: self.drop(pid))
        self._warmer.warm()
        return pid

    def expect(self, work: Callable[..., Any], rehearse: Callable[[], object]) -> None:
        """Have a worker be born ahead for the next ``begin`` of the same work, if that comes soon.

        It does ``rehearse`` meanwhile. Where others are at work there is none: it would take their time.
        """

        def prepare() -> None:
            if self._calls or self._ahead or self._spare:
                return
            self._prepare(work, rehearse)
            if spare := self._spare:
                self._loop.later(_AHEAD, lambda: self._lose(spare))

        self._loop.later(_REST, prepare)

    def go_on(
        self, pid: int, done: Callable[[Answer], None], *, name: str, streams: Sequence[int]
    ) -> Call | None:
        """Have a worker that has begun go on; ``done`` as for ``call``. None where there is no such one."""
        ahead = self._ahead.pop(pid, None)
        if ahead is None:
            return None
        ahead.timer.cancel()
        try:
            ahead.channel.send(True, [*streams])
        except (ChannelClosed, OSError):
            pass  # It has said why it could not, or was killed.
        return self._begin(name, done, ahead.channel.socket, pid, moves=True)

    def drop(self, pid: int) -> None:
        """Let a worker end that has begun, if it waits."""
        if ahead := self._ahead.pop(pid, None):
            ahead.timer.cancel()
            ahead.channel.close()

    def _prepare(self, work: Callable[..., Any], rehearse: Callable[[], object]) -> None:
        """Give birth to a worker ahead, where there is none."""
        if self._spare:
            return
        try:
            parent = os.getpid()
            ours, theirs, pid = _fork()
        except OSError:
            return  # The next call says why.
        if not pid:
            _wait_for_work(work, rehearse, theirs.fileno(), parent=parent)
        theirs.close()
        spare = self._spare = Spare(pid, Channel(ours), work)
        self._loop.watch(ours.fileno(), lambda: self._hear(spare))
        self._ends.watch(pid, lambda _: self._lose(spare))

    def _hear(self, spare: Spare) -> None:
        self._loop.forget(spare.channel.fileno())
        try:
            spare.channel.receive()
            spare.ready = True
        except (ChannelClosed, OSError):
            self._lose(spare)

    def _lose(self, spare: Spare) -> None:
        """Note that a spare worker has ended; it had nothing to do."""
        if self._spare is spare:
            self._spare = None
            self._loop.forget(spare.channel.fileno())
            spare.channel.close()

    def _begin(
        self, name: str, done: Callable[[Answer], None], ours: _socket.socket, pid: int, *, moves: bool
    ) -> Call:
        if moves:
            self._warmer.warm()
        call = Call(name, done, ours.detach(), pid)
        os.set_blocking(call.channel, False)
        self._calls[pid] = call
        self._loop.watch(call.channel, lambda: self._listen(call))
        self._ends.watch(pid, lambda end: self._end(call, end))
        return call

    def cancel(self, call: Call | None) -> None:
        """Have a call be undone; ``done`` is told when that has happened."""
        if call is None or call.pid not in self._calls or call.timer:
            return
        os.kill(call.pid, _SIGTERM)
        call.timer = self._loop.later(_PATIENCE, lambda: self._kill(call))

    def pids(self) -> set[int]:
        """Return the pids of workers that are under way."""
        return set(self._calls)

    def is_idle(self) -> bool:
        """Tell whether no worker is under way."""
        return not self._calls

    def _kill(self, call: Call) -> None:
        if call.pid in self._calls:  # Until it is reaped the pid is nobody else's.
            os.kill(call.pid, _SIGKILL)

    def _listen_to_all(self) -> None:
        for call in list(self._calls.values()):
            self._listen(call)

    def _listen(self, call: Call) -> None:
        """Take what has come of an answer."""
        while call.done:
            try:
                part, found, _ = receive_part(call.channel, _CHUNK, _MOST_DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError:
                part, found = b"", []
            call.descriptors += found
            if not part:
                self._loop.forget(call.channel)  # Its end tells how it came to this.
                return
            call.content += part
            if answer := _read_answer(call.content, call.descriptors):
                # Its children come to us when it has ended, which shall not take longer than it must.
                self._kill(call)
                self._finish(call, answer)

    def _end(self, call: Call, end: End) -> None:
        del self._calls[call.pid]  # The pid is free from now on.
        self._listen(call)
        if call.timer:
            call.timer.cancel()
        if call.done:
            # Who takes back what it had begun has to know of all that others did.
            self._listen_to_all()
            code = end.code or 0
            how = f"killed by signal {code - 128}" if code > 128 else f"exit status {code}"
            error = NajaError(f"{call.name}: the worker died", why=how)
            for descriptor in call.descriptors:
                os.close(descriptor)
            self._finish(call, Answer(error=error, killed=True))

    def _finish(self, call: Call, answer: Answer) -> None:
        self._loop.forget(call.channel)
        os.close(call.channel)
        done, call.done = call.done, None
        if done:
            self._loop.guard(done, answer)


def _read_answer(content: bytearray, descriptors: list[int]) -> Answer | None:
    """Return the answer that a worker has sent, once all of it is there."""
    if len(content) < _LENGTH.size:
        return None
    length, _ = _LENGTH.unpack_from(content)
    if len(content) < _LENGTH.size + length:
        return None
    failed, value, warnings = marshal.loads(memoryview(content)[_LENGTH.size :])
    if not failed:
        return Answer(value, descriptors, warnings=warnings)
    return Answer(error=remade(*value), warnings=warnings)


def _fork() -> tuple[_socket.socket, _socket.socket, int]:
    """Fork; return both ends of a channel, and the pid. Raises OSError."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        return ours, theirs, os.fork()
    except OSError:
        ours.close()
        theirs.close()
        raise


def wait_for_word() -> None:
    """Be a worker that has begun: wait for the word to go on, and the streams."""
    channel = Channel.from_descriptor(_FIRST)
    try:
        _, streams = channel.receive()
    except ChannelClosed:
        os._exit(0)  # It shall not go on.
    channel.socket.detach()
    for place, descriptor in enumerate(streams):
        os.dup2(descriptor, place, inheritable=True)
        os.close(descriptor)


def _wait_for_work(
    work: Callable[..., Any], rehearse: Callable[[], object], channel: int, *, parent: int
) -> NoReturn:
    """Be a worker that was born ahead: rehearse, and wait."""
    gc.disable()
    try:
        process.set_parent_death_signal(_SIGKILL)
        if os.getppid() == parent:
            # What others have open may be the last end of somebody's pipe.
            own = Channel.from_descriptor(arrange(channel, (), 0))
            try:
                rehearse()
            except (NajaError, OSError):
                pass  # Whoever does it in earnest says why.
            own.send("ready")
            (name, values, streams), descriptors = own.receive()
            channel = own.socket.detach()
            _live(lambda report: work(report, *values), name, channel, descriptors, streams, parent=parent)
    finally:
        os._exit(0)


def _live(
    work: Callable[[Report], Any],
    name: str,
    channel: int,
    descriptors: Sequence[int],
    streams: int,
    *,
    parent: int,
) -> NoReturn:
    """Be a worker: do the work, answer, and end. The first ``streams`` of its descriptors are for 0, 1, 2."""
    gc.disable()
    report = Report()
    try:
        process.set_parent_death_signal(_SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # Who asks for the end gets it with all undone.
        _signal.signal(_SIGTERM, _interrupt)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        try:
            channel = arrange(channel, descriptors, streams)
            answer: tuple[Any, ...] = (False, work(report), report.warnings)
        except BaseException as error:
            report.descriptors.clear()
            answer = (True, _account(error, name), report.warnings)
        _signal.signal(_SIGTERM, _signal.SIG_IGN)
        Channel.from_descriptor(channel).send(answer, report.descriptors)
    finally:
        os._exit(0)


def _interrupt(number: int, _frame: object) -> NoReturn:
    _signal.signal(number, _signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _account(error: BaseException, name: str) -> tuple[Any, ...]:
    """Return what went wrong as plain data."""
    told = worded(error, name) if isinstance(error, Exception) else NajaError(f"{name}: interrupted")
    notes = getattr(error, "__notes__", [])
    return type(told).__name__, told.what, told.errno, told.why, told.origin, list(notes)


def arrange(channel: int, descriptors: Sequence[int], streams: int) -> int:
    """Put a worker's descriptors where they belong, and close all others. Returns the channel's."""
    places = (*range(streams), *range(3, 3 + len(descriptors) - streams))
    last = 3 + len(descriptors) - streams
    modules = precompiled.descriptor()
    own = (channel, *modules)
    # Out of the way first: any of them may stand where another belongs.
    copies = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, last + len(own)) for each in (*descriptors, *own)]
    for place, copy in zip((*places, *range(last, last + len(own))), copies, strict=True):
        os.dup2(copy, place, inheritable=place < last)
    if modules:
        precompiled.move(last + 1)
    process.close_range(last + len(own))
    return last
