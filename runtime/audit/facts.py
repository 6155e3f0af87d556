"""What a plan says of the wall around a container: its operations, sorted by what they are about. Pure."""

from __future__ import annotations

import os

from ..linux import capabilities
from ..operations.base import thaw
from ..operations.identity import ChangeUser
from ..operations.instances import WhereMade, WhereShared
from ..operations.namespaces import GiveBirth, JoinNamespaces, MapIds, Unshare, UnshareUser
from ..operations.privileges import LimitBoundingSet, SetCapabilities, SetNoNewPrivileges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from ..operations.base import Operation
    from ..operations.namespaces import Mapping
    from ..plan import Plan

    Kind = TypeVar("Kind", bound=Operation)

#: How much of an exposure is left that takes root's rights over the host, for another user of the host, and
#: in a user namespace in which nobody is the host's root.
OF_ANOTHER_USER, IN_USER_NAMESPACE = 0.3, 0.1

#: Paths that lead to the namespaces of the host's first process, or of naja itself.
_HOSTS = ("/proc/1/", "/proc/self/", "/proc/thread-self/")


class Facts:
    """What there is to be judged, as the plan has it; the config has what runs when that is over (hooks)."""

    def __init__(
        self,
        plan: Plan,
        config: dict[str, Any],
        bundle: str,
        *,
        rootless: bool,
        resolve: Callable[[str], str] = os.path.realpath,
    ) -> None:
        """``resolve`` tells where a path of the host leads to over links."""
        self.config = config
        self.bundle = bundle
        self.rootless = rootless
        self.resolve = resolve
        self.operations = [_inner(operation) for phase in plan.phases for operation in phase.operations]

    def all(self, kind: type[Kind]) -> list[Kind]:
        """Return the operations of a class, in their order."""
        return [operation for operation in self.operations if isinstance(operation, kind)]

    def one(self, kind: type[Kind]) -> Kind | None:
        """Return the operation of a class of which a plan has one at most."""
        return next(iter(self.all(kind)), None)

    def origin(self, *path: str) -> str:
        """Return a JSON pointer, as far as the config goes that way."""
        at: Any = self.config
        found = ""
        for name in path:
            if type(at) is not dict or name not in at:
                break
            at, found = at[name], f"{found}/{name}"
        return found or f"/{path[0]}"

    @property
    def made(self) -> set[str]:
        """The kinds of namespaces that are new."""
        kinds = {kind for operation in self.all(Unshare) for kind in operation.kinds}
        kinds |= {kind for birth in self.all(GiveBirth) for kind in birth.kinds}
        return kinds | {"user"} if self.all(UnshareUser) else kinds

    @property
    def joined(self) -> dict[str, tuple[str, str]]:
        """Path and origin of the namespaces that are joined, by kind, but for those that are the host's."""
        return {kind: place for kind, place in self._paths().items() if not place[0].startswith(_HOSTS)}

    @property
    def host(self) -> dict[str, tuple[str, str]]:
        """Path ("" where none is named) and origin of the namespaces that are the host's, by kind."""
        paths, made = self._paths(), self.made
        where = ("", "/linux/namespaces")
        kinds = ("user", "pid", "network", "mount", "ipc", "uts", "cgroup", "time")
        return {
            kind: paths.get(kind, where) for kind in kinds if kind not in made and kind not in self.joined
        }

    def _paths(self) -> dict[str, tuple[str, str]]:
        joins = [path for operation in self.all(JoinNamespaces) for path in operation.paths]
        return {kind: (path, origin) for kind, path, origin in joins}

    @property
    def confined(self) -> bool:
        """Whether its capabilities are those of a user namespace only."""
        return self.rootless or "user" not in self.host

    @property
    def maps_root(self) -> bool:
        """Whether the host's root is somebody in the container's user namespace."""
        maps: list[Mapping] = [entry for operation in self.all(MapIds) for entry in operation.uids]
        return not self.rootless and any(outside == 0 and size for _, outside, size in maps)

    @property
    def uid(self) -> int:
        """The container's user, as it calls itself."""
        user = self.one(ChangeUser)
        return user.uid if user else 0

    @property
    def reach(self) -> float:
        """How much of an exposure is left that takes the rights of the host's root."""
        if self.confined and not self.maps_root:
            return IN_USER_NAMESPACE
        return 1.0 if self.uid == 0 else OF_ANOTHER_USER

    @property
    def gains(self) -> bool:
        """Whether a set-uid program, or one with file capabilities, gives more rights."""
        return not self.all(SetNoNewPrivileges)

    @property
    def held(self) -> list[str]:
        """The capabilities that the program has after execve (capabilities(7)), in their order."""
        sets, bounding = self.one(SetCapabilities), self.bounding
        if sets is None:
            return []
        if self.uid != 0:
            return _ordered(sets.ambient)
        inherited = {*bounding, *sets.inheritable}
        # With no_new_privs not even root gains any.
        return _ordered(inherited if self.gains else inherited & {*sets.permitted})

    @property
    def bounding(self) -> list[str]:
        """The capabilities that no program inside can have more of."""
        limit = self.one(LimitBoundingSet)
        return _ordered(limit.bounding) if limit else [*capabilities.NAMES]

    def has(self, *names: str) -> bool:
        """Tell whether the program has any of these capabilities over the host."""
        return not self.confined and any(name in self.held for name in names)

    def capability_origin(self, name: str) -> str:
        """Return where a capability is given."""
        sets = (self.config.get("process") or {}).get("capabilities") or {}
        order = ("bounding", "permitted", "effective", "inheritable", "ambient")
        for kind in order if self.uid == 0 else order[::-1]:
            if name in (sets.get(kind) or ()):
                return f"/process/capabilities/{kind}/{sets[kind].index(name)}"
        return "/process/capabilities"


def _inner(operation: Operation) -> Operation:
    """Return the operation that another one does where it does anything."""
    if isinstance(operation, WhereMade):
        return _inner(thaw(operation.operation))
    if isinstance(operation, WhereShared):
        return _inner(thaw(operation.apart))
    return operation


def _ordered(names: Any) -> list[str]:
    return [name for name in capabilities.NAMES if name in names]
