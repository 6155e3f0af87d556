"""The verbs checkpoint and restore."""

from __future__ import annotations

from runtime.container import Container
from runtime.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.cli.output import Log
    from runtime.cli.parser import Command


def checkpoint(command: Command, log: Log) -> None:
    """Refuse: naja does not drive CRIU yet."""
    Container.load(command.id, root=command.root, warn=log.warning)
    raise Unsupported("checkpoint", why="naja cannot save containers yet")


def restore(command: Command, log: Log) -> None:
    """Refuse: naja does not drive CRIU yet."""
    del command, log
    raise Unsupported("restore", why="naja cannot restore containers yet")
