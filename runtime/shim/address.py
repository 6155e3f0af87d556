"""Where a shim listens, and who else is there."""

from __future__ import annotations

import _socket
import fcntl
import os
from errno import EADDRINUSE, ECONNREFUSED, ENOENT, EPROTOTYPE

from . import messages, ttrpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

#: The directory of the sockets of all shims (defaults.DefaultStateDir of containerd).
DIRECTORY = "/run/containerd/s"

#: What this shim answers beside the task service, to its own program.
SERVICE = "naja.Shim"

#: What the names of ours begin with, those of lenders (startup/lenders.py) too.
_PREFIX = "naja-"

_SCHEME = "unix://"

#: How long somebody who listens may take to answer, in seconds.
_PATIENCE = 5


def make(containerd: str, namespace: str, group: str) -> str:
    """Return the address for a group of containers of a containerd: it has room for names of any length."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:  # Python before 3.12
        from _sha256 import sha256  # type: ignore[import-not-found,no-redef,unused-ignore]

    text = os.path.normpath(f"{containerd}/{namespace}/{group}")
    return f"{_SCHEME}{DIRECTORY}/{_PREFIX}{sha256(os.fsencode(text)).hexdigest()}"


def path(address: str) -> str:
    """Return the path of a socket."""
    return address.removeprefix(_SCHEME)


class Lock:
    """A context in which no other program of ours takes a socket, or takes one away.

    Raises BlockingIOError where somebody else is in it, and it is not to be waited for.
    """

    def __init__(self, *, wait: bool = True) -> None:
        self._how = fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)

    def __enter__(self) -> None:
        os.makedirs(DIRECTORY, 0o711, exist_ok=True)
        self._file = os.open(f"{DIRECTORY}/.naja", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, self._how)
        except OSError:
            os.close(self._file)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def listen(address: str) -> _socket.socket | None:
    """Return a listening socket, None where the name is taken. Raises OSError."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    if not bind(listener, path(address)):
        listener.close()
        return None
    listener.listen(128)
    return listener


def bind(listener: _socket.socket, path: str) -> bool:
    """Give a socket a name, as root's alone; False where that is taken. Raises OSError."""
    before = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno != EADDRINUSE:
            raise
        return False
    finally:
        os.umask(before)
    return True


def ask(address: str, method: str, id: str) -> bool | None:
    """Ask who listens to do something for a container; None where nobody does, and the name is free."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path(address))
        payload = messages.CONTAINER.encode({"id": id})
        connection.sendall(ttrpc.frame(1, ttrpc.REQUEST, ttrpc.request(SERVICE, method, payload)))
        frames = ttrpc.Frames()
        while data := connection.recv(1 << 16):
            for _, kind, message in frames.feed(data):
                if kind == ttrpc.RESPONSE and message is not None:
                    return not isinstance(ttrpc.outcome(message), ttrpc.Failure)
    except OSError as error:
        if error.errno in (ECONNREFUSED, ENOENT):
            return None
        if isinstance(error, TimeoutError):
            return False
    finally:
        connection.close()
    return None  # It hung up: it was about to end.


def remove_dead(address: str) -> None:
    """Remove a socket that nobody listens at any more. Raises OSError."""
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        probe.connect(path(address))
    except OSError as error:
        if error.errno == ECONNREFUSED:
            os.unlink(path(address))
        elif error.errno not in (ENOENT, EPROTOTYPE):  # The latter is that of a nursery that listens.
            raise
    finally:
        probe.close()


def remove_all_dead() -> None:
    """Remove all sockets of shims that were killed, where nobody had it done. Raises OSError."""
    paths = [f"{DIRECTORY}/{name}" for name in os.listdir(DIRECTORY) if name.startswith(_PREFIX)]
    with open("/proc/net/unix", "rb") as file:
        known = file.read()
    # Who is not among them may still be in another network namespace; who is, need not be woken.
    suspects = [path for path in paths if os.fsencode(f" {path}\n") not in known]
    if suspects:
        with Lock():
            for path in suspects:
                remove_dead(path)
