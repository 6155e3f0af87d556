"""A plan: the set-up of a container as data, computed from the config alone.

Computing one needs no privilege and changes nothing. ``naja.process.launch`` runs it.
"""

from __future__ import annotations

from ..operations.base import INIT, RUNTIME, STAGE
from ..operations.namespaces import (
    BecomeRoot,
    GiveBirth,
    JoinNamespaces,
    JoinProcess,
    JoinUser,
    LeaveMountNamespace,
    MapIds,
    OutliveRuntime,
    SetTimeOffsets,
    Unshare,
    UnshareUser,
)
from ..operations.terminal import SendConsole
from . import cgroup, instances, mounts, process, seccomp
from .request import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Frozen, Operation
    from ..operations.namespaces import Mapping

__all__ = ["Phase", "Plan", "Request", "compile_exec", "compile_plan"]


class Phase:
    """Operations that one actor applies without handing over control in between."""

    __slots__ = ("actor", "executes", "operations", "title", "waits")

    def __init__(
        self,
        actor: str,
        title: str,
        operations: list[Operation],
        *,
        waits: bool = False,
        executes: bool = False,
    ) -> None:
        self.actor = actor
        self.title = title
        self.operations = operations
        #: The runtime does not wait for this phase: it goes on when somebody starts the container.
        self.waits = waits
        #: The phase ends in execve.
        self.executes = executes

    def freeze(self) -> list[Frozen]:
        """Return the operations as the channel carries them; the runtime keeps its own."""
        return [] if self.actor == RUNTIME else [operation.freeze() for operation in self.operations]


class Plan:
    """The phases of a set-up, in their order."""

    __slots__ = ("phases",)

    def __init__(self, phases: list[Phase]) -> None:
        #: Without those that have nothing to do; what nobody comes between is one phase.
        self.phases: list[Phase] = []
        for phase in phases:
            if phase.operations:
                self._add(phase)

    def _add(self, phase: Phase) -> None:
        last = self.phases[-1] if self.phases else None
        if last is None or last.actor != phase.actor or phase.waits or phase.executes:
            self.phases.append(phase)
            return
        title, operations = f"{last.title}, {phase.title}", last.operations + phase.operations
        self.phases[-1] = Phase(last.actor, title, operations)

    @property
    def birth(self) -> GiveBirth | None:
        """The birth of the init, where no stage need prepare it."""
        phases = [phase.operations for phase in self.phases if phase.actor == STAGE]
        first = phases[0][0] if len(phases) == 1 else None
        return first if isinstance(first, GiveBirth) else None

    @property
    def infancy(self) -> list[Operation]:
        """What the init does at once when it is born, where no stage need prepare that."""
        return next(phase.operations for phase in self.phases if phase.actor == STAGE)[1:]

    @property
    def unattended(self) -> bool:
        """Whether the runtime has nothing to do from the init's birth until it runs its program."""
        actors = [phase.actor for phase in self.phases]
        return bool(self.birth) and RUNTIME not in actors[actors.index(STAGE) :] and not self.phases[-1].waits

    def text(self) -> str:
        """Return the plan for people: a heading for each phase, a numbered line for each operation."""
        lines: list[str] = []
        number = 0
        for phase in self.phases:
            lines.append(f"{phase.actor}: {phase.title}")
            for operation in phase.operations:
                number += 1
                origin = f"  [{operation.origin}]" if operation.origin else ""
                lines.append(f"  {number:3}  {operation.describe()}{origin}")
        return "\n".join(lines) + "\n"

    def data(self) -> list[dict[str, Any]]:
        """Return the plan for programs: a list of phases that JSON can carry."""
        return [
            {
                "actor": phase.actor,
                "title": phase.title,
                "operations": [
                    {
                        "operation": type(operation).__name__,
                        "description": operation.describe(),
                        "origin": operation.origin,
                    }
                    for operation in phase.operations
                ],
            }
            for phase in self.phases
        ]


def compile_plan(request: Request) -> Plan:
    """Return the plan that makes the requested container. Raises NajaError."""
    namespaces = request.namespaces()
    enters_early = namespaces.get("cgroup") == ""
    preparation = cgroup.prepare(request) + mounts.prepare(request) + process.prepare(request)
    created = process.created(request)
    own_cgroups: list[Operation] = [Unshare(["cgroup"])] if enters_early else []
    root = own_cgroups + mounts.before_hooks(request) + process.kernel(request)
    pivot = _inner_hooks(request) + mounts.after_hooks(request)
    identity = [*process.identity(request), OutliveRuntime()]
    if _is_unattended(request):
        preparation += cgroup.await_thaw(request)
        outside, inside = cgroup.enter_alone(request)
        if enters_early:
            outside, inside = outside + inside, []
        return Plan(
            [
                Phase(RUNTIME, "prepare", preparation),
                *_namespaces(request, outside, []),
                Phase(INIT, "root file system", root),
                Phase(INIT, "pivot and identity", pivot + created + inside + identity),
                _last_phase(request),
            ]
        )
    enter, devices = cgroup.enter(request), _devices(request)
    early = instances.early(root) if "user" in namespaces else []
    if enters_early or not request.gate:
        enter = cgroup.await_thaw(request) + enter
    return Plan(
        [
            Phase(RUNTIME, "prepare", preparation),
            *_namespaces(request, [], early, awaited=bool(devices)),
            Phase(RUNTIME, "adopt", (enter if enters_early else []) + devices),
            Phase(INIT, "root file system", root),
            Phase(RUNTIME, "hooks", _console(request) + _hooks(request, "prestart", "createRuntime")),
            Phase(INIT, "pivot and identity", pivot + identity),
            Phase(RUNTIME, "created", created + ([] if enters_early else enter)),
            _last_phase(request),
        ]
    )


def compile_exec(
    request: Request,
    pid: int,
    kinds: list[str],
    program: dict[str, Any],
    origin: str = "/process",
    *,
    place: int | str = 0,
) -> Plan:
    """Return the plan that adds a process to a running container.

    ``pid`` is the container's process, ``kinds`` the namespaces in which it differs from the caller,
    ``program`` the process document (the shape of config.json's /process), which stands at ``origin``;
    ``place`` is what stands for the container's process below /proc whatever becomes of its pid
    (``process.Held.name``), by default that. Raises NajaError.
    """
    place = place or pid
    preparation = mounts.find(request, place) + process.prepare(request, program, origin)
    before, after = process.affinity(program, origin)
    return Plan(
        [
            Phase(RUNTIME, "prepare", preparation),
            Phase(
                STAGE,
                "namespaces",
                [*process.stage(request, program, origin), *before, JoinProcess(pid, kinds), GiveBirth()],
            ),
            Phase(
                INIT,
                "identity",
                [
                    *mounts.join(request, program),
                    *process.identity(request, program, origin),
                    OutliveRuntime(),
                ],
            ),
            Phase(
                RUNTIME,
                "created",
                _console(request, program)
                + process.created(request, program, origin, container_pid=pid)
                + cgroup.enter(request, beside=place),
            ),
            Phase(INIT, "exec", after + process.final(request, program, origin), executes=True),
        ]
    )


def _is_unattended(request: Request) -> bool:
    """Tell whether the init can do all by itself between its birth and its program.

    The others wait for ``start``, or for what only the runtime can do on the host's side.
    """
    config = request.config
    return not (
        request.gate
        or request.rootless
        or request.systemd_cgroup
        or config["process"].get("terminal")
        or _needs_stage(request)
        or config.get("hooks")
        or config["linux"].get("netDevices")
        or config["linux"].get("intelRdt")
        or seccomp.connect(request)
    )


def _needs_stage(request: Request) -> bool:
    """Tell whether there are namespaces to be made or joined before the init is born.

    A user namespace comes before all others; those of pids and of time are for children only.
    """
    namespaces = request.namespaces()
    return "user" in namespaces or "time" in namespaces or bool(namespaces.get("pid"))


def _namespaces(
    request: Request, outside: list[Operation], early: list[Operation], *, awaited: bool = False
) -> list[Phase]:
    """Return the phases that make the init and its namespaces.

    ``outside`` is what an init that needs no stage does before it leaves the host's namespaces, ``early``
    what comes before a user namespace is entered; with ``awaited`` the runtime does not go on before the
    new ones are there.
    """
    namespaces = request.namespaces()
    first = outside + process.stage(request) + _joins(request, early)
    new = [kind for kind, path in namespaces.items() if not path and kind not in ("user", "cgroup")]
    if not _needs_stage(request):
        inside = [kind for kind in new if kind != "pid"]
        birth: list[Operation] = [GiveBirth(["pid"] if "pid" in new else [])]
        entering = first + _makes(inside, namespaces)
        if awaited:
            return [Phase(STAGE, "birth", birth), Phase(INIT, "namespaces", entering)]
        return [Phase(STAGE, "birth", birth + entering)]
    linux = request.config["linux"]
    last = _makes(new, namespaces)
    if linux.get("timeOffsets") and "time" in new:
        last.append(SetTimeOffsets(linux["timeOffsets"]))
    last.append(GiveBirth())
    if namespaces.get("user") != "":
        return [Phase(STAGE, "namespaces", first + last)]
    maps = MapIds(
        _mappings(linux.get("uidMappings")), _mappings(linux.get("gidMappings")), rootless=request.rootless
    )
    return [
        Phase(STAGE, "user namespace", [*first, UnshareUser(origin=request.namespace_origin("user"))]),
        Phase(RUNTIME, "map ids", [maps]),
        Phase(STAGE, "namespaces", [BecomeRoot(), *last]),
    ]


def _joins(request: Request, early: list[Operation]) -> list[Operation]:
    namespaces = request.namespaces()
    paths = [
        (kind, path, f"{request.namespace_origin(kind)}/path") for kind, path in namespaces.items() if path
    ]
    join: list[Operation] = [JoinNamespaces(paths)] if paths else []
    return [*join, *early, JoinUser(paths)] if namespaces.get("user") else join + early


def _makes(kinds: list[str], namespaces: dict[str, str]) -> list[Operation]:
    operations: list[Operation] = [Unshare(kinds)] if kinds else []
    return operations if "mount" in namespaces else [*operations, LeaveMountNamespace()]


def _mappings(entries: list[dict[str, int]] | None) -> list[Mapping]:
    return [(entry["containerID"], entry["hostID"], entry["size"]) for entry in entries or ()]


def _devices(request: Request) -> list[Operation]:
    if not request.config["linux"].get("netDevices"):
        return []
    from . import network  # Two modules that nearly no container needs.

    return network.adopt(request)


def _console(request: Request, program: dict[str, Any] | None = None) -> list[Operation]:
    program = program or request.config.get("process") or {}
    if not (program.get("terminal") and request.console_socket):
        return []
    return [SendConsole(request.console_socket)]


def _hooks(request: Request, *kinds: str) -> list[Operation]:
    hooks = {
        kind: hook for kind, hook in (request.config.get("hooks") or {}).items() if hook and kind in kinds
    }
    if not hooks:
        return []
    from ..operations.hooks import RunHooks  # Most containers need none of it.

    return [RunHooks(kind, hooks[kind], hook_state(request, kind)) for kind in kinds if kind in hooks]


def _inner_hooks(request: Request) -> list[Operation]:
    """Return the createContainer hooks: the host's programs, in the container's namespaces."""
    kind, entries = "createContainer", (request.config.get("hooks") or {}).get("createContainer")
    if not entries:
        return []
    from ..operations.hooks import RunHooks

    environment = process.environment_of(request, request.config["process"], "/process")
    return [RunHooks(kind, entries, hook_state(request, kind), environment)]


def _start_hooks(request: Request) -> tuple[list[Operation], list[Operation]]:
    """Return what is done for startContainer hooks, the image's programs: before the filter, and under it."""
    kind, entries = "startContainer", (request.config.get("hooks") or {}).get("startContainer")
    if not entries:
        return [], []
    from ..operations.hooks import PrepareHooks, RunPreparedHooks

    environment = process.environment_of(request, request.config["process"], "/process")
    state = hook_state(request, kind)
    return [PrepareHooks(kind, entries, state)], [RunPreparedHooks(kind, entries, state, environment)]


def hook_state(request: Request, kind: str) -> dict[str, Any]:
    """Return the state document that hooks of a kind read, without the pid (runtime.md, State)."""
    # The environment exists when the first hooks run: step 2 of the lifecycle is over, hence "created".
    status = {"poststart": "running", "poststop": "stopped"}.get(kind, "created")
    state = {
        "ociVersion": request.config["ociVersion"],
        "id": request.id,
        "status": status,
        "bundle": request.bundle,
    }
    if request.config.get("annotations"):
        state["annotations"] = request.config["annotations"]
    return state


def _last_phase(request: Request) -> Phase:
    gate: list[Operation] = []
    if request.gate:
        from ..operations.gate import WaitForStart

        gate.append(WaitForStart())
    before, under = _start_hooks(request)
    operations = gate + process.final(request, before_filter=before, under_filter=under)
    return Phase(INIT, "gate and exec", operations, waits=request.gate, executes=not request.gate)
