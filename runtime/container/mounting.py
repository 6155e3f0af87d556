"""Mounts that come into a running container and go again: ``naja mount`` and ``naja umount``.

What is mounted is opened on the host, where its name means what the caller means. A child carries it inside:
it joins the container's user and mount namespaces, looks for the place below the root that the container's
process has at that time (openat2(2), RESOLVE_IN_ROOT), and puts it there. So the container decides where its
links lead, but not beyond its root, whatever it does meanwhile: a place that is not in the mount namespace
that was joined the kernel refuses (move_mount(2), EINVAL).
"""

from __future__ import annotations

import os
from errno import EINVAL, EPERM, EROFS

from ..errors import Aftermath, NajaError, Unsupported, WrongState
from ..linux import files, mounts, namespaces, process
from ..operations import binds, errand
from ..operations import mounts as mount_operations
from ..operations.base import INIT, Context, apply_all
from ..operations.filesystem import new_mount
from ..operations.identity import has_selinux
from ..operations.namespaces import JoinProcess
from ..operations.sources import OpenSource
from ..plan import sources
from ..plan.mount import Mount, clean
from ..plan.request import Request
from ..process.stage import close_imports
from .creation import may_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from ..operations.base import Operation
    from ..plan.mount_options import Mapping
    from .state import StateDirectory

    class _Handle(Protocol):
        """What has to be known of a container (lifecycle.py) to mount something in it."""

        id: str
        warn: Callable[[str], None]

        @property
        def config(self) -> dict[str, Any]: ...
        @property
        def record(self) -> dict[str, Any]: ...
        @property
        def directory(self) -> StateDirectory: ...
        def status_once_made(self) -> str: ...
        def lasting(self, otherwise: str) -> AbstractContextManager[process.Held]: ...


_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

#: Engines know these words.
_NOT_RUNNING = "container not running"

#: A file of this name, and the id of the mount, stands in the state directory for each that was made.
_NOTE = "mount-"

#: What shows namespaces of whoever mounts it, and belongs into a config.json.
_OF_NAMESPACES = frozenset(("proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2"))

#: What the descriptor of a mount is called (plan.mount.Mount.name).
_INDEX = 1
_NAME = f"mount {_INDEX}"


def mount(
    container: _Handle, source: str, destination: str, *, kind: str = "bind", options: list[str] | None = None
) -> None:
    """Mount ``source`` at ``destination`` in a running, paused or created container.

    ``kind`` is "bind", where ``source`` is a path of the host, or the type of a new file system; ``options``
    are words as those of /mounts of config.json. A mount point that is missing is made, where the container's
    root could make it. The new mount is private, unless an option says otherwise. Raises NajaError.
    """
    entry = Mount(
        {"destination": destination, "type": kind, "source": source, "options": options or []},
        _INDEX,
        os.getcwd(),
    )
    _check(entry)
    what = f"mount {source} on {entry.destination} in container {container.id}"
    _check_container(container, what)
    with container.lasting(_NOT_RUNNING) as held:
        visit = _Visit(container, held, what)
        number = visit.make(_carry(entry, container, held, visit))
        try:
            container.directory.write_file(f"{_NOTE}{number}", os.fsencode(entry.destination))
        except OSError as error:
            failure = NajaError.from_os_error(f"note the mount of container {container.id}", error)
            with Aftermath(failure):
                visit.make(lambda context: _take_away(visit, context, entry.destination, {number}, what))
            raise failure from None


def unmount(container: _Handle, destination: str) -> None:
    """Take away what ``mount`` has put at ``destination``: the last one, where there are several.

    It is gone from there at once (MNT_DETACH); who has files open in it keeps them. Raises NajaError, also
    where what is mounted there is none that ``mount`` has made.
    """
    what = f"unmount {clean(destination)} in container {container.id}"
    _check_container(container, what)
    with container.lasting(_NOT_RUNNING) as held:
        names = [name.removeprefix(_NOTE) for name in container.directory.names() if name.startswith(_NOTE)]
        known = {int(name) for name in names if name.isdecimal()}
        visit = _Visit(container, held, what)
        number = visit.make(lambda context: _take_away(visit, context, clean(destination), known, what))
    try:
        container.directory.remove_file(f"{_NOTE}{number}")
    except FileNotFoundError:
        pass  # The container, and what is kept of it, has been deleted.


def _check(entry: Mount) -> None:
    """Refuse what makes no sense in a container that is there already. Raises NajaError."""
    where = entry.destination
    if where == "/":
        raise Unsupported("mount over the root of a running container", why="it would not be seen")
    for word in ("remount", "copy-symlink"):
        if word in entry.options.places:
            raise Unsupported(f"mount option {word!r}", why="it is for config.json", origin="/options")
    if not entry.bind and entry.kind in _OF_NAMESPACES:
        why = "it shows namespaces of whoever mounts it, and is for config.json"
        raise Unsupported(f"mount a {entry.kind} file system in a running container", why=why)


def _check_container(container: _Handle, what: str) -> None:
    status = container.status_once_made()
    if status == "stopped":
        raise WrongState(_NOT_RUNNING, why=container.id)
    if status == "creating":
        raise WrongState(what, why="it is being created")
    kinds = [entry["type"] for entry in (container.config.get("linux") or {}).get("namespaces") or ()]
    if "mount" not in kinds:
        raise Unsupported(what, why="it has no mount namespace of its own, and the mount would be the host's")


class _Visit:
    """A way into the mount namespace of a container's process, for a child that does one thing there."""

    def __init__(self, container: _Handle, held: process.Held, what: str) -> None:
        """Look at the process that is held. Raises NajaError where it is not in a namespace of its own."""
        self._warn = container.warn
        self._held = held
        self._what = what
        self.kinds = [kind for kind in ("user", "mount") if _is_foreign(held, kind)]
        if "mount" not in self.kinds:
            raise NajaError(what, why="its process is in the mount namespace of the caller")

    def make(self, work: Callable[[Context], int]) -> int:
        """Return what ``work`` returns in a child; it is to ``enter``. Raises NajaError."""
        warnings: list[str] = []

        def child() -> tuple[tuple[int, list[str]], list[int]]:
            # From here on the files in sight may be the container's.
            close_imports()
            context = Context(INIT, warnings.append)
            # The root is looked up where the host's rights count: until its program runs, the container's
            # process may not be looked into with those of its user namespace.
            context.descriptors["rootfs"] = os.open("root", _DIRECTORY, dir_fd=self._held.directory)
            context.descriptors["proc"] = os.open("/proc", _DIRECTORY)
            return (work(context), warnings), []

        (number, warned), _ = errand.by_child(self._what, child, "")
        for text in warned:
            self._warn(text)
        return int(number)

    def enter(self, context: Context, *kinds: str) -> None:
        """Join the container's namespaces, or those of them that are named. Raises NajaError."""
        chosen = [kind for kind in kinds or self.kinds if kind in self.kinds]
        context.descriptors["container"] = os.dup(self._held.pidfd)
        try:
            JoinProcess(self._held.pid, chosen).apply(context)
        except OSError as error:
            why = ""
            if error.errno == EPERM:
                why = "without root's rights a container can be entered only once its program runs"
            raise NajaError.from_os_error(self._what, error, why=why) from None


def _is_foreign(held: process.Held, kind: str) -> bool:
    name = f"ns/{namespaces.file_name(kind)}"
    return os.readlink(name, dir_fd=held.directory) != os.readlink(f"/proc/self/{name}")


def _carry(entry: Mount, container: _Handle, held: process.Held, visit: _Visit) -> Callable[[Context], int]:
    """Return what a child does to mount an entry: open it, go in, and put it there; it returns the id."""
    privileged = may_mount()
    opening = _opening(entry, container, held, privileged=privileged) if entry.bind else None
    placing = _placing(entry, container)

    def carry(context: Context) -> int:
        if opening and not privileged and "user" in visit.kinds:
            # The host's tree as the container's user sees it: the caller may mount nothing elsewhere.
            visit.enter(context, "user")
            namespaces.unshare(namespaces.CLONE_NEWNS)
            apply_all([opening], context)
            visit.enter(context, "mount")
        else:
            if opening:
                apply_all([opening], context)
            elif entry.kind != "tmpfs":
                # Its source is a device or a server, named as the host knows it.
                added, parameters = entry.options.all_attributes()[0], entry.options.parameters
                made = new_mount(entry.kind, entry.source or entry.kind, parameters, added, entry.origin)
                context.descriptors[_NAME] = made
            visit.enter(context)
        return _put(context, placing, entry)

    return carry


def _put(context: Context, placing: Operation, entry: Mount) -> int:
    """Put a mount in its place; return its id. Raises NajaError."""
    number = mounts.identify(context.descriptors[_NAME])[0] if _NAME in context.descriptors else 0
    try:
        apply_all([placing], context)
    except NajaError as error:
        if error.errno == EROFS:
            error.why = "its mount point is missing, and cannot be made on a read-only file system"
        elif error.errno == EINVAL and error.what == placing.describe():
            error.why = "the container may have left its mount namespace, or its root, meanwhile"
        raise
    if number:
        return number
    # One that was made there.
    made = context.descriptors[_NAME]
    if entry.options.copy_up and entry.options.all_attributes()[0] & mounts.MOUNT_ATTR_RDONLY:
        mounts.mount_setattr(made, set=mounts.MOUNT_ATTR_RDONLY)
    return mounts.identify(made)[0]


def _opening(entry: Mount, container: _Handle, held: process.Held, *, privileged: bool) -> OpenSource:
    """Return the operation that opens the source of a bind mount, ids mapped where that is asked for."""
    options = entry.options
    uids: list[Mapping] = []
    gids: list[Mapping] = []
    namespace = ""
    if entry.maps_ids:
        if not privileged:
            raise Unsupported("map the ids of a mount", why="only root may", origin=f"{entry.origin}/options")
        request = Request(
            container.config, id=container.id, bundle=container.record["bundle"], rootless=False
        )
        uids, gids, namespace = sources.mapping(entry, request)
        if namespace:  # What is at that path may be another one by now.
            namespace = f"/proc/{held.name}/ns/user"
    return OpenSource(
        _NAME,
        entry.source,
        recursive=options.recursive,
        follow=not options.source_nofollow,
        propagation=_first_propagation(options.propagation & ~mounts.MS_REC),
        uids=uids,
        gids=gids,
        namespace=namespace,
        map_all=options.recursive_idmap,
        origin=entry.origin,
    )


def _first_propagation(asked: int) -> int:
    """Return what the whole of a source becomes before its top has what was asked for; 0 where it stays.

    Nothing that is mounted in the container later is to appear on the host, unless it is shared on purpose.
    """
    if asked == mounts.MS_SHARED:
        return 0
    return (mounts.MS_SLAVE if asked == mounts.MS_SLAVE else mounts.MS_PRIVATE) | mounts.MS_REC


def _placing(entry: Mount, container: _Handle) -> Operation:
    """Return the operation that finds the place of a mount below the root, and puts it there."""
    options = entry.options
    if entry.kind == "tmpfs" and not entry.bind:
        return _placing_tmpfs(entry, container)
    if not entry.bind:
        return binds.BindMount(entry.source, entry.destination, prepared=_NAME, origin=entry.origin)
    for name, _, _ in options.parameters:
        container.warn(f"option {name!r} does nothing on a bind mount")
    return binds.BindMount(
        entry.source,
        entry.destination,
        recursive=options.recursive,
        attributes=options.attributes,
        recursive_attributes=options.recursive_attributes,
        unnamed=options.unnamed(),
        propagation=options.propagation,
        follow=(not options.source_nofollow, not options.destination_nofollow),
        prepared=_NAME,
        origin=entry.origin,
    )


def _placing_tmpfs(entry: Mount, container: _Handle) -> Operation:
    """Return how a tmpfs is made in the container, so that it is its root's."""
    options = entry.options
    added, cleared = options.all_attributes()
    parameters = options.parameters
    label = (container.config.get("linux") or {}).get("mountLabel")
    if label and has_selinux() and not options.has_parameter("context"):
        parameters = [*parameters, ("context", label, "/linux/mountLabel")]
    return mount_operations.MountFilesystem(
        "tmpfs",
        entry.destination,
        source=entry.source,
        # One that is to be filled becomes read-only afterwards.
        attributes=(added & ~mounts.MOUNT_ATTR_RDONLY if options.copy_up else added, cleared),
        parameters=parameters,
        propagation=options.propagation,
        copy_up=options.copy_up,
        keep=_NAME,
        origin=entry.origin,
    )


def _take_away(visit: _Visit, context: Context, destination: str, known: set[int], what: str) -> int:
    """Go in, unmount what is at a place, one of those known, and return its id. Raises NajaError."""
    visit.enter(context)
    try:
        target = files.open_in_root(context.descriptors["rootfs"], destination, os.O_PATH)
        number, is_mount = mounts.identify(target)
        if not is_mount:
            raise NajaError(what, why="nothing is mounted there")
        if number not in known:
            raise NajaError(what, why="what is mounted there was not mounted by naja mount")
        # By the descriptor, through the host's procfs: no other mount can take its place.
        os.fchdir(context.descriptors["proc"])
        mounts.unmount(f"self/fd/{target}", mounts.MNT_DETACH)
    except OSError as error:
        raise NajaError.from_os_error(what, error) from None
    return number
