"""The operations that run a config's hooks of one kind at their place in the plan."""

from __future__ import annotations

import os

from .. import hooks
from ..config import json
from ..errors import NajaError
from .base import RUNTIME, Context, Operation
from .execution import check_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RunHooks(Operation):
    """Run all hooks of a kind, with the container's state on their standard input (config.md, Hooks)."""

    __slots__ = ("environment", "hooks", "kind", "state")

    def __init__(
        self,
        kind: str,
        entries: list[dict[str, Any]],
        state: dict[str, Any],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.origin = f"/hooks/{kind}"
        self.kind = kind
        self.hooks = entries
        #: The state document without the pid, which is known only when the hooks run.
        self.state = state
        #: For hooks that name none; None is the runtime's own.
        self.environment = environment

    def describe(self) -> str:
        return f"run {self.kind} hooks: {', '.join(hook['path'] for hook in self.hooks)}"

    def apply(self, context: Context) -> None:
        # Hooks see the pid as their own pid namespace does (runtime.md, State).
        pid = context.pid if context.actor == RUNTIME else os.getpid()
        document = json.dumps({**self.state, "pid": pid})
        hooks.run_hooks(self.kind, self.hooks, document, self.state["bundle"], self.environment)


class PrepareHooks(Operation):
    """Get all ready for hooks that run as the program will: under its filter, which may allow us little."""

    __slots__ = ("hooks", "kind", "state")

    def __init__(self, kind: str, entries: list[dict[str, Any]], state: dict[str, Any]) -> None:
        self.origin = f"/hooks/{kind}"
        self.kind = kind
        self.hooks = entries
        #: The state document without the pid.
        self.state = state

    def describe(self) -> str:
        return f"look up {self.kind} hooks: {', '.join(hook['path'] for hook in self.hooks)}"

    def apply(self, context: Context) -> None:
        document = json.dumps({**self.state, "pid": os.getpid()})
        for index, hook in enumerate(self.hooks):
            try:
                # They are the image's: a link of procfs would lead to what is naja's own.
                check_program(hook["path"])
            except OSError as error:
                from ..linux import unexecutable

                what, why = f"hook {hook['path']}", unexecutable.why(hook["path"])
                raise NajaError.from_os_error(what, error, why=why, origin=f"{self.origin}/{index}") from None
            streams = hooks.Streams.open(document)
            context.descriptors[f"hook {index} input"] = streams.given
            context.descriptors[f"hook {index} output"] = streams.output


class RunPreparedHooks(RunHooks):
    """Run the hooks that PrepareHooks has got ready, where the program will start."""

    __slots__ = ()

    def apply(self, context: Context) -> None:
        environment = dict(self.environment or {})
        if not environment.get("HOME"):
            environment["HOME"] = context.values["home"]
        for index, hook in enumerate(self.hooks):
            streams = hooks.Streams(context.take(f"hook {index} input"), context.take(f"hook {index} output"))
            # The filter may kill who looks around.
            hooks.run_hook(hook, streams, "", environment, origin=f"{self.origin}/{index}", looks=False)
