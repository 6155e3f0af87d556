"""Trying something out in a child, with which all goes away that it has made of namespaces and mounts."""

from __future__ import annotations

import os
import select

from ..errors import NajaError
from ..linux import namespaces, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
#: How long something may take that takes no time where it works.
_PATIENCE = 20.0


def tried(attempt: Callable[[], object]) -> str:
    """Do something in a child; return "" where it works, else why it does not, in a line. Raises OSError."""
    return located(attempt)[1]


def located(attempt: Callable[[], object]) -> tuple[str, str]:
    """Do something in a child, as ``tried``; return also the place in config.json, where it names one."""
    hear, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        _do(attempt, tell)
    os.close(tell)
    try:
        origin, _, why = _heard(hear).rpartition("\0")
        return origin, why
    finally:
        os.close(hear)
        # It may hang, and what it has begun (a pid namespace) ends with it.
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)


def _do(attempt: Callable[[], object], tell: int) -> None:
    """Be the child."""
    try:
        process.set_parent_death_signal(_SIGKILL)
        attempt()
        said = "+"
    except NajaError as error:
        origin, error.origin = error.origin, ""
        said = f"-{origin}\0{error}"
    except OSError as error:
        said = f"-{NajaError.from_os_error(os.fsdecode(error.filename or 'refused'), error)}"
    except BaseException as error:  # A child must not go on as the parent.
        said = f"-internal error: {type(error).__name__}: {error}"
    try:
        os.write(tell, os.fsencode(said))
    finally:
        os._exit(0)


def _heard(hear: int) -> str:
    """Return what the child says; its descriptor may be held open by a child of its own."""
    ready, _, _ = select.select([hear], [], [], _PATIENCE)
    if not ready:
        return f"it takes longer than {_PATIENCE:.0f} s"
    said = os.fsdecode(os.read(hear, 1 << 16))
    return "it was killed" if not said else said[1:] if said[0] == "-" else ""


def as_root_inside() -> None:
    """Become root of a new user namespace, in which the caller is all that there is. Raises OSError."""
    uid, gid = os.geteuid(), os.getegid()
    namespaces.unshare(namespaces.CLONE_NEWUSER)
    # Who has left a user namespace has no right over its groups.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


def first_line(path: str) -> str:
    """Return the first line of a file of the kernel's, "" where there is none."""
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.readline()).strip()
    except OSError:
        return ""
