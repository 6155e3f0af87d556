"""Which devices a container may use: the rules of a config, made ready for the kernel. Pure.

config-linux.md, Allowed Device list. A rule allows or denies some kinds of access (r, w, m for mknod)
to some devices; where several speak of the same, the last one decides.
"""

from __future__ import annotations

from ..errors import NajaError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    #: (allow, type, major, minor, access), -1 being any number.
    Rule = tuple[bool, str, int, int, str]

ANY = -1
_ACCESS = "rwm"
_LAST_NUMBER = 0xFFFFFFFF
_ORIGIN = "/linux/resources/devices"

#: To make nodes of all sorts gives no access to them.
_NODES: list[Rule] = [(True, "c", ANY, ANY, "m"), (True, "b", ANY, ANY, "m")]

#: What every container may use: the devices that config-linux.md (Default Devices) promises, terminals,
#: tun. Not 5:1, the host's console: a container's /dev/console is a terminal of its own.
_PROMISED = (
    (1, 3),  # /dev/null
    (1, 5),  # /dev/zero
    (1, 7),  # /dev/full
    (1, 8),  # /dev/random
    (1, 9),  # /dev/urandom
    (5, 0),  # /dev/tty
    (5, 2),  # /dev/ptmx
    (10, 200),  # /dev/net/tun
    (136, ANY),  # /dev/pts/*
)

#: What a container may do with devices that no rule speaks of.
DEFAULTS: list[Rule] = [*_NODES, *((True, "c", major, minor, _ACCESS) for major, minor in _PROMISED)]


def rules(configured: list[dict[str, Any]]) -> tuple[bool, list[Rule]]:
    """Return whether devices are allowed by default, and the shortest list of rules on top of that.

    ``configured`` is linux.resources.devices. Before its rules everything is denied, and a denial that
    takes nothing from what they allowed says nothing. The defaults for nodes come before them, the
    promised devices after. Raises NajaError for a rule that makes no sense.
    """
    allow_all = False
    said: list[Rule] = []
    for index, entry in enumerate(configured):
        for allow, kind, major, minor, access in _parse(entry, index):
            if kind == "a" and set(access) == set(_ACCESS):
                # Nothing said before matters.
                allow_all, said = allow, []
                continue
            for single in ("c", "b") if kind == "a" else (kind,):
                rule = (allow, single, major, minor, access)
                if not _is_idle(rule, allow_all, said):
                    said = _with(said, rule)
    kept = [] if allow_all else list(_NODES)
    # Where all was allowed, then nodes denied, that is what is meant: those of the promised are there.
    access = "rw" if allow_all else _ACCESS
    for rule in [*said, *((True, "c", major, minor, access) for major, minor in _PROMISED)]:
        kept = _with(kept, rule)
    return allow_all, _without_idle(allow_all, kept)


def _with(kept: list[Rule], rule: Rule) -> list[Rule]:
    """Return rules with another that comes last, without those of which it leaves nothing."""
    return [*(earlier for earlier in kept if not _covers(rule, earlier)), rule]


def _without_idle(allow_all: bool, kept: list[Rule]) -> list[Rule]:
    needed: list[Rule] = []
    for rule in kept:
        if not _is_idle(rule, allow_all, needed):
            needed.append(rule)
    return needed


def _is_idle(rule: Rule, allow_all: bool, earlier: list[Rule]) -> bool:
    """Say whether a rule says what holds anyway, because no earlier one says otherwise."""
    return rule[0] == allow_all and not any(_overlaps(rule, other) for other in earlier)


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
