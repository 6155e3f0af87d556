"""Why the ids of a mapping may not be used by whoever is not root: /etc/subuid and /etc/subgid, looked at.

Only a failure comes here; on the runtime's side, where the host's files are (subuid(5), newuidmap(1)).
"""

from __future__ import annotations

import os
import stat

from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (first id inside, first id outside, how many)
    Mapping = tuple[int, int, int]


def refusal(kind: str, mappings: list[Mapping], said: str, helper: str) -> NajaError:
    """Return what to say where ``helper`` (a path) has refused to map; ``kind`` is "uid" or "gid".

    ``said`` is what it said itself, with its exit status.
    """
    user = os.geteuid()
    name = _name(user)
    file = f"/etc/sub{kind}"
    ranges = _ranges(file, {name, str(user)})
    own = user if kind == "uid" else os.getegid()
    given = ", ".join(f"{first} to {first + count - 1}" for first, count in ranges) or "nothing"
    for index, (_, first, count) in enumerate(mappings):
        if (first, count) == (own, 1) or any(low <= first and first + count <= low + n for low, n in ranges):
            continue
        what = f"map {kind}s {first} to {first + count - 1} of the host without root"
        why = f"{file} gives {name} {given}"
        if not ranges:
            why += f": let root give some (usermod --add-sub{kind}s 100000-165535 {name})"
        return NajaError(what, why=why, origin=f"/linux/{kind}Mappings/{index}")
    what = f"map {kind}s without root: {os.path.basename(helper)} refuses"
    return NajaError(what, why=f"{said}{_powerless(helper)}", origin=f"/linux/{kind}Mappings")


def _powerless(helper: str) -> str:
    """Say so where a helper has no privileges itself, as in images that were unpacked by a user."""
    try:
        powerful = os.stat(helper).st_mode & stat.S_ISUID or "security.capability" in os.listxattr(helper)
    except OSError:
        return ""
    return "" if powerful else f"; {helper} is neither set-uid root nor has it capabilities"


def _name(user: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _ranges(file: str, owners: set[str]) -> list[tuple[int, int]]:
    """Return (first, count) of all ranges that a file gives one of ``owners``, its name or its number."""
    found = []
    try:
        with open(file, "rb") as lines:
            for line in lines:
                owner, _, numbers = line.strip().decode("utf-8", "replace").partition(":")
                first, _, count = numbers.partition(":")
                if owner in owners and first.isdecimal() and count.isdecimal():
                    found.append((int(first), int(count)))
    except OSError:
        pass  # Who has no such file gives nothing.
    return found
