"""Device rules: reduced, as exceptions for v1, as an eBPF program for v2 (which a small machine runs)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naja.cgroups.devices import ANY, DEFAULTS, _is_idle, exceptions, rules
from naja.errors import NajaError, Unsupported
from naja.linux.bpf import device_program

if TYPE_CHECKING:
    from naja.cgroups.devices import Rule

DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}
PROMISED, NODES = DEFAULTS[:-2], DEFAULTS[-2:]


def rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str) -> dict[str, Any]:
    return {"allow": allow, "type": kind, "major": major, "minor": minor, "access": access}


def test_without_rules_there_are_the_defaults() -> None:
    assert rules([]) == (False, DEFAULTS)
    assert rules([DENY_ALL]) == (False, DEFAULTS)


def test_all_allowed() -> None:
    assert rules([rule(True, "c", 1, 2, "r"), ALLOW_ALL]) == (True, [])


def test_all_allowed_but_one() -> None:
    assert rules([ALLOW_ALL, rule(False, "b", 8, 0, "w")]) == (True, [(False, "b", 8, 0, "w")])


@pytest.mark.parametrize("access", ["m", "wm", "rwm"])
@pytest.mark.parametrize(("major", "minor"), [(1, 11), (8, None)])
def test_a_node_that_is_denied_after_all_was_allowed(access: str, major: int, minor: int | None) -> None:
    """To make nodes is a default only where nothing else is said of them."""
    allow_all, kept = rules([ALLOW_ALL, rule(False, "c", major, minor, access)])
    node = (major, minor or 11)
    assert not decide(allow_all, kept, "c", *node, "m")
    assert decide(allow_all, kept, "b", *node, "rwm")
    assert decide(allow_all, kept, "c", 1, 3, "rw"), "a promised device"
    assert not Machine(device_program(kept, allow_all=allow_all)).run("c", *node, "m")
    denied = [text for text in exceptions(allow_all, kept) if "m" in text.split()[2]]
    assert len(denied) == 1


def test_no_nodes_at_all() -> None:
    """Nor those of the promised devices, which are there already: v1 could not take them out."""
    found = exceptions(*rules([ALLOW_ALL, {"allow": False, "type": "a", "access": "m"}]))
    assert found == ["c *:* m", "b *:* m"]


def test_a_node_that_is_denied_after_its_kind_was_allowed() -> None:
    allow_all, kept = rules([DENY_ALL, rule(True, "c", None, None, "rwm"), rule(False, "c", 1, 11, "rwm")])
    assert not decide(allow_all, kept, "c", 1, 11, "m")
    assert decide(allow_all, kept, "c", 1, 12, "m")


def test_the_last_rule_decides() -> None:
    allow_all, kept = rules([rule(True, "b", 8, 0, "rwm"), rule(False, "b", 8, 0, "w")])
    assert not allow_all
    assert (False, "b", 8, 0, "w") in kept
    assert "b 8:0 rm" in exceptions(allow_all, kept)


def test_a_denial_of_nothing_is_left_out() -> None:
    assert rules([rule(False, "b", 8, 0, "w")]) == (False, DEFAULTS)


def test_a_rule_for_both_kinds_with_some_access() -> None:
    _, kept = rules([{"allow": True, "type": "a", "access": "r"}])
    assert [entry for entry in kept if entry[4] == "r"] == [
        (True, "c", ANY, ANY, "r"),
        (True, "b", ANY, ANY, "r"),
    ]


def test_a_rule_without_access() -> None:
    """Of all devices it is about all access, of some about none; so does runc."""
    assert rules([ALLOW_ALL, {"allow": False}]) == (False, DEFAULTS)
    assert rules([{"allow": True, "type": "c", "major": 1, "minor": 11}]) == (False, DEFAULTS)


@pytest.mark.parametrize("kind", ["a", "", None])
def test_a_rule_for_both_kinds_with_numbers(kind: str | None) -> None:
    """The kernel's v1 files take it for a rule about all devices."""
    allow_all, kept = rules(
        [DENY_ALL, {"allow": True, "type": kind, "major": 7, "minor": 1, "access": "rwm"}]
    )
    assert not allow_all
    assert [entry for entry in kept if entry not in DEFAULTS] == [
        (True, "c", 7, 1, "rwm"),
        (True, "b", 7, 1, "rwm"),
    ]


def test_a_denial_for_both_kinds_with_numbers() -> None:
    allow_all, kept = rules([ALLOW_ALL, rule(False, "a", 7, None, "rwm")])
    assert exceptions(allow_all, kept) == ["c 7:* rwm", "b 7:* rwm"]


def test_negative_numbers_and_none_are_any() -> None:
    assert (True, "c", 10, ANY, "rw") in rules([rule(True, "c", 10, -1, "wr")])[1]
    assert (True, "c", ANY, 3, "r") in rules([rule(True, "c", None, 3, "r")])[1]


@pytest.mark.parametrize(
    ("wrong", "origin"),
    [
        (rule(True, "x", 1, 1, "r"), "/linux/resources/devices/0/type"),
        (rule(True, "c", 1, 1, "rx"), "/linux/resources/devices/0/access"),
        (rule(True, "c", 1, 2**32 + 1, "r"), "/linux/resources/devices/0/minor"),
    ],
)
def test_rules_that_make_no_sense(wrong: dict[str, Any], origin: str) -> None:
    with pytest.raises(NajaError) as caught:
        rules([wrong])
    assert caught.value.origin == origin


def test_v1_exceptions_of_the_defaults() -> None:
    assert exceptions(*rules([DENY_ALL])) == [
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
        "c 10:200 rwm",
        "c 136:* rwm",
        "c *:* m",
        "b *:* m",
    ]


@pytest.mark.parametrize(
    "listed",
    [
        ["c 10:229 rwm", "b 8:20 rw", "b 10:200 r"],
        ["c 1:3 rwm", "c 10:229 rw"],
        ["c *:* m", "b *:* m", "c 10:229 rwm"],
        ["c 1:11 m", "c 10:229 rwm"],
    ],
)
def test_v1_exceptions_come_in_the_order_of_the_config(listed: list[str]) -> None:
    """config-linux.md, Allowed Device list: entries are applied in the listed order; defaults stand last."""
    assert exceptions(*rules([DENY_ALL, *map(spelled, listed)]))[: len(listed)] == listed


def spelled(text: str) -> dict[str, Any]:
    """Return the rule of a config that allows what a line of devices.list says."""
    kind, device, access = text.split()
    major, minor = (None if number == "*" else int(number) for number in device.split(":"))
    return rule(True, kind, major, minor, access)


def test_v1_cannot_take_one_out_of_many() -> None:
    configured = [rule(True, "b", 8, None, "rw"), rule(False, "b", 8, 1, "rw")]
    with pytest.raises(Unsupported, match=r"b 8:\*"):
        exceptions(*rules(configured))


class Machine:
    """Runs the eBPF instructions that the device filter is made of."""

    def __init__(self, program: bytes) -> None:
        self.program = [struct.unpack("=BBhi", program[at : at + 8]) for at in range(0, len(program), 8)]

    def run(self, kind: str, major: int, minor: int, access: str) -> bool:
        bits = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in access)
        context = {0: bits << 16 | {"b": 1, "c": 2}[kind], 4: major, 8: minor}
        registers = [0] * 11
        at = 0
        while True:
            code, names, offset, value = self.program[at]
            target, source = names & 15, names >> 4
            at += 1
            if code == 0x61:
                registers[target] = context[offset]
            elif code == 0xBF:
                registers[target] = registers[source]
            elif code == 0xB7:
                registers[target] = value
            elif code == 0x57:
                registers[target] &= value
            elif code == 0x77:
                registers[target] >>= value
            elif code == 0x15:
                at += offset if registers[target] == value else 0
            elif code == 0x55:
                at += offset if registers[target] != value else 0
            elif code == 0x56:
                at += offset if registers[target] != value & 0xFFFFFFFF else 0
            elif code == 0x95:
                return bool(registers[0])
            else:
                raise AssertionError(hex(code))


def decide(allow_all: bool, ordered: list[Rule], kind: str, major: int, minor: int, access: str) -> bool:
    """Return what the rules say, by the definition: for each access, the last rule that matches."""
    allowed = dict.fromkeys(access, allow_all)
    for allow, rule_kind, rule_major, rule_minor, letters in ordered:
        if rule_kind in ("a", kind) and rule_major in (ANY, major) and rule_minor in (ANY, minor):
            allowed.update(dict.fromkeys(set(letters) & set(access), allow))
    return all(allowed.values())


def by_definition(listed: list[Rule]) -> list[Rule]:
    """Return configured rules with the defaults in their places."""
    everything = ("a", ANY, ANY, "rwm")
    last = max((at for at, entry in enumerate(listed) if entry[1:] == everything), default=-1)
    allow_all = last >= 0 and listed[last][0]
    said: list[Rule] = []
    for allow, kind, major, minor, access in listed[last + 1 :]:
        for single in "cb" if kind == "a" else kind:
            entry = (allow, single, major, minor, access)
            said += [] if _is_idle(entry, allow_all, said) else [entry]
    if allow_all:
        return [
            listed[last],
            *said,
            *((True, kind, major, minor, "rw") for _, kind, major, minor, _ in PROMISED),
        ]
    return [*NODES, *said, *PROMISED]


_accesses = st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"])
_numbers = st.sampled_from([ANY, 1, 5, 8])
_rules = st.lists(
    st.tuples(st.booleans(), st.sampled_from("cb"), _numbers, _numbers, _accesses)
    | st.tuples(st.booleans(), st.just("a"), _numbers, _numbers, _accesses),
    max_size=8,
)


@given(_rules, st.sampled_from("cb"), st.sampled_from([1, 5, 8]), st.sampled_from([1, 5, 8]), _accesses)
def test_reduced_rules_and_their_program_decide_as_the_rules_do(
    listed: list[Rule], kind: str, major: int, minor: int, access: str
) -> None:
    configured = [
        rule(allow, which, first, second, letters) for allow, which, first, second, letters in listed
    ]
    allow_all, kept = rules(configured)
    expected = decide(False, by_definition(listed), kind, major, minor, access)
    assert decide(allow_all, kept, kind, major, minor, access) == expected
    machine = Machine(device_program(kept, allow_all=allow_all))
    assert machine.run(kind, major, minor, access) == expected


@given(_rules)
def test_v1_exceptions_mean_what_the_rules_mean(listed: list[Rule]) -> None:
    configured = [
        rule(allow, which, first, second, letters) for allow, which, first, second, letters in listed
    ]
    allow_all, kept = rules(configured)
    try:
        found = exceptions(allow_all, kept)
    except Unsupported:
        return
    parsed: list[Rule] = []
    for text in found:
        which, device, letters = text.split()
        first, second = (ANY if number == "*" else int(number) for number in device.split(":"))
        parsed.append((not allow_all, which, first, second, letters))
    for kind in "cb":
        for major in (1, 5, 8):
            for letter in "rwm":
                expected = decide(allow_all, kept, kind, major, 5, letter)
                assert decide(allow_all, parsed, kind, major, 5, letter) == expected
