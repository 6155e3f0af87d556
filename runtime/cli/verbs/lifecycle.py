"""The verbs that engines call: create, run, start, state, kill, delete, pause, resume."""

from __future__ import annotations

from ...config import json
from ...container.lifecycle import Container
from ...container.state import NoContainer
from ..output import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..output import Log
    from ..parser import Command


def create(command: Command, log: Log) -> None:
    """Create a container; its process waits for ``start``."""
    Container.create(command.id, **_making(command), warn=log.warning)


def run(command: Command, log: Log) -> int:
    """Create and start a container; wait for its end unless detached. Returns its exit code."""
    from ...container.running import run as run_container

    options = command.options
    return run_container(
        command.id,
        **_making(command),
        detach=options["detach"],
        keep=options["keep"],
        no_subreaper=options["no-subreaper"],
        warn=log.warning,
    )


def _making(command: Command) -> dict[str, Any]:
    """Return what create and run have in common, as the Python API takes it."""
    options = command.options
    return {
        "launch": command.launch,
        "bundle": options["bundle"] or ".",
        "root": command.root,
        "systemd_cgroup": command.globals["systemd-cgroup"],
        "rootless": command.rootless,
        "console_socket": options["console-socket"],
        "pid_file": options["pid-file"],
        "pidfd_socket": options["pidfd-socket"],
        "no_pivot": options["no-pivot"],
        "no_new_keyring": options["no-new-keyring"],
        "preserve_fds": options["preserve-fds"],
    }


def start(command: Command, log: Log) -> None:
    """Let a created container run its program."""
    container = Container.load(command.id, root=command.root, warn=log.warning)
    container.debug = log.debug if command.globals["debug"] else None
    container.start()


def hear(command: Command, log: Log) -> None:
    """Go on with a start that the launcher has begun."""
    from ..values import integer

    id, *numbers = command.arguments
    connection, directory = (integer("hear", number) for number in numbers)
    Container.take_over(id, directory, root=command.root, warn=log.warning).hear(connection)


def state(command: Command, log: Log) -> None:
    """Print the state document."""
    document = Container.load(command.id, root=command.root, warn=log.warning).state()
    show(json.dumps(document, indent=2) + "\n")


def kill(command: Command, log: Log) -> None:
    """Send a signal."""
    from ..values import signal_number

    # An empty name is what a script gives that has none.
    number = signal_number("".join(command.arguments[1:]) or "TERM")
    Container.load(command.id, root=command.root, warn=log.warning).kill(number, all=command.options["all"])


def delete(command: Command, log: Log) -> None:
    """Remove a container. With ``--force`` it may run, or be gone already."""
    force = command.options["force"]
    try:
        Container.open(command.id, root=command.root, warn=log.warning).delete(force=force)
    except NoContainer:
        if not force:
            raise


def pause(command: Command, log: Log) -> None:
    """Freeze a container."""
    Container.load(command.id, root=command.root, warn=log.warning).pause()


def resume(command: Command, log: Log) -> None:
    """Thaw a container."""
    Container.load(command.id, root=command.root, warn=log.warning).resume()
