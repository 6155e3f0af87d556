"""The plan that makes a container. Pure: computing it needs no privilege and changes nothing."""

from __future__ import annotations

from ..operations.base import INIT, RUNTIME, STAGE
from ..operations.limits import ResetAffinity
from ..operations.namespaces import (
    BecomeRoot,
    GiveBirth,
    JoinNamespaces,
    JoinUser,
    LeaveMountNamespace,
    MapIds,
    OpenTimeOffsets,
    OutliveRuntime,
    SetTimeOffsets,
    Unshare,
    UnshareUser,
)
from ..operations.sources import OpenSource
from . import Phase, Plan, cgroup, console, instances, kernel, mounts, process, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from ..operations.namespaces import Mapping
    from .request import Request


def compile_plan(request: Request) -> Plan:
    """Return the plan that makes the requested container. Raises NajaError."""
    namespaces = request.namespaces()
    enters_early = namespaces.get("cgroup") == ""
    preparation = cgroup.prepare(request) + mounts.prepare(request)
    preparation += kernel.prepare(request) + process.prepare(request)
    created = process.created(request)
    if "user" in namespaces:
        created += process.streams(request.process)
    own_cgroups: list[Operation] = [Unshare(["cgroup"])] if enters_early else []
    root = own_cgroups + mounts.before_hooks(request) + kernel.change(request)
    pivot = _inner_hooks(request) + mounts.after_hooks(request)
    identity = [*process.identity(request), OutliveRuntime()]
    if _is_unattended(request) and not any(isinstance(operation, OpenSource) for operation in root):
        preparation += cgroup.await_thaw(request, alone=True)
        outside, inside = cgroup.enter_alone(request)
        inside.append(ResetAffinity())
        if enters_early:
            outside, inside = outside + inside, []
        return Plan(
            [
                Phase(RUNTIME, "prepare", preparation),
                *_namespaces(request, outside, []),
                Phase(INIT, "root file system", root),
                Phase(INIT, "pivot and identity", pivot + inside + created + identity),
                *_last_phases(request),
            ]
        )
    enter, devices = [*cgroup.enter(request), ResetAffinity()], _devices(request)
    opened, entered = ([], []) if enters_early else cgroup.offer(request)
    terminal = console.send(request, request.process)
    early = instances.early(root) if "user" in namespaces else []
    if enters_early or not request.gate:
        enter = cgroup.await_thaw(request) + enter
    return Plan(
        [
            Phase(RUNTIME, "prepare", preparation + opened),
            *_namespaces(request, [], early, awaited=bool(devices)),
            Phase(RUNTIME, "adopt", (enter if enters_early else []) + devices),
            *_turns(root),
            Phase(RUNTIME, "hooks", terminal + _hooks(request, "prestart", "createRuntime")),
            Phase(INIT, "pivot and identity", pivot + identity + _hearing(request) + entered),
            Phase(RUNTIME, "created", ([] if enters_early else enter) + created),
            *_last_phases(request),
        ]
    )


def _hearing(request: Request) -> list[Operation]:
    if not request.gate:
        return []
    from ..operations.gate import EndWhenAsked

    return [EndWhenAsked()]


def _turns(root: list[Operation]) -> list[Phase]:
    """Return the phases that build the root file system: the runtime's turn comes where only it may do it."""
    phases: list[Phase] = []
    for operation in root:
        actor, title = INIT, "root file system"
        if isinstance(operation, OpenSource):
            actor, title = RUNTIME, "mount sources"
        if not phases or phases[-1].actor != actor:
            phases.append(Phase(actor, title, []))
        phases[-1].operations.append(operation)
    return phases


def _is_unattended(request: Request) -> bool:
    """Tell whether the init can do all by itself between its birth and its program.

    The others wait for ``start``, or for what only the runtime can do on the host's side.
    """
    config = request.config
    return not (
        request.gate
        or request.rootless
        or request.systemd_cgroup
        or request.process.get("terminal")
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
        first.insert(0, OpenTimeOffsets())
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
    from .hook_environment import harmless

    environment = harmless(process.environment_of(request, request.process, "/process"))
    return [RunHooks(kind, entries, hook_state(request, kind), environment)]


def _start_hooks(request: Request) -> tuple[list[Operation], list[Operation]]:
    """Return what is done for startContainer hooks, the image's programs: before the filter, and under it."""
    kind, entries = "startContainer", (request.config.get("hooks") or {}).get("startContainer")
    if not entries:
        return [], []
    from ..operations.hooks import PrepareHooks, RunPreparedHooks

    environment = process.environment_of(request, request.process, "/process")
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


def _last_phases(request: Request) -> list[Phase]:
    gate: list[Operation] = []
    if request.gate:
        from ..operations.gate import WaitForStart

        gate.append(WaitForStart())
    before, under = _start_hooks(request)
    if gate and seccomp.waits_under_filter(request):
        program = request.process
        confine = process.confine(request, program, "/process", before_filter=before)
        execute = [*gate, *under, *process.execute(request, program, "/process")]
        return [Phase(INIT, "filter", confine), Phase(INIT, "gate and exec", execute, waits=True)]
    operations = gate + process.final(request, before_filter=before, under_filter=under)
    return [Phase(INIT, "gate and exec", operations, waits=request.gate, executes=not request.gate)]
