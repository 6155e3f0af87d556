"""Protocol buffers as containerd's messages need them: against bytes that are known, and against nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from naja.shim import messages, metrics
from naja.shim.wire import (
    BOOL,
    BYTES,
    DOUBLE,
    INT64,
    MAP,
    STRING,
    UINT32,
    UINT64,
    Malformed,
    Many,
    Message,
)

INNER = Message("Inner", number=(1, UINT32), text=(2, STRING))
ALL = Message(
    "All",
    flag=(1, BOOL),
    data=(2, BYTES),
    real=(3, DOUBLE),
    signed=(4, INT64),
    text=(5, STRING),
    small=(6, UINT32),
    large=(7, UINT64),
    table=(8, MAP),
    inner=(9, INNER),
    numbers=(10, Many(UINT64)),
    texts=(11, Many(STRING)),
    inners=(200, Many(INNER)),
)
inners = some.fixed_dictionaries({"number": some.integers(0, 2**32 - 1), "text": some.text()})


@given(
    some.fixed_dictionaries(
        {
            "flag": some.booleans(),
            "data": some.binary(),
            "real": some.floats(allow_nan=False),
            "signed": some.integers(-(2**63), 2**63 - 1),
            "text": some.text(),
            "small": some.integers(0, 2**32 - 1),
            "large": some.integers(0, 2**64 - 1),
            "table": some.dictionaries(some.text(), some.text()),
            "inner": some.none() | inners,
            "numbers": some.lists(some.integers(0, 2**64 - 1)),
            "texts": some.lists(some.text()),
            "inners": some.lists(inners),
        }
    )
)
def test_what_is_written_is_read(values: dict[str, Any]) -> None:
    assert ALL.decode(ALL.encode(values)) == values


#: As protoc writes them.
KNOWN: tuple[tuple[Message, dict[str, Any], str], ...] = (
    (INNER, {"number": 150, "text": "testing"}, "08960112 0774657374696e67"),
    (messages.TIMESTAMP, {"seconds": -1, "nanos": 5}, "08ffffffffffffffffff01 1005"),
    (ALL, {"numbers": [3, 270, 86942]}, "52 06 03 8e02 9ea705"),
    (ALL, {"table": {"a": "b"}}, "42 06 0a0161 120162"),
    (ALL, {"inner": {}}, "4a 00"),
    (messages.EMPTY, {}, ""),
)


@pytest.mark.parametrize(("kind", "values", "text"), KNOWN)
def test_known_bytes(kind: Message, values: dict[str, Any], text: str) -> None:
    assert kind.encode(values) == bytes.fromhex(text)


def test_numbers_that_are_not_packed_are_read_too() -> None:
    assert ALL.decode(bytes.fromhex("5003 5004"))["numbers"] == [3, 4]


def test_fields_of_a_newer_version_are_passed_over() -> None:
    unknown = "f00701 f107 0000000000000000 f20703616263 f507 00000000"
    assert INNER.decode(bytes.fromhex(unknown + "0801")) == {"number": 1, "text": ""}


MALFORMED = {
    "a number without an end": "08ff",
    "a number of more than ten bytes": "08" + "ff" * 11 + "01",
    "a field that is longer than the message": "1205",
    "a length of 2**63": "12ffffffffffffffff7f",
    "a key without a value": "08",
    "a group": "0b",
    "the end of a group": "0c",
    "a text where a number is due": "0a0161",
    "a number where a text is due": "1001",
    "a text that is not UTF-8": "1201ff",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        INNER.decode(bytes.fromhex(text))


@given(some.binary())
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for kind in (messages.CREATE, messages.EXEC, messages.UPDATE, metrics.V1, ALL):
        try:
            kind.decode(data)
        except Malformed:
            pass


def test_an_any_of_another_kind_is_malformed() -> None:
    wrapped = messages.wrap(messages.OPTIONS, {"root": "/r"})
    assert messages.unwrap(wrapped, messages.OLD_OPTIONS, messages.OPTIONS)["root"] == "/r"
    prefixed = {**wrapped, "type_url": f"type.googleapis.com/{wrapped['type_url']}"}
    assert messages.unwrap(prefixed, messages.OPTIONS)["root"] == "/r"
    assert messages.unwrap(None, messages.OPTIONS)["root"] == ""
    with pytest.raises(Malformed):
        messages.unwrap(wrapped, messages.CHECKPOINT_OPTIONS)
