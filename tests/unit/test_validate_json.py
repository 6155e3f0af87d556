"""JSON without the json module: as strict, and of one mind with it."""

from __future__ import annotations

import json as standard
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import naja
from naja.config import json
from naja.errors import NajaError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_there_and_back(value: Any) -> None:
    assert json.loads(json.dumps(value)) == value
    assert json.loads(json.dumps(value, indent=2).encode()) == value


@given(values, st.sampled_from([2, 4, "\t"]))
def test_writes_as_the_standard_module(value: Any, indent: Any) -> None:
    assert json.dumps(value) == standard.dumps(value, separators=(",", ":"))
    if indent != "\t":
        assert json.dumps(value, indent) == standard.dumps(value, indent=indent)


@given(st.text('{}[]",:0123e+-. \n\\untrfals\x01\ufeff'))
def test_reads_as_the_standard_module(text: str) -> None:
    try:
        expected = standard.loads(text.removeprefix("\ufeff"))
    except ValueError:
        with pytest.raises(NajaError):
            json.loads(text)
    else:
        assert json.loads(text) == expected


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 10**30])
def test_integers_are_exact(number: int) -> None:
    assert json.loads(str(number)) == number
    assert json.dumps(number) == str(number)


ERRORS = [
    ("", "FILE: line 1, column 1: expected a value"),
    (" \n x", "FILE: line 2, column 2: expected a value"),
    ('{"a": 1,\n "b": tru}', "FILE: line 2, column 7: expected a value"),
    ('{"a" 1}', "FILE: line 1, column 6: expecting ':' delimiter"),
    ("[1] 2", "FILE: line 1, column 5: expected nothing after the value"),
    ('["\n"]', "FILE: line 1, column 3: invalid control character at"),
    ('["\\x"]', "FILE: line 1, column 3: invalid \\escape"),
    ('["a', "FILE: line 1, column 2: unterminated string starting at"),
    ("NaN", "FILE: NaN is not JSON"),
    ("[-Infinity]", "FILE: -Infinity is not JSON"),
    ("1e999", "FILE: the number 1e999 is too large"),
    ("[" * 100000, "FILE: nested too deeply"),
]


@pytest.mark.parametrize(("text", "message"), ERRORS)
def test_errors_tell_the_place(text: str, message: str) -> None:
    with pytest.raises(NajaError) as caught:
        json.loads(text, "FILE")
    assert str(caught.value) == message


def test_errors_tell_the_place_where_the_standard_module_was_not_loaded() -> None:
    program = """
import sys
from naja.config import json
from naja.errors import NajaError
assert "json" not in sys.modules
try:
    json.loads('{"a" 1}', "FILE")
except NajaError as error:
    print(error)
"""
    assert sealed(program) == "FILE: line 1, column 6: expecting ':' delimiter"


def test_bytes_that_are_not_utf8_are_kept() -> None:
    assert json.loads(b'"/\xff"') == "/\udcff"


def test_a_byte_order_mark_is_skipped() -> None:
    assert json.loads(b"\xef\xbb\xbf {}") == {}


@pytest.mark.parametrize("value", [{1: 2}, {"a": b""}, float("nan"), float("inf"), {1, 2}])
def test_what_is_not_json_is_not_written(value: Any) -> None:
    with pytest.raises(NajaError, match="not JSON"):
        json.dumps(value)


def sealed(program: str) -> str:
    """Return what a program prints in a Python that has loaded next to nothing."""
    root = os.path.join(os.path.dirname(__file__), "../..")
    home = os.path.dirname(os.path.dirname(str(naja.__file__)))
    program = f"import sys; sys.path.insert(0, {home!r})\n{program}"
    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout.decode().strip()


def test_loads_nothing_expensive() -> None:
    """Checking a good config imports neither json nor jsonschema, nor anything else that is slow."""
    program = (
        "import os, errno, stat, __future__; before = set(sys.modules)\n"
        "from naja import config\n"
        "config.check(config.load('tests/data/minimal') | {'linux': {}})\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    expected = {"_json", "naja", "naja.errors", "naja.config"}
    own = ("json", "pattern", "rules", "rules_linux", "sysctl", "verdict")
    expected |= {f"naja.config.{name}" for name in own}
    assert set(sealed(program).split()) == expected


@given(st.dictionaries(st.text(), st.text() | st.none(), min_size=95, max_size=110))
def test_large_objects(value: dict[str, Any]) -> None:
    assert json.loads(json.dumps(value)) == value
    assert json.dumps(value) == standard.dumps(value, separators=(",", ":"))
    with pytest.raises(NajaError):
        json.dumps({**value, 5: ""})
