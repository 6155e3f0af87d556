"""config.json and its parts (schemas/config.json, process.json, hooks.json, mounts.json, linux.json)."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from .resources import Resources
from .seccomp import Seccomp


class Root(TypedDict):
    """Root file system of the container."""

    #: Directory, absolute or relative to the bundle.
    path: str
    #: Whether the container may not write to it.
    readonly: NotRequired[bool]


class IdMapping(TypedDict):
    """A range of ids: who inside is whom outside."""

    #: First id inside.
    containerID: int
    #: First id outside.
    hostID: int
    #: How many ids.
    size: int


class Mount(TypedDict):
    """One mount."""

    #: Path inside the container.
    destination: str
    #: File system type.
    type: NotRequired[str]
    #: Device, name, or a path on the host.
    source: NotRequired[str]
    #: As in fstab(5).
    options: NotRequired[list[str]]
    #: User ids of an idmapped mount.
    uidMappings: NotRequired[list[IdMapping]]
    #: Group ids of an idmapped mount.
    gidMappings: NotRequired[list[IdMapping]]


class ConsoleSize(TypedDict):
    """Size of the terminal in characters."""

    #: Rows.
    height: int
    #: Columns.
    width: int


class User(TypedDict, total=False):
    """Who the process is."""

    #: User id inside.
    uid: int
    #: Group id inside.
    gid: int
    #: Mode bits that new files lack.
    umask: int
    #: Further groups.
    additionalGids: list[int]
    #: Windows only: the name of the user.
    username: str


class Capabilities(TypedDict, total=False):
    """Sets of capabilities(7), each a list of CAP_ names."""

    #: All that may ever be gained.
    bounding: list[str]
    #: What may be made effective.
    permitted: list[str]
    #: What the kernel checks.
    effective: list[str]
    #: What files may hand on.
    inheritable: list[str]
    #: What plain programs keep.
    ambient: list[str]


RlimitType = Literal[
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
]


class Rlimit(TypedDict):
    """A limit of getrlimit(2)."""

    #: Which limit.
    type: RlimitType
    #: What is enforced.
    soft: int
    #: How far the process may raise it.
    hard: int


#: ioprio_set(2); a member has a name that a class statement could not give it.
IOPriority = TypedDict(
    "IOPriority",
    {
        "class": 'Literal["IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"]',
        "priority": "NotRequired[int]",
    },
)


class Scheduler(TypedDict):
    """sched_setattr(2)."""

    #: Scheduling policy.
    policy: Literal[
        "SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"
    ]
    #: For OTHER and BATCH.
    nice: NotRequired[int]
    #: For FIFO and RR, 1 to 99.
    priority: NotRequired[int]
    #: SCHED_FLAG_ names.
    flags: NotRequired[
        list[
            Literal[
                "SCHED_FLAG_RESET_ON_FORK",
                "SCHED_FLAG_RECLAIM",
                "SCHED_FLAG_DL_OVERRUN",
                "SCHED_FLAG_KEEP_POLICY",
                "SCHED_FLAG_KEEP_PARAMS",
                "SCHED_FLAG_UTIL_CLAMP_MIN",
                "SCHED_FLAG_UTIL_CLAMP_MAX",
            ]
        ]
    ]
    #: For DEADLINE: nanoseconds of work.
    runtime: NotRequired[int]
    #: For DEADLINE: nanoseconds to do it in.
    deadline: NotRequired[int]
    #: For DEADLINE: nanoseconds between starts.
    period: NotRequired[int]


class ExecCPUAffinity(TypedDict, total=False):
    """CPUs for exec, as lists such as 0-3,7."""

    #: Before the cgroup is entered.
    initial: str
    #: After the cgroup is entered.
    final: str


class Process(TypedDict):
    """A process of a container: /process, and what exec takes."""

    #: Whether it gets a terminal of its own.
    terminal: NotRequired[bool]
    #: Size of the terminal in characters.
    consoleSize: NotRequired[ConsoleSize]
    #: Working directory, absolute.
    cwd: str
    #: Environment, NAME=value.
    env: NotRequired[list[str]]
    #: Program and its arguments.
    args: NotRequired[list[str]]
    #: Windows only: the command as one string.
    commandLine: NotRequired[str]
    #: Who the process is.
    user: NotRequired[User]
    #: Sets of capabilities(7), each a list of CAP_ names.
    capabilities: NotRequired[Capabilities]
    #: Resource limits, getrlimit(2).
    rlimits: NotRequired[list[Rlimit]]
    #: AppArmor profile to run under.
    apparmorProfile: NotRequired[str]
    #: SELinux context to run under.
    selinuxLabel: NotRequired[str]
    #: Whether set-uid programs gain nothing.
    noNewPrivileges: NotRequired[bool]
    #: How gladly the kernel kills it when memory is out.
    oomScoreAdj: NotRequired[int]
    #: ioprio_set(2).
    ioPriority: NotRequired[IOPriority]
    #: sched_setattr(2).
    scheduler: NotRequired[Scheduler]
    #: CPUs for exec, as lists such as 0-3,7.
    execCPUAffinity: NotRequired[ExecCPUAffinity]


class Hook(TypedDict):
    """A program to run at a point of the life cycle."""

    #: Program, absolute.
    path: str
    #: Its arguments, its own name first.
    args: NotRequired[list[str]]
    #: Its environment, NAME=value.
    env: NotRequired[list[str]]
    #: Seconds until it is killed.
    timeout: NotRequired[int]


class Hooks(TypedDict, total=False):
    """Programs to run at points of the life cycle: /hooks."""

    #: Deprecated: as createRuntime, and before it.
    prestart: list[Hook]
    #: By create, on the host, before the root is changed.
    createRuntime: list[Hook]
    #: By create, inside, before the root is changed.
    createContainer: list[Hook]
    #: By start, inside, before the program.
    startContainer: list[Hook]
    #: By start, on the host, after the program.
    poststart: list[Hook]
    #: By delete, on the host.
    poststop: list[Hook]


NamespaceType = Literal["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"]


class Namespace(TypedDict):
    """A namespace to make or to join."""

    type: NamespaceType
    #: File of the namespace to join; none for a new one.
    path: NotRequired[str]


class TimeOffset(TypedDict, total=False):
    """How far a clock is set forward."""

    #: Seconds.
    secs: int
    #: Nanoseconds.
    nanosecs: int


class TimeOffsets(TypedDict, total=False):
    """How far the clocks of a new time namespace are set forward."""

    #: CLOCK_BOOTTIME.
    boottime: TimeOffset
    #: CLOCK_MONOTONIC.
    monotonic: TimeOffset


class Device(TypedDict):
    """A device node."""

    #: Character (c, u), block (b) or pipe (p).
    type: Literal["b", "c", "p", "u"]
    #: Where it is, inside.
    path: str
    #: Major number.
    major: NotRequired[int]
    #: Minor number.
    minor: NotRequired[int]
    #: Permissions; bits of the file type do not count.
    fileMode: NotRequired[int]
    #: Owner.
    uid: NotRequired[int]
    #: Group.
    gid: NotRequired[int]


class NetDevice(TypedDict, total=False):
    """A network interface to move."""

    #: Name inside.
    name: str


class IntelRdt(TypedDict, total=False):
    """Cache and memory bandwidth, resctrl."""

    #: Name of the class of service.
    closID: str
    #: Lines of its schemata file.
    schemata: list[str]
    #: Line for the L3 cache.
    l3CacheSchema: str
    #: Line for memory bandwidth.
    memBwSchema: str
    #: Whether it gets a monitoring group.
    enableMonitoring: bool


class MemoryPolicy(TypedDict, total=False):
    """set_mempolicy(2)."""

    #: Where memory comes from.
    mode: Literal[
        "MPOL_DEFAULT",
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_WEIGHTED_INTERLEAVE",
        "MPOL_PREFERRED",
        "MPOL_PREFERRED_MANY",
        "MPOL_LOCAL",
    ]
    #: Memory nodes, a list such as 0-1,3.
    nodes: str
    #: MPOL_F_ names.
    flags: list[Literal["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"]]


class Personality(TypedDict, total=False):
    """personality(2)."""

    #: Execution domain.
    domain: Literal["LINUX", "LINUX32"]
    #: None is defined so far.
    flags: list[str]


class Linux(TypedDict, total=False):
    """What only Linux has: /linux."""

    #: Namespaces to make or to join.
    namespaces: list[Namespace]
    #: Users of a new user namespace.
    uidMappings: list[IdMapping]
    #: Groups of a new user namespace.
    gidMappings: list[IdMapping]
    #: How far the clocks of a new time namespace are set forward.
    timeOffsets: TimeOffsets
    #: Device nodes beside the ones that every container gets.
    devices: list[Device]
    #: Network interfaces of the host, by name, to move into the container.
    netDevices: dict[str, NetDevice]
    #: Where the container's cgroup is.
    cgroupsPath: str
    #: Limits of the container's cgroup.
    resources: Resources
    #: Propagation of the root mount; an r in front means all mounts below it as well.
    rootfsPropagation: Literal[
        "", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"
    ]
    #: Filter of system calls.
    seccomp: Seccomp
    #: Kernel parameters to set inside.
    sysctl: dict[str, str]
    #: Paths that are covered with nothing.
    maskedPaths: list[str]
    #: Paths that cannot be written to.
    readonlyPaths: list[str]
    #: SELinux context of the mounts.
    mountLabel: str
    #: Cache and memory bandwidth, resctrl.
    intelRdt: IntelRdt
    #: set_mempolicy(2).
    memoryPolicy: MemoryPolicy
    #: personality(2).
    personality: Personality


class Config(TypedDict):
    """config.json of a bundle (config.md)."""

    #: Version of the specification that the bundle follows.
    ociVersion: str
    #: Root file system of the container.
    root: NotRequired[Root]
    #: What is mounted beside the root, in this order.
    mounts: NotRequired[list[Mount]]
    #: Process that the container runs.
    process: NotRequired[Process]
    #: Host name seen inside.
    hostname: NotRequired[str]
    #: NIS domain name seen inside.
    domainname: NotRequired[str]
    #: Programs to run at points of the life cycle.
    hooks: NotRequired[Hooks]
    #: Free metadata.
    annotations: NotRequired[dict[str, str]]
    #: What only Linux has.
    linux: NotRequired[Linux]
    #: What only FreeBSD has.
    freebsd: NotRequired[dict[str, Any]]
    #: What only Solaris has.
    solaris: NotRequired[dict[str, Any]]
    #: What only virtual machines have.
    vm: NotRequired[dict[str, Any]]
    #: What only Windows has.
    windows: NotRequired[dict[str, Any]]
    #: What only z/OS has.
    zos: NotRequired[dict[str, Any]]
