"""Reads the command line as Go's flag package does, in microseconds.

The rules: an option has one dash or two; its value is the next word or follows ``=``; a flag takes
a value after ``=`` only; ``--`` ends the options; nothing is abbreviated, bundled or split.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from .options import DURATION, FLAG, GLOBAL_OPTIONS, HELP, NUMBER, SERVICES, TEXTS, VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ..process.launch import Launch
    from .options import Option, Verb

__all__ = ["Command", "UsageError", "parse_globals", "parse_verb"]

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class UsageError(NajaError):
    """The command line is wrong; nothing was done."""


class Command:
    """A verb with its options, by long name, and its arguments, the container's ID first."""

    __slots__ = ("arguments", "globals", "launch", "name", "options", "verb")

    def __init__(
        self, name: str, verb: Verb, globals: dict[str, Any], options: dict[str, Any], arguments: list[str]
    ) -> None:
        self.name = name
        self.verb = verb
        #: The options before the verb.
        self.globals = globals
        self.options = options
        self.arguments = arguments
        #: The process that the verb is to make, begun already; None for verbs that make none.
        self.launch: Launch | None = None

    @property
    def id(self) -> str:
        """The container's ID."""
        return self.arguments[0]

    @property
    def root(self) -> str | None:
        """The state root; None where the default is meant."""
        root: str = self.globals["root"]
        return os.path.abspath(root) if root else None

    @property
    def rootless(self) -> bool | None:
        """What ``--rootless`` says; None for auto. Raises UsageError where it is neither."""
        text: str = self.globals["rootless"]
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text not in ("auto", ""):
            raise UsageError(f'invalid value "{text}" for --rootless: true, false or auto')
        return None


def parse_globals(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Split the words after the program's name into global options and the rest, the verb first.

    Raises UsageError where an option is unknown or its value is missing or wrong.
    """
    return _parse(words, GLOBAL_OPTIONS, greedy=True)


def parse_verb(globals: dict[str, Any], words: Sequence[str]) -> Command:
    """Read a verb and all that follows it. Raises UsageError where it is not used as it should be.

    Where help is asked for, the arguments are not counted.
    """
    name = words[0]
    verb = VERBS.get(name) or SERVICES.get(name)
    if verb is None:
        from .suggest import for_command

        raise UsageError(f"no such command: {name!r}{for_command(name)}")
    options, arguments = _parse(words[1:], (*verb.options, HELP), greedy=verb.greedy)
    if not options["help"]:
        _check_count(name, verb, len(arguments))
    return Command(name, verb, globals, options, arguments)


def _parse(
    words: Sequence[str], known: Iterable[Option], *, greedy: bool
) -> tuple[dict[str, Any], list[str]]:
    """Separate options from arguments; where ``greedy``, the first argument ends the options."""
    by_name = {name: option for option in known for name in option.names}
    values = {option.name: option.default for option in by_name.values()}
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if len(word) < 2 or word[0] != "-":
            arguments.append(word)
            if greedy:
                arguments.extend(rest)
            continue
        if word == "--":
            arguments.extend(rest)
            continue
        name, equals, text = word[2 if word[1] == "-" else 1 :].partition("=")
        if not name or name[0] == "-":
            raise UsageError(f"bad flag syntax: {word}")
        option = by_name.get(name)
        if option is None:
            from .suggest import for_option

            raise UsageError(f"flag provided but not defined: -{name}{for_option(name, by_name)}")
        if not equals:
            text = "true" if option.kind == FLAG else _next(rest, name)
        value = _value(option, name, text)
        values[option.name] = (*values[option.name], value) if option.kind == TEXTS else value
    return values, arguments


def _next(rest: Any, name: str) -> str:
    """Return the word after an option."""
    for word in rest:
        return str(word)
    raise UsageError(f"flag needs an argument: -{name}")


def _value(option: Option, name: str, text: str) -> Any:
    """Turn the text after an option into its value."""
    if option.kind == FLAG:
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise UsageError(f'invalid boolean value "{text}" for -{name}')
    try:
        if option.kind == NUMBER:
            return int(text, 0)
        if option.kind == DURATION:
            # Loaded here, as only people's verbs have such an option.
            from .values import seconds

            return seconds(text)
    except ValueError:
        raise UsageError(f'invalid value "{text}" for flag -{name}') from None
    return text


def _check_count(name: str, verb: Verb, count: int) -> None:
    """Refuse too few or too many arguments, in runc's words."""
    if verb.least <= count and (count <= verb.most or verb.most < 0):
        return
    if verb.least == verb.most:
        bound = f"exactly {verb.least}"
    elif count < verb.least:
        bound = f"a minimum of {verb.least}"
    else:
        bound = f"a maximum of {verb.most}"
    raise UsageError(f'"{name}" requires {bound} argument(s)')
