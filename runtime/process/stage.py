"""The stage, and the init that is born from it: the side of a plan that leaves the host.

Both run this one loop: wait for the runtime to hand over control, apply the operations of the
phase, hand control back. The stage ends when it has given birth; the init ends in execve.
"""

from __future__ import annotations

import _signal
import gc
import os
import sys

# What nearly every plan needs is loaded while the host's files are in sight, and while the
# runtime is still reading the config: see close_imports.
import runtime.operations.binds
import runtime.operations.devices
import runtime.operations.execution
import runtime.operations.gate
import runtime.operations.identity
import runtime.operations.kernel
import runtime.operations.limits
import runtime.operations.masks
import runtime.operations.mounts
import runtime.operations.namespaces
import runtime.operations.privileges
import runtime.operations.rootfs  # noqa: F401
from runtime import precompiled
from runtime.errors import NajaError
from runtime.linux import process
from runtime.linux.channel import Channel, ChannelClosed
from runtime.operations.base import INIT, STAGE, Context, apply_all, thaw
from runtime.process.dialogue import DONE, WARNING, hand_over, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import NoReturn

    from runtime.operations.base import Operation
    from runtime.plan import Plan

    Phases = list[tuple[str, list[Operation]]]

_SIGKILL = 9


def main(descriptor: int, keep: int) -> None:
    """Be the stage, in an interpreter of its own: a plan comes over the channel. Never returns.

    ``keep`` is the number of descriptors from 3 on that the container inherits.
    """
    channel = Channel.from_descriptor(descriptor)
    _live(channel, STAGE, keep, lambda: _receive_phases(channel), ())


def be_born(channel: Channel, actor: str, plan: Plan, keep: int, first: Sequence[Operation] = ()) -> None:
    """Be the stage, or the init, forked from a sealed runtime that has the plan already. Never returns.

    ``first`` is what to do at once.
    """
    # The handlers of a runtime in the foreground (process/attached.py) do nothing here, and end with execve.
    _signal.set_wakeup_fd(-1)
    _live(channel, actor, keep, lambda: [(phase.actor, phase.operations) for phase in plan.phases], first)


def _close_descriptors(channel: Channel, keep: int) -> None:
    """Close all but the first three, ``keep`` more and the channel.

    A forked stage has the runtime's lock and directories of the host among them, either kind what the
    caller has left open.
    """
    own = channel.fileno()
    if own > 3 + keep:
        process.close_range(3 + keep, own - 1)
    process.close_range(own + 1)


def _live(
    channel: Channel,
    actor: str,
    keep: int,
    get_phases: Callable[[], Phases],
    first: Sequence[Operation],
) -> NoReturn:
    status = 1
    try:
        # Before any namespace is joined: nobody inside may look into this process (CVE-2016-9962).
        process.set_dumpable(False)
        process.set_parent_death_signal(_SIGKILL)
        phases = get_phases()
        close_imports()
        _close_descriptors(channel, keep)
        serve(channel, actor, phases, first)
        status = 0
    except ChannelClosed:
        pass  # The runtime is gone, or gave up: there is nobody to tell, and nothing to go on for.
    finally:
        os._exit(status)


def _receive_phases(channel: Channel) -> Phases:
    frozen, _ = channel.receive()
    return [(actor, [thaw(operation) for operation in operations]) for actor, operations in frozen]


def serve(channel: Channel, actor: str, phases: Phases, first: Sequence[Operation]) -> None:
    """Apply ``first``, and each phase when its turn comes; ``actor`` is who this is. Raises ChannelClosed."""
    gc.freeze()
    context = Context(actor, lambda text: channel.send((WARNING, text)))
    try:
        apply_all(first, context)
        while _take_turn(channel, phases, context):
            pass
    except ChannelClosed:
        raise
    except Exception as error:
        _report(error, context, channel)


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
        return True  # Just born; the stage says so.
    hand_over(DONE, context, channel)
    return context.actor == INIT or "init" not in context.values


def _report(error: Exception, context: Context, channel: Channel) -> None:
    """Tell whoever waits (the runtime, or past the gate the starter) what went wrong."""
    if not isinstance(error, NajaError):
        error = NajaError(f"internal error: {type(error).__name__}: {error}", why=_place(error.__traceback__))
    if "starter" in context.descriptors:
        channel = Channel.from_descriptor(context.take("starter"))
    report(error, channel)


def _place(traceback: TracebackType | None) -> str:
    """Say where an error came from; the module ``traceback`` would have to be imported."""
    places = []
    while traceback:
        code = traceback.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return " > ".join(places)


def close_imports() -> None:
    """Close the import system for good.

    From here on the files in sight may be the container's: an import would run them with the host's
    privileges. What is loaded stays importable, all else fails with ModuleNotFoundError.
    """
    for finder in sys.meta_path:
        if isinstance(finder, precompiled.Finder):
            finder.close()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()
