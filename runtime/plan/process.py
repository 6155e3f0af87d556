"""From config.json to the operations on the container's process: who it is and what it may do.

Each function returns the operations of one actor for one moment of the plan. ``process`` is the
process document: /process of config.json, or, for exec, that of the process to be added.
"""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from ..linux import capabilities, scheduling
from ..operations.base import Warn
from ..operations.execution import Execute, FindProgram, ResetSignals, SealDescriptors
from ..operations.identity import (
    ChangeUser,
    EnterDirectory,
    FindHome,
    GiveStdio,
    JoinSessionKeyring,
    RequireSecurityModule,
    SetExecLabel,
    SetExecProfile,
    SetUmask,
)
from ..operations.limits import (
    AdjustOomScore,
    RaiseLimit,
    SetAffinity,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetScheduler,
)
from ..operations.privileges import GiveUpAdmin, LimitBoundingSet, SetCapabilities, SetNoNewPrivileges
from ..operations.stdio import GiveStreams
from . import seccomp
from .request import NO_PROCESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..operations.base import Operation
    from .request import Request

    Process = dict[str, Any]

#: personality(2), by /linux/personality/domain.
PERSONALITIES = {"LINUX": 0x0000, "LINUX32": 0x0008}

_DEFAULT_UMASK = 0o022


def prepare(request: Request, process: Process | None = None, origin: str = "/process") -> list[Operation]:
    """Return what the runtime does first: refuse what cannot be, build the seccomp filter."""
    operations: list[Operation] = []
    process = process or request.process
    if process.get("apparmorProfile"):
        operations.append(RequireSecurityModule("AppArmor", origin=f"{origin}/apparmorProfile"))
    if process.get("selinuxLabel"):
        operations.append(RequireSecurityModule("SELinux", origin=f"{origin}/selinuxLabel"))
    return operations + seccomp.prepare(request)


def stage(request: Request, process: Process | None = None, origin: str = "/process") -> list[Operation]:
    """Return what the stage does before it joins or makes any namespace."""
    process = process or request.process
    score = process.get("oomScoreAdj")
    return [] if score is None else [AdjustOomScore(score, origin=f"{origin}/oomScoreAdj")]


def identity(request: Request, process: Process | None = None, origin: str = "/process") -> list[Operation]:
    """Return what the init does inside the container's root: become who it shall be."""
    process = process or request.process
    user = process.get("user") or {}
    operations = _kernel_side(request, process, origin)
    operations.append(SetUmask(user.get("umask", _DEFAULT_UMASK), origin=f"{origin}/user"))
    if not environment_of(request, process, origin).get("HOME"):
        operations.append(FindHome(user.get("uid", 0)))
    if (rules := _landlock(request)) is not None:
        from . import landlock

        operations += landlock.make(rules)
    operations.append(EnterDirectory(process["cwd"], as_user=False, origin=f"{origin}/cwd"))
    operations.extend(_rights(request, process, origin))
    if process is not NO_PROCESS:
        operations.append(_find_program(request, process, origin))
    return operations


def _landlock(request: Request) -> str | None:
    """Return the annotation ``naja.landlock``, which is for exec as well; None where there is none."""
    found: str | None = (request.config.get("annotations") or {}).get("naja.landlock")
    return found


def _kernel_side(request: Request, process: Process, origin: str) -> list[Operation]:
    """Return what does not depend on the user: keyring, memory policy, labels, personality."""
    linux = request.config.get("linux") or {}
    operations: list[Operation] = []
    label = process.get("selinuxLabel") or ""
    if not request.no_new_keyring:
        operations.append(JoinSessionKeyring(f"_ses.{request.id}", label))
    if linux.get("memoryPolicy"):
        operations.append(_memory_policy(linux["memoryPolicy"]))
    if process.get("apparmorProfile"):
        operations.append(SetExecProfile(process["apparmorProfile"], origin=f"{origin}/apparmorProfile"))
    if label:
        operations.append(SetExecLabel(label, origin=f"{origin}/selinuxLabel"))
    if linux.get("personality"):
        operations.append(_personality(linux["personality"]))
    return operations


def _memory_policy(policy: dict[str, Any]) -> Operation:
    flags = 0
    for name in policy.get("flags") or ():
        flags |= _number(scheduling.MEMORY_POLICY_FLAGS, name, "/linux/memoryPolicy/flags")
    mode = policy.get("mode", "")
    _number(scheduling.MEMORY_POLICY_MODES, mode, "/linux/memoryPolicy/mode")
    return SetMemoryPolicy(mode, flags, id_list(policy.get("nodes") or "", "/linux/memoryPolicy/nodes"))


def _personality(personality: dict[str, Any]) -> Operation:
    if personality.get("flags"):
        why = "the specification names none yet"
        raise Unsupported("flags of a personality", why=why, origin="/linux/personality/flags")
    from ..operations.kernel import SetPersonality

    domain = personality.get("domain", "")
    return SetPersonality(domain, _number(PERSONALITIES, domain, "/linux/personality/domain"))


def _rights(request: Request, process: Process, origin: str) -> list[Operation]:
    """Return the change of user and of capabilities, in the only order that works."""
    user = process.get("user") or {}
    sets, unknown = _capability_sets(process)
    uid = user.get("uid", 0)
    annotations = request.config.get("annotations") or {}
    where = f"{origin}/capabilities"
    operations: list[Operation] = [
        LimitBoundingSet(sets["bounding"], origin=where),
        GiveStdio(uid, origin=f"{origin}/user/uid"),
        ChangeUser(
            uid,
            user.get("gid", 0),
            user.get("additionalGids") or [],
            keep_groups=annotations.get("run.oci.keep_original_groups") == "1",
            origin=f"{origin}/user",
        ),
        EnterDirectory(process["cwd"], as_user=True, origin=f"{origin}/cwd"),
        SetCapabilities(
            sets["effective"],
            sets["permitted"],
            sets["inheritable"],
            sets["ambient"],
            keep_admin=_needs_admin(request, process),
            origin=where,
        ),
    ]
    if unknown:
        # They must not be an error (config.md, capabilities).
        operations.insert(0, Warn(f"unknown capabilities are left out: {', '.join(unknown)}", origin=where))
    if process.get("noNewPrivileges"):
        operations.append(SetNoNewPrivileges(origin=f"{origin}/noNewPrivileges"))
    elif _landlock(request) is not None:
        # Without it nobody may be put under rules.
        operations.append(SetNoNewPrivileges(origin="/annotations/naja.landlock"))
    return operations


def _capability_sets(process: Process) -> tuple[dict[str, list[str]], list[str]]:
    """Return the names in each of the five sets, and those that are no capabilities."""
    given = process.get("capabilities") or {}
    sets: dict[str, list[str]] = {}
    unknown: list[str] = []
    for kind in ("bounding", "effective", "permitted", "inheritable", "ambient"):
        names = given.get(kind) or []
        sets[kind] = [name for name in names if name in capabilities.NUMBERS]
        unknown += [name for name in names if name not in capabilities.NUMBERS and name not in unknown]
    return sets, unknown


def _needs_admin(request: Request, process: Process) -> bool:
    """Tell whether loading the filter takes a CAP_SYS_ADMIN that the process shall not have."""
    effective = (process.get("capabilities") or {}).get("effective") or []
    return (
        seccomp.profile(request) is not None
        and not (process.get("noNewPrivileges") or _landlock(request) is not None)
        and "CAP_SYS_ADMIN" not in effective
    )


def _find_program(request: Request, process: Process, origin: str) -> Operation:
    if not process.get("args"):
        raise NajaError("there is no program to run", origin=f"{origin}/args")
    search = environment_of(request, process, origin).get("PATH", "")
    return FindProgram(process["args"][0], search, origin=f"{origin}/args/0")


def created(
    request: Request, process: Process | None = None, origin: str = "/process", *, container_pid: int = 0
) -> list[Operation]:
    """Return what the runtime does to the process once all is set up, before it may start.

    ``container_pid`` is the pid of the container where the process is added to it by exec.
    """
    process = process or request.process
    operations: list[Operation] = [
        RaiseLimit(limit["type"], limit["hard"], origin=where) for limit, where in _rlimits(process, origin)
    ]
    if not request.rootless:
        # A runtime without privileges would have none over a process that has become somebody else.
        operations += _scheduling(process, origin)
    return operations + seccomp.connect(request, container_pid)


def streams(process: Process, origin: str = "/process") -> list[Operation]:
    """Return what the runtime does about stdio for a process in a user namespace; a terminal is its own."""
    if process.get("terminal"):
        return []
    return [GiveStreams((process.get("user") or {}).get("uid", 0), origin=f"{origin}/user/uid")]


def _rlimits(process: Process, origin: str) -> list[tuple[dict[str, Any], str]]:
    limits = []
    for index, limit in enumerate(process.get("rlimits") or ()):
        where = f"{origin}/rlimits/{index}"
        _number(scheduling.RLIMITS, limit["type"], f"{where}/type")
        limits.append((limit, where))
    return limits


def _scheduling(process: Process, origin: str) -> list[Operation]:
    operations: list[Operation] = []
    if process.get("scheduler"):
        operations.append(_scheduler(process["scheduler"], f"{origin}/scheduler"))
    if process.get("ioPriority"):
        where, wanted = f"{origin}/ioPriority", process["ioPriority"]
        _number(scheduling.IO_CLASSES, wanted["class"], f"{where}/class")
        operations.append(SetIoPriority(wanted["class"], wanted.get("priority", 0), origin=where))
    return operations


def _scheduler(scheduler: dict[str, Any], origin: str) -> Operation:
    flags = 0
    for index, name in enumerate(scheduler.get("flags") or ()):
        flags |= _number(scheduling.SCHEDULER_FLAGS, name, f"{origin}/flags/{index}")
    policy = scheduler["policy"]
    _number(scheduling.POLICIES, policy, f"{origin}/policy")
    if policy == "SCHED_ISO":
        raise Unsupported("SCHED_ISO", why="Linux reserves the name and has no such policy", origin=origin)
    names = ("nice", "priority", "runtime", "deadline", "period")
    values = {name: scheduler.get(name) or 0 for name in names}
    return SetScheduler(policy, flags=flags, origin=origin, **values)


def final(
    request: Request,
    process: Process | None = None,
    origin: str = "/process",
    *,
    before_filter: Sequence[Operation] = (),
    under_filter: Sequence[Operation] = (),
) -> list[Operation]:
    """Return what the init does once it may start: it ends in the program.

    ``before_filter`` comes right before the seccomp filter is loaded, ``under_filter`` after it.
    """
    process = process or request.process
    confined = confine(request, process, origin, before_filter=before_filter)
    return [*confined, *under_filter, *execute(request, process, origin)]


def confine(
    request: Request, process: Process, origin: str, *, before_filter: Sequence[Operation]
) -> list[Operation]:
    """Return what the init takes from itself, the seccomp filter last."""
    operations: list[Operation] = _scheduling(process, origin) if request.rootless else []
    if _landlock(request) is not None:
        from . import landlock

        operations += landlock.obey()
    for limit, where in _rlimits(process, origin):
        operations.append(SetLimit(limit["type"], limit["soft"], limit["hard"], origin=where))
    operations += [ResetSignals(), SealDescriptors(_activated(request) + request.preserve_fds)]
    operations += [*before_filter, *seccomp.load(request)]
    if _needs_admin(request, process):
        operations.append(GiveUpAdmin(origin=f"{origin}/capabilities"))
    return operations


def execute(request: Request, process: Process, origin: str) -> list[Operation]:
    """Return the operation that becomes the program, where there is one. Raises NajaError."""
    if process is NO_PROCESS:
        return []
    return [Execute(process["args"], environment_of(request, process, origin), origin=f"{origin}/args/0")]


def affinity(process: Process, origin: str = "/process") -> tuple[list[Operation], list[Operation]]:
    """Return what exec does about execCPUAffinity: before it enters the cgroup, and after."""
    wanted = process.get("execCPUAffinity") or {}
    phases: list[list[Operation]] = []
    for name in ("initial", "final"):
        where = f"{origin}/execCPUAffinity/{name}"
        phases.append([SetAffinity(id_list(wanted[name], where), origin=where)] if wanted.get(name) else [])
    return phases[0], phases[1]


def environment_of(request: Request, process: Process, origin: str) -> dict[str, str]:
    """Return the program's environment; of a name given twice the last counts. Raises NajaError."""
    environment: dict[str, str] = {}
    for index, entry in enumerate(process.get("env") or ()):
        name, equals, value = entry.partition("=")
        if not (name and equals) or "\0" in entry:
            raise NajaError(f"{entry!r} is not NAME=VALUE", origin=f"{origin}/env/{index}")
        environment[name] = value
    if _activated(request):
        # The program is process 1 of its pid namespace.
        environment["LISTEN_FDS"] = str(_activated(request))
        if "LISTEN_FDNAMES" in request.environment:
            environment["LISTEN_FDNAMES"] = request.environment["LISTEN_FDNAMES"]
        environment["LISTEN_PID"] = "1"
    return environment


def _activated(request: Request) -> int:
    """Return how many descriptors from 3 on are sockets of a service manager's (sd_listen_fds(3))."""
    number = request.environment.get("LISTEN_FDS") or "0"
    if not number.isdecimal():
        raise NajaError(f"LISTEN_FDS={number} in naja's environment is not a number")
    return int(number)


def id_list(text: str, origin: str) -> list[int]:
    """Return the numbers that a list such as "0-3,5" stands for (cpuset(7)). Raises NajaError."""
    numbers: list[int] = []
    for part in text.replace(" ", "").split(",") if text.strip() else ():
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            raise NajaError(f"{text!r} is not a list of numbers and ranges", origin=origin)
        low, high = int(first), int(last or first)
        if low > high or high >= 1 << 16:
            raise NajaError(f"{part} in {text!r} is not a range", origin=origin)
        numbers.extend(range(low, high + 1))
    return numbers


def _number(table: dict[str, int], name: str, origin: str) -> int:
    """Return the kernel's number for a name of the config. Raises Unsupported where there is none."""
    try:
        return table[name]
    except KeyError:
        known = ", ".join(table)
        raise Unsupported(f"{name!r} is not known here", why=f"known are {known}", origin=origin) from None
