"""What people and engines give: a signal, a size, a span of time, a user, a file of JSON."""

from __future__ import annotations

import _signal

from ..config import json
from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["group", "integer", "json_file", "seconds", "signal_number", "size", "user", "user_names"]

_SIGNALS = {
    name[3:]: int(getattr(_signal, name))
    for name in dir(_signal)
    if name.startswith("SIG") and not name.startswith("SIG_")
}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DIGITS = frozenset("0123456789")
_MAXIMUM_ID = 2**32 - 1


def signal_number(text: str) -> int:
    """Return the number of a signal: "15", "TERM", "SIGTERM", "RTMIN+3", "rtmax-1". Raises NajaError.

    RTMIN is libc's 34, as 32 and 33 belong to its threads (signal(7)).
    """
    name = text.upper().removeprefix("SIG")
    base, sign, offset = name.partition("-" if name.startswith("RTMAX") else "+")
    if _DIGITS.issuperset(name) and name:
        number = int(name)
    elif sign and base in ("RTMIN", "RTMAX") and offset and _DIGITS.issuperset(offset):
        number = _SIGNALS[base] + int(sign + offset)
        if not _SIGNALS["RTMIN"] <= number <= _SIGNALS["RTMAX"]:
            number = -1
    else:
        number = _SIGNALS.get(name, -1)
    if not 0 <= number <= _SIGNALS["RTMAX"]:
        from .suggest import near

        meant = near(name, _SIGNALS)
        raise NajaError(f"unknown signal {text!r}" + (f" (did you mean {meant!r}?)" if meant else ""))
    return number


def integer(option: str, text: str) -> int:
    """Return the number that was given for an option, in decimal. Raises NajaError."""
    digits = text.removeprefix("-")
    if not digits or not _DIGITS.issuperset(digits):
        raise NajaError(f"invalid value for --{option}: {text!r} is not a number")
    return int(text)


def size(option: str, text: str) -> int:
    """Return a number of bytes: "1048576", "64m", "1.5GiB"; "-1" stands for no limit. Raises NajaError.

    Units are powers of 1024, however they are written.
    """
    if text == "-1":
        return -1
    digits = text.lower().rstrip("b").rstrip("i")
    power = "kmgtp".find(digits[-1:]) + 1 if digits[-1:] else 0
    number = digits[:-1] if power else digits
    whole, _, part = number.strip().partition(".")
    if not whole or not _DIGITS.issuperset(whole + part):
        raise NajaError(f"invalid value for --{option}: {text!r} is not a size")
    return int(float(f"{whole}.{part or 0}") * 1024**power) if part else int(whole) * 1024**power


def seconds(text: str) -> float:
    """Return a span of time, written as Go does: "1m30s", "1.5h", "300ms", "0". Raises ValueError."""
    if text == "0":
        return 0.0
    total = 0.0
    while text:
        number = text[: len(text) - len(text.lstrip("0123456789."))]
        text = text[len(number) :]
        unit = text.rstrip("0123456789.")
        while unit and unit not in _UNITS:
            unit = unit[:-1]
        if not number or not unit:
            raise ValueError
        total += float(number) * _UNITS[unit]
        text = text[len(unit) :]
    return total


def user(text: str) -> tuple[int, int | None]:
    """Read UID or UID:GID; the group is None where it is not given. Raises NajaError.

    Names are refused, and so is what does not fit: a number cut off at 32 bits may be root's.
    """
    uid, colon, gid = text.partition(":")
    for part in (uid, gid) if colon else (uid,):
        if not _is_id(part):
            raise NajaError(
                f"invalid value for --user: {text!r} is not UID, NAME, or one with :GID or :GROUP"
            )
    return int(uid), int(gid) if colon else None


def user_names(text: str) -> bool:
    """Tell whether a user is given by a name, NAME or NAME:GROUP, or a group is: UID:GROUP.

    A name begins with a letter or "_": what merely looks like a number is neither.
    """
    parts = text.split(":")
    return (
        len(parts) <= 2
        and all(_is_id(part) or _is_name(part) for part in parts)
        and any(map(_is_name, parts))
    )


def _is_name(text: str) -> bool:
    return (
        (text[:1].isalpha() or text[:1] == "_")
        and text.isascii()
        and not {*text} & {*" ,/"}
        and text.isprintable()
    )


def group(option: str, text: str) -> int:
    """Return the group ID that was given for an option. Raises NajaError."""
    if not _is_id(text):
        raise NajaError(f"invalid value for --{option}: {text!r} is not a group ID")
    return int(text)


def _is_id(text: str) -> bool:
    return bool(text) and _DIGITS.issuperset(text) and int(text) < _MAXIMUM_ID


def json_file(path: str) -> Any:
    """Return the value that a file holds as JSON, which may be a pipe; "-" is stdin. Raises NajaError."""
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            text = file.read(json.MOST_BYTES + 1)
    except OSError as error:
        raise NajaError.from_os_error(f"read {path}", error) from None
    if len(text) > json.MOST_BYTES:
        raise NajaError(f"read {path}", why=f"it has more than {json.MOST_BYTES >> 20} MiB")
    return json.loads(text, path)
