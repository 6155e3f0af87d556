"""Users and groups of a running container by their names: ``exec --user NAME[:GROUP]``.

Its /etc/passwd and /etc/group are the image's, or whoever writes there: they are opened below the root that
the container's process has, as ordinary files only, and no more of them is read than a large site needs.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from ..operations.identity import lines_with, open_ordinary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ..linux import process

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

#: Larger ones no kernel has (NGROUPS_MAX), nor is the last id anybody's.
_MOST_GROUPS, _NO_ID = 1 << 16, (1 << 32) - 1


def named(program: dict[str, Any], user: str, held: process.Held) -> dict[str, Any]:
    """Return a process document with the user that a container knows by this name.

    ``user`` is NAME, NAME:GROUP, NAME:GID or UID:GROUP. Without a group the user has all of its groups by
    /etc/group; those that the document names are added in any case. HOME is the user's where the document
    has none. Raises NajaError, OSError.
    """
    name, _, group = user.partition(":")
    root = os.open("root", _DIRECTORY, dir_fd=held.directory)
    proc = os.open("/proc", _DIRECTORY)
    try:
        identity = dict(program.get("user") or {})
        home = ""
        if name.isdecimal():
            identity["uid"] = int(name)
        else:
            identity["uid"], identity["gid"], home = _user(root, proc, name)
        if group:
            identity["gid"] = int(group) if group.isdecimal() else _group(root, proc, group)
        else:
            groups = [*_groups_of(root, proc, name), *(identity.get("additionalGids") or ())]
            identity["additionalGids"] = list(dict.fromkeys(groups))
    finally:
        os.close(root)
        os.close(proc)
    environment = list(program.get("env") or ())
    if home and not any(entry.startswith("HOME=") and entry != "HOME=" for entry in environment):
        environment.append(f"HOME={home}")
    return {**program, "user": identity, "env": environment}


def _lines(root: int, proc: int, file: str, wanted: bytes) -> Iterator[list[bytes]]:
    """Yield the fields of the lines of a file that have some bytes in them. Raises NajaError."""
    opened = open_ordinary(root, file, proc)
    if opened is None:
        raise NajaError(f"look up --user in the container's {file}", why="there is no such file to read")
    yield from lines_with(opened, wanted)


def _user(root: int, proc: int, name: str) -> tuple[int, int, str]:
    """Return the uid, gid and home directory of a user (passwd(5)). Raises NajaError."""
    for fields in _lines(root, proc, "/etc/passwd", os.fsencode(f"{name}:")):
        if os.fsdecode(fields[0]) == name:
            break
    else:
        raise NajaError(f"--user {name}", why="the container's /etc/passwd names no such user")
    home = os.fsdecode(fields[5]) if len(fields) > 5 and b"\0" not in fields[5] else ""
    uid, gid = ([*map(_id, fields[2:4]), None, None])[:2]
    if uid is None or gid is None:
        raise NajaError(f"--user {name}", why="its line in the container's /etc/passwd has no uid and gid")
    return uid, gid, home


def _group(root: int, proc: int, name: str) -> int:
    """Return the gid of a group (group(5)). Raises NajaError."""
    for fields in _lines(root, proc, "/etc/group", os.fsencode(f"{name}:")):
        if os.fsdecode(fields[0]) == name:
            break
    else:
        raise NajaError(f"--user :{name}", why="the container's /etc/group names no such group")
    gid = _id(fields[2]) if len(fields) > 2 else None
    if gid is None:
        raise NajaError(f"--user :{name}", why="its line in the container's /etc/group has no gid")
    return gid


def _groups_of(root: int, proc: int, name: str) -> list[int]:
    """Return the gids of the groups that a user is in by /etc/group; none where there is no such file."""
    opened = open_ordinary(root, "/etc/group", proc)
    groups: list[int] = []
    for fields in lines_with(opened, os.fsencode(name)) if opened else ():
        # name:password:gid:members
        gid = _id(fields[2]) if len(fields) > 3 else None
        if gid is not None and os.fsencode(name) in fields[3].split(b",") and len(groups) < _MOST_GROUPS:
            groups.append(gid)
    return groups


def _id(digits: bytes) -> int | None:
    """Return an id that is written in decimal, None where it is none: cut off at 32 bits it may be root's."""
    if not digits.isdigit() or len(digits) > 10 or int(digits) >= _NO_ID:
        return None
    return int(digits)
