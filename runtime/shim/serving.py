"""The process that stays: the task service behind a socket, until its last container is gone."""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import stat

from .. import resident
from ..errors import NajaError, one_line
from ..linux import process
from ..resident.ends import Ends
from ..resident.loop import Loop
from ..resident.workers import Workers
from ..startup import pages
from . import address, messages
from .nursery import Founder
from .publisher import Publisher
from .service import NAMES, Service
from .settings import Settings
from .ttrpc import Server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..resident.loop import Timer
    from .nursery import Become
    from .ttrpc import Reply

#: How long a container that ``start`` has announced may take to come, in seconds.
_EXPECTED = 30.0

#: How long the last events may take, in seconds.
_LAST_WORDS = 5.0

#: How long the last answers have to go out, in seconds.
_LINGER = 0.01

#: How long there is nothing to do until memory is given back, in seconds.
_REST = 1.0

_INHERITED = 3


def serve_inherited(settings: Settings) -> int:
    """Serve at the socket that is named, or was inherited as descriptor 3. Raises OSError."""
    if where := settings.values["socket"]:
        listener = address.listen(where)
        if listener is None:
            raise NajaError(f"listen at {where}", why="somebody does already")
    else:
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, _INHERITED)
        where = f"unix://{os.fsdecode(listener.getsockname())}"
    resident.warm()
    birth = {name: getattr(settings, name) for name in ("namespace", "id", "bundle", "events")}
    Shim({**birth, "where": where}, listener).run()
    return 0


def begin(birth: dict[str, Any], listener: _socket.socket, become: Become | None) -> int:
    """Leave who has started this, and serve until no container is left. Returns an exit status.

    ``birth`` is plain data: what the command line says of the first container (namespace, id,
    bundle), where events go, containerd's address and OOM score, where ``listener`` listens, and
    the cgroup to be in. A process that was started in the ordinary way has a nursery made, whose
    forks ``become`` what is asked for; None where this is such a fork itself.
    """
    _detach(birth["bundle"], birth["score"])
    _enter(birth["cgroup"])
    if become:
        resident.warm()
    else:
        gc.enable()
    Shim(birth, listener, None if birth["cgroup"] else become).run()
    return 0


def _detach(bundle: str, score: int) -> None:
    """Leave the caller: its session, its streams, and its rank among those who go where memory is short."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)
    _write("/proc/self/oom_score_adj", min(score + 1, 1000))
    _write(os.path.join(bundle, "shim.pid"), os.getpid())


def _write(path: str, number: int) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, str(number).encode())
        finally:
            os.close(file)
    except OSError:
        pass  # A score that is lower than its own not every root may have, and a full disk ends nothing.


def _enter(cgroup: str) -> None:
    """Move into a cgroup (the option ShimCgroup), in every hierarchy that has it. Raises NajaError."""
    if not cgroup:
        return
    from ..cgroups.hierarchies import detect

    entered = False
    for point in set(detect().mounts.values()):
        try:
            with open(f"{point}/{cgroup.strip('/')}/cgroup.procs", "wb", buffering=0) as file:
                file.write(b"0")
            entered = True
        except OSError:
            continue
    if not entered:
        raise NajaError(f"join cgroup {cgroup}", why="no hierarchy has it")


class Shim:
    """The task service, what it stands on, and who may end it."""

    def __init__(
        self,
        birth: dict[str, Any],
        listener: _socket.socket,
        become: Become | None = None,
    ) -> None:
        self._where = birth["where"]
        self._log = Log()
        self._log.use(birth["bundle"])
        os.chdir("/")
        # Nobody's terminal is anything to us, nor a reader who is gone.
        for number in (_signal.SIGHUP, _signal.SIGPIPE):
            _signal.signal(number, _signal.SIG_IGN)
        self._loop = Loop(self._log.say)
        self._loop.rest(_REST, pages.give_back)
        ends = Ends(self._loop)
        self._workers = Workers(self._loop, ends)
        self._publisher = Publisher(self._loop, birth["events"], birth["namespace"], self._log.say)
        self._service = Service(
            self._loop,
            self._workers,
            ends,
            self._publisher,
            birth["namespace"],
            say=self._log.say,
            idle=self._look,
            left=lambda: self._loop.later(_EXPECTED, self._look),
        )
        self._expected: dict[str, Timer] = {}
        self._is_ending = False
        self._expect(birth["id"])
        methods = self._service.methods
        self._create_task, methods["Create"] = methods["Create"], self._create
        services = dict.fromkeys(NAMES, methods)
        services[address.SERVICE] = {"Expect": self._hear_expect, "Forget": self._forget}
        self._server = Server(self._loop, listener, services)
        self._listen_to_signals()
        if become:

            def serve(birth: dict[str, Any], listener: int) -> NoReturn:
                try:
                    begin(birth, _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, listener), None)
                finally:
                    os._exit(0)

            self._founder = Founder(self._loop, birth["containerd"], become, serve)

    def run(self) -> None:
        """Serve until the end."""
        self._loop.run()

    def _listen_to_signals(self) -> None:
        signals = (_signal.SIGTERM, _signal.SIGINT)
        _signal.pthread_sigmask(_signal.SIG_BLOCK, signals)
        descriptor = process.signalfd(signals)

        def hear() -> None:
            process.read_signal(descriptor)
            self._end()

        self._loop.watch(descriptor, hear)

    def _create(self, payload: bytes, reply: Reply) -> None:
        request = messages.CREATE.decode(payload)
        if timer := self._expected.pop(request["id"], None):
            timer.cancel()
        self._log.use(request["bundle"])
        self._create_task(payload, reply)

    def _hear_expect(self, payload: bytes, reply: Reply) -> None:
        """Stay for a container that is about to come."""
        self._expect(messages.CONTAINER.decode(payload)["id"])
        reply.give(b"")

    def _expect(self, id: str) -> None:
        def give_up() -> None:
            self._expected.pop(id, None)
            self._look()

        if timer := self._expected.pop(id, None):
            timer.cancel()
        self._expected[id] = self._loop.later(_EXPECTED, give_up)

    def _forget(self, payload: bytes, reply: Reply) -> None:
        """Drop a container that ``delete`` is about to remove."""
        id = messages.CONTAINER.decode(payload)["id"]
        if timer := self._expected.pop(id, None):
            timer.cancel()
        reply.give(b"")
        self._service.forget(id)

    def _look(self) -> None:
        """End where no container is left, and none is to come.

        containerd asks for it; where it has not come to that, it goes without saying after a while.
        """
        if not (self._service.tasks or self._service.making or self._expected):
            self._end()

    def _end(self) -> None:
        """Listen no longer, and end when the last events are out. Containers stay as they are."""
        if self._is_ending:
            return
        self._is_ending = True
        try:
            os.unlink(address.path(self._where))
        except OSError:
            pass
        self._server.stop_listening()
        self._publisher.when_idle(self._leave, _LAST_WORDS)

    def _leave(self) -> None:
        self._loop.later(_LINGER, self._loop.stop)  # So that the last answers go out.


class Log:
    """Where the shim says what nobody waits to hear: containerd reads it from a FIFO in the bundle."""

    def say(self, text: str) -> None:
        """Write a line."""
        try:
            os.write(2, os.fsencode(f"naja: {one_line(text)}\n"))
        except OSError:
            pass  # Nobody reads it, and it is full.

    def use(self, bundle: str) -> None:
        """Write to the FIFO of this bundle from now on; those of earlier ones may be gone."""
        try:
            # For reading as well: nobody has to be there, or stay.
            log = os.open(os.path.join(bundle, "log"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        if stat.S_ISFIFO(os.fstat(log).st_mode):
            os.dup2(log, 2)
        os.close(log)
