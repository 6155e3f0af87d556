"""The service ``resident``: naja stays, for a program that asks it by messages on standard input."""

from __future__ import annotations

import _signal
import os

from ... import resident as core
from ...errors import NajaError, unborn
from ...resident import server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..output import Log
    from ..parser import Command

#: What a service manager has said to whoever started us is not meant for containers.
_FOREIGN = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET")


def resident(command: Command, log: Log) -> None:
    """Keep containers until the last caller is gone (naja.resident.server). Raises NajaError.

    With ``--background`` at once another process does that, which is no child of whoever has called.
    """
    if command.options["background"] and _fork():
        return
    for name in _FOREIGN:
        os.environ.pop(name, None)
    channel = os.dup(0)
    _detach()
    _forget_signals()
    core.warm()
    server.serve(channel, log.warning)


def _detach() -> None:
    """Leave the caller's terminal, whose Ctrl-C is not for us, and its directory; 0 and 1 are nobody's."""
    try:
        os.setsid()
    except PermissionError:
        pass  # It was done for us.
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for stream in (0, 1):
        os.dup2(null, stream)
    os.close(null)


def _fork() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise NajaError.from_os_error("fork", error, why=unborn(error)) from None


def _forget_signals() -> None:
    """Ignore and block no signal because the caller does: containers would inherit that."""
    for number in _signal.valid_signals():
        try:
            if _signal.getsignal(number) == _signal.SIG_IGN and number != _signal.SIGPIPE:
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            continue  # The C library's own.
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
