"""Whether a bundle could run here, and which places of its config.json say no.

Its plan is compiled, and each operation is asked what it takes: by a finding about the host, or by doing
it in a child or to a cgroup that goes again. Nothing runs that is the bundle's: no hook, no program.
"""

from __future__ import annotations

import contextlib
import os

from .. import cgroups as hierarchies
from .. import config
from ..errors import NajaError
from ..linux import files, landlock, namespaces, scheduling
from ..operations.base import INIT, RUNTIME, STAGE, Context, thaw
from ..operations.binds import BindMount
from ..operations.cgroup import MakeCgroup
from ..operations.cgroup_limits import AllowDevices, FilterDevices, WriteFirstPresent, WriteLimits
from ..operations.devices import BindDevice, MakeDevice
from ..operations.execution import FindProgram
from ..operations.hooks import RunHooks
from ..operations.identity import RequireSecurityModule, SetExecProfile
from ..operations.instances import WhereMade, WhereShared
from ..operations.intelrdt import MakeClassOfService
from ..operations.kernel import RefuseHostNamespace, SetPersonality, WriteSysctl
from ..operations.landlock import MakeLandlockRules
from ..operations.limits import (
    AdjustOomScore,
    RaiseLimit,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetScheduler,
)
from ..operations.mounts import MountFilesystem
from ..operations.namespaces import GiveBirth, JoinNamespaces, MapIds, Unshare, UnshareUser
from ..operations.network import CheckDevice
from ..operations.scope import StartUnit
from ..operations.seccomp import CompileSeccomp, ConnectSeccompAgent, LoadSeccomp
from ..operations.sources import OpenSource
from .attempt import located, tried
from .cgroups import Probe
from .finding import Finding, Obstacle
from .namespaces import mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..container.subject import Subject
    from ..operations.base import Operation
    from .host import Host

    Findings = dict[str, Finding]

#: Operations that are simply done in a child, as whom they are done by.
_DONE_BY = {
    AdjustOomScore: STAGE,
    SetScheduler: INIT,
    SetIoPriority: INIT,
    SetMemoryPolicy: INIT,
    SetPersonality: INIT,
    JoinNamespaces: STAGE,
    RequireSecurityModule: RUNTIME,
    RefuseHostNamespace: RUNTIME,
}


def obstacles(subject: Subject, host: Host, known: Findings) -> Iterator[Obstacle]:
    """Yield what keeps a bundle from running here; nothing where it could. Raises OSError."""
    wrong = config.problems(subject.config, subject.bundle)
    for problem in wrong:
        yield Obstacle(problem.origin, problem.why)
    if wrong:
        return
    try:
        config.check(subject.config)  # Which also drops what is null.
        plan = subject.plan(lambda text: None)
    except NajaError as error:
        yield _obstacle(error)
        return
    operations = [_inner(operation) for phase in plan.phases for operation in phase.operations]
    seen: set[tuple[str, str]] = set()
    with Probe(hierarchies.detect(), subject.config["linux"].get("cgroupsPath") or "") as probe:
        asked = Asked(subject, host, known, probe, operations)
        for operation in operations:
            for obstacle in asked.about(operation):
                if (obstacle.origin, obstacle.why) not in seen:
                    seen.add((obstacle.origin, obstacle.why))
                    yield obstacle


def _inner(operation: Operation) -> Operation:
    if isinstance(operation, WhereMade):
        return _inner(thaw(operation.operation))
    return _inner(thaw(operation.apart)) if isinstance(operation, WhereShared) else operation


def _obstacle(error: NajaError, origin: str = "") -> Obstacle:
    where = error.origin or origin
    error.origin = ""
    return Obstacle(where, str(error))


class Asked:
    """Asks each operation of a plan what keeps it from being done here."""

    def __init__(
        self, subject: Subject, host: Host, known: Findings, probe: Probe, operations: list[Operation]
    ) -> None:
        self.subject = subject
        self.host = host
        self.known = known
        self.probe = probe
        self.operations = operations
        self.rootfs = os.path.join(os.path.realpath(subject.bundle), subject.config["root"]["path"])
        self._rules: tuple[tuple[Any, Callable[[Any], Iterator[Obstacle]]], ...] = (
            (Unshare, self._namespaces),
            (GiveBirth, self._namespaces),
            (UnshareUser, self._user_namespace),
            (MapIds, self._ids),
            (MakeCgroup, self._cgroup),
            ((WriteLimits, WriteFirstPresent, AllowDevices, FilterDevices), self._limits),
            ((SetLimit, RaiseLimit), self._rlimit),
            (OpenSource, self._source),
            (BindMount, self._bind),
            (MountFilesystem, self._filesystem),
            (MakeDevice, self._device),
            (BindDevice, self._bound_device),
            (WriteSysctl, self._sysctl),
            (CheckDevice, self._network_device),
            (RunHooks, self._hooks),
            (FindProgram, self._program),
            (SetExecProfile, self._profile),
            (MakeLandlockRules, self._landlock),
            (CompileSeccomp, self._filter),
            (LoadSeccomp, self._filter_loaded),
            (ConnectSeccompAgent, self._agent),
            (MakeClassOfService, lambda one: self._by_finding("intel-rdt", one.origin or "/linux/intelRdt")),
            (StartUnit, lambda one: self._by_finding("systemd", one.origin)),
        )

    def about(self, operation: Operation) -> Iterator[Obstacle]:
        """Yield what keeps an operation from being done."""
        if actor := _DONE_BY.get(type(operation)):
            yield from self._done(operation, actor)
        for kinds, rule in self._rules:
            if isinstance(operation, kinds):
                yield from rule(operation)

    def _done(self, operation: Operation, actor: str) -> Iterator[Obstacle]:
        origin, why = located(lambda: operation.apply(Context(actor, lambda text: None)))
        if why:
            yield Obstacle(origin or operation.origin, why)

    def _by_finding(self, key: str, origin: str) -> Iterator[Obstacle]:
        finding = self.known[key]
        if not finding.works:
            remedy = f" ({finding.remedy})" if finding.remedy else ""
            yield Obstacle(origin, f"{finding.why}{remedy}")

    def _namespaces(self, operation: Unshare | GiveBirth) -> Iterator[Obstacle]:
        entries = [entry["type"] for entry in self.subject.config["linux"].get("namespaces") or ()]
        for kind in operation.kinds:
            # In a user namespace of its own it has the right to all others.
            if "user" in entries and kind != "user" and self.known["namespace-user"].works:
                if not os.path.exists(f"/proc/self/ns/{namespaces.file_name(kind)}"):
                    yield from self._by_finding(
                        f"namespace-{kind}", f"/linux/namespaces/{entries.index(kind)}"
                    )
            elif kind in entries:
                yield from self._by_alone(kind, f"/linux/namespaces/{entries.index(kind)}")

    def _by_alone(self, kind: str, origin: str) -> Iterator[Obstacle]:
        """Yield why a namespace cannot be made without a user namespace of the container's."""
        if why := tried(lambda: namespaces.unshare(namespaces.FLAGS[kind])):
            hint = "" if self.host.privileged else ": a user has the right in a user namespace only"
            yield Obstacle(origin, f"{why}{hint}")

    def _user_namespace(self, operation: UnshareUser) -> Iterator[Obstacle]:
        yield from self._by_finding("namespace-user", operation.origin)

    def _ids(self, operation: MapIds) -> Iterator[Obstacle]:
        if not self.known["namespace-user"].works:
            return
        for kind in ("uid", "gid"):
            uids = operation.uids if kind == "uid" else []
            gids = operation.gids if kind == "gid" else []
            if why := mapped(uids, gids, rootless=operation.rootless):
                yield Obstacle(f"/linux/{kind}Mappings", why)
        yield from self._reach(operation)

    def _reach(self, operation: MapIds) -> Iterator[Obstacle]:
        """Yield that root of the user namespace cannot reach the root file system."""
        if operation.rootless or not (operation.uids and operation.gids):
            return
        uid, gid = operation.uids[0][1], operation.gids[0][1]

        def attempt() -> None:
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.stat(f"{self.rootfs}/.")

        if why := tried(attempt):
            yield Obstacle("/root/path", f"root of the user namespace, {uid} here, cannot reach it: {why}")

    def _cgroup(self, operation: MakeCgroup) -> Iterator[Obstacle]:
        for place in self.probe.refused.values():
            if not operation.optional:
                yield Obstacle("/linux/cgroupsPath", place)
                return

    def _limits(self, operation: Any) -> Iterator[Obstacle]:
        """Write the limits into a cgroup beside the container's, as far as its controllers are enabled."""
        place = self._beside(operation.directory)
        if place is None:
            if not getattr(operation, "optional", False):
                yield Obstacle(operation.origin, "no cgroup can be made for it")
            return
        v2 = self.probe.hierarchies.kind == "v2"
        if v2 and isinstance(operation, WriteLimits | WriteFirstPresent):
            names = self._controllers(operation)
            for name in names:
                yield from self._by_finding(f"controller-{name}", operation.origin)
            if not names <= {*_words(f"{place}/cgroup.controllers")}:
                return
        probed = thaw(operation.freeze())
        probed.directory = place  # type: ignore[attr-defined]
        context = Context(RUNTIME, lambda text: None)
        try:
            probed.apply(context)
        except (NajaError, OSError) as error:
            failed = error if isinstance(error, NajaError) else NajaError.from_os_error("limit", error)
            yield _obstacle(failed, operation.origin)

    def _beside(self, directory: str) -> str | None:
        """Return the probe that stands for a cgroup of the container's."""
        mounts = self.probe.hierarchies.mounts
        keys = [key for key, mount in mounts.items() if f"{directory}/".startswith(f"{mount}/")]
        key = max(keys, key=lambda key: len(mounts[key]), default=None)
        return None if key is None else self.probe.places.get(key)

    def _controllers(self, operation: WriteLimits | WriteFirstPresent) -> set[str]:
        written = operation.limits if isinstance(operation, WriteLimits) else operation.choices[:1]
        names = {entry[0].partition(".")[0] for entry in written}
        return {name for name in names if f"controller-{name}" in self.known}

    def _rlimit(self, operation: SetLimit | RaiseLimit) -> Iterator[Obstacle]:
        def attempt() -> None:
            _, hard = scheduling.prlimit(0, operation.name)
            wanted = operation.hard if isinstance(operation, RaiseLimit) else max(operation.hard, 0)
            if wanted > hard:
                SetLimit(operation.name, min(hard, wanted), wanted, origin="").apply(
                    Context(INIT, lambda text: None)
                )

        if why := tried(attempt):
            yield Obstacle(operation.origin, why)

    def _source(self, operation: OpenSource) -> Iterator[Obstacle]:
        if operation.among:
            return  # It may be what an earlier mount shows.
        yield from self._done(operation, RUNTIME)

    def _bind(self, operation: BindMount) -> Iterator[Obstacle]:
        inside = f"{os.path.realpath(operation.source)}/".startswith(f"{os.path.realpath(self.rootfs)}/")
        if operation.optional or operation.prepared or inside or self._is_of_cgroup(operation):
            return
        try:
            os.stat(operation.source, follow_symlinks=operation.follow[0])
        except OSError as error:
            yield Obstacle(operation.origin, str(NajaError.from_os_error(operation.source, error)))

    def _is_of_cgroup(self, operation: BindMount) -> bool:
        """Tell whether a source is the container's cgroup, which will be there."""
        mounts = self.probe.hierarchies.mounts.values()
        return any(operation.source.startswith(f"{mount}/") for mount in mounts)

    def _filesystem(self, operation: MountFilesystem) -> Iterator[Obstacle]:
        kinds = {line.split()[-1]: len(line.split()) for line in _lines("/proc/filesystems")}
        if operation.kind not in kinds:
            why = f"the kernel has no file system {operation.kind}, or has not loaded its module"
            yield Obstacle(f"{operation.origin}/type", why)
        elif kinds[operation.kind] == 1:
            yield from self._disk(operation)

    def _disk(self, operation: MountFilesystem) -> Iterator[Obstacle]:
        made = [one for one in self.operations if isinstance(one, UnshareUser)]
        if made or not self.host.privileged:
            why = f"{operation.kind} of a disk is mounted by root, without a user namespace, only"
            yield Obstacle(operation.origin, why)
        elif not os.path.exists(operation.source):
            yield Obstacle(f"{operation.origin}/source", f"{operation.source} does not exist")

    def _device(self, operation: MakeDevice) -> Iterator[Obstacle]:
        if operation.kind != "p":
            yield from self._by_finding("device-nodes", operation.origin or "/linux/devices")

    def _bound_device(self, operation: BindDevice) -> Iterator[Obstacle]:
        if operation.prepared:
            return  # The runtime makes the node.
        try:
            found = os.stat(operation.path)
            numbers = (os.major(found.st_rdev), os.minor(found.st_rdev))
            why = "" if numbers == (operation.major, operation.minor) else f"it is {numbers[0]}:{numbers[1]}"
        except OSError as error:
            why = str(NajaError.from_os_error(operation.path, error))
        if why:
            yield Obstacle(operation.origin or "/linux/devices", f"the host's own is shown, and {why}")

    def _sysctl(self, operation: WriteSysctl) -> Iterator[Obstacle]:
        # A new network namespace has other devices than this one.
        of_device = operation.path.startswith("net/") and "/conf/" in operation.path
        if not of_device and not os.path.exists(f"/proc/sys/{operation.path}"):
            yield Obstacle(operation.origin, f"this kernel has no sysctl {operation.key}")

    def _network_device(self, operation: CheckDevice) -> Iterator[Obstacle]:
        if not os.path.exists(f"/sys/class/net/{operation.device}"):
            yield Obstacle(operation.origin, f"there is no network device {operation.device}")

    def _hooks(self, operation: RunHooks) -> Iterator[Obstacle]:
        for index, hook in enumerate(operation.hooks):
            if not os.access(hook["path"], os.X_OK) or os.path.isdir(hook["path"]):
                yield Obstacle(f"{operation.origin}/{index}/path", f"{hook['path']} is no program here")

    def _program(self, operation: FindProgram) -> Iterator[Obstacle]:
        paths = [operation.name]
        if "/" not in operation.name:
            paths = [f"{directory}/{operation.name}" for directory in operation.search.split(":")]
        if not any(self._may_be_there(path) for path in paths):
            yield Obstacle(operation.origin, f"the root file system has no program {operation.name}")

    def _may_be_there(self, path: str) -> bool:
        """Tell whether a path is in the root file system, or may be in what is mounted there."""
        kinds = [one for one in self.operations if isinstance(one, BindMount | MountFilesystem)]
        if not path.startswith("/") or any(
            path.startswith(f"{one.destination.rstrip('/')}/") for one in kinds
        ):
            return True
        try:
            root = os.open(self.rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.close(files.open_in_root(root, path, os.O_PATH))
            finally:
                os.close(root)
        except FileNotFoundError:
            # A link may lead to what is mounted (/bin -> usr/bin).
            return any(isinstance(one, BindMount) for one in kinds) and self._leads_away(path)
        except OSError:
            return False
        return True

    def _leads_away(self, path: str) -> bool:
        parts = path.strip("/").split("/")
        tops = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        return any(os.path.islink(f"{self.rootfs}/{top}") for top in tops)

    def _profile(self, operation: SetExecProfile) -> Iterator[Obstacle]:
        listed = "/sys/kernel/security/apparmor/profiles"
        names = {line.rpartition(" (")[0] for line in _lines(listed)}
        if names and operation.profile not in (*names, "unconfined"):
            yield Obstacle(operation.origin, f"AppArmor has loaded no profile {operation.profile}")

    def _landlock(self, operation: MakeLandlockRules) -> Iterator[Obstacle]:
        yield from self._by_finding("landlock", operation.origin)
        version, linux = operation.needed
        found = landlock.abi()
        if found and found < version:
            why = f"it takes version {version} of Landlock (Linux {linux}), and here is {found}"
            yield Obstacle(operation.origin, why)

    def _filter(self, operation: CompileSeccomp) -> Iterator[Obstacle]:
        from ..linux.seccomp_filter import compile_filter

        try:
            compile_filter(operation.profile)
        except NajaError as error:
            yield _obstacle(error, "/linux/seccomp")

    def _filter_loaded(self, operation: LoadSeccomp) -> Iterator[Obstacle]:
        yield from self._by_finding("seccomp-notify" if operation.listen else "seccomp", "/linux/seccomp")

    def _agent(self, operation: ConnectSeccompAgent) -> Iterator[Obstacle]:
        if not os.path.exists(operation.path):
            yield Obstacle("/linux/seccomp/listenerPath", f"nobody listens at {operation.path}")


def _lines(path: str) -> list[str]:
    lines: list[str] = []
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\n") for line in file]
    return lines


def _words(path: str) -> list[str]:
    return " ".join(_lines(path)).split()
