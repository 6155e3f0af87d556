"""The steps that the launcher takes: what Python writes is what native/steps.c reads."""

from __future__ import annotations

import os
import re
import struct
from typing import Any

import pytest

from naja.config import json
from naja.container import shortcuts
from naja.container.record import document
from naja.linux import process
from naja.startup import facts, launcher, steps

with open(f"{launcher._NATIVE}/steps.c", encoding="utf-8") as source:
    SOURCE = source.read()
with open(f"{launcher._NATIVE}/steps.h", encoding="utf-8") as header:
    HEADER = header.read()


def test_the_calls_are_the_same() -> None:
    [calls] = re.findall(r"calls\[\] = \{(.*?)\};", SOURCE, re.DOTALL)
    names = re.findall(r"SYS_(\w+)|/\* (\w+) \*/", calls)
    [own] = re.findall(r"enum \{ END = [^,]*, (.*?) \};", SOURCE)
    assert (*("".join(name) for name in names), "END", *own.split(", ")) == steps.CALLS


def test_the_numbers_of_calls_are_those_of_the_kernel() -> None:
    assert f"{process._PIDFD_OPEN} /* pidfd_open */" in SOURCE
    assert f"{process._PIDFD_SEND_SIGNAL} /* pidfd_send_signal */" in SOURCE


def test_each_step_leads_somewhere() -> None:
    made = steps._Steps()
    first = steps._verbs(made)
    [values] = re.findall(r"VALUES = (\d+)", HEADER)
    assert set(first.values()) < set(range(len(made.rows)))
    for number, (call, *words, into, _, _, otherwise) in enumerate(made.rows):
        assert otherwise == -1 or (0 <= otherwise < len(made.rows) and otherwise != number)
        assert into < int(values) and call < len(steps.CALLS)
        for word in words:
            most = (1 << 29, len(made.text), len(facts.PLACES), int(values))[word & 3]
            assert word >> 2 < most
    # The last step of each verb does not run into the next one.
    assert steps.CALLS[made.rows[-1][0]] == "END" or made.rows[-1][-1] == -1 or made.rows[-1][6:] != [0, 0]


def test_rooms_do_not_overlap() -> None:
    places = facts._rooms()
    ends = [place + size for place, (_, size) in zip(places, facts.ROOMS, strict=True)]
    [room] = re.findall(r"ROOM = (\d+) << 10", SOURCE)
    assert places[0] >= facts.LARGEST and ends[-1] <= int(room) << 10
    assert all(end <= place for end, place in zip(ends, places[1:], strict=False))
    names = [name for name, _ in facts.ROOMS]
    assert names.index("path") == names.index("address") + 1
    assert places[names.index("path")] == places[names.index("address")] + 2


CGROUP: dict[str, Any] = {
    **{"kind": "v1", "places": {"freezer": "/sys/fs/cgroup/freezer/c"}, "word": "w", "unit": ""},
    **{
        "made": ["/sys/fs/cgroup/freezer/c"],
        "adopted": [],
        "resctrl": [],
        "invocation": "",
        "rootless": False,
    },
}
RECORD: dict[str, Any] = {
    **{"ociVersion": "1.2.0", "id": "c", "status": "created", "pid": 17, "start_time": 170, "bundle": "/b"},
    **{"rootfs": "/b/rootfs", "created": "then", "owner": os.geteuid(), "annotations": {"a": '"status":"x"'}},
    **{"traits": [], "rootless": False, "notify": False, "stdio": ["", "", ""], "cgroup": CGROUP},
}


def made(**changes: object) -> tuple[dict[str, int], dict[str, bytes]]:
    """Return the facts about a container, by name: the numbers and the texts; none where there is no file."""
    record = {**RECORD, **changes}
    content = shortcuts.facts(record, json.dumps(record).encode(), simple=True, gate=True)
    if not content:
        return {}, {}
    assert content[:8] == facts.MAGIC and len(content) % 8 == 0
    words = struct.unpack(f"={len(content) // 8 - 2}Q", content[16:])
    assert struct.unpack("=Q", content[8:16])[0] == sum(words) % (2**64 - 1)
    count = len(facts.NUMBERS) + len(facts.PLACES)
    numbers = struct.unpack_from(f"={count}i", content, 16)
    texts = {
        name: content[place : content.index(b"\0", place)]
        for name, place in zip(facts.TEXTS, numbers[len(facts.NUMBERS) :], strict=False)
    }
    return dict(zip(facts.NUMBERS, numbers, strict=False)), texts


def test_the_parts_make_the_whole() -> None:
    numbers, texts = made()
    assert texts["record 1"] + b"created" + texts["record 2"] == json.dumps(RECORD).encode()
    parts = (texts["document 1"], texts["pid"], texts["document 2"], b"running", texts["document 3"])
    whole = json.dumps(document(RECORD, "running", RECORD["annotations"]), indent=2) + "\n"
    assert b"".join(parts).decode() == whole
    assert [*numbers.values()] == [1, 1, 1, 1, 1, 1, 17, 3 * 24 + 3 * 32]
    assert texts["mark"] == b"made w"


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"traits": ["annotations"]}, {"may state"}),
        ({"traits": ["no process"]}, {"may start"}),
        ({"traits": ["poststart"]}, {"may start"}),
        ({"status": "running"}, {"may start"}),
        ({"traits": ["shared pids"]}, {"may kill"}),
        ({"traits": ["poststop"]}, {"may delete"}),
        ({"cgroup": {**CGROUP, "adopted": ["/sys/fs/cgroup/freezer/c"], "made": []}}, {"may delete"}),
        ({"cgroup": {**CGROUP, "resctrl": ["/sys/fs/resctrl/c"]}}, {"may delete"}),
        ({"cgroup": {**CGROUP, "places": {}, "made": []}}, {"has freezer", "has links"}),
        (
            {
                "cgroup": {
                    **CGROUP,
                    "kind": "v2",
                    "places": {"": "/sys/fs/cgroup/c"},
                    "made": ["/sys/fs/cgroup/c"],
                }
            },
            {"has links"},
        ),
    ],
)
def test_what_is_left_to_python(changes: dict[str, object], lacking: set[str]) -> None:
    numbers, _ = made(**changes)
    assert {name for name in numbers if not numbers[name]} == lacking


@pytest.mark.parametrize(
    "changes",
    [{"notify": True}, {"cgroup": {**CGROUP, "unit": "c.scope"}}, {"annotations": {"a": "b" * (8 << 10)}}],
)
def test_who_has_no_facts(changes: dict[str, object]) -> None:
    assert made(**changes) == ({}, {})
