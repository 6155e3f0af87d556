"""The state root of a user for whom nobody has set $XDG_RUNTIME_DIR, as su, cron and ssh may leave it."""

from __future__ import annotations

import os
import stat

from ..errors import NajaError

__all__ = ["find"]

_REMEDY = "set XDG_RUNTIME_DIR to a directory of your own, or say --root DIRECTORY"


def find(run: str = "/run/user", temporary: str = "/tmp") -> str:
    """Return a directory that is the caller's alone: below the one that a login makes, or in /tmp.

    The one in /tmp is made: others may have made it before, and then it is not used. Raises NajaError.
    """
    user = os.geteuid()
    if not _flaw(f"{run}/{user}", user, closed=False):
        return f"{run}/{user}/naja"
    path = f"{temporary}/naja-{user}"
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise NajaError.from_os_error(f"make the state root {path}", error, why=_REMEDY) from None
    if flaw := _flaw(path, user, closed=True):
        raise NajaError(f"{path} cannot be the state root: {flaw}", why=_REMEDY)
    return path


def _flaw(path: str, user: int, *, closed: bool) -> str:
    """Say why others could change what is in a directory, "" where none can; ``closed``: nor look at it."""
    try:
        status = os.lstat(path)
    except OSError as error:
        return os.strerror(error.errno or 0)
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if status.st_uid != user:
        return f"it belongs to user {status.st_uid}"
    if stat.S_IMODE(status.st_mode) & (0o077 if closed else 0o022):
        return f"others have rights on it (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""
