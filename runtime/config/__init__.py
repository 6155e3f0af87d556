"""Read config.json and check it before anything is touched.

A config is refused for the first thing that is wrong with it, in one line that names the place.
Two things are checked: the form, by a verdict compiled from the JSON Schemas; and what a schema
cannot say, by rules. Only a refusal pays for jsonschema, which then says what was expected.

The verdict and the rules are loaded when they are asked: most verbs have no config to check, and
would lose 2 ms.
"""

from __future__ import annotations

import os
import stat

from ..errors import ConfigError, NajaError
from . import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .explain import Problem
    from .rules import Findings

__all__ = [
    "Invalid",
    "check",
    "check_process",
    "check_resources",
    "load",
    "problems",
    "read",
    "rootfs",
]


class Invalid(ConfigError):
    """A config.json that breaks the specification: ``why`` is broken at ``origin``."""

    def __str__(self) -> str:
        line = f"{self.what} {self.origin or '/'}: {self.why}"
        # A name in the config may hold anything, and is part of the pointer to it.
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def read(bundle: str) -> tuple[dict[str, Any], bytes]:
    """Return the config of a bundle, checked, and the JSON text that it can be read from again.

    Raises NajaError where there is no such file, Invalid where it or the root file system will not do.
    """
    config, text = _read(bundle)
    if check(config):
        text = json.dumps(config).encode()
    rootfs(config, bundle)
    return config, text


def load(bundle: str) -> dict[str, Any]:
    """Return the parsed config.json of a bundle, not yet checked. Raises NajaError."""
    return _read(bundle)[0]


def _read(bundle: str) -> tuple[dict[str, Any], bytes]:
    path = os.path.join(bundle, "config.json")
    try:
        text = json.read(path)
    except FileNotFoundError:
        raise ConfigError(f"{path} not found", why="a bundle is a directory with a config.json") from None
    except OSError as error:
        from ..linux import unexecutable

        why = unexecutable.unopened(path, error)
        raise NajaError.from_os_error(f"read {path}", error, why=why) from None
    try:
        config = json.loads(text, path)
    except NajaError as error:
        raise ConfigError(error.what) from None
    if type(config) is not dict:
        raise ConfigError(f"{path} holds no JSON object")
    return config, text


def check(config: dict[str, Any]) -> bool:
    """Refuse a config that naja cannot make a container of. Raises Invalid for the first problem.

    A property that is null is taken out: it is absent. Returns whether that has changed anything.
    """
    from . import rules, rules_linux, verdict

    return _check(config, "config.json", verdict.config, (*rules.RULES, *rules_linux.RULES))


def check_process(process: Any, document: str = "process.json") -> None:
    """Refuse what ``exec --process`` cannot run; origins start at the document. Raises Invalid.

    What is null is taken out, as by ``check``.
    """
    from . import rules, verdict

    _check(process, document, verdict.process, (rules.text, rules.process))


def check_resources(resources: Any, document: str = "resources") -> None:
    """Refuse what ``update --resources`` cannot set; origins start at the resources. Raises Invalid.

    What is null is taken out, as by ``check``.
    """
    from . import rules_linux, verdict

    _check(resources, document, verdict.resources, (rules_linux.resources,))


def _check(
    value: Any,
    what: str,
    verdict_of: Callable[[Any], str | None],
    rules_for: tuple[Callable[[Any], Findings], ...],
) -> bool:
    pointer, changed = verdict_of(value), False
    if pointer is not None:
        from . import nulls

        changed = nulls.drop(value)
        pointer = verdict_of(value) if changed else pointer
    if pointer is not None:
        raise Invalid(what, why=_why(value, verdict_of.__name__, pointer), origin=pointer)
    for rule in rules_for:
        for origin, why in rule(value):
            raise Invalid(what, why=why, origin=origin)
    return changed


def _why(value: Any, name: str, pointer: str) -> str:
    try:
        from . import explain
    except NajaError as error:
        # That it is wrong, and where, is known without jsonschema.
        return f"not what the schema asks for; {error}"
    return explain.why(value, name, pointer)


def problems(config: Any, bundle: str = "") -> list[Problem]:
    """Return everything that is wrong with a config, and with its root where the bundle is given.

    Where the form is wrong, the rules are asked about the rest; no place is told of as both.
    """
    import copy

    from . import explain, nulls, rules, rules_linux
    from .sound import Sound

    document = copy.deepcopy(config)
    nulls.drop(document)
    found = explain.problems(document, "config")
    if type(document) is not dict:
        return found
    asked = [*rules.RULES, *rules_linux.RULES]
    if bundle:
        asked.append(lambda config: _root_problem(config, bundle))
    sound, malformed = Sound(document, found), {problem.origin for problem in found}
    contents = [problem for rule in asked for problem in sound.ask(rule)]
    return found + [problem for problem in contents if problem.origin not in malformed]


def _root_problem(config: dict[str, Any], bundle: str) -> Findings:
    if "root" in config:
        try:
            rootfs(config, bundle)
        except (Invalid, ValueError) as error:  # A path with a NUL is told of by its rule.
            if isinstance(error, Invalid):
                yield error.origin, error.why


def rootfs(config: dict[str, Any], bundle: str) -> str:
    """Return the absolute path of the root file system of a checked config.

    Raises Invalid where it is not a directory, or is the root of the host itself. (A bind mount of that
    elsewhere is a mount of its own, on which others can be made.)
    """
    path = os.path.normpath(os.path.join(os.path.abspath(bundle), config["root"]["path"]))
    try:
        found = os.stat(path)
    except OSError as error:
        from ..linux import unexecutable

        hint = unexecutable.unopened(path, error)
        if isinstance(error, FileNotFoundError):
            hint = hint or "unpack an image there (`naja spec --host` needs none)"
        why = f"{path}: {error.strerror}" + (f": {hint}" if hint else "")
        raise Invalid("config.json", why=why, origin="/root/path") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Invalid("config.json", why=f"{path} is not a directory", origin="/root/path")
    if os.path.realpath(path) == "/":
        raise Invalid("config.json", why="the host's own root cannot be a container's", origin="/root/path")
    return path
