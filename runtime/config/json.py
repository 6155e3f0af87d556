"""JSON (RFC 8259) without the 6 ms that importing ``json`` costs: its C parts with a thin coat.

Stricter than ``json``: NaN, infinities and numbers too large for a float are refused.
"""

from __future__ import annotations

import os
import stat
import sys

from ..errors import NajaError, kind_of_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["MOST_BYTES", "dumps", "loads", "read"]

#: No document is larger; a channel takes no more, either.
MOST_BYTES = 64 << 20

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}

_SPACE = " \t\n\r"

#: From how many members on an object is worth a look at them all.
_MANY = 100


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError(f"the number {text} is too large")
    return value


class _Settings:
    """What the C scanner asks of its context."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_float)
    parse_int = int
    parse_constant = staticmethod(_constant)


def _no_scan(_text: str, _start: int) -> None:
    """Leave all to _json."""


_scan: Callable[[str, int], tuple[Any, int] | None]
if "_scan" in sys.builtin_module_names:
    import _scan as native  # native/json.c

    _scan = native.scan
else:
    import _json  # noqa: F401 Later there may be no way to it.

    _scan = _no_scan


def read(path: str, *, directory: int | None = None, name: str = "") -> bytes:
    """Return the content of an ordinary file of a size that a JSON text has.

    With ``directory``, a descriptor, ``path`` is in there, and no link is followed. ``name`` is the file's in
    errors. Raises OSError, and NajaError where it is no such file: that is never opened, or waited for.
    """
    no_link = 0 if directory is None else os.O_NOFOLLOW
    found = os.open(path, os.O_PATH | os.O_CLOEXEC | no_link, dir_fd=directory)
    try:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode):
            raise NajaError(f"read {name or path}", why=f"it is {kind_of_file(status.st_mode)}")
        if status.st_size > MOST_BYTES:
            raise NajaError(f"read {name or path}", why=f"it has more than {MOST_BYTES >> 20} MiB")
        with open(f"/proc/self/fd/{found}", "rb", buffering=0) as file:
            return file.readall()  # type: ignore[attr-defined, no-any-return]
    finally:
        os.close(found)


def loads(text: str | bytes, name: str = "JSON") -> Any:
    """Return the value that a JSON text holds; ``name`` says in errors where the text is from.

    Bytes that are not UTF-8 are kept as os.fsdecode keeps them, as they may be part of a path; a
    byte order mark is skipped. Raises NajaError with line and column.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    start = len(text) - len(text.removeprefix("\ufeff").lstrip(_SPACE))
    try:
        value, end = _decode(text, start)
    except StopIteration as stop:
        raise _error(name, "expected a value", text, stop.value) from None
    except RecursionError:
        raise NajaError(f"{name}: nested too deeply") from None
    except ValueError as error:
        if not (hasattr(error, "msg") and hasattr(error, "pos")):
            raise NajaError(f"{name}: {error}") from None
        raise _error(name, error.msg[:1].lower() + error.msg[1:], text, error.pos) from None
    rest = text[end:].lstrip(_SPACE)
    if rest:
        raise _error(name, "expected nothing after the value", text, len(text) - len(rest))
    return value


def _decode(text: str, start: int) -> tuple[Any, int]:
    """Return the value that begins at ``start``, and where it ends."""
    found = _scan(text, start)
    if found:
        return found
    import _json

    scan: Callable[[str, int], tuple[Any, int]] = _json.make_scanner(_Settings())  # type: ignore[arg-type]
    try:
        return scan(text, start)
    except SystemError:
        # The C code has failed to raise json.JSONDecodeError, which must be loaded for that.
        import json.decoder  # noqa: F401

        return scan(text, start)


def _quote(text: str) -> str:
    """Return a string as JSON in ASCII."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escape, text))}"'


def _escape(letter: str) -> str:
    number = ord(letter)
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isascii() and letter.isprintable():
        return letter
    if number > 0xFFFF:
        number -= 0x10000
        return f"\\u{0xD800 | number >> 10:04x}\\u{0xDC00 | number & 0x3FF:04x}"
    return f"\\u{number:04x}"


def _error(name: str, why: str, text: str, position: int) -> NajaError:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position)
    return NajaError(f"{name}: line {line}, column {column}: {why}")


def dumps(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON in ASCII: on one line, or with ``indent`` spaces a level.

    Takes what ``loads`` gives, and tuples. Raises NajaError for anything else.
    """
    parts: list[str] = []
    _write(value, parts, "" if indent is None else "\n", " " * (indent or 0))
    return "".join(parts)


def _write(value: Any, parts: list[str], line: str, step: str) -> None:
    """Append the JSON of a value to ``parts``; ``line`` is a line break with the present indent, or ""."""
    kind = type(value)
    if kind is str:
        parts.append(_quote(value))
    elif value is None or kind is bool:
        parts.append("null" if value is None else "true" if value else "false")
    elif kind is int:
        parts.append(int.__repr__(value))
    elif kind is float and value - value == 0:
        parts.append(float.__repr__(value))
    elif kind is dict and not line and len(value) > _MANY and _is_of_text(value):
        # Thousands of annotations take a third of the time so.
        from _json import encode_basestring_ascii as quote

        parts += "{", ",".join([f"{quote(key)}:{quote(text)}" for key, text in value.items()]), "}"
    elif kind is dict:
        inner, separator = line and line + step, "{"
        for key, member in value.items():
            if type(key) is not str:
                raise NajaError(f"not JSON: {key!r} as a name")
            parts += separator, inner, _quote(key), ": " if line else ":"
            _write(member, parts, inner, step)
            separator = ","
        parts.append(line + "}" if value else "{}")
    elif kind is list or kind is tuple:
        inner, separator = line and line + step, "["
        for member in value:
            parts += separator, inner
            _write(member, parts, inner, step)
            separator = ","
        parts.append(line + "]" if value else "[]")
    else:
        raise NajaError(f"not JSON: {value!r}")


def _is_of_text(value: dict[Any, Any]) -> bool:
    return set(map(type, value)) == set(map(type, value.values())) == {str}
