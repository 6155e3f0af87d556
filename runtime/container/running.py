"""A container from its beginning to its end in one command: ``run``."""

from __future__ import annotations

from ..errors import Aftermath, NajaError
from ..linux import process
from ..process.attached import Attached
from ..process.launch import Launch
from . import state
from .lifecycle import Container, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .creation import Creation


def run(
    id: str,
    bundle: str = ".",
    *,
    root: str | None = None,
    detach: bool = False,
    keep: bool = False,
    no_subreaper: bool = False,
    warn: Callable[[str], None] = say,
    launch: Launch | None = None,
    **options: Any,
) -> int:
    """Create and start a container. Returns the program's exit code, 0 with ``detach``.

    ``launch`` is a process that the caller has begun to make, with the same ``preserve_fds``.
    Attached, signals and the terminal are passed on, and the container is deleted at its end unless
    ``keep`` is set. Raises NajaError.
    """
    state.check_id(id)
    root = root or state.default_root()
    attached = None if detach else Attached()
    try:
        if attached and not no_subreaper:
            process.set_child_subreaper(True)
        with launch or Launch(options.get("preserve_fds", 0), activated=True) as begun:
            from .creation import Creation

            interrupted = attached.interrupted if attached else None
            making = {"root": root, "warn": warn, "detached": detach, "interrupted": interrupted, **options}
            creation = Creation(id, bundle, gate=False, **making)
            creation.make(begun)
            container = started(creation)
            if attached is None:
                if creation.notifications:
                    container.wait_until_ready(creation.notifications)
                return 0
            code = _wait(attached, creation)
            if not keep:
                container.delete(force=True)
            return code
    finally:
        if attached:
            attached.close()


def started(creation: Creation) -> Container:
    """Return the container whose program runs, and which others may come to now. Raises NajaError."""
    container = Container(creation.directory, creation.record, creation.warn, creation.config)
    try:
        container.run_poststart_hooks()
    except NajaError as error:
        with Aftermath(error):
            container.delete(force=True)
        raise
    creation.directory.unlock()
    return container


def _wait(attached: Attached, creation: Creation) -> int:
    """Stay with the program until it ends; return its exit code."""
    if creation.console >= 0:
        attached.relay(creation.console)
    attached.notifications = creation.notifications
    return attached.wait(creation.init)
