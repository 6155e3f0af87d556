"""Processes: birth, signals by pidfd, and what prctl(2) and personality(2) say of a process."""

from __future__ import annotations

import _signal
import errno
import os
import select
import struct

from ..errors import NajaError
from .libc import call, clone, function, syscall
from .numbers import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Numbers that are the same on every machine (see numbers.py).
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN, _CLOSE_RANGE, _PIDFD_GETFD, _FACCESSAT2 = 424, 434, 436, 438, 439

CLONE_PARENT = 0x00008000
_CLONE_INTO_CGROUP = 0x200000000
_SIGCHLD = 17

CLOSE_RANGE_CLOEXEC = 4
#: The largest descriptor number that close_range(2) takes: "all of them".
LAST_DESCRIPTOR = 0xFFFFFFFF

#: What pidfd_open(2) says of a pid that is nobody's, or a thread's (ENOENT since Linux 6.16).
_GONE = (errno.ESRCH, errno.EINVAL, errno.ENOENT)

#: Fields of proc_pid_stat(5) as ``_statistics`` counts them, and what says in "flags" that a process ends.
_STATE, _PARENT, _FLAGS, _START_TIME = 0, 1, 6, 19
_PF_EXITING = 4

_AT_EACCESS, _AT_EMPTY_PATH = 0x200, 0x1000

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38


#: Where this program's text is, its beginning and length: known where it is a dump (startup/dumped.py).
text: tuple[int, int] = (0, 0)

_MADV_DONTNEED = 4


def drop_text() -> None:
    """Give back the pages of this program's text: they come again from its file when used (madvise(2))."""
    if text[1]:
        try:
            call(function("madvise"), *text, _MADV_DONTNEED)
        except OSError:
            pass  # Nothing but memory depends on it.


def clone3(flags: int, *, exit_signal: int = _SIGCHLD, cgroup_fd: int = -1) -> int:
    """Give birth to a process with its own memory, as fork(2) does (clone3(2)).

    ``flags`` are CLONE_NEW* and CLONE_PARENT (with it the child inherits the caller's exit signal,
    and ``exit_signal`` is not used); with ``cgroup_fd`` the child is born in that cgroup v2. Returns
    the child's pid in the caller, 0 in the child. The caller must have one thread only. Raises
    OSError.
    """
    if flags & CLONE_PARENT:
        exit_signal = 0
    if cgroup_fd >= 0:
        flags |= _CLONE_INTO_CGROUP
    # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
    # set_tid_size, cgroup
    arguments = struct.pack("=11Q", flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    return clone(arguments)


def pidfd_open(pid: int) -> int:
    """Return a close-on-exec descriptor that stands for a process (pidfd_open(2)). Raises OSError."""
    try:
        return syscall(_PIDFD_OPEN, pid, 0)
    except OSError as error:
        error.filename = error.filename or f"hold process {pid}"
        raise


def pidfd_getfd(fd: int, number: int) -> int:
    """Return a close-on-exec copy of what a process has as a descriptor (pidfd_getfd(2)). Raises OSError."""
    return syscall(_PIDFD_GETFD, fd, number, 0)


def pidfd_send_signal(fd: int, signal: int) -> None:
    """Send a signal to the process behind a pidfd (pidfd_send_signal(2)). Raises OSError."""
    syscall(_PIDFD_SEND_SIGNAL, fd, signal, None, 0)


def signalfd(signals: Iterable[int]) -> int:
    """Return a close-on-exec descriptor that blocked signals are read from (signalfd(2)). Raises OSError."""
    bits = sum(1 << signal - 1 for signal in signals)
    # A sigset_t of libc has 1024 bits, the kernel's signals 64.
    return call(function("signalfd"), -1, struct.pack("=Q", bits) + bytes(120), os.O_CLOEXEC | os.O_NONBLOCK)


def read_signal(descriptor: int) -> tuple[int, int]:
    """Return the number of a signal, and the pid of who sent it: its own where the kernel raised it.

    ``descriptor`` is that of ``signalfd``. Raises OSError (EAGAIN) where there is none.
    """
    # ssi_signo, ssi_errno, ssi_code, ssi_pid
    number, _, _, pid = struct.unpack_from("=IiiI", os.read(descriptor, 128))
    return number, pid


def start_time(pid: int) -> int:
    """Return when a process was started, in clock ticks after boot; 0 where it is dead or a zombie.

    With the pid it names a process for good, as pids are used again.
    """
    return _start_time(_statistics(f"/proc/{pid}/stat")) if pid > 0 else 0


def parent(pid: int) -> int:
    """Return the pid of a process's parent; 0 where it is gone, or its parent is of another pid namespace."""
    fields = _statistics(f"/proc/{pid}/stat")
    return int(fields[_PARENT]) if fields else 0


def _start_time(fields: list[bytes]) -> int:
    return int(fields[_START_TIME]) if fields and fields[_STATE] not in b"ZXx" else 0


def _statistics(path: str, directory: int | None = None) -> list[bytes]:
    """Return the fields of proc_pid_stat(5) that follow the program's name; none where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except (FileNotFoundError, ProcessLookupError):
        return []
    try:
        # The name, in parentheses, may hold blanks and parentheses of its own.
        return os.read(descriptor, 4096).rpartition(b")")[2].split()
    except ProcessLookupError:
        return []
    finally:
        os.close(descriptor)


def require_proc() -> None:
    """See that /proc is that of this process's pid namespace: in another one a number is another process.

    Raises NajaError.
    """
    try:
        is_ours = os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        is_ours = False  # Nothing is mounted there, or it does not even know us.
    if not is_ours:
        why = "/proc belongs to another pid namespace: mount it anew (mount -t proc proc /proc)"
        raise NajaError("look for processes", why=why)


class Held:
    """A process that was looked at once and is held: never another one that has got its pid since.

    Use it as a context manager, or call ``close``. What is asked of one that has ended fails (ESRCH,
    ENOENT): neither a pidfd nor a directory of /proc leads to another process.
    """

    __slots__ = ("directory", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, directory: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        #: Its directory in /proc.
        self.directory = directory

    @classmethod
    def find(cls, pid: int, started: int) -> Held | None:
        """Hold the process of this pid that was started then (``start_time``); None where it has ended.

        Raises OSError, and NajaError where /proc tells of others.
        """
        if pid <= 0 or not started:
            return None
        require_proc()
        try:
            pidfd = pidfd_open(pid)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None
        try:
            held = cls(pid, pidfd, os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        except FileNotFoundError:
            os.close(pidfd)
            return None
        # Opened last and known by its start: the pid was its own when the pidfd was opened, too.
        same = False
        try:
            same = _start_time(held._statistics()) == started
        finally:
            if not same:
                held.close()
        return held if same else None

    def _statistics(self) -> list[bytes]:
        try:
            return _statistics("stat", self.directory)
        except OSError as error:
            error.filename = f"/proc/{self.pid}/stat"
            raise

    @property
    def name(self) -> str:
        """What stands for it below /proc in this process, as its pid does."""
        return f"self/fd/{self.directory}"

    def ending(self) -> bool:
        """Tell whether it has ended or is about to: its namespaces are gone some time before its pid."""
        fields = self._statistics()
        return not _start_time(fields) or bool(int(fields[_FLAGS]) & _PF_EXITING)

    def signal(self, number: int) -> bool:
        """Send it a signal; False where it is gone. Raises OSError."""
        try:
            pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def wait_for_end(self, seconds: float) -> bool:
        """Wait until it has ended; False where that takes longer."""
        return _ends_within(self.pidfd, seconds)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.pidfd)
        os.close(self.directory)

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ends_within(pid: int, seconds: float) -> bool:
    """Wait until a child has ended; False where that takes longer. Raises OSError."""
    pidfd = pidfd_open(pid)
    try:
        return _ends_within(pidfd, seconds)
    finally:
        os.close(pidfd)


def _ends_within(pidfd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def close_all_but(own: Iterable[int], first: int = 0) -> None:
    """Close all descriptors from ``first`` on but ``own``. Raises OSError."""
    for descriptor in sorted(own):
        if first < descriptor:
            close_range(first, descriptor - 1)
        first = descriptor + 1
    close_range(first)


def close_range(first: int, last: int = LAST_DESCRIPTOR, flags: int = 0) -> None:
    """Close, or with CLOSE_RANGE_CLOEXEC mark, descriptors first..last (close_range(2)). Raises OSError."""
    syscall(_CLOSE_RANGE, first, last, flags)


def default_signal(signal: int) -> None:
    """Give a signal its default effect (rt_sigaction(2)). Raises OSError.

    For those too that libc keeps to itself and no sigaction(3) may touch: its posix_spawn leaves
    them ignored.
    """
    # A zeroed struct sigaction is SIG_DFL, no flags, no mask; the kernel's signal sets have 8 bytes.
    syscall(number("rt_sigaction"), signal, bytes(32), None, 8)


#: Signals that ask for the end, beside SIGINT, for which Python has a handler.
ENDING = (_signal.SIGHUP, _signal.SIGQUIT, _signal.SIGTERM)


class EndingSignals:
    """Signals that ask for the end wait until they may ``come``, when what they undo is there."""

    __slots__ = ("_mask",)

    def __init__(self) -> None:
        self._mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGINT, *ENDING))

    def come(self) -> None:
        """Have those that are pending come. What their handlers raise is raised here."""
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)


def reset_signals() -> None:
    """Give every signal that is ignored its default effect, and block none (signal(7)). Raises OSError."""
    for signal in range(1, _signal.NSIG):
        # Handlers end with execve. None is said of signals that libc keeps to itself.
        if _signal.getsignal(signal) in (_signal.SIG_IGN, None):
            default_signal(signal)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def in_user_namespace() -> bool:
    """Tell whether not all IDs are here what they are on the host (user_namespaces(7)). Raises OSError."""
    with open("/proc/self/uid_map", "rb") as file:
        return file.read().split() != [b"0", b"0", b"4294967295"]


_prctl = function("prctl")
_personality = function("personality")


def prctl(option: int, value: int, second: int = 0) -> int:
    """Call prctl(2), the arguments not named being 0. Returns its result. Raises OSError."""
    return call(_prctl, option, value, second, 0, 0)


def set_dumpable(dumpable: bool) -> None:
    """Say whether others may ptrace this process and open its files in /proc. Raises OSError."""
    prctl(_PR_SET_DUMPABLE, int(dumpable))


def set_child_subreaper(reaps: bool) -> None:
    """Say whether orphaned descendants become this process's children. Raises OSError."""
    prctl(_PR_SET_CHILD_SUBREAPER, int(reaps))


def set_parent_death_signal(signal: int) -> None:
    """Ask for a signal when the parent ends; 0 for none. Raises OSError."""
    prctl(_PR_SET_PDEATHSIG, signal)


def set_no_new_privs() -> None:
    """Give up gaining privileges by execve, for good (PR_SET_NO_NEW_PRIVS). Raises OSError."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def personality(persona: int) -> int:
    """Set the execution domain (personality(2)). Returns the one before. Raises OSError."""
    return call(_personality, persona)


def check_executable(fd: int) -> None:
    """Check that the caller, as whom it now is, may execute the file behind ``fd`` (faccessat2(2)).

    Raises OSError (EACCES).
    """
    syscall(_FACCESSAT2, fd, b"", os.X_OK, _AT_EACCESS | _AT_EMPTY_PATH)
