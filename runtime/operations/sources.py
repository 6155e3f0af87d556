"""Operations by which the runtime opens mount sources that the container's user could not."""

from __future__ import annotations

import os

from ..errors import NajaError
from ..linux import mounts, namespaces, process
from .base import Context, Operation
from .binds import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    #: (id in the file system, id on the host, how many)
    Mapping = tuple[int, int, int]


#: Of the descriptor of the mount namespace in which the root file system is built.
_BUILDING = "mount namespace"


class ShowMounts(Operation):
    """Hand over the mount namespace of this process, so that the runtime can see what is mounted so far."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "show the runtime what is mounted so far"

    def apply(self, context: Context) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC
        context.descriptors[_BUILDING] = os.open("self/ns/mnt", flags, dir_fd=context.descriptors["proc"])
        context.handover.append(_BUILDING)


class OpenSource(Operation):
    """Open the source of a bind mount with the runtime's rights, map its ids, and hand it over."""

    __slots__ = (
        "among",
        "follow",
        "gids",
        "map_all",
        "name",
        "namespace",
        "propagation",
        "recursive",
        "source",
        "uids",
    )

    def __init__(
        self,
        name: str,
        source: str,
        *,
        recursive: bool,
        follow: bool,
        propagation: int,
        uids: list[Mapping] | None = None,
        gids: list[Mapping] | None = None,
        namespace: str = "",
        map_all: bool = False,
        among: bool = False,
        origin: str,
    ) -> None:
        self.origin = origin
        #: Of the descriptor.
        self.name = name
        self.source = source
        self.recursive = recursive
        self.follow = follow
        #: As the mounts of the host have inside the container; 0 to leave it.
        self.propagation = propagation
        self.uids = uids or []
        self.gids = gids or []
        #: Path of a user namespace to take the mapping from instead.
        self.namespace = namespace
        #: Whether mounts below the source are mapped as well (ridmap).
        self.map_all = map_all
        #: Whether it is looked up among the container's mounts, as far as they are there, and not the host's.
        self.among = among

    def describe(self) -> str:
        text = f"open the mount source {self.source}"
        if self.among:
            text += " among what is mounted so far"
        if self.namespace:
            return f"{text}, ids mapped as in {self.namespace}"
        if self.uids or self.gids:
            return f"{text}, uids mapped {_ranges(self.uids)}, gids {_ranges(self.gids)}"
        return text

    def apply(self, context: Context) -> None:
        mount = self._open_among(context) if self.among else self._open()
        if self.propagation:
            mounts.mount_setattr(mount, propagation=self.propagation & ~mounts.MS_REC, recursive=True)
        if self.namespace or self.uids or self.gids:
            user = self._user_namespace(context)
            try:
                mounts.idmap(mount, user, recursive=self.map_all)
            except OSError as error:
                why = "not every file system can map ids, and only root may ask for it"
                raise NajaError.from_os_error(self.describe(), error, why=why, origin=self.origin) from None
        context.descriptors[self.name] = mount
        context.handover.append(self.name)

    def _open(self) -> int:
        return open_source(self.source, recursive=self.recursive, follow=self.follow, origin=self.origin)

    def _open_among(self, context: Context) -> int:
        from .errand import by_child  # The runtime may import, and seldom needs it.

        namespace = context.take(_BUILDING)

        def make() -> tuple[None, list[int]]:
            namespaces.setns(namespace, namespaces.CLONE_NEWNS)
            return None, [self._open()]

        try:
            _, (mount,) = by_child(self.describe(), make, self.origin)
        finally:
            os.close(namespace)
        return mount

    def _user_namespace(self, context: Context) -> int:
        """Return a user namespace with the mapping; mounts with the same mapping share one."""
        key = f"idmap {self.namespace} {self.uids} {self.gids}"
        if key not in context.descriptors:
            if self.namespace:
                context.descriptors[key] = os.open(self.namespace, os.O_RDONLY | os.O_CLOEXEC)
            else:
                context.descriptors[key] = make_user_namespace(self.uids, self.gids)
        return context.descriptors[key]


def _ranges(mappings: list[Mapping]) -> str:
    return ", ".join(f"{inside}→{outside}+{size}" for inside, outside, size in mappings)


def make_user_namespace(uids: list[Mapping], gids: list[Mapping]) -> int:
    """Return a descriptor of a new user namespace with these mappings. Raises OSError.

    Somebody has to live in it while it is made: a child that waits to be let go.
    """
    waiting, release = os.pipe()
    pid = process.clone3(namespaces.CLONE_NEWUSER)
    if pid == 0:
        os.close(release)
        os.read(waiting, 1)
        os._exit(0)
    try:
        for kind, mappings in (("uid", uids), ("gid", gids)):
            text = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in mappings)
            file = os.open(f"/proc/{pid}/{kind}_map", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(release)
        os.close(waiting)
        os.waitpid(pid, 0)
