"""Runs a plan: the runtime's side, which drives the stage and the init over the channel."""

from __future__ import annotations

import os
import select
import stat
import time
from errno import EBADF

from ..errors import Aftermath, ChannelClosed, NajaError, unborn
from ..linux import process
from ..linux.birth import can_share_memory, share_memory
from ..operations.base import INIT, RUNTIME, STAGE, Context, apply_all
from ..startup.seal import go_on_sealed, require_sealed
from .dialogue import DONE, Mailbox, explain, hand_over, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Self

    from ..linux.channel import Channel
    from ..operations.namespaces import GiveBirth
    from ..operations.tracing import Event
    from ..plan import Phase, Plan

_SIGKILL = 9

#: How long a killed child is waited for, and an init that has not yet done its work when a signal comes.
_PATIENCE, _GRACE = 0.5, 0.25


class Launch:
    """A container's process in the making.

    ``begin`` takes the plan and ``run`` runs it; ``abandon``, or leaving a ``with`` by an exception, ends
    whatever was started.
    """

    def __init__(
        self,
        preserve_fds: int = 0,
        *,
        activated: bool = False,
        debug: Callable[[str], None] | None = None,
        anew: bool = False,
    ) -> None:
        """See that this process is sealed; ``anew``, it executes itself where it is not. Raises NajaError.

        ``activated`` where the container is to have what a service manager has handed over. ``debug``
        is told of every operation.
        """
        (go_on_sealed if anew else require_sealed)()
        self._debug = debug
        #: What is to be told of that: variables of the caller's.
        self.activation = activation() if activated else {}
        self._inherited = inherited(int(self.activation.get("LISTEN_FDS", 0)), preserve_fds)
        self.stage = self.init = 0
        #: How many phases are done.
        self._done = 0
        #: Whether the init is born into this memory: it is its program, or has ended, when that returns.
        self.shares_memory = False
        #: Whether the stage is: it has given birth, or ended, when that returns.
        self._passes = False
        self.channel: Channel | Mailbox

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is not None:
            with Aftermath(error):
                self.abandon()

    def begin(self, plan: Plan, *, announces: bool = False) -> None:
        """Start what can go on beside the caller: a stage or an init that waits for its turn.

        With ``announces`` somebody is to be told of the init before it runs its program, which may fail.
        """
        self._plan = plan
        self._passes = plan.passes and can_share_memory()
        if not (plan.unattended or self._passes):
            self._fork()
        # To spare the copying of pages is worth more than what the two could have done at once.
        self.shares_memory = plan.unattended and not announces and can_share_memory()

    def prepare(self, context: Context) -> None:
        """Do what the runtime does first, before ``run``: it makes nothing yet. Raises NajaError."""
        self._trace(context)
        self._done = prepare(self._plan, context)

    def _fork(self) -> None:
        """Fork the init, or a stage that will give birth to it."""
        from ..linux.channel import Channel
        from .stage import be_born

        keep = len(self._inherited)
        try:
            self.channel, theirs = Channel.pair()
            if not self._plan.birth:
                self.stage = os.fork()
        except OSError as error:
            what = "start the container's process"
            raise NajaError.from_os_error(what, error, why=unborn(error)) from None
        if self._plan.birth:
            context = Context(RUNTIME, print)
            self._trace(context)
            apply_all([self._plan.birth], context)
            if context.actor == INIT:
                be_born(theirs, INIT, self._plan, keep, debug=bool(self._debug))
            self.init = context.values["init"]
        elif not self.stage:
            be_born(theirs, STAGE, self._plan, keep, debug=bool(self._debug))
        theirs.close()

    def run(
        self,
        context: Context,
        *,
        born: Callable[[int], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
        ready: Callable[[], None] | None = None,
    ) -> None:
        """Run all phases; on return the init waits at the gate or has become its program.

        ``born`` is told the init's pid once it is known; ``meanwhile`` is called while the init is at
        work for the first time, and before its birth where it then becomes its program at once; ``ready``
        when only the last phase is left. Raises NajaError for a failed operation.
        """
        try:
            self._run(context, born, meanwhile, ready)
        except ChannelClosed:
            self._hear_last_words(context)
            raise NajaError(f"the container's process died: {self._fate()}") from None
        self.channel.close()
        self._reap_stage()

    def _run(
        self,
        context: Context,
        born: Callable[[int], None] | None,
        meanwhile: Callable[[], None] | None,
        ready: Callable[[], None] | None,
    ) -> None:
        self._trace(context)
        context.values["stage"] = self.stage
        if self.init:
            context.values["init"] = self.init
        for index, phase in enumerate(self._plan.phases[self._done :], self._done):
            if phase.actor == RUNTIME:
                apply_all(phase.operations, context)
            elif phase.actor == STAGE and self._plan.unattended:
                if meanwhile and self.shares_memory:
                    meanwhile()  # Done again when the program runs; what it takes is there by then.
                self._give_birth(context)
            elif phase.actor == INIT or self.stage or self._passes:
                if ready and (phase.waits or phase.executes):
                    ready()
                if phase.actor == STAGE and self._passes:
                    self._pass_inside(context)
                elif not isinstance(self.channel, Mailbox):
                    hand_over(index, context, self.channel)
                if phase.waits:
                    return
                if meanwhile and phase.actor == INIT:
                    meanwhile()
                    meanwhile = None
                self._take_back(phase, context)
            if not context.pid and "init" in context.values:
                self._meet(context, born)

    def _give_birth(self, context: Context) -> None:
        """Give birth to an init that does all by itself, now that its cgroups are there."""
        if self.shares_memory and self._plan.birth:
            self._give_birth_inside(self._plan.birth, context)
        else:
            self._fork()
            context.values["init"] = self.init

    def _give_birth_inside(self, birth: GiveBirth, context: Context) -> None:
        """Give birth to an init in this memory; on return it has become its program, or ended."""
        from .stage import be_born_inside

        self.channel = mailbox = Mailbox()
        handed = _take_all(context)

        def life() -> NoReturn:
            be_born_inside(
                mailbox, self._plan, len(self._inherited), handed, context.values, debug=bool(self._debug)
            )

        try:
            self.init = context.values["init"] = _share_memory(life, birth.flags(), handed)
        except OSError as error:
            from ..operations.namespaces import refused

            why = refused(error)
            raise NajaError.from_os_error(birth.describe(), error, why=why, origin=birth.origin) from None
        finally:
            if self._debug:
                from ..operations.tracing import UNTIMED, event  # It is loaded.

                self._tell(RUNTIME, event(birth, UNTIMED))

    def _pass_inside(self, context: Context) -> None:
        """Have a stage do its work in this memory; on return it has given birth to the init, or failed."""
        from ..linux.channel import Channel
        from .stage import pass_inside

        handed = _take_all(context)

        def life() -> NoReturn:
            pass_inside(
                theirs, self._plan, len(self._inherited), handed, context.values, debug=bool(self._debug)
            )

        try:
            self.channel, theirs = Channel.pair()
            try:
                self.stage = _share_memory(life, 0, handed)
            finally:
                theirs.close()
        except OSError as error:
            what = "start the container's process"
            raise NajaError.from_os_error(what, error, why=unborn(error)) from None

    def _take_back(self, phase: Phase, context: Context) -> None:
        """Wait until the phase is done, or, where it ends in execve, until the channel closes."""
        while True:
            if phase.actor == STAGE:
                self._await_stage()
            elif not isinstance(self.channel, Mailbox):
                _await(self.channel, context)
            try:
                message, descriptors = receive(self.channel)
            except ChannelClosed:
                if phase.executes:
                    return
                raise
            if message[0] == DONE:
                _, names, context.values = message
                context.descriptors.update(zip(names, descriptors, strict=True))
                return
            explain(message, context.warn, self._tell)

    def _await_stage(self) -> None:
        """Wait until the stage has something to say. Raises NajaError where it has ended without a word.

        The channel would not tell: the init that it has given birth to holds it, and waits for its turn.
        """
        assert not isinstance(self.channel, Mailbox), "a stage shares no memory"
        pidfd = process.pidfd_open(self.stage)
        poll = select.poll()
        for descriptor in (self.channel.fileno(), pidfd):
            poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll()]
        os.close(pidfd)
        if ready == [pidfd]:
            self.channel.close()
            raise NajaError(f"the container's process died: {self._fate()}")

    def _hear_last_words(self, context: Context) -> None:
        """Raise what the other side said before it went, where it said why."""
        try:
            while True:
                message, _ = receive(self.channel)
                if message[0] != DONE:
                    explain(message, context.warn, self._tell)
        except ChannelClosed:
            return

    def _trace(self, context: Context) -> None:
        """Have the operations of a context told of, where somebody wants to know."""
        if self._debug:
            from ..operations.tracing import Trace

            context.trace = Trace(lambda event: self._tell(RUNTIME, event))

    def _tell(self, actor: str, event: Event) -> None:
        """Tell what one of the processes has done."""
        if self._debug:
            from ..operations.tracing import words

            pid = {RUNTIME: os.getpid(), STAGE: self.stage, INIT: self.init}[actor]
            self._debug(f"{actor}[{pid}]: {words(event)}")

    def _meet(self, context: Context, born: Callable[[int], None] | None) -> None:
        self.init = context.pid = context.values["init"]
        if born:
            born(self.init)

    def _fate(self) -> str:
        """Say how the process that should have answered ended."""
        if self.init:
            self._reap_stage()
        pid = self.init or self.stage
        self.init = self.stage = 0
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        except ChildProcessError:
            return "how is not known, as the caller ignores the end of its children (SIGCHLD)"
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    def _reap_stage(self) -> None:
        """Take leave of a stage that has given birth; not sooner than needed, for it may still be ending."""
        stage, self.stage = self.stage, 0
        if stage:
            try:
                os.waitpid(stage, 0)
            except ChildProcessError:
                pass  # The caller ignores SIGCHLD, so the kernel has done it.

    def abandon(self) -> None:
        """End the stage and the init, and reap them.

        On v1 one that is frozen ends when it is thawed or moved: after that this is to be called again.
        """
        if not (self.stage or self.init):
            return  # There was nothing yet.
        self.channel.close()
        children, self.stage, self.init = (self.stage, self.init), 0, 0
        left = [pid for pid in children if pid and not _end_child(pid)]
        self.init = left[-1] if left else 0


def prepare(plan: Plan, context: Context) -> int:
    """Do what the runtime does first; return how many phases that is, none or one. Raises NajaError."""
    first = plan.phases[0]
    if first.actor != RUNTIME:
        return 0
    apply_all(first.operations, context)
    return 1


def _take_all(context: Context) -> dict[str, int]:
    """Take the descriptors that are to be handed over."""
    taken = {name: context.take(name) for name in context.handover}
    context.handover.clear()
    return taken


def _share_memory(life: Callable[[], NoReturn], flags: int, handed: dict[str, int]) -> int:
    """Give birth to a process in this memory, and close what it has been handed. Raises OSError."""
    from .stage import keep_imports

    descriptors = list(handed.values())
    reopen_imports = keep_imports()
    try:
        return share_memory(life, flags)
    finally:
        reopen_imports()
        for descriptor in descriptors:
            os.close(descriptor)


def _end_child(pid: int) -> bool:
    """Kill a child and reap it; False where it does not end. One that was reaped is left alone.

    For its pid may be another's by now.
    """
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        os.kill(pid, _SIGKILL)
        end = time.monotonic() + _PATIENCE
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                return False
            time.sleep(0.0005)
    except ChildProcessError:
        pass  # It was, or the caller ignores SIGCHLD and the kernel has done it.
    return True


def _await(channel: Channel, context: Context) -> None:
    """Wait until the init has something to say. Raises NajaError where a signal asks for the end.

    It may be stuck for ever: somebody can freeze a cgroup above its own at any time.
    """
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while not poll.poll(_GRACE * 1000):
        # As a rule the container gets it, as soon as it is there.
        if number := context.interrupted():
            raise NajaError("wait for the container's process", why=f"ended by signal {number}")


def activation() -> dict[str, str]:
    """Return $LISTEN_FDS and $LISTEN_FDNAMES where they speak of sockets for this process, else nothing.

    They do where LISTEN_PID is its pid (sd_listen_fds(3)): conmon and systemd write it. Where there is none
    the caller may not have known it; then the descriptors have to be there, and none of them a directory:
    that is something else that was left open, and a way to the host's files. All else is somebody else's.
    Raises NajaError for what is meant for naja, and is no number.
    """
    number, pid = os.environ.get("LISTEN_FDS", ""), os.environ.get("LISTEN_PID", "")
    if not number or pid not in ("", str(os.getpid())):
        return {}
    if not number.isdecimal():
        if not pid:
            return {}
        raise NajaError(f"LISTEN_FDS={number} in naja's environment is not a number")
    if not pid and not all(map(_may_be_socket, range(3, 3 + int(number)))):
        return {}
    names = ("LISTEN_FDS", "LISTEN_FDNAMES")
    return {name: os.environ[name] for name in names if name in os.environ}


def inherited(activated: int, preserve_fds: int) -> tuple[int, ...]:
    """Return the descriptors that a container inherits beside 0, 1 and 2. Raises NajaError.

    ``activated`` sockets of a service manager come first, ``preserve_fds`` more follow.
    """
    numbers = range(3, 3 + activated + preserve_fds)
    for number in numbers:
        if not _was_inherited(number):
            raise NajaError(f"keep descriptor {number} (--preserve-fds, LISTEN_FDS)", errno=EBADF)
    return tuple(numbers)


def _may_be_socket(number: int) -> bool:
    return _was_inherited(number) and not stat.S_ISDIR(os.fstat(number).st_mode)


def _was_inherited(number: int) -> bool:
    """Tell whether the caller has opened a descriptor; naja's own are close-on-exec."""
    try:
        return os.get_inheritable(number)
    except OSError:
        return False
