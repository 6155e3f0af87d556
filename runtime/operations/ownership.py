"""Whose a cgroup is: a mark on its directory, and a lock while a container is being made in it.

A path alone does not tell: two may name the same one, and who finds a cgroup empty may have it. So a
container leaves a word of its own on each cgroup that it has, in an extended attribute (xattr(7)), and
what is done to the container later is done to cgroups with that word. From the look at a cgroup to the
first process in it, flock(2) keeps others off; the kernel drops the lock when its holder dies.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time

from ..errors import NajaError
from ..linux.cgroupfs import read_below

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: The attribute's name, and the word.
    Mark = tuple[str, str]

    from .base import Context

#: How a container came to a cgroup: one that was made for a container, this one or an earlier one, ends
#: with it; another is left as it was.
MADE, ADOPTED = "made", "adopted"

_ROOTS, _USERS = "trusted.naja", "user.naja"

#: What the descriptors' names begin with that keep others off the cgroups (``release``).
CLAIM = "claim on "

#: A cgroup is made sticky and closed to others. So it is known as one that was made for a container before
#: there is a mark that says so, and no user can hold its lock to keep others from being made.
_UNFINISHED, _FINISHED = stat.S_ISVTX | 0o700, 0o755

#: How long a lock on a container's own cgroup is waited for. Who holds it longer may be inside of it, and
#: shall not be safe from us by that.
_PATIENCE = 2.0

_UNMARKED = (errno.ENODATA, errno.EOPNOTSUPP)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def new_word() -> str:
    """Return a word that no other container has."""
    return os.urandom(8).hex()


def make_mark(word: str, *, rootless: bool) -> Mark:
    """Return the mark with a word; that of root's containers is out of reach for all others."""
    return (_USERS if rootless else _ROOTS, word)


def look(directory: str | int, mark: Mark) -> tuple[str, str]:
    """Return how the last owner came to a cgroup, and its word: "" and "" where none left a mark.

    The same where there is no such cgroup. Raises OSError.
    """
    try:
        value = os.getxattr(_encoded(directory), mark[0]).decode()
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        if error.errno not in _UNMARKED:
            raise
        return "", ""
    how, _, word = value.partition(" ")
    return how, word


def bears(directory: str | int, mark: Mark, *, unmarked: bool) -> bool:
    """Tell whether a container's mark is on a cgroup; ``unmarked`` is the answer where no mark is."""
    return _is_of(look(directory, mark)[1], mark, unmarked)


def _is_of(word: str, mark: Mark, unmarked: bool) -> bool:
    return word == mark[1] if word else unmarked


def is_own(directory: str, mark: Mark) -> bool:
    """Tell whether a cgroup is a container's by its mark, or by its path where there need not be one."""
    return bears(directory, mark, unmarked=mark[0] == _USERS or not mark[1])


def _encoded(directory: str | int) -> bytes | int:
    return directory if isinstance(directory, int) else os.fsencode(directory)


def claim(directory: str, mark: Mark, *, inhabitant: int = 0) -> tuple[int, str]:
    """Make a cgroup, or take one that is there and empty, and leave the mark.

    ``inhabitant`` is the container's process, where systemd may have made the cgroup with that in it.
    Returns a descriptor that holds the lock, and MADE or ADOPTED. Raises NajaError where somebody is
    in it, and OSError.
    """
    descriptor, fresh, mode = _make_and_lock(directory, mark)
    try:
        unfinished = bool(mode & stat.S_ISVTX)
        how = MADE if unfinished else look(descriptor, mark)[0] or ADOPTED
        if not (fresh and unfinished) and _inhabited(directory, descriptor, inhabitant):
            how = MADE  # By systemd, just now.
        _leave_mark(descriptor, how, mark)
        if unfinished:
            os.fchmod(descriptor, _FINISHED)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, how


def _make_and_lock(directory: str, mark: Mark) -> tuple[int, bool, int]:
    """Return the descriptor of a locked cgroup, whether it was made for that, and its mode since the lock."""
    path = os.fsencode(directory)
    while True:
        fresh = _make(path)
        try:
            descriptor = os.open(path, _DIRECTORY)
        except FileNotFoundError:
            continue  # Its last container was just deleted.
        try:
            if not _try_lock(descriptor):
                raise _refusal(directory, "another container is being made or deleted in it")
            _wait_for_those_above(directory, mark)
            locked = os.fstat(descriptor)
            if _is_at(path, locked):
                return descriptor, fresh, locked.st_mode
        except BaseException:
            os.close(descriptor)  # With it goes the lock, which would keep the undo off.
            raise
        os.close(descriptor)


def _make(path: bytes) -> bool:
    """Make a cgroup, and those above it; return whether it was not there."""
    try:
        try:
            os.mkdir(path, _UNFINISHED)
        except FileNotFoundError:
            os.makedirs(path, _UNFINISHED)
    except FileExistsError:
        return False
    return True


def _is_at(path: bytes, status: os.stat_result) -> bool:
    """Tell whether a cgroup still is where it was opened: the numbers of those removed are not used again."""
    try:
        return os.stat(path).st_ino == status.st_ino
    except FileNotFoundError:
        return False


def _inhabited(directory: str, descriptor: int, inhabitant: int) -> bool:
    """Tell whether just the container's own process is in a cgroup. Raises NajaError where others are."""
    from ..linux.cgroup_walk import TOP, members, walk

    if (pids := members(descriptor, TOP)) == [inhabitant]:
        return True
    if pids or any(members(parent, name) for parent, name in walk(directory)):
        raise _refusal(directory, "it exists and has processes in it")
    for parent, name in walk(directory):
        if name != TOP and _is_locked(name, parent):
            raise _refusal(directory, f"another container is being made in {os.fsdecode(name)} below it")
    for file, state in ((b"freezer.state", "FROZEN"), (b"cgroup.freeze", "1")):
        try:
            frozen = read_below(descriptor, file) == state
        except FileNotFoundError:
            continue
        if frozen:
            raise _refusal(directory, "it exists and is frozen")
    return False


def _refusal(directory: str, why: str) -> NajaError:
    return NajaError(f"make cgroup {directory}", why=why)


def _is_locked(name: str | bytes, parent: int | None = None) -> bool:
    try:
        descriptor = os.open(os.fsencode(name), _DIRECTORY, dir_fd=parent)
    except (FileNotFoundError, PermissionError):
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _wait_for_those_above(directory: str, mark: Mark) -> None:
    """Wait while a container is being made in a cgroup above one that was just made, and locked.

    It could fail, and be undone with all below it. Who makes that one looks whether one below it is locked:
    so one of the two sees the other. Raises NajaError where it takes too long.
    """
    end = time.monotonic() + _PATIENCE
    above = os.path.dirname(directory)
    while os.path.exists(f"{above}/cgroup.procs"):
        # Anybody can lock what is no container's.
        while _is_a_containers(above, mark) and _is_locked(above):
            if time.monotonic() > end:
                raise _refusal(directory, f"another container is being made or deleted in {above}")
            time.sleep(0.002)
        above = os.path.dirname(above)


def _is_a_containers(directory: str, mark: Mark) -> bool:
    """Tell whether a cgroup has been made, or is being made, for a container."""
    try:
        return bool(os.stat(os.fsencode(directory)).st_mode & stat.S_ISVTX or look(directory, mark)[1])
    except FileNotFoundError:
        return False


def _leave_mark(descriptor: int, how: str, mark: Mark) -> None:
    try:
        os.setxattr(descriptor, mark[0], f"{how} {mark[1]}".encode())
    except OSError as error:
        # Users have marks since Linux 5.7, and on their own cgroups.
        if mark[0] != _USERS or error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
            raise


def remove_mark(descriptor: int, mark: Mark) -> None:
    """Leave a cgroup as one that is nobody's. Raises nothing for a mark that is not there, but OSError."""
    try:
        os.removexattr(descriptor, mark[0])
    except OSError as error:
        if error.errno not in _UNMARKED:
            raise


def hold(directory: str, mark: Mark, *, unmarked: bool) -> tuple[int, str]:
    """Lock a cgroup of a container's, so that nobody takes it while something is done to it.

    Returns a descriptor that the caller closes, and how the container came to the cgroup, as ``look`` does;
    -1 where the cgroup is not the container's (any more): ``mark`` and ``unmarked`` tell, as in ``bears``.
    Raises OSError.
    """
    path = os.fsencode(directory)
    end = 0.0
    while True:
        try:
            descriptor = os.open(path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return -1, ""
        except PermissionError:
            if mark[0] == _USERS:
                return -1, ""  # It is another user's.
            raise
        locked = _try_lock(descriptor)
        how, word = look(descriptor, mark)
        if not _is_of(word, mark, unmarked):
            os.close(descriptor)
            return -1, ""
        now = time.monotonic()
        end = end or now + _PATIENCE
        if locked or now > end:
            return descriptor, how
        os.close(descriptor)
        time.sleep(0.002)


def lock(directory: str) -> int:
    """Return a descriptor that keeps others off a cgroup till the caller closes it.

    Who keeps us off for long may be inside of it, and shall not be safe from us by that. Raises OSError.
    """
    descriptor = os.open(os.fsencode(directory), _DIRECTORY)
    end = time.monotonic() + _PATIENCE
    while not _try_lock(descriptor) and time.monotonic() < end:
        time.sleep(0.002)
    return descriptor


def share(directory: str) -> int:
    """Return a descriptor that keeps off who wants a cgroup for himself, till the caller closes it.

    -1 where one has it, or there is no such cgroup. Raises OSError.
    """
    path = os.fsencode(directory)
    try:
        descriptor = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return -1
    # Before the lock it may have been removed.
    if _try_lock(descriptor, fcntl.LOCK_SH) and _is_at(path, os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    return -1


def remove_empty(directory: str) -> None:
    """Remove a cgroup in which nobody is, unless one holds it (``share``). Raises OSError."""
    path = os.fsencode(directory)
    try:
        descriptor = os.open(path, _DIRECTORY)
    except FileNotFoundError:
        return
    _remove_unheld(path, descriptor)


def _remove_unheld(path: bytes, descriptor: int, mode: int = 0) -> None:
    """Remove an opened cgroup that has ``mode``, unless somebody holds it or is in it, and close it."""
    try:
        if _try_lock(descriptor) and os.fstat(descriptor).st_mode & mode == mode:
            os.rmdir(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EBUSY):
            raise
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unfinished(directory: str) -> None:
    """Remove a cgroup that a create has made and not marked, unless one is at it. Raises OSError."""
    path = os.fsencode(directory)
    try:
        if not (os.stat(path).st_mode & stat.S_ISVTX and os.path.exists(path + b"/cgroup.procs")):
            return
        descriptor = os.open(path, _DIRECTORY)
    except (FileNotFoundError, PermissionError):
        return
    _remove_unheld(path, descriptor, stat.S_ISVTX)


def skipped(context: Context) -> list[str]:
    """Return the list of cgroups that could not be made for lack of privileges, to read or extend."""
    listed: list[str] = context.values.setdefault("cgroups skipped", [])
    return listed


def made(context: Context) -> list[str]:
    """Return the list of cgroups that were made for the container, to read or extend."""
    listed: list[str] = context.values.setdefault("cgroups made", [])
    return listed


def adopted(context: Context) -> list[str]:
    """Return the list of cgroups that were there before, and empty, to read or extend."""
    listed: list[str] = context.values.setdefault("cgroups adopted", [])
    return listed


def release(context: Context) -> None:
    """Let others see to the cgroups that were made: the container's process is in them, or never will be."""
    for name in [name for name in context.descriptors if name.startswith(CLAIM)]:
        os.close(context.take(name))
