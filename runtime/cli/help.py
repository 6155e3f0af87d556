"""Help: what ``naja help`` prints, made from the declarations in ``options``."""

from __future__ import annotations

import os

from .guide import ABOUT, EXAMPLES, MORE
from .options import CAPABILITY, DIRECTORY, DURATION, FILE, FLAG, GLOBAL_OPTIONS, HELP, NUMBER, VERBS
from .output import show
from .parser import UsageError
from .suggest import for_command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import Option

__all__ = ["described", "placeholder", "show_help", "spelled", "usage"]

_WIDEST, _USUAL = 100, 80
_PLACEHOLDERS = {FILE: "FILE", DIRECTORY: "DIRECTORY", CAPABILITY: "CAPABILITY"}
_END = "'naja help COMMAND' tells more of one command, 'naja completion SHELL' makes a shell complete words."


def show_help(program: str, name: str = "") -> int:
    """Print the help of naja or of one verb. Returns 0. Raises UsageError."""
    if name and name not in VERBS:
        raise UsageError(f"no such command: {name!r}{for_command(name)}")
    lines = _verb(program, name) if name else _naja(program)
    show("".join(f"{line}\n" for line in lines))
    return 0


def _naja(program: str) -> list[str]:
    verbs = [(name, verb.summary) for name, verb in VERBS.items()]
    return [
        f"Usage: {usage(program, '')}",
        "",
        *_wrapped(ABOUT),
        *_section("Options", _options(GLOBAL_OPTIONS)),
        *_section("Commands", verbs),
        *_examples(""),
        "",
        *_wrapped(_END),
    ]


def _verb(program: str, name: str) -> list[str]:
    verb = VERBS[name]
    return [
        f"Usage: {usage(program, name)}",
        "",
        *_wrapped(described(name)),
        *_section("Options", _options((*verb.options, HELP))),
        *_examples(name),
    ]


def usage(program: str, name: str) -> str:
    """Return the form of a command line."""
    if not name:
        return f"{program} [global options] COMMAND [options] [arguments]"
    return f"{program} [global options] {name} [options] {VERBS[name].arguments}".rstrip()


def described(name: str) -> str:
    """Return what a command does, in sentences."""
    summary = VERBS[name].summary
    return " ".join(filter(None, (summary[0].upper() + summary[1:] + ".", MORE.get(name))))


def spelled(option: Option) -> list[str]:
    """Return the usual spellings of an option, the short one first."""
    return [f"-{name}" if len(name) == 1 else f"--{name}" for name in sorted(option.names, key=len)]


def placeholder(option: Option) -> str:
    """Return what stands for an option's value; "" for a flag."""
    if option.kind == FLAG:
        return ""
    usual = {NUMBER: "N", DURATION: "TIME"}.get(option.kind, "VALUE")
    return _PLACEHOLDERS.get(option.takes) or option.takes.replace(" ", "|") or usual


def _options(options: Iterable[Option]) -> list[tuple[str, str]]:
    rows = []
    for option in options:
        default = "" if option.default in (False, "", 0, ()) else f" (default: {option.default})"
        head = f"{', '.join(spelled(option))} {placeholder(option)}".rstrip()
        rows.append((head, option.help + default))
    return rows


def _examples(name: str) -> list[str]:
    if name not in EXAMPLES:
        return []
    lines = ["", "Examples:"]
    for command, meaning in EXAMPLES[name]:
        lines += [f"  {command}", *_wrapped(meaning, 6)]
    return lines


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    """Return two columns below a title; what is too long for the first one has a line of its own."""
    edge = min(max(len(head) for head, _ in rows) + 4, 30)
    lines = ["", f"{title}:"]
    for head, text in rows:
        first, *rest = _wrapped(text, edge)
        if len(head) > edge - 4:
            lines += [f"  {head}", first]
        else:
            lines.append(f"  {head}".ljust(edge) + first.lstrip())
        lines += rest
    return lines


def _wrapped(text: str, indentation: int = 0) -> list[str]:
    """Return the lines of a text, as wide as the terminal is."""
    try:
        width = min(os.get_terminal_size(1).columns or _USUAL, _WIDEST)
    except OSError:
        width = _USUAL
    lines, line = [], ""
    for word in text.split():
        if line and indentation + len(line) + 1 + len(word) > width:
            lines.append(" " * indentation + line)
            line = ""
        line = f"{line} {word}".lstrip()
    return [*lines, " " * indentation + line]
