"""The errors of naja: one class, one line of text.

An error says *what* failed, *why* (the kernel's reason by name, or a sentence), and *where* in
config.json the thing was asked for. It never needs a traceback to be understood.
"""

from __future__ import annotations

import errno as _errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

__all__ = ["ChannelClosed", "NajaError", "Unsupported", "error_name", "kind_of_file", "trace"]

_KINDS_OF_FILES = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def error_name(number: int) -> str:
    """Return the symbolic name of an errno value (``EINVAL``), or ``errno N`` where it has none."""
    return _errno.errorcode.get(number, f"errno {number}")


def kind_of_file(mode: int) -> str:
    """Return what a file is that is no ordinary one, in words; ``mode`` is that of stat(2)."""
    return _KINDS_OF_FILES.get(stat.S_IFMT(mode), "a file")


def trace(error: BaseException) -> str:
    """Say where an error came from, the last steps ("launch.py:81 run > channel.py:64 send").

    The module ``traceback`` would have to be imported, and its account has many lines.
    """
    places = []
    traceback = error.__traceback__
    while traceback:
        code = traceback.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return " > ".join(places[-3:])


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
        if str(error.filename).endswith("(2)"):
            named = f"the kernel has no {error.filename}, or a seccomp filter denies it"
            why = f"{named}: {why}" if why else named
        elif error.errno == _errno.ENOSYS:
            # Who made the call has its name, or is all there is to it.
            named = f"the kernel lacks a system call, or a seccomp filter denies it, in {trace(error)}"
            why = f"{named}: {why}" if why else named
        return cls(what, errno=error.errno or 0, why=why, origin=origin)

    def __str__(self) -> str:
        text = self.what
        if self.errno:
            text += f": {os.strerror(self.errno)} ({error_name(self.errno)})"
        if self.origin:
            text += f", asked for by {place(self.origin)}"
        if self.why:
            text += f": {self.why}"
        return text


class ChannelClosed(Exception):
    """The other end of a channel is gone: its process died, or exec closed the descriptor."""


class Unsupported(NajaError):
    """The config asks for what this naja, or this kernel, cannot do."""
