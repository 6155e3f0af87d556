"""The errors of naja: one class, one line of text.

An error says *what* failed, *why* (the kernel's reason by name, or a sentence), and *where* in
config.json the thing was asked for. It never needs a traceback to be understood. What others wrote (a
path, a variable, a program's words) may be in it, and is no more than a part of the line.
"""

from __future__ import annotations

import errno as _errno
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

__all__ = [
    "Aftermath",
    "AlreadyExists",
    "ChannelClosed",
    "ConfigError",
    "NajaError",
    "NotFound",
    "PermissionDenied",
    "Unsupported",
    "WrongState",
    "error_name",
    "kind_of_file",
    "one_line",
    "package_missing",
    "remade",
    "trace",
    "unborn",
    "worded",
]

_KINDS_OF_FILES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

#: What to do about a limit that is reached, where the kernel's reason does not even name it.
_REMEDIES = {
    _errno.EMFILE: "raise the limit of open files (ulimit -n)",
    _errno.ENFILE: "raise the host's limit of open files (sysctl fs.file-max)",
    _errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
}


#: Functions of ``os`` whose system calls need no privilege: who is denied them has a filter.
_FOR_ALL = ("dup2", "fork", "fstat", "memfd_create", "pipe2", "posix_spawn", "stat", "umask", "waitid")


def unborn(error: OSError) -> str:
    """Return what to do where a process could not be born (fork(2)), "" where the reason tells all."""
    if error.errno != _errno.EAGAIN:
        return ""
    return "raise the limit of processes (ulimit -u), or that of the cgroup (pids.max)"


def one_line(text: str) -> str:
    """Return a text as a part of a line that a terminal may show: control characters are escaped.

    Bytes that are no UTF-8 stay what they are.
    """
    if text.isprintable():
        return text
    # Bytes that are no UTF-8 are kept (os.fsdecode); a constant like them would take a codec to unpack.
    return "".join(c if c.isprintable() or 0xDC80 <= ord(c) <= 0xDCFF else repr(c)[1:-1] for c in text)


def error_name(number: int) -> str:
    """Return the symbolic name of an errno value (``EINVAL``), or ``errno N`` where it has none."""
    return _errno.errorcode.get(number, f"errno {number}")


def kind_of_file(mode: int) -> str:
    """Return what a file is that is no ordinary one, in words; ``mode`` is that of stat(2)."""
    return _KINDS_OF_FILES.get(stat.S_IFMT(mode), "a file")


def trace(error: BaseException) -> str:
    """Say where an error came from, the last steps ("process/launch.py:81 run > linux/channel.py:64 send").

    The module ``traceback`` would have to be imported, and its account has many lines.
    """
    places = []
    traceback = error.__traceback__
    while traceback:
        code = traceback.tb_frame.f_code
        places.append(f"{_in_package(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return " > ".join(places[-3:])


def _lacking(error: OSError) -> str:
    """Tell which system call is missing, "" where none is."""
    if str(error.filename).endswith("(2)"):
        return f"the kernel has no {error.filename}, or a seccomp filter denies it"
    asked = _asked(error) if error.errno in (_errno.ENOSYS, _errno.EPERM) else ""
    if error.errno == _errno.ENOSYS and not asked:
        # Who made the call has its name, or is all there is to it.
        return f"the kernel lacks a system call, or a seccomp filter denies it, in {trace(error)}"
    if error.errno == _errno.ENOSYS or asked in _FOR_ALL:
        return f"the kernel has no {asked}(2), or a seccomp filter denies it"
    return ""


def _asked(error: OSError) -> str:
    """Return the function of ``os`` that failed ("mknod"), "" where it was none.

    Python does not tell. But in the code that failed the function begins where its call begins, and is the
    longest that ends before it; its name is the instruction's argument.
    """
    last = error.__traceback__
    while last and last.tb_next:
        last = last.tb_next
    if last is None:
        return ""
    code = last.tb_frame.f_code
    places = [*code.co_positions()]  # (first line, last line, first column, last column) of each instruction
    line, until, start, end = places[last.tb_lasti // 2]
    parts = [
        (column - (start or 0), argument)
        for (first, bottom, left, column), argument in zip(places, code.co_code[1::2], strict=True)
        if (first, left) == (line, start) and column and (bottom, column) < (until, end)
    ]
    width, argument = max(parts, default=(0, 0))
    index = argument >> 1 if sys.version_info >= (3, 12) else argument
    name = code.co_names[index] if index < len(code.co_names) else ""
    return name if len(name) == width - len("os.") and hasattr(os, name) else ""


def _in_package(file: str) -> str:
    return file.removeprefix(f"{__file__.rpartition('/')[0]}/")


def place(origin: str) -> str:
    """Return an origin as a message names it; one that is no JSON pointer says itself where it is."""
    return f"config.json {origin}" if origin.startswith("/") else origin


class NajaError(Exception):
    """Something that naja could not do.

    ``what`` is the thing that failed ("mount tmpfs on /dev/shm"); ``errno`` the kernel's number, 0
    where there is none; ``why`` a reason in words, beside or instead of the kernel's; ``origin`` a
    JSON pointer into config.json ("/mounts/3"), or a place elsewhere ("--process FILE /cwd"), empty where
    nothing asked for it.
    """

    def __init__(self, what: str, *, errno: int = 0, why: str = "", origin: str = "") -> None:
        super().__init__(what, errno, why, origin)
        self.what = what
        self.errno = errno
        self.why = why
        self.origin = origin

    @classmethod
    def from_os_error(cls, what: str, error: OSError, *, why: str = "", origin: str = "") -> Self:
        """Tell of a failed system call; of one that the kernel lacks, or a filter denies, by name."""
        if lacking := _lacking(error):
            why = f"{lacking}: {why}" if why else lacking
        elif remedy := _REMEDIES.get(error.errno or 0):
            why = f"{why}: {remedy}" if why else remedy
        kind: type[Self] = cls
        if cls is NajaError and error.errno in (_errno.EPERM, _errno.EACCES):
            kind = PermissionDenied  # type: ignore[assignment]
        return kind(what, errno=error.errno or 0, why=why, origin=origin)

    def __str__(self) -> str:
        text = self.what
        if self.errno:
            text += f": {os.strerror(self.errno)} ({error_name(self.errno)})"
        if self.origin:
            text += f", asked for by {place(self.origin)}"
        if self.why:
            text += f": {self.why}"
        return one_line(text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (type(self), self.args), self.__dict__


def _blank(kind: type[NajaError], args: tuple[Any, ...]) -> NajaError:
    """Return an error that is still to be given its attributes (pickle)."""
    return kind.__new__(kind, *args)


class Aftermath:
    """A context of what has to be done once an error came: what fails in it is told after that error.

    It never takes its place. For an undo, which may not get rid of all.
    """

    def __init__(self, first: BaseException) -> None:
        self._first = first

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, second: BaseException | None, _traceback: object) -> bool:
        if second is self._first or not isinstance(second, OSError | NajaError):
            return False
        if isinstance(second, OSError):
            second = NajaError.from_os_error(f"undo ({trace(second)})", second)
        self._first.add_note(str(second))
        return True


class ChannelClosed(Exception):
    """The other end of a channel is gone: its process died, or exec closed the descriptor."""


class Unsupported(NajaError):
    """The config asks for what this naja, or this kernel, cannot do."""


class NotFound(NajaError):
    """There is no container of that ID."""


class AlreadyExists(NajaError):
    """There is a container of that ID already."""


class WrongState(NajaError):
    """The container is not in the state that this takes: it has stopped, is paused, was started already."""


class ConfigError(NajaError):
    """config.json, or what has the shape of a part of it, cannot be read or breaks the specification."""


class PermissionDenied(NajaError):
    """The kernel does not let the caller do this (EPERM, EACCES)."""


def remade(  # noqa: PLR0917
    kind: str, what: str, errno: int, why: str, origin: str, notes: Iterable[str]
) -> NajaError:
    """Return an error that another process has told of; ``kind`` is the name of its class."""
    kinds = [NajaError]
    for each in kinds:
        if each.__name__ == kind:
            break
        kinds += each.__subclasses__()
    else:
        each = NajaError
    # Without its own way to make it, which may know what is to be said from something else.
    error = each.__new__(each)
    NajaError.__init__(error, what, errno=errno, why=why, origin=origin)
    for note in notes:
        error.add_note(note)
    return error


def package_missing(what: str, package: str, error: ImportError) -> NajaError:
    """Return the error of something that needs a Python package which cannot be imported."""
    remedy = f"apt install python3-{package}, or pip install {package}"
    return NajaError(f"{what} needs the Python package {package}", why=f"{error} ({remedy})")


def worded(error: Exception, verb: str) -> NajaError:
    """Return what went wrong as naja says it; ``verb`` is what failed. What is neither of naja nor of the
    machine is a bug.
    """
    if isinstance(error, NajaError):
        return error
    if isinstance(error, MemoryError):
        return NajaError("out of memory: free some, or raise the limit (ulimit -v)")
    if isinstance(error, ImportError):
        return NajaError(f"load {error.name or 'a module'}: {error}")
    if not isinstance(error, OSError):
        return NajaError(f"internal error: {type(error).__name__}: {error}")
    if isinstance(error.filename, str | bytes):
        return NajaError.from_os_error(os.fsdecode(error.filename), error)
    # Whoever made the call has not said what for.
    return NajaError.from_os_error(f"{verb} failed", error, why=trace(error))
