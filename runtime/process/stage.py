"""The stage, and the init that is born from it: the side of a plan that leaves the host.

Both run this one loop: wait for the runtime to hand over control, apply the operations of the
phase, hand control back. The stage ends when it has given birth; the init ends in execve.
"""

from __future__ import annotations

import _signal
import os
import sys

from ..errors import ChannelClosed, NajaError, trace
from ..linux import process
from ..operations.base import INIT, STAGE, Context, apply_all
from ..operations.execution import NotExecuted
from ..operations.namespaces import GiveBirth
from ..startup import precompiled
from .dialogue import DEBUG, DONE, WARNING, Mailbox, hand_over, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from ..linux.channel import Channel
    from ..operations.base import Operation
    from ..operations.tracing import Event
    from ..plan import Plan

    Phases = list[tuple[str, list[Operation]]]

_SIGKILL = 9

#: Not loaded, but at hand.
_FOR_FAILURES = (
    *("naja.linux.unexecutable", "naja.linux.view", "naja.linux.formats"),
    *("naja.operations.reasons", "naja.linux.cgroupfs"),
)


def be_born(channel: Channel, actor: str, plan: Plan, keep: int, *, debug: bool) -> NoReturn:
    """Be the stage, or the init, forked from a sealed runtime that has the plan already.

    With ``debug`` the runtime is told of every operation.
    """
    # The handlers of a runtime in the foreground (process/attached.py) do nothing here, and end with execve.
    _signal.set_wakeup_fd(-1)
    phases = [(phase.actor, phase.operations) for phase in plan.phases]

    def work(context: Context) -> None:
        if actor == INIT:
            GiveBirth.begin_life()
            apply_all(plan.infancy, context)
        _serve(channel, phases, context)

    _live(channel, actor, keep, [channel.fileno()], work, debug=debug)


def be_born_inside(
    mailbox: Mailbox,
    plan: Plan,
    keep: int,
    descriptors: dict[str, int],
    values: dict[str, Any],
    *,
    debug: bool,
) -> NoReturn:
    """Be the init, in the memory of a runtime that stands still meanwhile (linux/birth.py).

    ``descriptors`` and ``values`` are what the runtime hands over; it takes no other turn.
    """

    def work(context: Context) -> None:
        GiveBirth.begin_life()
        context.descriptors, context.values = descriptors, values
        apply_all(plan.infancy, context)
        for phase in plan.phases:
            if phase.actor == INIT:
                apply_all(phase.operations, context)
                hand_over(DONE, context, mailbox)

    _live(mailbox, INIT, keep, list(descriptors.values()), work, debug=debug)


def pass_inside(
    channel: Channel,
    plan: Plan,
    keep: int,
    descriptors: dict[str, int],
    values: dict[str, Any],
    *,
    debug: bool,
) -> NoReturn:
    """Be the stage, in the memory of a runtime that stands still meanwhile, and then the init.

    That has a memory of its own. Else as ``be_born_inside``.
    """
    phases = [(phase.actor, phase.operations) for phase in plan.phases]

    def work(context: Context) -> None:
        context.descriptors, context.values = descriptors, values
        apply_all(next(operations for actor, operations in phases if actor == STAGE), context)
        if context.actor == INIT:
            GiveBirth.begin_life()
            _serve(channel, phases, context)
        else:
            hand_over(DONE, context, channel)

    _live(channel, STAGE, keep, [channel.fileno(), *descriptors.values()], work, debug=debug)


def _live(
    channel: Channel | Mailbox,
    actor: str,
    keep: int,
    own: list[int],
    work: Callable[[Context], None],
    *,
    debug: bool,
) -> NoReturn:
    """Do an actor's work, with no descriptors but 0, 1 and 2, ``keep`` more and its ``own``."""
    status = 1
    try:
        context = Context(actor, lambda text: channel.send((WARNING, text)))
        if debug:
            _trace(context, channel)
        try:
            # Before any namespace is joined: nobody inside may look into this process (CVE-2016-9962).
            process.set_dumpable(False)
            process.set_parent_death_signal(_SIGKILL)
            close_imports()
            _close_descriptors(keep, own)
            work(context)
        except ChannelClosed:
            raise
        except Exception as error:
            _report(error, context, channel)
        else:
            status = 0
    except ChannelClosed:
        pass  # The runtime is gone, or gave up: there is nobody to tell, and nothing to go on for.
    finally:
        os._exit(status)


def _trace(context: Context, channel: Channel | Mailbox) -> None:
    """Tell whoever waits (the runtime, or past the gate the starter) of every operation."""
    from ..linux.channel import Channel
    from ..operations.tracing import Trace

    def tell(event: Event) -> None:
        listener: Channel | Mailbox = channel
        try:
            if "starter" in context.descriptors:
                listener = Channel.from_descriptor(os.dup(context.descriptors["starter"]))
            listener.send((DEBUG, context.actor, event))
        except (ChannelClosed, OSError):
            pass  # Nobody listens any more, and it is no reason to fail.
        if listener is not channel:
            listener.close()

    context.trace = Trace(tell)


def _close_descriptors(keep: int, own: list[int]) -> None:
    """Close all but the first three, ``keep`` more and ``own``.

    A forked process has the runtime's lock and directories of the host among them, either kind what the
    caller has left open.
    """
    process.close_all_but(own, 3 + keep)


def _serve(channel: Channel, phases: Phases, context: Context) -> None:
    """Apply each phase when its turn comes. Raises ChannelClosed."""
    while _take_turn(channel, phases, context):
        pass


def _take_turn(channel: Channel, phases: Phases, context: Context) -> bool:
    """Wait for control, apply a phase, and give control back. Returns whether there may be more to do."""
    (index, names, values), descriptors = channel.receive()
    context.values = values
    context.descriptors.update(zip(names, descriptors, strict=True))
    actor, operations = phases[index]
    if actor != context.actor:
        raise NajaError(f"phase {index} is for the {actor}, not for the {context.actor}")
    apply_all(operations, context)
    if context.actor == INIT and actor == STAGE:
        GiveBirth.begin_life()
        return True  # Just born; the stage says so.
    hand_over(DONE, context, channel)
    return context.actor == INIT or "init" not in context.values


def _report(error: Exception, context: Context, channel: Channel | Mailbox) -> None:
    """Tell whoever waits (the runtime, or past the gate the starter) what went wrong."""
    if isinstance(error, OSError):
        error = NajaError.from_os_error("prepare the container's process", error, why=trace(error))
    elif isinstance(error, MemoryError):
        error = NajaError("prepare the container's process", why="out of memory")
    elif not isinstance(error, NajaError):
        error = NajaError(f"internal error: {type(error).__name__}: {error}", why=trace(error))
    if "starter" in context.descriptors:
        from ..linux.channel import Channel  # It is loaded, for there was one before the gate.

        channel = Channel.from_descriptor(context.take("starter"))
    if isinstance(error, NotExecuted):
        # What comes next may be too much for the container's filter.
        report(error, channel, last=False)
        error.look()
    report(error, channel)


def keep_imports() -> Callable[[], None]:
    """Return what undoes close_imports, for a runtime whose memory an init has shared."""
    finders, hooks, path = sys.meta_path[:], sys.path_hooks[:], sys.path[:]

    def reopen() -> None:
        sys.meta_path[:], sys.path_hooks[:], sys.path[:] = finders, hooks, path

    return reopen


def close_imports() -> None:
    """Close the import system for good.

    From here on the files in sight may be the container's: an import would run them with the host's
    privileges. What is loaded stays importable, and what only a failure needs, whose code is in memory; all
    else fails with ModuleNotFoundError.
    """
    sys.meta_path[:] = precompiled.kept(_FOR_FAILURES)
    sys.path_hooks.clear()
    sys.path.clear()
