"""The verbs that help people to make and check a bundle: spec, validate, plan, features."""

from __future__ import annotations

import os

from ...config import json
from ...errors import NajaError
from ..output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..output import Log
    from ..parser import Command


def _bundle(command: Command) -> str:
    """Return the bundle that is an argument or an option, or else the current directory."""
    if command.arguments and command.options["bundle"]:
        raise NajaError("the bundle is given twice", why="--bundle and an argument")
    return (command.arguments or [command.options["bundle"]])[0] or "."


def spec(command: Command, log: Log) -> None:
    """Write a config.json to start from."""
    del log
    from ...config.template import write_spec

    options = command.options
    if command.arguments and not options["host"]:
        raise NajaError("a command is for --host only")
    rootless = os.geteuid() != 0 if options["rootless"] == "auto" else options["rootless"]
    write_spec(options["bundle"] or ".", rootless=rootless, host=options["host"], args=command.arguments)


def validate(command: Command, log: Log) -> int:
    """Report every problem of a config.json; warn of what may be meant otherwise. Returns 1 for a problem.

    As JSON all of it is on stdout, told apart by "level".
    """
    from ... import config
    from ...config import spelling

    bundle = _bundle(command)
    document = config.load(bundle)
    problems = config.problems(document, bundle)
    suspects = spelling.suspects(document)
    if command.options["json"]:
        levels = (("error", problems), ("warning", suspects))
        found = [
            {"level": level, "origin": one.origin, "why": one.why} for level, some in levels for one in some
        ]
        show(json.dumps(found, indent=2) + "\n")
    else:
        for suspect in suspects:
            log.warning(str(suspect))
        show("".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


def plan(command: Command, log: Log) -> None:
    """Print what ``create`` or ``run`` would do, as a plan; needs no privilege and changes nothing.

    With --diff, what that of another config has more and less.
    """
    from ...container.creation import Creation

    options = command.options
    asked: dict[str, Any] = {
        "root": command.root or "",
        "gate": not options["run"],
        "console_socket": options["console-socket"],
        # Without a socket a terminal is served by naja itself, as for "naja run".
        "detached": bool(options["console-socket"]),
        "no_pivot": options["no-pivot"],
        "no_new_keyring": options["no-new-keyring"],
        "preserve_fds": options["preserve-fds"],
    }
    if options["diff"]:
        from .insight import plan_diff

        plan_diff(command, log, _bundle(command), **asked)
        return
    creation = Creation(
        "ID",
        _bundle(command),
        warn=log.warning,
        systemd_cgroup=command.globals["systemd-cgroup"],
        rootless=command.rootless,
        **asked,
    )
    compiled = creation.plan()
    show(json.dumps(compiled.data(), indent=2) + "\n" if options["json"] else compiled.text())


def features(command: Command, log: Log) -> None:
    """Print the features document (features.md)."""
    del command, log
    from ...features import features as document

    show(json.dumps(document(), indent=2) + "\n")


def completion(command: Command, _log: Log) -> None:
    """Print the completion of a shell. Raises NajaError where naja knows none."""
    from ..completion import SHELLS

    shell = command.arguments[0]
    if shell not in SHELLS:
        raise NajaError(f"no completion for {shell!r}", why=f"naja has those for {', '.join(SHELLS)}")
    show(SHELLS[shell]())
