"""Protocol buffers (protobuf.dev, Encoding), as far as containerd's messages need them.

A message is a table: by name, the number of a field and its kind. The library ``protobuf`` would take 70 ms
to import and 5 MB of every process's own memory, which is more than all the rest of naja.
"""

from __future__ import annotations

from struct import pack, unpack_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

    #: How a value is written (after the key of its field) and read.
    Kind: TypeAlias = "str | Message"

#: Kinds of single values: those of the language of .proto files. A map has texts for keys and values.
BOOL, BYTES, DOUBLE, INT64, STRING, UINT32, UINT64 = (
    "bool",
    "bytes",
    "double",
    "int64",
    "string",
    "u32",
    "u64",
)
MAP = "map"

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_WIDTHS = {UINT32: 32, UINT64: 64, INT64: 64, BOOL: 64}
_MOST_BITS = 64


class Malformed(ValueError):
    """Bytes that are no message, or not of this kind."""


class Many:
    """A repeated field."""

    __slots__ = ("kind",)

    def __init__(self, kind: Kind) -> None:
        self.kind = kind


class Message:
    """A kind of message. Its values are dictionaries by the names of the fields.

    A field is ``name=(number, kind)``, the kind one of the above, another ``Message``, or ``Many`` of these.
    """

    __slots__ = ("_by_number", "_fields", "name")

    def __init__(self, name: str, /, **fields: tuple[int, Kind | Many]) -> None:
        #: As containerd calls it, with its package, in an Any.
        self.name = name
        self._fields = {key: (number, kind) for key, (number, kind) in fields.items()}
        self._by_number = {number: (key, kind) for key, (number, kind) in fields.items()}

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """Return the bytes; what is None, zero or empty is left out. Raises KeyError for an unknown field."""
        out = bytearray()
        for key, value in values.items():
            number, kind = self._fields[key]
            if isinstance(kind, Many):
                _write_many(out, number, kind.kind, value or ())
            elif kind == MAP:
                for pair in (value or {}).items():
                    _write(out, number, _PAIR, dict(zip(("key", "value"), pair, strict=True)))
            elif value if not isinstance(kind, Message) else value is not None:
                _write(out, number, kind, value)
        return bytes(out)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Return the values of all fields; the missing are 0, "", None or empty. Raises Malformed."""
        values = {key: _default(kind) for key, (_, kind) in self._fields.items()}
        place = 0
        while place < len(data):
            key, place = _read_varint(data, place)
            content, place = _read_value(data, place, key & 7)
            name, kind = self._by_number.get(key >> 3, ("", BYTES))
            if not name:
                continue  # Of a version that is newer than this.
            if isinstance(kind, Many):
                values[name] += _read_many(kind.kind, key & 7, content)
            elif kind == MAP:
                pair = _convert(_PAIR, key & 7, content)
                values[name][pair["key"]] = pair["value"]
            else:
                values[name] = _convert(kind, key & 7, content)
        return values


_PAIR = Message("", key=(1, STRING), value=(2, STRING))


def _default(kind: Kind | Many) -> Any:
    if isinstance(kind, Many):
        return []
    if isinstance(kind, Message):
        return None
    return {BYTES: b"", STRING: "", BOOL: False, DOUBLE: 0.0}.get(kind, {} if kind == MAP else 0)


def _write(out: bytearray, number: int, kind: Kind, value: Any) -> None:
    if kind == DOUBLE:
        out += _varint(number << 3 | _EIGHT_BYTES) + pack("<d", value)
    elif kind in _WIDTHS:
        out += _varint(number << 3 | _VARINT) + _varint(int(value) % 2 ** _WIDTHS[str(kind)])
    else:
        content = value.encode() if kind == STRING else value
        if isinstance(kind, Message):
            content = kind.encode(value)
        out += _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _write_many(out: bytearray, number: int, kind: Kind, values: Any) -> None:
    if kind in _WIDTHS and values:  # Numbers are packed.
        content = b"".join(_varint(int(value) % 2 ** _WIDTHS[str(kind)]) for value in values)
        out += _varint(number << 3 | _LENGTH) + _varint(len(content)) + content
        return
    for value in values:
        _write(out, number, kind, value)


def _varint(number: int) -> bytes:
    """Write seven bits a byte, the lowest first; the top bit says that there are more."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return the number at ``place``, and the place after it."""
    number = shift = 0
    while place < len(data) and shift < _MOST_BITS:
        group = data[place]
        number |= (group & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if group <= 0x7F:
            return number % 2**_MOST_BITS, place
    raise Malformed("a number has no end")


def _read_value(data: bytes, place: int, wire: int) -> tuple[Any, int]:
    """Return what stands at ``place``, an integer or bytes, and the place after it."""
    if wire == _VARINT:
        return _read_varint(data, place)
    if wire == _LENGTH:
        length, place = _read_varint(data, place)
    elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
        length = 8 if wire == _EIGHT_BYTES else 4
    else:
        raise Malformed(f"a field of wire type {wire}")
    end = place + length
    if end > len(data):
        raise Malformed("a field is longer than the message")
    return data[place:end], end


_WIRES: dict[str, int] = {BYTES: _LENGTH, STRING: _LENGTH, DOUBLE: _EIGHT_BYTES}


def _convert(kind: Kind, wire: int, content: Any) -> Any:
    """Return a value of the kind. Raises Malformed where it is of another."""
    expected = _LENGTH if isinstance(kind, Message) else _WIRES.get(kind, _VARINT)
    if wire != expected:
        raise Malformed(f"wire type {wire} where {expected} is due")
    if isinstance(kind, Message):
        return kind.decode(content)
    return _CONVERSIONS[kind](content)


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Malformed("a string that is not UTF-8") from None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    BYTES: bytes,
    STRING: _text,
    BOOL: bool,
    DOUBLE: lambda content: unpack_from("<d", content)[0],
    UINT32: lambda number: number % 2**32,
    UINT64: int,
    INT64: lambda number: number - 2**64 if number >> 63 else number,
}


def _read_many(kind: Kind, wire: int, content: Any) -> list[Any]:
    """Return the values of a repeated field, which has one of them, or is packed."""
    if not (kind in _WIDTHS and wire == _LENGTH):
        return [_convert(kind, wire, content)]
    values, place = [], 0
    while place < len(content):
        number, place = _read_varint(content, place)
        values.append(_convert(kind, _VARINT, number))
    return values
