"""Which devices a container may use: the rules of a config, made ready for the kernel. Pure.

config-linux.md, Allowed Device list. A rule allows or denies some kinds of access (r, w, m for mknod)
to some devices; where several speak of the same, the last one decides.
"""

from __future__ import annotations

from runtime.errors import NajaError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: (allow, type, major, minor, access), -1 being any number.
    Rule = tuple[bool, str, int, int, str]

ANY = -1
_ACCESS = "rwm"
_LAST_NUMBER = 0xFFFFFFFF
_ORIGIN = "/linux/resources/devices"

#: What every container may use, whatever its rules say: the devices that config-linux.md (Default
#: Devices) promises, terminals, tun; and to make nodes of all sorts, which gives no access to them.
#: Not 5:1, which is the host's console: a container's /dev/console is a terminal of its own.
DEFAULTS: list[Rule] = [
    (True, "c", ANY, ANY, "m"),
    (True, "b", ANY, ANY, "m"),
    (True, "c", 1, 3, "rwm"),  # /dev/null
    (True, "c", 1, 5, "rwm"),  # /dev/zero
    (True, "c", 1, 7, "rwm"),  # /dev/full
    (True, "c", 1, 8, "rwm"),  # /dev/random
    (True, "c", 1, 9, "rwm"),  # /dev/urandom
    (True, "c", 5, 0, "rwm"),  # /dev/tty
    (True, "c", 5, 2, "rwm"),  # /dev/ptmx
    (True, "c", 10, 200, "rwm"),  # /dev/net/tun
    (True, "c", 136, ANY, "rwm"),  # /dev/pts/*
]


def rules(configured: list[dict[str, Any]]) -> tuple[bool, list[Rule]]:
    """Return whether devices are allowed by default, and the shortest list of rules on top of that.

    ``configured`` is linux.resources.devices. Before its rules everything is denied; after them come
    the defaults. Raises NajaError for a rule that makes no sense.
    """
    allow_all = False
    kept: list[Rule] = []
    listed = [rule for index, entry in enumerate(configured) for rule in _parse(entry, index)]
    for rule in listed + DEFAULTS:
        allow, kind, major, minor, access = rule
        if kind == "a" and set(access) == set(_ACCESS):
            # Nothing said before matters.
            allow_all, kept = allow, []
            continue
        for single in ("c", "b") if kind == "a" else (kind,):
            kept = [
                earlier for earlier in kept if not _covers((allow, single, major, minor, access), earlier)
            ]
            kept.append((allow, single, major, minor, access))
    return allow_all, _without_idle(allow_all, kept)


def _without_idle(allow_all: bool, kept: list[Rule]) -> list[Rule]:
    """Leave out the rules that say what holds anyway, because no earlier one says otherwise."""
    needed: list[Rule] = []
    for rule in kept:
        if rule[0] != allow_all or any(_overlaps(rule, earlier) for earlier in needed):
            needed.append(rule)
    return needed


def _parse(entry: dict[str, Any], index: int) -> list[Rule]:
    """Return a configured rule as ours; none where it speaks of no access at all."""
    kind = entry.get("type") or "a"
    # A rule about all devices needs no access to be about all of it, in the kernel and in runc.
    access = entry.get("access") or ("rwm" if kind == "a" else "")
    origin = f"{_ORIGIN}/{index}"
    if kind not in ("a", "b", "c"):
        raise NajaError(f"device type {kind!r}", why="it is none of a, b, c", origin=f"{origin}/type")
    if set(access) - set(_ACCESS):
        raise NajaError(f"device access {access!r}", why="it is made of r, w, m", origin=f"{origin}/access")
    numbers = []
    for name in ("major", "minor"):
        number = entry.get(name)
        number = ANY if number is None or number < 0 else number
        if number > _LAST_NUMBER:
            raise NajaError(
                f"device number {number}", why="there are none as large", origin=f"{origin}/{name}"
            )
        if kind == "a" and number != ANY:
            raise NajaError(
                f"device rule of type a with a {name} number",
                why="such a rule is about all devices",
                origin=f"{origin}/{name}",
            )
        numbers.append(number)
    ordered = "".join(letter for letter in _ACCESS if letter in access)
    return [(entry["allow"], kind, numbers[0], numbers[1], ordered)] if ordered else []


def _covers(rule: Rule, other: Rule) -> bool:
    """Say whether a rule speaks of everything that another speaks of."""
    return (
        rule[1] == other[1]
        and rule[2] in (ANY, other[2])
        and rule[3] in (ANY, other[3])
        and set(rule[4]) >= set(other[4])
    )


def _overlaps(rule: Rule, other: Rule) -> bool:
    """Say whether there is a device and an access that both rules speak of."""
    return (
        rule[1] == other[1]
        and (ANY in (rule[2], other[2]) or rule[2] == other[2])
        and (ANY in (rule[3], other[3]) or rule[3] == other[3])
        and bool(set(rule[4]) & set(other[4]))
    )


def exceptions(allow_all: bool, ordered: list[Rule]) -> list[str]:
    """Return the rules as a v1 hierarchy takes them: exceptions from the default, without an order.

    Raises Unsupported where only an order could express them (all of a major number but one).
    """
    found: dict[tuple[str, int, int], set[str]] = {}
    for rule in ordered:
        allow, kind, major, minor, access = rule
        key = (kind, major, minor)
        if allow != allow_all:
            found.setdefault(key, set()).update(access)
            continue
        found.get(key, set()).difference_update(access)
        for other, letters in found.items():
            if _overlaps(rule, (not allow, *other, "".join(letters))):
                raise Unsupported(
                    f"device rule {'allow' if allow else 'deny'} {_text(key)} {access}",
                    why=f"cgroup v1 cannot take a part out of {_text(other)}",
                    origin=_ORIGIN,
                )
    return [
        f"{_text(key)} {''.join(letter for letter in _ACCESS if letter in letters)}"
        for key, letters in found.items()
        if letters
    ]


def _text(key: tuple[str, int, int]) -> str:
    kind, major, minor = key
    return f"{kind} {'*' if major < 0 else major}:{'*' if minor < 0 else minor}"
