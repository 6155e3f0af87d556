"""Starting the resident process: which command that is, and how it becomes nobody's child.

The process is not a child of the program's: ``os.wait()`` would find it, and never return. The command forks
and ends at once (``naja resident --background``), which costs one child for some milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import sysconfig

from ..errors import NajaError
from ..resident import messages
from ..startup import precompiled
from ..version import VERSION

__all__ = ["Resident", "start"]

#: Seconds in which it has to answer.
_PATIENCE = 60.0

_MAIN = """\
import sys
del sys.argv[0]
sys.path.append({packages!r})
from naja.cli.main import main
main()
"""


class Resident:
    """A resident process, and this end of the connection to it."""

    def __init__(self, connection: socket.socket, log: int) -> None:
        self.connection = connection
        #: A file in memory with what it has written to its standard error.
        self.log = log
        self.pid = 0
        #: Of the process, -1 where there is none.
        self.pidfd = -1

    def last_words(self) -> str:
        """Return the last line that it has written, "" where there is none."""
        size = os.fstat(self.log).st_size
        text = os.pread(self.log, 4096, max(0, size - 4096)).decode(errors="replace").strip()
        return text.rpartition("\n")[2]

    def await_end(self) -> None:
        """Wait until it is gone for good: its workers go with it, and not before."""
        if self.pidfd >= 0:
            poll = select.poll()
            poll.register(self.pidfd, select.POLLIN)
            poll.poll(_PATIENCE * 1000)

    def close(self) -> None:
        """Leave it, which ends it where nobody else is connected."""
        self.connection.close()
        os.close(self.log)
        if self.pidfd >= 0:
            os.close(self.pidfd)


def start() -> Resident:
    """Start a resident process of this very naja. Raises NajaError."""
    why = ""
    for command in _commands():
        log = os.memfd_create("naja-resident", os.MFD_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        resident = Resident(ours, log)
        try:
            _spawn(command, theirs, log)
            theirs.close()  # Else nobody would be told of its end.
            if _greet(resident):
                return resident
            why = f"{command[0]} is another naja than the one that is imported"
        except (OSError, EOFError, subprocess.SubprocessError) as error:
            why = resident.last_words() or f"{command[0]}: {error or type(error).__name__}"
        theirs.close()
        resident.close()
    raise NajaError("start the resident process", why=why or "there is no interpreter (sys.executable)")


def _commands() -> list[list[str]]:
    """Return the commands that may start it, the best first: one that was installed is sealed and fast."""
    home = os.path.dirname(precompiled.PACKAGE)
    places = [
        os.path.dirname(sys.executable or ""),
        sysconfig.get_path("scripts"),
        os.path.join(os.path.dirname(os.path.dirname(home)), "bin"),
    ]
    paths = [os.path.join(place, "naja") for place in dict.fromkeys(places) if place]
    commands = [[path] for path in paths if os.access(path, os.X_OK)]
    if sys.executable:
        body = precompiled.boot() + _MAIN.format(packages=sysconfig.get_path("purelib"))
        commands.append([sys.executable, "-IS", "-c", body, "naja"])
    return commands


def _spawn(command: list[str], connection: socket.socket, log: int) -> None:
    """Run the command to its end; what it has forked goes on. Raises OSError, SubprocessError."""
    process = subprocess.Popen(
        [*command, "resident", "--background"],
        stdin=connection.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=log,
        cwd="/",
    )
    try:
        code = process.wait(_PATIENCE)
    except BaseException:
        process.kill()
        process.wait()
        raise
    if code:
        raise subprocess.SubprocessError(f"exit status {code}")


def _greet(resident: Resident) -> bool:
    """Tell whether it is of this package. Raises OSError, EOFError."""
    messages.send(resident.connection.fileno(), {"call": 0, "do": "hello"})
    resident.connection.settimeout(_PATIENCE)
    packet = resident.connection.recv(messages.MOST_BYTES)
    resident.connection.settimeout(None)
    if not packet:
        raise EOFError
    answer = messages.parse(packet).get("value") or {}
    resident.pid = answer.get("pid", 0)
    with contextlib.suppress(OSError):
        resident.pidfd = os.pidfd_open(resident.pid)
    same = os.path.realpath(answer.get("package", "")) == os.path.realpath(precompiled.PACKAGE)
    return same and answer.get("version") == VERSION
