"""The service ``resident``: naja stays, for a program that asks it by messages on standard input."""

from __future__ import annotations

import os

from ... import resident as core
from ...resident import server

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..output import Log
    from ..parser import Command

#: What a service manager has said to whoever started us is not meant for containers.
_FOREIGN = ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET")


def resident(command: Command, log: Log) -> None:
    """Keep containers until the last caller is gone (naja.resident.server). Raises NajaError."""
    del command
    for name in _FOREIGN:
        os.environ.pop(name, None)
    channel = os.dup(0)
    _detach()
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
