"""Operations for file systems of which each namespace has an instance: procfs, sysfs, mqueue, cgroups.

Who may mount one is decided by who owns the namespace. Where the kernel refuses, the instance that the
runtime sees may stand in only if the container is in the runtime's own namespace, for then it is the
same one. That is known from the config, and of a path from the namespace that it led to
(JoinNamespaces); an error code says nothing about it.
"""

from __future__ import annotations

import errno

from ..errors import NajaError
from ..linux import files, mounts, namespaces, process
from .base import Context, Operation, apply_all, thaw
from .covers import cover_below, lock
from .mounts import MountFilesystem
from .ownership import skipped
from .shown import is_own

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .filesystem import Parameter
    from .mounts import Attributes

#: Where the runtime has its own instance, and how statfs(2) names the file system.
_OWN = {
    "proc": ("/proc", files.PROC_SUPER_MAGIC),
    "sysfs": ("/sys", 0x62656572),
    "mqueue": ("/dev/mqueue", 0x19800202),
}


class MountInstance(MountFilesystem):
    """Mount a namespace's instance of a file system, where that may be refused."""

    __slots__ = ("early", "namespace", "path")

    def __init__(
        self,
        kind: str,
        destination: str,
        *,
        namespace: str,
        path: str | None,
        early: str = "",
        **others: Any,
    ) -> None:
        super().__init__(kind, destination, **others)
        #: The type of the namespace that the file system shows.
        self.namespace = namespace
        #: Where that is joined; None for a new one, "" for the runtime's.
        self.path = path
        #: The descriptor of the mount, where MountEarly made it; "" where that has no better chance.
        self.early = early

    def describe(self) -> str:
        text = super().describe()
        if self.early:
            text += ", made before the user namespace is entered"
        if self.kind not in _OWN or self.path is None or self.parameters:
            return text
        shared = f"{self.path} is the runtime's" if self.path else "it shares the runtime's"
        return f"{text}; if that is denied, the runtime's own, as {shared} {self.namespace} namespace"

    def _mount(self, context: Context, target: int, parameters: list[Parameter]) -> int:
        if self.early in context.descriptors:
            mount = context.take(self.early)
            mounts.move_mount(mount, target)
            return mount
        try:
            return super()._mount(context, target, parameters)
        except NajaError as error:
            if error.errno != errno.EPERM:
                raise
            if parameters or not self._is_shared(context):
                error.why = "; ".join(filter(None, (error.why, self._explain())))
                raise
        mount = _own_instance(self.kind, self.attributes, self.origin)
        mounts.move_mount(mount, target)
        return lock(mount, target, self.origin) if cover_below(mount, self.origin) else mount

    def _is_shared(self, context: Context) -> bool:
        if self.kind not in _OWN or self.path is None:
            return False
        return not self.path or self.namespace in context.own_namespaces

    def _explain(self) -> str:
        """Say why the kernel refuses the mount, and what would help."""
        if not namespaces.is_owned(self.namespace):
            return (
                f"its {self.namespace} namespace belongs to a user namespace that the container is not in;"
                " let it join that one too, or let root of it make the container"
            )
        if process.in_user_namespace() and self.kind in ("proc", "sysfs"):
            return (
                f"in a user namespace it takes a {self.kind} in sight with nothing mounted over parts of it;"
                f" unmask {_OWN[self.kind][0]} outside, or share the {self.namespace} namespace"
            )
        return "a seccomp filter or a security module denies it, and the host's is no substitute"


def _own_instance(kind: str, attributes: Attributes, origin: str) -> int:
    """Return a detached copy of the runtime's own instance, with all that is mounted below.

    In a user namespace the kernel gives nothing less. Raises NajaError.
    """
    path, magic = _OWN[kind]
    what = f"bind the runtime's own {path}"
    try:
        mount = mounts.open_tree(files.AT_FDCWD, path, recursive=True)
    except OSError as error:
        raise NajaError.from_os_error(what, error, origin=origin) from None
    if files.filesystem_magic(mount) != magic or not is_own(kind, mount):
        why = f"there is no {kind} of the runtime's own namespace there"
        raise NajaError(what, why=why, origin=origin)
    # What the host mounts later below its own shall not appear here.
    mounts.mount_setattr(mount, propagation=mounts.MS_PRIVATE, recursive=True)
    mounts.mount_setattr(mount, set=attributes[0] & ~mounts.MOUNT_ATTR_ATIME, recursive=True)
    return mount


class WhereShared(Operation):
    """Do one thing if a namespace that was joined by path is the runtime's own, else another."""

    __slots__ = ("apart", "namespace", "shared")

    def __init__(self, namespace: str, shared: Operation, apart: Operation) -> None:
        self.origin = apart.origin
        self.namespace = namespace
        #: Frozen, so that it is plain data.
        self.shared = shared.freeze()
        self.apart = apart.freeze()

    def describe(self) -> str:
        shared, apart = thaw(self.shared).describe(), thaw(self.apart).describe()
        return f"{apart}; if the {self.namespace} namespace is the runtime's own, instead {shared}"

    def apply(self, context: Context) -> None:
        apply_all([thaw(self.shared if self.namespace in context.own_namespaces else self.apart)], context)


class WhereMade(Operation):
    """Do something about a cgroup of the container's, unless it could not be made or entered.

    What stood in its place would be the cgroup that the runtime is in, with all that is the host's below.
    """

    __slots__ = ("directory", "operation")

    def __init__(self, directory: str, operation: Operation) -> None:
        self.origin = operation.origin
        self.directory = directory
        #: Frozen, so that it is plain data.
        self.operation = operation.freeze()

    def describe(self) -> str:
        return f"{thaw(self.operation).describe()}; not where {self.directory} could not be made"

    def apply(self, context: Context) -> None:
        if self.directory not in skipped(context):
            apply_all([thaw(self.operation)], context)
