"""The operation that runs a config's hooks of one kind at their place in the plan."""

from __future__ import annotations

import os

from runtime import hooks
from runtime.config import json
from runtime.operations.base import RUNTIME, Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RunHooks(Operation):
    """Run all hooks of a kind, with the container's state on their standard input (config.md, Hooks)."""

    __slots__ = ("hooks", "kind", "state")

    def __init__(self, kind: str, entries: list[dict[str, Any]], state: dict[str, Any]) -> None:
        self.origin = f"/hooks/{kind}"
        self.kind = kind
        self.hooks = entries
        #: The state document without the pid, which is known only when the hooks run.
        self.state = state

    def describe(self) -> str:
        return f"run {self.kind} hooks: {', '.join(hook['path'] for hook in self.hooks)}"

    def apply(self, context: Context) -> None:
        # Hooks see the pid as their own pid namespace does (runtime.md, State).
        pid = context.pid if context.actor == RUNTIME else os.getpid()
        # The one that comes after the pivot is where the program will be.
        directory = "" if self.kind == "startContainer" else self.state["bundle"]
        hooks.run_hooks(self.kind, self.hooks, json.dumps({**self.state, "pid": pid}), directory)
