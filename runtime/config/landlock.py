"""The annotation ``naja.landlock``: what a container may do with files, TCP ports and others, as JSON.

    {"paths": {"/usr": "rx", "/tmp": "rw", "/dev/null": ["read_file", "write_file"]},
     "bind": [8080], "connect": [], "scope": ["signal"]}

Each member is a restriction, and what it does not name is denied: where there is no ``paths`` files are free.
``r`` stands for reading files and directories, ``w`` for all that changes them, ``x`` for executing.
"""

from __future__ import annotations

from ..errors import NajaError
from ..linux.landlock import ACCESS, BIND_TCP, CONNECT_TCP, SCOPES
from . import json
from .pattern import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

ORIGIN = "/annotations/naja.landlock"

_LETTERS = {
    "r": ACCESS["read_file"] | ACCESS["read_dir"],
    "x": ACCESS["execute"],
    "w": sum(
        bit for name, bit in ACCESS.items() if name.startswith(("write", "remove", "make", "refer", "trunc"))
    ),
}

#: All that is denied where there are paths; this one only where a path names it.
_SELDOM = ACCESS["ioctl_dev"]

#: Which version of the kernel's Landlock each restriction needs (landlock(7)), and the Linux that has it.
_FILES, _PORTS, _IOCTL, _SCOPES = (3, "6.2"), (4, "6.7"), (5, "6.10"), (6, "6.12")
#: Below this nothing is taken.
LEAST = _FILES


class Rules:
    """The annotation, read."""

    def __init__(self, document: dict[str, Any]) -> None:
        """``document`` is one without problems."""
        self.paths = [(path, _access(value)) for path, value in (document.get("paths") or {}).items()]
        self.ports = [
            (port, access)
            for name, access in (("bind", BIND_TCP), ("connect", CONNECT_TCP))
            for port in document.get(name) or ()
        ]
        #: What is denied, but for these: rights to files, to ports, and what is kept in the container.
        self.files = self.net = 0
        if "paths" in document:
            named = sum({bit for _, access in self.paths for bit in ACCESS.values() if access & bit})
            self.files = sum(ACCESS.values()) & ~_SELDOM | named & _SELDOM
        for name, access in (("bind", BIND_TCP), ("connect", CONNECT_TCP)):
            if name in document:
                self.net |= access
        self.scope = sum(SCOPES[name] for name in {*document.get("scope", ())})

    def needed(self) -> tuple[int, str]:
        """Return the version of Landlock that is needed, and the first Linux with it."""
        needs = [(1, "5.13")]
        needs += [_FILES] if self.files else []
        needs += [_IOCTL] if self.files & _SELDOM else []
        needs += [_PORTS] if self.net else []
        needs += [_SCOPES] if self.scope else []
        return max(needs)


def read(text: str) -> Rules:
    """Return the rules of an annotation. Raises NajaError for the first problem."""
    for origin, why in problems(text):
        raise NajaError("naja.landlock", why=why, origin=origin)
    return Rules(json.loads(text, "naja.landlock"))


def problems(text: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an annotation: its place, and why, which begins with the place in it."""
    try:
        document = json.loads(text, "naja.landlock")
    except NajaError as error:
        yield ORIGIN, f"is no JSON: {error.why or error.what}"
        return
    for pointer, why in _problems(document):
        yield ORIGIN, f"{pointer or '/'} {why}"


def _problems(document: Any) -> Iterator[tuple[str, str]]:
    if type(document) is not dict:
        yield "", "is no object"
        return
    for name, value in document.items():
        where = f"/{escape(name)}"
        if name == "paths" and type(value) is dict:
            for path, access in value.items():
                yield from _path_problems(f"{where}/{escape(path)}", path, access)
        elif name in ("bind", "connect") and type(value) is list:
            for index, port in enumerate(value):
                if type(port) is not int or not 0 <= port < 1 << 16:
                    yield f"{where}/{index}", "is no TCP port"
        elif name == "scope" and type(value) is list:
            for index, scope in enumerate(value):
                if type(scope) is not str or scope not in SCOPES:
                    yield f"{where}/{index}", f"is none of {', '.join(SCOPES)}"
        elif name in ("paths", "bind", "connect", "scope"):
            yield where, "is no object" if name == "paths" else "is no list"
        else:
            yield where, "is not known: paths, bind, connect and scope are"


def _path_problems(where: str, path: str, access: Any) -> Iterator[tuple[str, str]]:
    if not path.startswith("/") or "\0" in path:
        yield where, "is no absolute path"
    if type(access) is str:
        if not access or not {*access} <= {*_LETTERS}:
            yield where, "is not made of r, w and x"
    elif type(access) is not list or not access:
        yield where, "is neither letters nor a list of rights"
    else:
        for index, name in enumerate(access):
            if type(name) is not str or name not in ACCESS:
                yield f"{where}/{index}", f"is none of {', '.join(ACCESS)}"


def _access(value: str | list[str]) -> int:
    table = _LETTERS if isinstance(value, str) else ACCESS
    access = 0
    for name in value:
        access |= table[name]
    return access
