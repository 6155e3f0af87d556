"""The verbs checkpoint and restore: from options to CRIU's."""

from __future__ import annotations

import os

from ...container.lifecycle import Container
from ...criu.messages import CGROUP_MODES
from ...errors import NajaError
from ...linux.namespaces import CLONE_NEWNET
from ..values import integer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..output import Log
    from ..parser import Command

#: Options that CRIU has by the same name, with an underscore.
_FLAGS = (
    "tcp-established",
    "ext-unix-sk",
    "shell-job",
    "lazy-pages",
    "file-locks",
    "auto-dedup",
    "link-remap",
    "tcp-skip-in-flight",
    "tcp-close",
)
_TEXTS = ("lsm-profile", "lsm-mount-context")

#: Where images go, and come from, if nothing is said.
_DEFAULT_IMAGES = "checkpoint"


def checkpoint(command: Command, log: Log) -> None:
    """Save a container to files."""
    from ...container.checkpoint import checkpoint as save

    options = command.options
    container = Container.load(command.id, root=command.root, warn=log.warning)
    if os.path.isabs(options["parent-path"]):
        raise NajaError("--parent-path must be relative to --image-path", why=options["parent-path"])
    save(
        container,
        options["image-path"] or _DEFAULT_IMAGES,
        work=options["work-path"],
        parent=options["parent-path"],
        page_server=_page_server(options["page-server"]),
        pre_dump=options["pre-dump"],
        leave_running=options["leave-running"],
        status_fd=_status_fd(options["status-fd"]),
        options=_criu_options(options),
    )


def restore(command: Command, log: Log) -> int:
    """Make a container from files; wait for its end unless detached. Returns its exit code."""
    from ...container.restore import restore as restore_container

    options = command.options
    if options["no-pivot"]:
        log.warning("--no-pivot does nothing here: CRIU changes the root in its own way")
    return restore_container(
        command.id,
        options["bundle"] or ".",
        options["image-path"] or _DEFAULT_IMAGES,
        root=command.root,
        work=options["work-path"],
        parent=options["parent-path"],
        detach=options["detach"],
        no_subreaper=options["no-subreaper"],
        options=_criu_options(options),
        warn=log.warning,
        systemd_cgroup=command.globals["systemd-cgroup"],
        rootless=command.rootless,
        console_socket=options["console-socket"],
        pid_file=options["pid-file"],
    )


def _criu_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are CRIU's own, as its RPC has them. Raises NajaError."""
    found = {name.replace("-", "_"): options[name] for name in (*_FLAGS, *_TEXTS) if options.get(name)}
    mode = options["manage-cgroups-mode"] or "soft"
    if mode not in CGROUP_MODES:
        raise NajaError(f"invalid value for --manage-cgroups-mode: {mode!r}", why=", ".join(CGROUP_MODES))
    found["manage_cgroups_mode"] = CGROUP_MODES[mode]
    for name in options["empty-ns"]:
        if name != "network":
            raise NajaError(f"invalid value for --empty-ns: {name!r}", why="CRIU knows network only")
        found["empty_ns"] = CLONE_NEWNET
    return found


def _page_server(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    address, colon, port = text.rpartition(":")
    if not colon or not address:
        raise NajaError(f"invalid value for --page-server: {text!r} is not ADDRESS:PORT")
    return address, integer("page-server", port)


def _status_fd(number: int) -> int:
    """Check that the descriptor is there. Raises NajaError."""
    if number >= 0:
        try:
            os.set_inheritable(number, False)
        except OSError as error:
            raise NajaError.from_os_error(f"use descriptor {number} (--status-fd)", error) from None
    return number
