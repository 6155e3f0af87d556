"""Properties of a systemd unit out of a config's annotations.

``org.systemd.property.NAME`` holds a value in GVariant's text form, as in runc's docs/systemd.md:
``'text'``, ``true``, ``5``, ``uint64 5``, ``['a', 'b']``.
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


def annotated(annotations: dict[str, str]) -> list[Property]:
    """Return the properties that annotations ask for. Raises NajaError for what cannot be read."""
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
        properties.append((name, kind, value))
    return properties


def parse(text: str) -> tuple[str, Any]:
    """Return the D-Bus type and the value of a GVariant text. Raises ValueError."""
    if text[0] in "'\"":
        return "s", _unquote(text)
    if text[0] == "[":
        return _parse_array(text)
    word, _, rest = text.partition(" ")
    if text[0] == "@":
        # The type told in front: needed where nothing else tells it, as with an empty array.
        return word[1:], [] if rest.strip() == "[]" else parse(rest.strip())[1]
    if text in ("true", "false"):
        return "b", text == "true"
    return _parse_number(_NUMBERS.get(word, ""), rest if word in _NUMBERS else text)


def _parse_number(kind: str, text: str) -> tuple[str, Any]:
    if not kind:
        kind = "d" if "." in text else "i"
    return kind, float(text) if kind == "d" else int(text, 0)


def _unquote(text: str) -> str:
    quote, inner = text[0], text[1:-1]
    if len(text) < 2 or text[-1] != quote:
        raise ValueError(text)
    plain, escaped = "", False
    for letter in inner:
        if letter == "\\" and not escaped:
            escaped = True
            continue
        if letter == quote and not escaped:
            raise ValueError(text)
        plain += letter
        escaped = False
    return plain


def _parse_array(text: str) -> tuple[str, Any]:
    if text[-1] != "]" or not text[1:-1].strip():
        # Without a type: an empty array needs one in front (@as []).
        raise ValueError(text)
    elements = [parse(part.strip()) for part in _split(text[1:-1])]
    kind = elements[0][0]
    if any(other != kind for other, _ in elements):
        raise ValueError(text)
    return f"a{kind}", [value for _, value in elements]


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
