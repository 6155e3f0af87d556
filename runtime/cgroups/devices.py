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
#: In the index of rules: a number that does not matter.
_WHICHEVER = -2
#: So many are compared one by one sooner than looked up.
_FEW = 50
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
DEFAULTS: list[Rule] = [*((True, "c", major, minor, _ACCESS) for major, minor in _PROMISED), *_NODES]


def rules(configured: list[dict[str, Any]]) -> tuple[bool, list[Rule]]:
    """Return whether devices are allowed by default, and the shortest list of rules on top of that.

    ``configured`` is linux.resources.devices. Before its rules everything is denied, and a denial that
    takes nothing from what they allowed says nothing. They come in the order of the config, then the
    defaults: whoever reads devices.list of a v1 hierarchy finds them so. Only where a node is denied
    do the defaults for nodes come first. Raises NajaError for a rule that makes no sense.
    """
    allow_all = False
    kept = _Kept()
    for index, entry in enumerate(configured):
        for allow, kind, major, minor, access in _parse(entry, index):
            if kind == "a" and (major, minor) == (ANY, ANY) and set(access) == set(_ACCESS):
                # Nothing said before matters.
                allow_all, kept = allow, _Kept()
                continue
            for single in ("c", "b") if kind == "a" else (kind,):
                _say(kept, (allow, single, major, minor, access), allow_all)
    # Where all was allowed, then nodes denied, that is what is meant: those of the promised are there.
    access = "rw" if allow_all else _ACCESS
    for major, minor in _PROMISED:
        _say(kept, (True, "c", major, minor, access), allow_all)
    said = kept.rules()
    nodes = [] if allow_all else [node for node in _NODES if not any(_covers(rule, node) for rule in said)]
    node_denied = any("m" in rule[4] for rule in said if not rule[0])
    return allow_all, _without_idle(allow_all, [*nodes, *said] if node_denied else [*said, *nodes])


class _Kept:
    """Different rules in their order; of thousands, those that speak of the same are found by number."""

    def __init__(self) -> None:
        self._places: dict[Rule, int] = {}
        self._next = 0
        self._index: dict[tuple[str, int, int], dict[Rule, None]] = {}
        #: Those that are not yet in the index, which few rules are better off without.
        self._new: list[Rule] = []

    def rules(self) -> list[Rule]:
        """Return all."""
        return [*self._places]

    def add(self, rule: Rule) -> None:
        """Put a rule at the end."""
        self._places[rule] = self._next
        self._next += 1
        self._new.append(rule)

    def remove(self, rule: Rule) -> None:
        """Take a rule out."""
        del self._places[rule]

    def near(self, rule: Rule) -> list[Rule]:
        """Return, in their order, all that overlap with a rule, and maybe others."""
        if len(self._places) < _FEW:
            return self.rules()
        for new in self._new:
            for key in _names(new):
                self._index.setdefault(key, {})[new] = None
        self._new.clear()
        _, kind, major, minor, _ = rule
        found: set[Rule] = set()
        for first in (_WHICHEVER,) if major == ANY else (major, ANY):
            for second in (_WHICHEVER,) if minor == ANY else (minor, ANY):
                found.update(self._index.get((kind, first, second), ()))
        return sorted(found & self._places.keys(), key=self._places.__getitem__)


def _names(rule: Rule) -> list[tuple[str, int, int]]:
    _, kind, major, minor, _ = rule
    return [(kind, first, second) for first in (major, _WHICHEVER) for second in (minor, _WHICHEVER)]


def _say(kept: _Kept, rule: Rule, allow_all: bool) -> None:
    """Put a rule behind others, and take out those of which it leaves nothing."""
    near = kept.near(rule)
    if _is_idle(rule, allow_all, near):
        return
    for earlier in near:
        if _covers(rule, earlier):
            kept.remove(earlier)
    kept.add(rule)


def _without_idle(allow_all: bool, rules: list[Rule]) -> list[Rule]:
    needed = _Kept()
    for rule in rules:
        if not _is_idle(rule, allow_all, needed.near(rule)):
            needed.add(rule)
    return needed.rules()


def _is_idle(rule: Rule, allow_all: bool, earlier: list[Rule]) -> bool:
    """Say whether a rule says what holds anyway: by the last one that speaks of the same, else by default."""
    for other in reversed(earlier):
        if _overlaps(rule, other):
            return rule[0] == other[0] and _covers(other, rule)
    return rule[0] == allow_all


def _parse(entry: dict[str, Any], index: int) -> list[Rule]:
    """Return a configured rule as ours; none where it speaks of no access at all."""
    kind = entry.get("type") or "a"
    access = entry.get("access") or ""
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
        numbers.append(number)
    if kind == "a" and numbers == [ANY, ANY]:
        # A rule about all devices needs no access to be about all of it, in the kernel and in runc.
        access = access or _ACCESS
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
    index = _Kept()
    for rule in ordered:
        allow, kind, major, minor, access = rule
        key = (kind, major, minor)
        if allow != allow_all:
            if key not in found:
                index.add((allow, *key, ""))
            found.setdefault(key, set()).update(access)
            continue
        found.get(key, set()).difference_update(access)
        for other in (near[1:4] for near in index.near(rule)):
            if _overlaps(rule, (not allow, *other, "".join(found[other]))):
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
