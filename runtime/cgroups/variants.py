"""Properties of a systemd unit out of a config's annotations.

``org.systemd.property.NAME`` holds a value in GVariant's text form, as in runc's docs/systemd.md:
``'text'``, ``true``, ``5``, ``uint64 5``, ``['a', 'b']``, ``b'bytes'``.
"""

from __future__ import annotations

from ..errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..systemd.bus import Property

_PREFIX = "org.systemd.property."

_NUMBERS = {
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
}


#: What would put other processes into the unit, or the container's elsewhere.
_OURS = ("ControlGroup", "DelegateSubgroup", "PIDFDs", "PIDs", "Slice")

#: Escapes with one letter, and those with so many hexadecimal digits, in text and in bytes.
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\n": ""}
_TEXT_DIGITS, _BYTE_DIGITS = {"u": 4, "U": 8}, {"x": 2}


def annotated(annotations: dict[str, str], slice: str = "") -> list[Property]:
    """Return the properties that annotations ask for. Raises NajaError for what cannot be read.

    ``slice`` is that of the unit: it can only be named as what it is anyway.
    """
    properties = []
    for key, text in annotations.items():
        if not key.startswith(_PREFIX):
            continue
        name = key[len(_PREFIX) :]
        origin = f"/annotations/{key}"
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise NajaError(f"systemd property {name!r}", why="it is no name of a property", origin=origin)
        try:
            kind, value = parse(text.strip())
            if name.endswith("Sec") and not name.endswith("USec"):
                # In unit files times are seconds, on the bus microseconds under another name.
                name, kind, value = f"{name[:-3]}USec", "t", int(float(value) * 1000000)
        except (ValueError, IndexError, TypeError):
            raise NajaError(
                f"systemd property {name} = {text}", why="not understood", origin=origin
            ) from None
        if name in _OURS:
            if (name, value) == ("Slice", slice):
                continue
            why = "the container would leave its unit; /linux/cgroupsPath names its slice"
            raise NajaError(f"systemd property {name} = {text}", why=why, origin=origin)
        properties.append((name, kind, value))
    return properties


def parse(text: str) -> tuple[str, Any]:
    """Return the D-Bus type and the value of a GVariant text. Raises ValueError."""
    if text[0] in "'\"":
        return "s", _unescaped(*_unquote(text), _TEXT_DIGITS)
    if text[:2] in ("b'", 'b"'):
        return "ay", _bytes(text[1:])
    if text[0] == "[":
        return _parse_array(text)
    word, _, rest = text.partition(" ")
    if text[0] == "@":
        # The type told in front: needed where nothing else tells it, as with an empty array.
        value = [] if rest.strip() == "[]" else parse(rest.strip())[1]
        return word[1:], bytes(value) if word == "@ay" else value
    if text in ("true", "false"):
        return "b", text == "true"
    return _parse_number(_NUMBERS.get(word, ""), rest if word in _NUMBERS else text)


def _parse_number(kind: str, text: str) -> tuple[str, Any]:
    if not kind:
        kind = "d" if "." in text else "i"
    return kind, float(text) if kind == "d" else int(text, 0)


def _unquote(text: str) -> tuple[str, str]:
    """Return what is between quotes, and the quote."""
    if len(text) < 2 or text[-1] != text[0]:
        raise ValueError(text)
    return text[1:-1], text[0]


def _unescaped(text: str, quote: str, digits: dict[str, int]) -> str:
    """Return text as it is meant; ``digits`` are the escapes with a number, in bytes also octal ones."""
    plain, position = "", 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == quote:
            raise ValueError(text)
        if letter == "\\":
            letter = text[position]
            position += 1
            if letter in digits:
                end = position + digits[letter]
                if len(text) < end:
                    raise ValueError(text)
                letter, position = chr(int(text[position:end], 16)), end
            elif letter in "01234567" and "x" in digits:
                octal = text[position - 1 : position + 2]
                octal = octal[: len(octal) - len(octal.lstrip("01234567"))]
                letter, position = chr(int(octal, 8) & 0xFF), position - 1 + len(octal)
            else:
                letter = _LETTERS.get(letter, letter)
        plain += letter
    return plain


def _bytes(text: str) -> bytes:
    """Return a byte string, which ends in a NUL, as in GVariant (and for runc)."""
    inner, quote = _unquote(text)
    inner = inner.encode(errors="surrogateescape").decode("latin-1")
    return _unescaped(inner, quote, _BYTE_DIGITS).encode("latin-1") + b"\0"


def _parse_array(text: str) -> tuple[str, Any]:
    if text[-1] != "]" or not text[1:-1].strip():
        # Without a type: an empty array needs one in front (@as []).
        raise ValueError(text)
    elements = [parse(part.strip()) for part in _split(text[1:-1])]
    kind = elements[0][0]
    if any(other != kind for other, _ in elements):
        raise ValueError(text)
    values = [value for _, value in elements]
    return f"a{kind}", bytes(values) if kind == "y" else values


def _split(text: str) -> list[str]:
    """Split at the commas that are neither in quotes nor in brackets."""
    parts, start, depth, quote = [], 0, 0, ""
    previous = ""
    for position, letter in enumerate(text):
        if quote:
            if letter == quote and previous != "\\":
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in "[]":
            depth += 1 if letter == "[" else -1
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
        previous = letter
    return [*parts, text[start:]]
