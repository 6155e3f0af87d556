"""What the compiled schema needs beside itself: patterns without ``re`` (5 ms to import), pointers."""

from __future__ import annotations


def matches(text: str, pieces: tuple[tuple[str, str], ...]) -> bool:
    """Tell whether the whole of ``text`` is made of ``pieces``, as compile.split gives them.

    A piece is the characters that it takes ("^..." for all but these) and how often: "1", "+" or
    "*". No piece may begin with a character that the piece before it takes.
    """
    index = 0
    for characters, times in pieces:
        start = index
        while index < len(text) and (times != "1" or index == start):
            if (text[index] in characters[1:]) if characters[0] == "^" else (text[index] not in characters):
                break
            index += 1
        if index == start and times != "*":
            return False
    return index == len(text)


def escape(name: str) -> str:
    """Return a property name as it is written in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
