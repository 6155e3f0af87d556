"""What naja says: results on stdout; errors and warnings on stderr and in the file of ``--log``."""

from __future__ import annotations

import os
import time

from ..config import json
from ..errors import NajaError, one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["Log", "ReaderGone", "show"]

#: What runc takes as "no log file".
_STDERR = ("", "/dev/stderr")


class ReaderGone(Exception):
    """Nobody reads our stdout any more."""


def show(text: str) -> None:
    """Write to stdout at once; paths that are not UTF-8 come out as they are.

    Raises ReaderGone, or NajaError where the output cannot be written.
    """
    data = _encode(text)
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise NajaError.from_os_error("write to stdout", error) from None


class Log:
    """Reports to people on stderr and to engines in a file.

    Warnings go to the file where there is one: stderr is then as a rule the container's. An engine wants
    that file to hold one document, the error. So they are kept until the end, and are part of that.
    """

    __slots__ = ("_descriptor", "_format", "_path", "_program", "_warnings")

    def __init__(self, program: str, path: str = "", format: str = "text") -> None:
        """Open the file. ``program`` begins each line on stderr. Raises NajaError."""
        if format not in ("text", "json"):
            raise NajaError(f"invalid log-format: {format}")
        self._program = program
        self._format = format
        self._warnings: list[str] = []
        self._path = path
        self._descriptor = -1
        if path not in _STDERR:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_SYNC | os.O_CLOEXEC
            try:
                self._descriptor = os.open(path, flags, 0o644)
            except OSError as error:
                raise NajaError.from_os_error(f"open the log file {path}", error) from None

    def warning(self, text: str) -> None:
        """Tell of something that is not an error; one line."""
        text = one_line(text)
        if self._descriptor >= 0:
            self._warnings.append(text)
        else:
            self._print("warning", text)

    def debug(self, text: str) -> None:
        """Tell what is done, at once; one line."""
        text = one_line(text)
        if self._descriptor >= 0:
            self._write("debug", text)
        else:
            self._print("debug", text)

    def error(self, text: str) -> None:
        """Tell why the command failed, in a line; the last thing that is told."""
        text = one_line(text)
        self._print("error", text)
        together: list[str] = []
        if self._format == "json":
            together, self._warnings = self._warnings, []
        self.close()
        if self._descriptor >= 0:
            self._write("error", text, together)

    def close(self) -> None:
        """Write the warnings that were kept."""
        for warning in self._warnings:
            tell = self._write if self._descriptor >= 0 else self._print
            tell("warning", warning)
        self._warnings.clear()

    def _print(self, level: str, text: str) -> None:
        """Write to stderr: for people, or as JSON where that is asked for and there is no file."""
        line = f"{self._program}: {text if level == 'error' else f'{level}: {text}'}\n"
        if self._descriptor < 0 and self._format == "json":
            line = _as_json(level, text)
        try:
            os.write(2, _encode(line))
        except OSError:
            pass  # There is no one left to tell; the exit status speaks.

    def _write(self, level: str, text: str, warnings: Sequence[str] = ()) -> None:
        line = _as_json(level, text, warnings) if self._format == "json" else _as_text(level, text)
        try:
            os.write(self._descriptor, _encode(line))
        except OSError as error:
            self._descriptor = -1
            self._print("error", str(NajaError.from_os_error(f"write the log file {self._path}", error)))
            if level != "error":
                self._print(level, text)


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _now() -> str:
    """Return the time in UTC as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _as_json(level: str, text: str, warnings: Sequence[str] = ()) -> str:
    document: dict[str, Any] = {"level": level, "msg": _readable(text), "time": _now()}
    if warnings:
        document["warnings"] = [_readable(warning) for warning in warnings]
    return json.dumps(document) + "\n"


def _readable(text: str) -> str:
    """Return text without bytes that are not UTF-8, which would make the line unreadable for Go."""
    return _encode(text).decode(errors="replace")


def _as_text(level: str, text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'time="{_now()}" level={level} msg="{quoted}"\n'
