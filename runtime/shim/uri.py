"""Where output goes, as containerd names it: "binary:///bin/logger?flag=value", "file:///log", or a path."""

from __future__ import annotations


class Uri:
    """A name, taken apart; ``arguments`` are the names and values of its query in their order."""

    __slots__ = ("arguments", "path", "scheme")

    def __init__(self, text: str) -> None:
        scheme, colon, rest = text.partition("://")
        self.scheme = scheme if colon and scheme.isalnum() else ""
        self.arguments: list[str] = []
        self.path = text
        if self.scheme:
            place, _, query = rest.partition("?")
            # What is left of the path would be a host, and there is none.
            self.path = unquote("/" + place.partition("/")[2])
            self.arguments = _arguments(query)


def _arguments(query: str) -> list[str]:
    """Return what a program that is named with this query is called with."""
    words = []
    for pair in query.split("&") if query else []:
        name, _, value = pair.replace("+", " ").partition("=")
        words += [unquote(name), unquote(value)]
    return words


def unquote(text: str) -> str:
    """Undo percent-encoding (RFC 3986); what is none stays as it is."""
    head, *parts = text.split("%")
    content = head.encode()
    for part in parts:
        try:
            content += bytes.fromhex(part[:2]) + part[2:].encode() if len(part) > 1 else b"%" + part.encode()
        except ValueError:
            content += b"%" + part.encode()
    return content.decode("utf-8", "surrogateescape")
