"""The file of facts about a container, which the launcher takes its steps by (steps.py): its layout.

``naja.container.shortcuts`` finds the facts and writes the file, beside the record.
"""

from __future__ import annotations

from struct import pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FILE", "LARGEST", "MAGIC", "NUMBERS", "PLACES", "ROOMS", "TEXTS", "packed"]

FILE = "facts"

#: Changes with the layout.
MAGIC = b"naja 1\n\0"

#: What may be asked for, and what kind of cgroups there are: a 1 says yes; the pid, and how many bytes
#: getdents64(2) returns for the entries of the state directory.
NUMBERS = ("may state", "may start", "may kill", "may delete", "has freezer", "has links", "pid", "entries")

#: "record" and "document" (of ``state``) are in parts: between these stand the status and the pid. The
#: cgroups are all in one, an end behind each and behind all.
TEXTS = (
    *("record 1", "record 2", "document 1", "document 2", "document 3", "pid", "id", "process", "statistics"),
    *("start time", "freezer", "frozen", "frozen name", "thawed", "thaw", "inhabitants", "nobody"),
    *("mark name", "mark", "cgroups"),
)

#: Where the steps have room for what they read and write, behind the file, and how much.
ROOMS = (
    *(("in record", 8192), ("in statistics", 1024), ("in frozen", 256), ("in mark", 256), ("links", 256)),
    # A path in a socket's address is behind two bytes.
    *(("out", 8192), ("own pid", 32), ("own link", 32), ("address", 2), ("path", 62)),
    *(("number 1", 32), ("number 2", 32), ("answer", 32)),
)
#: The file has less.
LARGEST = 40 << 10
PLACES = (*TEXTS, *(name for name, _ in ROOMS))

_HEAD = f"={len(NUMBERS) + len(PLACES)}i"
_START = 16 + 4 * (len(NUMBERS) + len(PLACES))


def _rooms() -> list[int]:
    places, place = [], LARGEST
    for _, size in ROOMS:
        places.append(place)
        place += size
    return places


_ROOMS = _rooms()


def packed(numbers: Mapping[str, int], texts: Mapping[str, bytes]) -> bytes:
    """Return the file: the magic word, a sum of what follows, the numbers, where the texts are, the texts."""
    places, place = [], _START
    for name in TEXTS:
        places.append(place)
        place += len(texts[name]) + 1
    body = pack(_HEAD, *(numbers[name] for name in NUMBERS), *places, *_ROOMS)
    body += b"\0".join([texts[name] for name in TEXTS]) + b"\0"
    body += bytes(-len(body) % 8)
    return MAGIC + pack("=Q", int.from_bytes(body, "little") % 0xFFFF_FFFF_FFFF_FFFF) + body
