"""The operation that mounts what a user namespace will have no right to mount."""

from __future__ import annotations

import errno

from ..errors import NajaError
from .base import Context, Operation
from .errand import by_child
from .filesystem import new_mount
from .namespaces import waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .filesystem import Parameter


class MountEarly(Operation):
    """Make a detached mount of a namespace's instance, while the stage has the runtime's rights over it.

    Where it has none, the init may: the user namespace that it joins can be the one that they belong to.
    """

    __slots__ = ("attributes", "joined", "kind", "name", "namespace", "parameters", "source")

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        source: str,
        attributes: int,
        parameters: list[Parameter],
        namespace: str,
        joined: bool,
        origin: str,
    ) -> None:
        self.origin = origin
        self.kind = kind
        #: Of the descriptor, for MountInstance.
        self.name = name
        self.source = source
        self.attributes = attributes
        self.parameters = parameters
        self.namespace = namespace
        #: Whether the namespace is joined by path; else it is the runtime's.
        self.joined = joined

    def describe(self) -> str:
        return f"mount {self.kind} of the {self.namespace} namespace early, if the runtime's rights suffice"

    def apply(self, context: Context) -> None:
        if waits(self.namespace) in context.descriptors:
            return  # This would be the runtime's.
        if self.namespace == "cgroup" and "cgroup" in context.own_namespaces:
            return  # Bound, for a mount would reset the options of the host's.
        try:
            in_child = self.namespace == "pid" and self.joined
            mount = self._make_in_child() if in_child else self._make()
        except NajaError as error:
            if error.errno == errno.EPERM:
                return
            raise
        context.descriptors[self.name] = mount

    def _make(self) -> int:
        return new_mount(self.kind, self.source, self.parameters, self.attributes, self.origin)

    def _make_in_child(self) -> int:
        """Have it made by a child: who joins a pid namespace is not in it itself (pid_namespaces(7))."""
        _, (mount,) = by_child(self.describe(), lambda: (None, [self._make()]), self.origin)
        return mount
