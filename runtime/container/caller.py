"""What a caller gets of a process beside its exit status: a terminal, a pid file, a pidfd."""

from __future__ import annotations

import os
import stat

from ..errors import Aftermath, NajaError, kind_of_file
from ..linux import process


def check_terminal(terminal: bool, console_socket: str, detached: bool, *, taken: bool = False) -> None:
    """Refuse a terminal that nobody would serve, or a socket that nobody would write to.

    ``taken`` where the caller takes the terminal's master as it is.
    """
    if terminal and detached and not (console_socket or taken):
        raise NajaError(
            "cannot allocate tty if naja will detach without setting console socket",
            origin="/process/terminal",
        )
    if console_socket and not (terminal and detached):
        raise NajaError(
            "cannot use console socket if naja will not detach or allocate tty", origin="/process/terminal"
        )


def require_terminal(terminal: bool, detached: bool) -> None:
    """Refuse to relay a terminal to a caller who has none: a prompt would wait for ever. Raises NajaError."""
    if terminal and not detached and not os.isatty(0):
        what = "cannot relay the container's terminal: standard input is not a terminal"
        why = "give it one, set terminal to false, or detach with --console-socket"
        raise NajaError(what, why=why, origin="/process/terminal")


def send_pidfd(path: str, pid: int) -> None:
    """Send a pidfd of a process to a listening socket (runc's --pidfd-socket). Raises NajaError."""
    from ..operations.terminal import send_descriptor

    try:
        descriptor = process.pidfd_open(pid)
        try:
            send_descriptor(path, descriptor, b"pidfd")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NajaError.from_os_error(f"send a pidfd to {path}", error) from None


def check_pid_file(path: str) -> None:
    """Refuse to put a pid file in the place of anything but another file. Raises NajaError.

    A link is replaced, never followed, but for those that stand for a device or a descriptor, as in /dev.
    """
    try:
        kind = os.lstat(path).st_mode
        if stat.S_ISLNK(kind) and os.readlink(path).startswith("/proc/"):
            raise NajaError(f"write the pid file {path}", why="it leads to a descriptor")
        kind = os.stat(path).st_mode
    except OSError:
        return  # Nothing is there, or the directory is not, which the making of the file tells.
    if not stat.S_ISREG(kind):
        raise NajaError(f"write the pid file {path}", why=f"there is {kind_of_file(kind)}")


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid, without a newline as engines expect it; readers see all of it or nothing.

    Raises NajaError.
    """
    directory, name = os.path.split(os.path.abspath(path))
    # A name of its own, and made by nobody else: a link in a directory of others could lead anywhere.
    temporary = os.path.join(directory, f".{name}.{pid}")
    try:
        file = _make_file(temporary)
        try:
            os.write(file, str(pid).encode())
            check_pid_file(path)
            os.rename(temporary, path)
        except BaseException as error:
            with Aftermath(error):
                os.unlink(temporary)
            raise
        finally:
            os.close(file)
    except OSError as error:
        raise NajaError.from_os_error(f"write the pid file {path}", error) from None


def _make_file(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o644)
