"""A point: a system call of a command, and what happens to it. It has a name, to try it again by."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: Errors that a kernel may answer with; what is not here fails as _OTHERS do. That something is not there is
#: none of an open's: who is told so, of a cgroup for one, has nothing to do with it any more.
_ERRORS = {
    "mmap mremap mprotect": "ENOMEM",
    "open openat openat2": "EMFILE EACCES EIO ENOMEM",
    "creat mkdir mkdirat mknod mknodat symlink symlinkat link linkat": "ENOSPC EACCES EROFS EPERM",
    "rename renameat renameat2 unlink unlinkat rmdir": "EROFS EACCES EIO EBUSY",
    "read pread64 readv getdents64 readlink readlinkat": "EIO ENOMEM EINTR",
    "read-pipe write-pipe": "EINTR",
    "write pwrite64 writev ftruncate fallocate sendfile copy_file_range": "ENOSPC EIO EINTR EFBIG",
    "stat lstat fstat fstatat statx access faccessat faccessat2 statfs fstatfs": "EACCES EIO ENOMEM",
    "clone clone3 fork vfork": "EAGAIN ENOMEM EPERM",
    "execve execveat": "EACCES ENOMEM ENOENT ENOEXEC",
    "unshare setns": "EPERM ENOSPC ENOMEM EINVAL",
    "mount umount2 move_mount open_tree mount_setattr": "EPERM EACCES ENOMEM EBUSY",
    "fsopen fsconfig fsmount fspick": "EPERM ENOMEM EBUSY",
    "pivot_root chroot chdir fchdir": "EPERM EACCES ENOENT",
    "socket socketpair bind connect listen accept accept4": "EMFILE EACCES ENOMEM ECONNREFUSED",
    "sendmsg recvmsg sendto recvfrom": "ENOMEM EINTR ENOBUFS",
    "pipe pipe2 dup dup2 dup3 fcntl eventfd2 memfd_create epoll_create1": "EMFILE ENOMEM",
    "pidfd_open": "ESRCH EMFILE ENOMEM",
    "pidfd_send_signal kill tgkill": "ESRCH EPERM",
    "wait4 waitid": "EINTR ECHILD",
    "poll ppoll select pselect6 epoll_wait epoll_pwait nanosleep clock_nanosleep futex": "EINTR ENOMEM",
    "seccomp bpf": "EPERM ENOMEM EINVAL",
    "setuid setgid setgroups setresuid setresgid capset setrlimit prlimit64": "EPERM EAGAIN",
    "flock": "ENOLCK EINTR",
    "sethostname setdomainname mlockall": "EPERM",
}
_OTHERS = ("EPERM", "ENOMEM")
_BY_NAME = {name: words.split() for names, words in _ERRORS.items() for name in names.split()}

#: These do not come back, or cannot fail (Linux closes a descriptor whatever it answers).
_ENDS = (
    *("exit", "exit_group", "rt_sigreturn", "close", "getpid", "gettid", "getuid", "geteuid", "umask"),
    *("rt_sigaction", "rt_sigprocmask"),
)

#: Nobody else sees whether these were made: to be killed or delayed here is the same as at the next call.
_UNSEEN = (
    *("mmap", "munmap", "mprotect", "mremap", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn"),
    *("sigaltstack", "fstat", "fstatat", "lseek", "fcntl", "ioctl", "close", "futex", "getrandom", "uname"),
    *("getpid", "gettid", "getuid", "geteuid", "getgid", "getegid", "umask"),
)

#: What happens to the container while a call is delayed.
MEANWHILE = ("killed", "deleted", "replaced")
KILL, END = "kill", "end"


def errors_of(name: str) -> list[str]:
    """Return the errors that a system call is made to fail with, the likeliest first."""
    return [] if name in _ENDS else list(_BY_NAME.get(name, _OTHERS))


@dataclass(frozen=True)
class Fault:
    """The ``occurrence``-th call ``name`` (from 0) of the processes ``role``, and what happens to it."""

    role: str
    name: str
    occurrence: int
    #: An errno's name; KILL (of the runtime), END (of the process that makes the call), or of MEANWHILE.
    action: str

    def meets(self, role: str, name: str, occurrence: int) -> bool:
        return (role, name, occurrence) == (self.role, self.name, self.occurrence)

    @property
    def delays(self) -> bool:
        return self.action in MEANWHILE

    @property
    def kills(self) -> str:
        """Who is killed: "runtime", "self" or nobody."""
        return {KILL: "runtime", END: "self"}.get(self.action, "")

    @property
    def error(self) -> int:
        return int(getattr(errno, self.action, 0))


@dataclass(frozen=True)
class Point:
    """A fault in a command (a name of tests/faults/commands.py)."""

    command: str
    fault: Fault
    #: Whether it lies before naja's first line.
    starting: bool = False

    def __str__(self) -> str:
        fault = self.fault
        return f"{self.command}/{fault.role}/{fault.name}/{fault.occurrence}/{fault.action}"

    @staticmethod
    def parse(text: str) -> Point:
        """Read what ``str`` has written. Raises ValueError."""
        command, role, name, occurrence, action = text.split("/")
        return Point(command, Fault(role, name, int(occurrence), action))


def points_of(
    command: str, seen: Iterable[tuple[str, str, int, bool]], kinds: Iterable[str], each: int
) -> Iterator[Point]:
    """Return the points of a command that made these calls.

    ``kinds`` are of "fail", "kill" and "delay". A call meets at most ``each`` errors and delays of those
    that are possible; which, depends on its occurrence.
    """
    for role, name, occurrence, starting in seen:
        actions: list[str] = []
        if "fail" in kinds:
            actions += _some(errors_of(name), occurrence, each)
        if "kill" in kinds and name not in _UNSEEN:
            actions += [KILL] if role == "runtime" else [KILL, END]
        if "delay" in kinds and name not in _UNSEEN:
            actions += _some(MEANWHILE, occurrence, each)
        for action in actions:
            yield Point(command, Fault(role, name, occurrence, action), starting)


def _some(possible: Sequence[str], first: int, number: int) -> Sequence[str]:
    """Return so many of these, from the ``first`` on, in a circle."""
    if not possible:
        return ()
    first %= len(possible)
    return (*possible[first:], *possible[:first])[:number]
