"""What an interpreter does before it is dumped (startup/dump.py), so that it need not learn in each process.

Python rewrites code that runs often into a faster form (PEP 659). A command is over before that pays; from a
dump each command has it from the beginning, and writes to fewer pages. Practised is what touches nothing.
"""

from __future__ import annotations

import os
import posix
import sys

from .. import cgroups
from ..config import json
from ..container.creation import Creation
from ..container.state import StateDirectory, start_time
from ..errors import NajaError
from .main import execute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["practise"]

_TIMES = 40

#: What verbs call with the name of a parameter.
_NAMED: tuple[Callable[..., Any], ...] = (
    *(posix.chmod, posix.chown, posix.mkdir, posix.mknod, posix.open, posix.readlink, posix.rmdir),
    *(posix.stat, posix.symlink, posix.unlink, posix.utime),
)


def practise(directory: str) -> None:
    """Do some things often, with ``directory`` as an empty state root and as a bundle. Raises OSError.

    What cannot be done on this machine is left out: nothing but time depends on it.
    """
    sys._clear_type_cache()  # Of names that only loading has looked up.
    streams = {stream: posix.dup(stream) for stream in (1, 2)}
    null = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
    try:
        for stream in streams:
            posix.dup2(null, stream)
        _name()
        for exercise in (_plan, _ask):
            try:
                exercise(directory)
            except NajaError:
                continue
    finally:
        for stream, kept in streams.items():
            posix.dup2(kept, stream)
            posix.close(kept)
        posix.close(null)


def _name() -> None:
    """Have Python look up the names of parameters, which a function does when it is first called with one."""
    for function in _NAMED:
        try:
            function(dir_fd=None)
        except TypeError:  # Other arguments are missing.
            continue


def _plan(directory: str) -> None:
    for _ in range(_TIMES):
        creation = Creation("practice", directory, root=directory, warn=_ignore, gate=False, detached=False)
        creation.plan()
        json.dumps(creation.config)


def _ignore(_warning: str) -> None:
    pass


def _ask(directory: str) -> None:
    """Ask for a container whose process is this one: its state, whether it takes signals, another one."""
    hierarchies = cgroups.detect()
    manager = cgroups.manager("", "practice", systemd=False, rootless=False, hierarchies=hierarchies)
    container = StateDirectory.create(directory, "practice")
    try:
        record = _record(directory, manager.record())
        for _ in range(_TIMES):
            container.write(record)
            execute("naja", ["--root", directory, "state", "practice"])
            execute("naja", ["--root", directory, "kill", "practice", "0"])
            execute("naja", ["--root", directory, "delete", "--force", "nobody"])
    finally:
        container.remove()
        container.close()


def _record(directory: str, cgroup: dict[str, Any]) -> dict[str, Any]:
    pid = os.getpid()
    return {
        **{"ociVersion": "1.3.0", "id": "practice", "status": "running", "pid": pid},
        **{"start_time": start_time(pid), "bundle": directory, "rootfs": f"{directory}/rootfs"},
        **{"created": "2000-01-01T00:00:00Z", "owner": os.geteuid(), "annotations": {}, "traits": []},
        **{"rootless": False, "notify": False, "stdio": ["", "", ""], "cgroup": cgroup},
    }
