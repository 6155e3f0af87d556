"""What has to be made where this process is not to go: by a child, which hands over descriptors."""

from __future__ import annotations

import _signal
import os

from ..errors import ChannelClosed, NajaError
from ..linux import process
from ..linux.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_SIGKILL = 9


def by_child(what: str, make: Callable[[], tuple[Any, list[int]]], origin: str) -> tuple[Any, list[int]]:
    """Let a child call ``make``; return what that returns, plain data and descriptors. Raises NajaError."""
    ours, theirs = Channel.pair()
    pid = os.fork()
    if not pid:
        _be_child(theirs, what, make)
    theirs.close()
    try:
        (error, answer), descriptors = ours.receive()
    except ChannelClosed:
        raise NajaError(what, why="the process that was to do it was killed", origin=origin) from None
    finally:
        ours.close()
        os.waitpid(pid, 0)
    if error:
        what, number, why, place = error
        raise NajaError(what, errno=number, why=why, origin=place or origin)
    return answer, descriptors


def _be_child(channel: Channel, what: str, make: Callable[[], tuple[Any, list[int]]]) -> NoReturn:
    try:
        # A signal is the parent's affair (process/attached.py).
        _signal.set_wakeup_fd(-1)
        process.set_parent_death_signal(_SIGKILL)
        process.set_dumpable(False)
        try:
            answer, descriptors = make()
            channel.send((None, answer), descriptors)
        except NajaError as error:
            channel.send(((error.what, error.errno, error.why, error.origin), None))
        except OSError as error:
            failure = NajaError.from_os_error(what, error)
            channel.send(((failure.what, failure.errno, failure.why, ""), None))
    finally:
        os._exit(0)
