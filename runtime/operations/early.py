"""The operation that mounts what a user namespace will have no right to mount."""

from __future__ import annotations

import errno
import os

from ..errors import ChannelClosed, NajaError
from ..linux import process
from ..linux.channel import Channel
from .base import Context, Operation
from .mounts import new_mount
from .namespaces import waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .mounts import Parameter

_SIGKILL = 9


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
        ours, theirs = Channel.pair()
        pid = process.clone3(0)
        if not pid:
            self._answer(theirs)
        theirs.close()
        try:
            error, descriptors = ours.receive()
        except ChannelClosed:
            raise NajaError(self.describe(), why="a process in the namespace was killed") from None
        finally:
            ours.close()
            os.waitpid(pid, 0)
        if error:
            what, number, why = error
            raise NajaError(what, errno=number, why=why, origin=self.origin)
        return descriptors[0]

    def _answer(self, channel: Channel) -> NoReturn:
        """Be the child: send the mount, or what went wrong."""
        try:
            process.set_parent_death_signal(_SIGKILL)
            try:
                channel.send(None, [self._make()])
            except NajaError as error:
                channel.send((error.what, error.errno, error.why))
        finally:
            os._exit(0)
