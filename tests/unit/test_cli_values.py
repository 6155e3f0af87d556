"""Signals, sizes, spans of time and users, as people and engines write them."""

from __future__ import annotations

import signal

import pytest

from naja.cli.values import integer, seconds, signal_number, size, user
from naja.errors import NajaError


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("15", 15),
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigterm", 15),
        ("0", 0),
        ("64", 64),
        ("CLD", 17),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("rtmax-1", 63),
        ("RTMAX", 64),
    ],
)
def test_signals(text: str, number: int) -> None:
    assert signal_number(text) == number


def test_every_name_is_known() -> None:
    for name in signal.Signals:
        assert signal_number(name.name) == name.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-9",
        "65",
        "FOO",
        "SIG",
        "SIG_DFL",
        "_BLOCK",
        "RTMIN+31",
        "RTMIN+",
        "RTMIN-1",
        "RTMAX+1",
        "1x",
        "²",
    ],
)
def test_no_signals(text: str) -> None:
    with pytest.raises(NajaError, match="unknown signal"):
        signal_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-1", -1),
        ("512", 512),
        ("512b", 512),
        ("64k", 65536),
        ("64 kB", 65536),
        ("64KiB", 65536),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        ("9223372036854771712", 9223372036854771712),
    ],
)
def test_sizes(text: str, number: int) -> None:
    assert size("memory", text) == number


@pytest.mark.parametrize("text", ["", "k", "x", "-2", "1e3", "1.2.3m", "mm", "5mm", "0x10", " "])
def test_no_sizes(text: str) -> None:
    with pytest.raises(NajaError, match="invalid value for --memory"):
        size("memory", text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0.0),
        ("5s", 5.0),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("250ms", 0.25),
        ("1us1µs", 2e-6),
        ("3ns", 3e-9),
    ],
)
def test_spans_of_time(text: str, number: float) -> None:
    assert seconds(text) == pytest.approx(number)


@pytest.mark.parametrize("text", ["5", "s", "5x", "1..5s", "-5s", "5 s", "5s5"])
def test_no_spans_of_time(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


def test_users() -> None:
    assert user("0") == (0, None)
    assert user("1000:100") == (1000, 100)


@pytest.mark.parametrize(
    "text", ["", ":", "1:", ":1", "root", "1:2:3", "-1", "4294967295", "4294967296", "1 ", "0x1"]
)
def test_no_users(text: str) -> None:
    with pytest.raises(NajaError, match="--user"):
        user(text)


def test_integers() -> None:
    assert integer("cpu-quota", "-1") == -1
    for text in ("", "-", "1.5", "x", "--1"):
        with pytest.raises(NajaError, match="--cpu-quota"):
            integer("cpu-quota", text)
