"""The verbs mount and umount: what is mounted in a running container."""

from __future__ import annotations

from ...container.lifecycle import Container
from ...errors import NajaError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..output import Log
    from ..parser import Command


def mount(command: Command, log: Log) -> None:
    """Mount something of the host's, or a new file system, in a container."""
    container = Container.load(command.id, root=command.root, warn=log.warning)
    _, source, destination = command.arguments
    try:
        container.mount(
            source, destination, kind=command.options["type"], options=[*command.options["option"]]
        )
    except NajaError as error:
        # There is no entry of config.json behind it; all but the options stands in the message.
        error.origin = "--option" if "/options" in error.origin else ""
        raise


def umount(command: Command, log: Log) -> None:
    """Take away what ``mount`` has put into a container."""
    container = Container.load(command.id, root=command.root, warn=log.warning)
    container.unmount(command.arguments[1])
