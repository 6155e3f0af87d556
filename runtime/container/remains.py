"""What is left of a container whose record tells nothing any more, and the end of it.

An ID still leads to its process, where that waits at the start gate or is the one that a half of the record
names, and to cgroups: those that the config, or the ID, asks for, where the mark on them says that they were
made for this very state directory. Nothing else is touched.
"""

from __future__ import annotations

import os
from struct import unpack

from .. import cgroups, config
from ..config import json
from ..errors import NajaError
from ..linux import process
from ..operations import ownership
from . import record, state
from .creation import is_rootless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..cgroups import Manager

_SIGKILL = 9

#: How long a killed process may take to end, in seconds.
_PATIENCE = 10.0


def remove(directory: state.StateDirectory, warn: Callable[[str], None]) -> None:
    """End what can still be tied to a container, and remove its state; the caller holds the lock.

    Raises NajaError that names what stays.
    """
    kept, document = _object(directory, "state.json"), _object(directory, "config.json")
    held = [found for found in (_recorded(kept), _at_gate(directory)) if found]
    managers = [*_managers(directory, kept, document, [found.pid for found in held])]
    for found in held:
        found.signal(_SIGKILL)
    _end(managers)
    for found in held:
        with found:
            if not found.wait_for_end(_PATIENCE):
                raise NajaError(f"the process of container {directory.id} does not end, though it was killed")
    directory.remove()
    if (document.get("hooks") or {}).get("poststop"):
        warn(f"no poststop hook of {directory.id} is run: its record could not be read")


def end_cgroups(directory: state.StateDirectory) -> None:
    """End all processes in cgroups of the container's, wherever these are. Raises NajaError."""
    kept, document = _object(directory, "state.json"), _object(directory, "config.json")
    _end(_managers(directory, kept, document, []))


def _end(managers: Iterable[Manager]) -> None:
    for manager in managers:
        manager.end()
        manager.delete()


def _object(directory: state.StateDirectory, name: str) -> dict[str, Any]:
    """Return the object that a file of the container's holds, {} where it does not."""
    try:
        found = json.loads(directory.read_file(name))
    except (OSError, NajaError):
        return {}
    return found if type(found) is dict else {}


def _recorded(kept: dict[str, Any]) -> process.Held | None:
    """Return the process that a record names, where its start time fits."""
    pid, started = kept.get("pid"), kept.get("start_time")
    if type(pid) is not int or type(started) is not int or pid in (1, os.getpid()):
        return None
    return process.Held.find(pid, started)


def _at_gate(directory: state.StateDirectory) -> process.Held | None:
    """Return the process that waits at the start gate."""
    import _socket

    try:
        connection = directory.connect("gate")
    except OSError:
        return None
    pid = unpack("=3i", connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))[0]
    connection.close()
    held = process.Held.find(pid, process.start_time(pid)) if pid != os.getpid() else None
    if held and not directory.listens("gate"):
        held.close()
        return None
    return held


def _managers(
    directory: state.StateDirectory, kept: dict[str, Any], document: dict[str, Any], pids: list[int]
) -> Iterator[Manager]:
    """Yield the managers of cgroups that bear the mark of a container of this very state directory."""
    rootless = is_rootless()
    mark = ownership.make_mark("", rootless=rootless)
    for intended in _intended(directory.id, kept, document, pids, rootless):
        words = {ownership.look(place, mark)[1] for place in intended["places"].values()}
        for word in words:
            if word.startswith(directory.identity()):
                yield cgroups.restore({**intended, "word": word})


def _intended(
    id: str, kept: dict[str, Any], document: dict[str, Any], pids: list[int], rootless: bool
) -> Iterator[dict[str, Any]]:
    """Yield records of cgroups that the container may have."""
    if not record.strange_cgroup(kept.get("cgroup")):
        yield kept["cgroup"]
    linux = document.get("linux")
    path = linux.get("cgroupsPath", "") if type(linux) is dict else ""
    if not record.is_text(path):
        path = ""
    here = cgroups.detect()
    for systemd in (False, True):
        try:
            manager = cgroups.manager(path, id, systemd=systemd, rootless=rootless, hierarchies=here)
        except NajaError:
            continue  # The path is none of systemd's, or there is no systemd.
        yield manager.record()
    usual = cgroups.manager("", id, systemd=False, rootless=rootless, hierarchies=here).record()
    for pid in pids:
        yield {**usual, "places": cgroups.directories(here.mounts, cgroups.membership(pid))}


def blame(id: str, root: str | None) -> None:
    """Raise NajaError where what is kept of a container is to blame for an error that nobody thought of."""
    try:
        directory = state.StateDirectory.open(root or state.default_root(), id)
        document = json.loads(directory.read_file("config.json"))
    except (OSError, NajaError):
        return
    try:
        config.check(document)
    except NajaError as error:
        raise NajaError(
            f"the config of container {id}, {directory.path}/config.json", why=str(error)
        ) from None
