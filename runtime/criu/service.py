"""A ``criu swrk`` process, and the conversation with it."""

from __future__ import annotations

import _socket
import os
from struct import unpack

from ..errors import ChannelClosed, NajaError, Unsupported
from ..linux.channel import Channel
from ..process.dialogue import report, reported
from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn, Self

    #: Called with the event's name, the pid that it is about (0 for none), and its descriptors.
    Listener = Callable[[str, int, list[int]], None]

#: The oldest CRIU that knows all that is asked of it here (external pid namespaces, the v2 freezer).
_OLDEST = (3, 15)

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LONGEST_MESSAGE = 1 << 16
_MOST_DESCRIPTORS = 8

#: The last lines of a log of CRIU's that failed; what they say is known.
_GENERAL_ERRORS = ("Dumping FAILED", "Pre-dumping FAILED", "Restoring FAILED", "exited, status=")


class Service:
    """CRIU, ready for one request. To be used in a ``with``, at whose end the process is gone.

    The process is a child that does not go on before ``begin``: until then it can be put into a
    cgroup.
    """

    def __init__(self, *, keep: Sequence[int] = (), prepare: Callable[[], None] | None = None) -> None:
        """Make the process; it inherits stdio and the descriptors ``keep``.

        ``prepare`` is done in it before it becomes CRIU. Raises Unsupported where CRIU is missing.
        """
        program = find()
        self._socket: _socket.socket | None = None
        self._channel, channel = Channel.pair()
        self.pid = os.fork()
        if self.pid == 0:
            _become_criu(program, channel, keep, prepare)
        channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        if self._socket:
            self._socket.close()  # CRIU gives up without it.
        os.waitpid(self.pid, 0)

    def begin(self) -> None:
        """Let the process become CRIU. Raises NajaError where it cannot."""
        self._channel.send("begin")
        try:
            while True:
                message, descriptors = self._channel.receive()
                if message:
                    raise reported(message)
                self._socket = _socket.socket(fileno=descriptors[0])
        except ChannelClosed:
            return  # By execve.

    def request(self, kind: int, listener: Listener | None = None, **fields: bytes) -> dict[str, Any]:
        """Ask for something and return the answer; meanwhile ``listener`` is told what happens.

        What the listener raises is raised here, after CRIU has undone its work. Raises NajaError where
        CRIU dies.
        """
        self._send({"type": kind, **fields})
        failure: Exception | None = None
        while True:
            answer, descriptors = self._receive()
            if answer["type"] != messages.NOTIFY:
                break
            event = messages.decode(messages.NOTIFICATION, answer["notify"])
            try:
                if listener:
                    listener(os.fsdecode(event["script"]), event.get("pid", 0), descriptors)
            except Exception as error:
                failure = error
            self._send({"type": messages.NOTIFY, "notify_success": failure is None})
        if failure:
            raise failure
        return answer

    def _send(self, request: dict[str, Any]) -> None:
        assert self._socket, "begin comes first"
        try:
            self._socket.send(messages.encode(messages.REQUEST, request), _socket.MSG_NOSIGNAL)
        except OSError as error:
            raise NajaError.from_os_error("speak to CRIU", error) from None

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        assert self._socket, "begin comes first"
        room = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_LONGEST_MESSAGE, room, _socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise NajaError.from_os_error("hear from CRIU", error) from None
        if not data:
            raise NajaError("CRIU ended without an answer")
        descriptors = [fd for _, _, rights in ancillary for fd in unpack(f"={len(rights) // 4}i", rights)]
        return messages.decode(messages.RESPONSE, data), descriptors


def _become_criu(
    program: str,
    channel: Channel,
    keep: Sequence[int],
    prepare: Callable[[], None] | None,
) -> NoReturn:
    """Be the child: wait for ``begin``, prepare, execute CRIU; tell the parent what went wrong."""
    try:
        channel.receive()
        if prepare:
            prepare()
        # CRIU opens the directories that it is told of through /proc, with the pid of whoever made the
        # socket (SO_PEERCRED): that has to be this process, whose mount namespace they belong to.
        socket, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        channel.send((), [theirs.fileno()])
        for descriptor in (socket.fileno(), *keep):
            os.set_inheritable(descriptor, True)
        arguments = [program, "swrk", str(socket.fileno())]
        os.execve(program, arguments, _environment())
    except ChannelClosed:
        pass  # The parent has given up.
    except Exception as error:
        if isinstance(error, OSError):
            error = NajaError.from_os_error("start CRIU", error)
        elif not isinstance(error, NajaError):
            error = NajaError(f"internal error: {type(error).__name__}: {error}")
        report(error, channel)
    finally:
        os._exit(1)


def find() -> str:
    """Return the path of the program. Raises Unsupported where it is not installed."""
    for directory in (os.environ.get("PATH") or _DEFAULT_PATH).split(":"):
        path = os.path.join(directory, "criu")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise Unsupported("checkpoint and restore", why="CRIU is not installed: no program criu in PATH")


def require_version() -> None:
    """Refuse a CRIU that is too old. Raises Unsupported."""
    with Service(prepare=_be_quiet) as criu:
        criu.begin()
        answer = criu.request(messages.VERSION)
    version = messages.decode(messages.VERSION_ANSWER, answer["version"])
    if (version["major_number"], version["minor_number"]) < _OLDEST:
        found = f"{version['major_number']}.{version['minor_number']}"
        oldest = ".".join(map(str, _OLDEST))
        raise Unsupported("checkpoint and restore", why=f"CRIU {found} is older than {oldest}")


def require_feature(name: str) -> None:
    """Refuse where CRIU and the kernel lack one of ``messages.FEATURES``. Raises Unsupported."""
    with Service(prepare=_be_quiet) as criu:
        criu.begin()
        asked = messages.encode(messages.FEATURES, {name: True})
        answer = criu.request(messages.FEATURE_CHECK, features=asked)
    if not messages.decode(messages.FEATURES, answer.get("features", b"")).get(name):
        raise Unsupported("checkpoint and restore", why=f"CRIU does not have {name} on this kernel")


def works() -> bool:
    """Tell whether CRIU is installed, new enough, and finds all that it needs in this kernel."""
    try:
        require_version()
    except NajaError:
        return False
    # Its RPC can check too, but wants a directory to write to.
    actions = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]
    pid = os.posix_spawn(find(), ["criu", "check"], _environment(), file_actions=actions)
    return os.waitpid(pid, 0)[1] == 0


def _be_quiet() -> None:
    """What CRIU says before it is told where its log is to be is of no use."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _environment() -> dict[str, str]:
    """CRIU calls tar, ip and iptables; engines leave naja without a PATH."""
    return {"PATH": _DEFAULT_PATH, **os.environ}


def last_errors(log: str) -> str:
    """Return what CRIU's log file says of a failure, and where it is, in a line."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            # "(00.012345)      1: Error (criu/file.c:123): text", with the time, and the pid if it matters.
            lines = [line.partition("): ")[2].strip() for line in file if " Error (" in line]
    except OSError as error:
        return f"CRIU wrote no log file {log}: {error.strerror}"
    telling = [line for line in lines if not any(general in line for general in _GENERAL_ERRORS)]
    return f"{'; '.join((telling or lines)[-2:]) or 'CRIU does not say why'} (log file {log})"
