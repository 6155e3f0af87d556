"""Read config.json and check it before anything is touched.

A config is refused for the first thing that is wrong with it, in one line that names the place.
Two things are checked: the form, by a verdict compiled from the JSON Schemas; and what a schema
cannot say, by rules. Only a refusal pays for jsonschema, which then says what was expected.
"""

from __future__ import annotations

import os
import stat

from runtime.config import json, rules, rules_linux, verdict
from runtime.errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from runtime.config.explain import Problem

__all__ = [
    "Invalid",
    "check",
    "check_process",
    "check_resources",
    "load",
    "load_file",
    "problems",
    "rootfs",
]


class Invalid(NajaError):
    """A config.json that breaks the specification: ``why`` is broken at ``origin``."""

    def __str__(self) -> str:
        return f"{self.what} {self.origin or '/'}: {self.why}"


def load(bundle: str) -> dict[str, Any]:
    """Return the parsed config.json of a bundle, not yet checked. Raises NajaError."""
    path = os.path.join(bundle, "config.json")
    config = load_file(path, f"the bundle {bundle} has no config.json")
    if type(config) is not dict:
        raise NajaError(f"{path} is not a JSON object")
    return config


def load_file(path: str, missing: str = "") -> Any:
    """Return the JSON value that a file holds; ``missing`` is what to say where there is none.

    A member whose value is null counts as absent, as in the runtimes written in Go, whose callers
    write it for an empty list. Raises NajaError.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            text = file.read()
    except FileNotFoundError as error:
        raise NajaError.from_os_error(missing or f"read {path}", error) from None
    except OSError as error:
        raise NajaError.from_os_error(f"read {path}", error) from None
    value = json.loads(text, path)
    return _without_nulls(value) if b"null" in text else value


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if type(value) is list:
        return [_without_nulls(item) for item in value]
    return value


def check(config: dict[str, Any]) -> None:
    """Refuse a config that naja cannot make a container of. Raises Invalid for the first problem."""
    _check(config, "config.json", verdict.config, (*rules.RULES, *rules_linux.RULES))


def check_process(process: Any) -> None:
    """Refuse what ``exec --process`` cannot run; origins start below /process. Raises Invalid."""
    _check(process, "process.json", verdict.process, (rules.process,))


def check_resources(resources: Any) -> None:
    """Refuse what ``update --resources`` cannot set; origins start at the resources. Raises Invalid."""
    _check(resources, "resources", verdict.resources, (rules_linux.resources,))


def _check(
    value: Any,
    what: str,
    verdict_of: Callable[[Any], str | None],
    rules_for: tuple[Callable[[Any], rules.Findings], ...],
) -> None:
    pointer = verdict_of(value)
    if pointer is not None:
        from runtime.config import explain

        raise Invalid(what, why=explain.why(value, verdict_of.__name__, pointer), origin=pointer)
    for rule in rules_for:
        for origin, why in rule(value):
            raise Invalid(what, why=why, origin=origin)


def problems(config: Any) -> list[Problem]:
    """Return everything that is wrong with a config; the rules need a valid form, and come second."""
    from runtime.config import explain

    found = explain.problems(config, "config")
    if not found:
        for rule in (*rules.RULES, *rules_linux.RULES):
            found += [explain.Problem(origin, why) for origin, why in rule(config)]
    return found


def rootfs(config: dict[str, Any], bundle: str) -> str:
    """Return the absolute path of the root file system of a checked config.

    Raises Invalid where it is not a directory, or is the root of the host.
    """
    path = os.path.normpath(os.path.join(os.path.abspath(bundle), config["root"]["path"]))
    try:
        found = os.stat(path)
    except OSError as error:
        raise Invalid("config.json", why=f"{path}: {error.strerror}", origin="/root/path") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Invalid("config.json", why=f"{path} is not a directory", origin="/root/path")
    if os.path.samestat(found, os.stat("/")):
        raise Invalid("config.json", why="the host's own root cannot be a container's", origin="/root/path")
    return path
