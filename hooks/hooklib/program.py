"""A hook program: its arguments, the state on its standard input, errors in one line."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class HookError(Exception):
    """Something that a hook could not do, said in one line."""


class Arguments(argparse.ArgumentParser):
    """An argument parser that complains in one line, as everything does that a hook says."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and exit with 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def read_state() -> dict[str, Any]:
    """Return the container's state, which a runtime writes to its hooks (config.md, POSIX-platform Hooks).

    Raises HookError where it is not what the specification says.
    """
    if sys.stdin.isatty():
        raise HookError("expected the container's state on standard input: this is a hook, see --help")
    try:
        state: dict[str, Any] = json.load(sys.stdin.buffer)
        if not isinstance(state["id"], str) or state["status"] not in (
            *("creating", "created", "running", "stopped"),
        ):
            raise ValueError("its id or status will not do")
    except (ValueError, KeyError, TypeError) as error:
        raise HookError(f"standard input is not the state of a container: {error}") from None
    return state


def run(name: str, main: Callable[[], None]) -> None:
    """Call ``main`` and exit: with 0, or with 1 and one line on standard error."""
    try:
        main()
    except HookError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        sys.exit(f"{name}: {error.filename or 'system call'}: {error.strerror}")
