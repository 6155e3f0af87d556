"""What the launcher does by itself: start, state, kill and delete as lists of steps, for native/steps.c.

Saves 5 ms of each. Two more seal Python, and pay for the first move into a cgroup, before Python starts.

A step is a system call with its arguments, what it has to return, and which step follows where it does not.
The lists are the same for all containers and become part of the launcher; what a step says of one container
is in the file of facts (facts.py). Whatever is not as it is foreseen here is left to Python, which does the
whole verb: so all is looked at first, and held, and what changes anything comes last. What a function stands
for is named in it; both ways are tested side by side (tests/integration/test_steps.py).
"""

from __future__ import annotations

import os
import signal
from errno import ENOENT
from struct import pack

from .facts import FILE, LARGEST, MAGIC, NUMBERS, PLACES

__all__ = ["CALLS", "definitions"]

#: The system calls that a step may make, and what else it may do; as in native/steps.c.
CALLS = (
    *("openat", "read", "write", "flock", "statx", "unlinkat", "renameat2", "pidfd_open"),
    *("pidfd_send_signal", "fgetxattr", "socket", "connect", "sendto", "recvfrom", "setsockopt"),
    *("getpid", "readlinkat", "nanosleep", "rt_sigaction", "epoll_create1", "epoll_ctl", "epoll_pwait"),
    *("fcntl", "fallocate", "fsopen", "fsconfig", "fsmount", "close_range"),
    *("close", "clone", "prctl", "getppid", "fstatfs", "dup3", "exit_group", "getdents64"),
    # These return a status, a value, a difference, what follows a text or 0, its length, a field of
    # proc_pid_stat(5), the next of several texts, a letter.
    *("END", "VALUE", "MINUS", "AFTER", "LENGTH", "FIELD", "NEXT", "LETTER"),
    # Append a number, or a text; say another word to Python.
    *("NUMBER", "PUT", "SAY"),
)

#: What a word of a step is: a number, a text of the steps, a place of the facts, a value.
_PLAIN, _TEXT, _PLACE, _VALUE = range(4)
_WORDS = {name: index << 2 | _PLACE for index, name in enumerate(PLACES)}

#: Values: given by the words that were typed, numbers of the facts, and what steps keep for others.
_GIVEN = ("directory", "signal", "root", "verb", "count")
_KEPT = (
    *("file", "status", "rest", "size", "self", "held", "files", "group", "each"),
    *("gate", "connection", "end"),
)
_VALUES = {name: index for index, name in enumerate((*_GIVEN, *NUMBERS, *_KEPT, ""))}
_VALUES |= {"layers": 0, "name": 1}  # Others are given where Python is to start.
_WORDS |= {f"${name}": index << 2 | _VALUE for name, index in _VALUES.items()}

_MOST, _LEAST, _GIVE_UP = (1 << 63) - 1, -(1 << 31), -1

_READ = os.O_RDONLY | os.O_CLOEXEC
_HOLD = os.O_PATH | os.O_CLOEXEC
_ORDINARY = _READ | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY = _READ | os.O_DIRECTORY | os.O_NOFOLLOW
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_LOCK_EX, _LOCK_NB = 2, 4
_AT_REMOVEDIR, _AT_NOFOLLOW, _AT_EMPTY_PATH = 0x200, 0x100, 0x1000
_STATX_NLINK = 4
_AF_UNIX, _SOCK_STREAM = 1, 1
_SOL_SOCKET, _SO_RCVTIMEO, _SO_SNDTIMEO = 1, 20, 21
_MSG_PEEK, _MSG_NOSIGNAL = 0x2, 0x4000
_EPOLL_CTL_ADD, _F_SETFD = 1, 2
_CLOEXEC, _SET_STRING, _CMD_CREATE, _RDONLY_NODEV = 1, 1, 6, 0x1 | 0x4  # of fsopen(2) and its kind
_PR_SET_PDEATHSIG = 1
_MOST_DESCRIPTORS = 1 << 28
#: What begins the answer of fstatfs(2): the type, the lowest byte first.
_CGROUP2 = b"prgc"

#: As in container/lifecycle.py and operations/gate.py.
_START = b"start"
_PATIENCE = pack("@ll", 10, 0)
_AT_ONCE = 500  # milliseconds
_RECORD, _NEW_RECORD = b"state.json", b"state.json.new"


class Room:
    """Room among the texts."""

    def __init__(self, place: int) -> None:
        self.place = place


class _Steps:
    """The steps in the making, and the texts that they speak of."""

    def __init__(self) -> None:
        self.text = bytearray()
        self.rows: list[list[int]] = []
        self._labels: dict[str, int] = {"": _GIVE_UP}
        self._jumps: list[tuple[int, str]] = []

    def label(self, name: str) -> None:
        """Have ``otherwise`` lead to the next step."""
        self._labels[name] = len(self.rows)

    def place(self, content: bytes) -> int:
        """Return where a text is."""
        start = self.text.find(content + b"\0")
        if start < 0:
            start = len(self.text)
            self.text += content + b"\0"
        return start

    def blank(self, size: int) -> Room:
        """Return room of its own."""
        start = len(self.text)
        self.text += bytes(size)
        return Room(start)

    def take(
        self,
        call: str,
        *words: int | str | bytes | Room,
        into: str = "",
        least: int = 0,
        most: int = _MOST,
        otherwise: str = "",
    ) -> None:
        """Add a step. Words are numbers, texts, names of places, and names of values behind a ``$``.

        The result is kept as the value ``into``. Where it is not between ``least`` and ``most``,
        ``otherwise`` follows; "" is to give up.
        """
        row = [CALLS.index(call)]
        for word in words:
            if isinstance(word, Room):
                row.append(word.place << 2 | _TEXT)
            elif isinstance(word, bytes):
                row.append(self.place(word) << 2 | _TEXT)
            else:
                row.append(_WORDS[word] if isinstance(word, str) else word << 2 | _PLAIN)
        row += [0] * (6 - len(row))
        self._jumps.append((len(self.rows), otherwise))
        self.rows.append([*row, _VALUES[into], least, most, _GIVE_UP])

    def exactly(
        self, result: int, call: str, *words: int | str | bytes | Room, into: str = "", otherwise: str = ""
    ) -> None:
        """Add a step that has to have this result."""
        self.take(call, *words, into=into, least=result, most=result, otherwise=otherwise)

    def need(self, number: str, otherwise: str = "") -> None:
        """Go on where a number is 1."""
        self.exactly(1, "VALUE", f"${number}", otherwise=otherwise)

    def jump(self, label: str) -> None:
        """Go on elsewhere."""
        self.exactly(1, "VALUE", 0, otherwise=label)

    def begins(self, text: str, start: str | bytes, into: str = "", otherwise: str = "") -> None:
        """Go on where a text begins so; what follows is kept."""
        self.take("AFTER", text, start, into=into, least=1, otherwise=otherwise)

    def complete(self) -> None:
        """Have each step know which one follows."""
        for row, name in self._jumps:
            self.rows[row][-1] = self._labels[name]


def _verbs(steps: _Steps) -> dict[str, int]:
    """Add the steps of all verbs; return the first one of each."""
    verbs = {
        "state": _state,
        "start": _start,
        "kill": _kill,
        "kill 9": _kill_9,
        "SEAL": _seal,
        "WARM_UP": _warm_up,
        "delete": _delete,
        "delete --force": _delete_force,
    }
    first = {}
    for name, write in verbs.items():
        first[name] = len(steps.rows)
        write(steps)
    steps.complete()
    return first


def _lock(steps: _Steps) -> None:
    """``StateDirectory.lock``."""
    steps.exactly(0, "flock", "$directory", _LOCK_EX)
    _links(steps, "$directory")
    # The first field that statx(2) fills in here is the number of links, behind sixteen other bytes.
    steps.take("LETTER", "links", 16, least=1)


def _links(steps: _Steps, descriptor: str) -> None:
    steps.exactly(0, "statx", descriptor, b"", _AT_EMPTY_PATH, _STATX_NLINK, "links")


def _record(steps: _Steps) -> None:
    """``StateDirectory.read``: go on where the record is that of the facts; $status is what it says."""
    steps.take("openat", "$directory", _RECORD, _ORDINARY, into="file")
    steps.take("read", "$file", "in record", 8191)
    steps.begins("in record", "record 1", into="status")
    steps.begins("$status", b"created", into="rest", otherwise=(running := f"running {len(steps.rows)}"))
    steps.jump(both := f"both {len(steps.rows)}")
    steps.label(running)
    steps.begins("$status", b"running", into="rest")
    steps.label(both)
    steps.begins("$rest", "record 2", into="rest")
    steps.exactly(0, "LETTER", "$rest", 0)


def _is(steps: _Steps, status: bytes, otherwise: str = "") -> None:
    steps.begins("$status", status, otherwise=otherwise)


def _no_draft(steps: _Steps) -> None:
    """``StateDirectory.has_draft``."""
    steps.exactly(-ENOENT, "statx", "$directory", _NEW_RECORD, _AT_NOFOLLOW, _STATX_NLINK, "links")


def _entries(steps: _Steps) -> None:
    """Go on where there is no file more or less in the state directory: each is of something done."""
    steps.take("getdents64", "$directory", "out", 8192, into="size")
    steps.exactly(0, "MINUS", "$size", "$entries")


def _alive(steps: _Steps, ended: str) -> None:
    """``state.alive``; leads to ``_ended`` where it is not."""
    steps.take("openat", 0, "statistics", _READ, into="file", otherwise=f"{ended}?")
    _runs(steps, ended)


def _ended(steps: _Steps, label: str) -> None:
    steps.label(f"{label}?")
    steps.exactly(-ENOENT, "VALUE", "$file")
    steps.label(label)


def _runs(steps: _Steps, otherwise: str = "") -> None:
    """Go on where $file is proc_pid_stat(5) of the container's process, and that runs."""
    steps.take("read", "$file", "in statistics", 1023, least=1)
    steps.take("FIELD", "in statistics", 0, into="rest", least=1)
    for dead in (b"Z", b"X", b"x"):
        steps.exactly(0, "AFTER", "$rest", dead, otherwise=otherwise)
    steps.take("FIELD", "in statistics", 19, into="rest", least=1)
    steps.begins("$rest", "start time", otherwise=otherwise)


def _hold(steps: _Steps) -> None:
    """``Held.find``, and ``require_proc`` in it."""
    steps.take("getpid", into="self")
    steps.take("NUMBER", "own pid", "$self")
    steps.take("readlinkat", 0, b"/proc/self", "own link", 31)
    steps.begins("own link", "own pid", into="rest")
    steps.exactly(0, "LETTER", "$rest", 0)
    steps.take("pidfd_open", "$pid", 0, into="held")
    steps.take("openat", 0, "process", _HOLD | os.O_DIRECTORY, into="files")
    steps.take("openat", "$files", b"stat", _READ, into="file")
    _runs(steps)


def _thawed(steps: _Steps) -> None:
    """``Manager.paused``: go on where it is not."""
    steps.need("has freezer", otherwise=(none := f"no freezer {len(steps.rows)}"))
    steps.take("openat", 0, "frozen", _READ, into="file")
    _reads(steps, "thawed")
    steps.label(none)


def _reads(steps: _Steps, text: str) -> None:
    steps.take("read", "$file", "in frozen", 255, into="size")
    _same(steps, "in frozen", text)


def _same(steps: _Steps, found: str, text: str | bytes) -> None:
    """Go on where what was found, of $size, is this text."""
    steps.take("LENGTH", text, into="rest")
    steps.exactly(0, "MINUS", "$rest", "$size")
    steps.begins(found, text)


def _state(steps: _Steps) -> None:
    """``Container.state``."""
    steps.need("may state")
    _record(steps)
    _no_draft(steps)
    _alive(steps, "state: ended")
    _thawed(steps)
    _show(steps, "pid")
    _is(steps, b"created", otherwise="state: running")
    steps.take("PUT", "out", b"created")
    steps.jump("state: show")
    steps.label("state: running")
    steps.take("PUT", "out", b"running")
    steps.jump("state: show")
    _ended(steps, "state: ended")
    _show(steps, b"0")
    steps.take("PUT", "out", b"stopped")
    steps.label("state: show")
    steps.take("PUT", "out", "document 3")
    _ignore_signals(steps)
    steps.take("LENGTH", "out", into="size")
    steps.take("write", 1, "out", "$size", into="rest")
    steps.exactly(0, "MINUS", "$rest", "$size")
    steps.take("END", 0)


def _ignore_signals(steps: _Steps) -> None:
    """As Python does: where nobody reads it, or a file may be no larger, that is an error."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        steps.exactly(0, "rt_sigaction", number, pack("@4l", signal.SIG_IGN, 0, 0, 0), 0, 8)


def _show(steps: _Steps, pid: str | bytes) -> None:
    for part in ("document 1", pid, "document 2"):
        steps.take("PUT", "out", part)


def _start(steps: _Steps) -> None:
    """``Container.start``, and ``open_gate`` in it."""
    steps.need("may start")
    _lock(steps)
    _record(steps)
    _is(steps, b"created")
    _hold(steps)
    _thawed(steps)
    _reach(steps)
    _ignore_signals(steps)
    # Nothing may run that is not recorded.
    for part in ("record 1", b"running", "record 2"):
        steps.take("PUT", "out", part)
    steps.take("LENGTH", "out", into="size")
    steps.take("openat", "$directory", _NEW_RECORD, _NEW, 0o600, into="file")
    steps.take("fallocate", "$file", 0, 0, "$size", least=_LEAST)
    steps.take("write", "$file", "out", "$size", into="rest", otherwise="start: undo")
    steps.exactly(0, "MINUS", "$rest", "$size", otherwise="start: undo")
    _open_gate(steps)
    # Who started it has room for what the init has to say; as a rule it says nothing, by execve.
    steps.exactly(0, "recvfrom", "$connection", "answer", 1, _MSG_PEEK, otherwise="start: hear")
    renaming = "$directory", _NEW_RECORD, "$directory", _RECORD
    steps.exactly(0, "renameat2", *renaming, otherwise="start: hear")
    steps.take("END", 0)
    steps.label("start: undo")
    steps.exactly(1, "unlinkat", "$directory", _NEW_RECORD)  # Whatever becomes of it, Python is next.
    _hear(steps)


def _reach(steps: _Steps) -> None:
    """Find the gate, and get ready to connect to it."""
    steps.take("openat", "$directory", b"gate", _HOLD | os.O_NOFOLLOW, into="gate")
    steps.take("PUT", "address", bytes([_AF_UNIX]))
    steps.take("PUT", "path", b"/proc/self/fd/")
    steps.take("NUMBER", "path", "$gate")
    steps.take("socket", _AF_UNIX, _SOCK_STREAM | os.O_CLOEXEC, 0, into="connection")
    for limit in (_SO_RCVTIMEO, _SO_SNDTIMEO):
        steps.exactly(0, "setsockopt", "$connection", _SOL_SOCKET, limit, _PATIENCE, len(_PATIENCE))


def _open_gate(steps: _Steps) -> None:
    otherwise = "start: undo"
    steps.exactly(0, "connect", "$connection", "address", 64, otherwise=otherwise)
    size = len(_START)
    steps.exactly(size, "sendto", "$connection", _START, size, _MSG_NOSIGNAL, otherwise=otherwise)
    steps.exactly(size, "recvfrom", "$connection", "answer", size, otherwise=otherwise)
    steps.begins("answer", _START, otherwise=otherwise)
    no_limit = bytes(len(_PATIENCE))
    steps.take("setsockopt", "$connection", _SOL_SOCKET, _SO_RCVTIMEO, no_limit, len(no_limit), least=_LEAST)


def _hear(steps: _Steps) -> None:
    """Have Python go on with a start whose gate is open (``Container.hear``)."""
    steps.label("start: hear")
    for index, name in enumerate(("connection", "directory")):
        number = f"number {index + 1}"
        steps.take("NUMBER", number, f"${name}")
        steps.take("SAY", "$count", index, number)
        steps.take("fcntl", f"${name}", _F_SETFD, 0)
    steps.take("SAY", "$verb", 0, b"hear")
    steps.jump("")


def _kill(steps: _Steps) -> None:
    """``Container.kill`` with any other signal than SIGKILL."""
    _record(steps)
    _hold(steps)
    steps.exactly(0, "pidfd_send_signal", "$held", "$signal", 0, 0)
    steps.take("END", 0)


def _kill_9(steps: _Steps) -> None:
    """``Container.kill`` with SIGKILL."""
    steps.need("may kill")
    _record(steps)
    _end(steps)
    steps.take("END", 0)


def _end(steps: _Steps) -> None:
    """Kill the container's process, and thaw what may have been frozen meanwhile: ``Manager.thaw_all``."""
    steps.need("has freezer", otherwise=(none := f"not to freeze {len(steps.rows)}"))
    _own(steps, "freezer", "$group")
    _childless(steps)
    steps.take("openat", "$group", "frozen name", os.O_RDWR | os.O_CLOEXEC, into="file")
    _reads(steps, "thawed")
    steps.take("VALUE", "$file", into="gate")
    steps.label(none)
    _hold(steps)
    steps.take("epoll_create1", os.O_CLOEXEC, into="end")
    steps.exactly(0, "epoll_ctl", "$end", _EPOLL_CTL_ADD, "$held", b"\1" + bytes(15))  # EPOLLIN
    steps.exactly(0, "pidfd_send_signal", "$held", signal.SIGKILL, 0, 0)
    steps.need("has freezer", otherwise=(done := f"killed {len(steps.rows)}"))
    steps.take("LENGTH", "thaw", into="size")
    steps.take("write", "$gate", "thaw", "$size", least=_LEAST)
    steps.label(done)


def _own(steps: _Steps, path: str, into: str) -> None:
    """Open a cgroup that has the container's mark: ``ownership.bears``."""
    steps.take("openat", 0, path, _DIRECTORY, into=into[1:])
    steps.take("fgetxattr", into, "mark name", "in mark", 255, into="size")
    _same(steps, "in mark", "mark")


def _childless(steps: _Steps) -> None:
    """Go on where the cgroup $group has none below it, as far as links tell."""
    steps.need("has links", otherwise=(other := f"no links {len(steps.rows)}"))
    _links(steps, "$group")
    steps.exactly(2, "LETTER", "links", 16)
    steps.exactly(0, "LETTER", "links", 17)
    steps.label(other)


def _delete(steps: _Steps) -> None:
    """``Container.delete``: of what has stopped, or was never started."""
    steps.need("may delete")
    _lock(steps)
    _record(steps)
    _entries(steps)
    _alive(steps, "delete: ended")
    _is(steps, b"created")
    _thawed(steps)
    steps.jump("delete: end")
    _ended(steps, "delete: ended")
    steps.jump("delete: destroy")


def _delete_force(steps: _Steps) -> None:
    """The same with ``force``: ``_end`` and ``_destroy``."""
    steps.need("may delete")
    _lock(steps)
    _record(steps)
    _entries(steps)
    _alive(steps, "force: ended")
    steps.label("delete: end")
    _end(steps)
    steps.exactly(1, "epoll_pwait", "$end", "answer", 1, _AT_ONCE)
    steps.jump("delete: destroy")
    _ended(steps, "force: ended")
    steps.label("delete: destroy")
    _destroy(steps)


def _destroy(steps: _Steps) -> None:
    """Remove the cgroups, all of which are held, and what is kept of the container, the record last."""
    steps.take("VALUE", "cgroups", into="each", least=_LEAST)
    steps.label("hold")
    steps.take("LETTER", "$each", 0, least=1, otherwise="held")
    _own(steps, "$each", "$group")
    steps.exactly(0, "flock", "$group", _LOCK_EX | _LOCK_NB)
    steps.take("NEXT", "$each", into="each", least=_LEAST)
    steps.jump("hold")
    steps.label("held")
    steps.take("LETTER", "freezer", 0, least=1, otherwise="uninhabited")
    steps.take("openat", 0, "freezer", _DIRECTORY, into="group")
    _childless(steps)
    steps.take("openat", "$group", "inhabitants", _READ, into="file")
    _reads(steps, "nobody")
    steps.label("uninhabited")
    steps.take("VALUE", "cgroups", into="each", least=_LEAST)
    steps.label("remove")
    steps.take("LETTER", "$each", 0, least=1, otherwise="removed")
    steps.exactly(0, "unlinkat", 0, "$each", _AT_REMOVEDIR, otherwise="wait")
    steps.take("NEXT", "$each", into="each", least=_LEAST)
    steps.jump("remove")
    # The kernel may need a moment to see that nobody is in there any more.
    steps.label("wait")
    steps.exactly(0, "nanosleep", pack("@ll", 0, 500_000), 0)
    steps.jump("remove")
    steps.label("removed")
    for name in (b"config.json", b"gate", FILE.encode(), _RECORD):
        steps.take("unlinkat", "$directory", name, 0, least=-ENOENT)
    steps.exactly(0, "unlinkat", "$root", "id", _AT_REMOVEDIR)
    steps.take("END", 0)


def _seal(steps: _Steps) -> None:
    """Open $name, an interpreter, in a detached overlay of $layers without an upper one (startup/seal.py)."""
    steps.take("fsopen", b"overlay", _CLOEXEC, into="file")
    steps.exactly(0, "fsconfig", "$file", _SET_STRING, b"lowerdir", "$layers", 0)
    steps.exactly(0, "fsconfig", "$file", _CMD_CREATE, 0, 0, 0)
    steps.take("fsmount", "$file", _CLOEXEC, _RDONLY_NODEV, into="group")
    # The mount is not closed: execve does that, and whoever closes it waits for the kernel.
    steps.take("close", "$file")
    steps.take("openat", "$group", "$name", _HOLD, into="file")
    steps.take("END", "$file")


def _warm_up(steps: _Steps) -> None:
    """Pay early for the first move into a cgroup: startup/warmup.py tells what for.

    A process of no further use moves again and again for as long as a container takes to make, and ends, at
    the latest with this one; no signal tells of its end, for nobody waits for it.
    """
    steps.take("getpid", into="self")
    steps.exactly(0, "clone", 0, 0, 0, 0, 0)
    steps.exactly(0, "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, otherwise="cold")
    steps.take("getppid", into="rest", otherwise="cold")
    steps.exactly(0, "MINUS", "$rest", "$self", otherwise="cold")
    status = steps.blank(128)
    for number, tree in enumerate((b"", b"/unified")):
        path = b"/sys/fs/cgroup%s/cgroup.procs" % tree
        steps.take("openat", 0, path, os.O_WRONLY, into="file", otherwise=f"not {number}")
        # Where one was unmounted somebody may have left a file.
        steps.exactly(0, "fstatfs", "$file", status, otherwise=f"not {number}")
        steps.take("AFTER", status, _CGROUP2, least=1, otherwise=f"not {number}")
        steps.jump("warm")
        steps.label(f"not {number}")
    steps.jump("cold")
    steps.label("warm")
    # Nobody shall wait for an end of the caller's pipes because of this.
    steps.exactly(0, "dup3", "$file", 0, 0, otherwise="cold")
    steps.exactly(0, "close_range", 1, _MOST_DESCRIPTORS, 0, otherwise="cold")
    for _ in range(12):
        steps.exactly(1, "write", 0, b"0", 1, otherwise="cold")
        steps.exactly(0, "nanosleep", pack("@ll", 0, 4_000_000), 0, otherwise="cold")
    steps.label("cold")
    steps.take("exit_group", 0)


def _keys(first: dict[str, int]) -> list[tuple[str, str, int, int]]:
    """Return the words of command lines beside the ID, two each, with the first step and a signal."""
    keys = [("state", "", first["state"], 0), ("start", "", first["start"], 0)]
    keys += [("delete", "", first["delete"], 0), ("kill", "", first["kill"], signal.SIGTERM)]
    keys += [("delete", option, first["delete --force"], 0) for option in ("--force", "-f")]
    signals = {str(number): number for number in range(signal.NSIG)}
    for each in signal.Signals:
        signals[each.name] = signals[each.name[3:]] = each
    for name, number in signals.items():
        keys.append(("kill", name, first["kill 9" if number == signal.SIGKILL else "kill"], number))
    return keys


def definitions() -> dict[str, str]:
    """Return what native/steps.c is compiled with."""
    steps = _Steps()
    first = _verbs(steps)
    keys = _keys(first)
    rows = ""
    for row in steps.rows:
        call, *words = map(str, row)
        rows += f"{{{call},{{{','.join(words[:5])}}},{','.join(words[5:])}}},"
    entries = {name: str(first[name]) for name in ("SEAL", "WARM_UP")}
    sizes = {"NUMBERS": len(NUMBERS), "PLACES": len(PLACES), "LARGEST": LARGEST, "GIVEN": len(_GIVEN)}
    return {
        "TEXTS": _quoted(bytes(steps.text)),
        "STEPS": rows,
        "KEYS": "".join(
            f"{{{_quoted(verb.encode())},{_quoted(more.encode())},{first},{int(number)}}},"
            for verb, more, first, number in keys
        ),
        "FACTS": _quoted(FILE.encode()),
        "MAGIC": _quoted(MAGIC.rstrip(b"\0")),
        **{name: str(value) for name, value in sizes.items()},
        **entries,
    }


def _quoted(text: bytes) -> str:
    return '"' + "".join(f"\\{byte:03o}" for byte in text) + '"'
