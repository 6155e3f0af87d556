"""Readiness: what a container says to sd_notify(3) is passed on to whoever waits for naja.

A service manager gives naja a socket in $NOTIFY_SOCKET, which no container could reach. So a
directory of the container's state is bound into it, with a socket of naja's own, and the command
that starts the container (``start``, or ``run``) passes its messages on.
"""

from __future__ import annotations

import _socket
import os
import select
from struct import pack

from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    #: Opens a directory of the container's state, for the time of a ``with``.
    Subdirectory = Callable[[str], AbstractContextManager[int]]

#: Where a container finds the socket, as with runc.
_INSIDE = "/run/notify"
_NAME = "notify.sock"
DIRECTORY = "notify"

_LONGEST_MESSAGE = 65536
#: More messages than wait in a socket (net.unix.max_dgram_qlen).
_MOST_LAST_WORDS = 1000

#: How long a manager may take to read before its socket has room again, in seconds.
_PATIENCE = 5

#: What a container may say, for it is about itself (sd_notify(3)). The manager takes the rest from naja
#: as from root: MAINPID could name any process of the host, which would be ended with the service.
_PASSED_ON = frozenset(
    (
        *(b"READY", b"RELOADING", b"STOPPING", b"MONOTONIC_USEC", b"STATUS", b"ERRNO", b"BUSERROR"),
        *(b"WATCHDOG", b"WATCHDOG_USEC", b"EXTEND_TIMEOUT_USEC"),
    )
)


def expose(config: dict[str, Any], directory: str) -> dict[str, Any]:
    """Return a config with the socket in it: a mount of the host's ``directory``, and a variable."""
    mount = {
        "destination": _INSIDE,
        "type": "bind",
        "source": directory,
        "options": ["bind", "ro", "nosuid", "noexec", "nodev"],
    }
    process = config.get("process")
    if not process:
        return config  # Nobody will ever say anything.
    kept = [entry for entry in process.get("env") or () if not entry.startswith("NOTIFY_SOCKET=")]
    return {
        **config,
        "mounts": [*(config.get("mounts") or ()), mount],
        "process": {**process, "env": [*kept, f"NOTIFY_SOCKET={_INSIDE}/{_NAME}"]},
    }


def listen(host: str, subdirectory: Subdirectory, warn: Callable[[str], None]) -> Notifications | None:
    """Return the way from the container to ``host``, the caller's $NOTIFY_SOCKET.

    None, and a warning, where that leads nowhere: nobody waits to be told. Raises NajaError where the
    container's own socket cannot be made.
    """
    #: An abstract socket's name begins with "@" in the environment, and with a NUL in the kernel.
    address = "\0" + host[1:] if host.startswith("@") else host
    manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        manager.connect(os.fsencode(address))
    except OSError as error:
        manager.close()
        warn(f"NOTIFY_SOCKET={host} leads nowhere, nobody is told what the container says: {_why(error)}")
        return None
    manager.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, pack("@ll", _PATIENCE, 0))
    return Notifications(manager, subdirectory, warn)


def _why(error: OSError) -> str:
    return error.strerror or str(error)  # An address that is too long has no number.


class Notifications:
    """The socket that a container sends its messages to, and the way on from there."""

    def __init__(
        self, manager: _socket.socket, subdirectory: Subdirectory, warn: Callable[[str], None]
    ) -> None:
        """Bind the container's socket; ``manager`` is one that leads on. Raises NajaError."""
        #: None once it takes nothing any more.
        self._manager: _socket.socket | None = manager
        self._warn = warn
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        try:
            with subdirectory(DIRECTORY) as descriptor:
                # What a start that failed has left.
                if _NAME in os.listdir(descriptor):
                    os.unlink(_NAME, dir_fd=descriptor)
                path = f"/proc/self/fd/{descriptor}/{_NAME}"
                self._socket.bind(path)
                # The container's user may be anybody; who reaches the directory is in the container.
                os.chmod(path, 0o777)
        except OSError as error:
            raise NajaError.from_os_error("bind the container's notify socket", error) from None

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def forward(self, pid: int = 0) -> bool:
        """Pass on what of one message is the container's to say; tell whether there is no more to wait for.

        That is so when the container has said that it is ready; to that is added that ``pid`` is the
        service's main process, where naja itself does not stay. And when the manager takes nothing any
        more, of which is warned.
        """
        lines = self._socket.recv(_LONGEST_MESSAGE).split(b"\n")
        lines = [line for line in lines if line.partition(b"=")[0] in _PASSED_ON]
        ready = b"READY=1" in lines
        if ready and pid:
            lines.insert(0, b"MAINPID=%d" % pid)
        if lines and self._manager:
            try:
                self._manager.send(b"\n".join(lines), _socket.MSG_NOSIGNAL)
            except OSError as error:
                self._manager = None
                self._warn(f"what the container says to $NOTIFY_SOCKET is not passed on: {_why(error)}")
        return ready or not self._manager

    def wait_until_ready(self, pid: int, pidfd: int) -> None:
        """Pass messages on until the container is ready, or its process has ended."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        while True:
            for ready, _ in poll.poll():
                if ready == pidfd:
                    self.drain(pid)
                    return
                if self.forward(pid):
                    return

    def drain(self, pid: int = 0) -> None:
        """Pass on what a process said before it ended; not for ever, if others go on talking."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        for _ in range(_MOST_LAST_WORDS):
            if not poll.poll(0):
                break
            self.forward(pid)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()
