"""What each capability lets a container do to the host (capabilities(7)), and how much that weighs."""

from __future__ import annotations

from ..linux.capabilities import NAMES
from .exposure import Exposure
from .facts import IN_USER_NAMESPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

#: Weight over the host, whether something is left of it in a user namespace, and what it allows.
CAPABILITIES: dict[str, tuple[float, bool, str]] = {
    "CAP_CHOWN": (0.1, False, "change the owner of any file that it reaches"),
    "CAP_DAC_OVERRIDE": (0.5, False, "read and write any file that it reaches, whoever owns it"),
    "CAP_DAC_READ_SEARCH": (3.0, False, "read any file it reaches, and open others by handle"),
    "CAP_FOWNER": (0.1, False, "change mode and times of any file that it reaches"),
    "CAP_FSETID": (0.1, False, "keep set-uid bits of files that it changes"),
    "CAP_KILL": (0.1, False, "signal any process that it sees"),
    "CAP_SETGID": (0.1, False, "become any group"),
    "CAP_SETUID": (0.1, False, "become any user"),
    "CAP_SETPCAP": (0.1, False, "hand capabilities on to its programs"),
    "CAP_LINUX_IMMUTABLE": (0.3, False, "make files that nobody can remove"),
    "CAP_NET_BIND_SERVICE": (0.1, False, "take ports below 1024"),
    "CAP_NET_BROADCAST": (0.1, False, "nothing: the kernel does not ask for it"),
    "CAP_NET_ADMIN": (0.5, True, "set up its network: addresses, routes, firewall"),
    "CAP_NET_RAW": (0.3, True, "forge and read packets in its network"),
    "CAP_IPC_LOCK": (0.2, False, "keep memory from being swapped out, beyond its limit"),
    "CAP_IPC_OWNER": (0.1, False, "use any shared memory, semaphore and queue that it sees"),
    "CAP_SYS_MODULE": (9.5, False, "load kernel modules: it can run anything as the kernel"),
    "CAP_SYS_RAWIO": (7.0, False, "use I/O ports and physical memory"),
    "CAP_SYS_CHROOT": (0.1, False, "call chroot, which leads out of a root that was not pivoted to"),
    "CAP_SYS_PTRACE": (1.5, False, "look into and change any process that it sees"),
    "CAP_SYS_PACCT": (0.3, False, "switch the host's process accounting on and off"),
    "CAP_SYS_ADMIN": (8.5, True, "mount, set kernel parameters, and some hundred other things"),
    "CAP_SYS_BOOT": (2.0, False, "load another kernel (kexec), reboot"),
    "CAP_SYS_NICE": (1.0, False, "take processor time from all others, by priority and affinity"),
    "CAP_SYS_RESOURCE": (1.0, False, "go beyond limits, quotas and what is reserved for root"),
    "CAP_SYS_TIME": (2.5, False, "set the host's clock"),
    "CAP_SYS_TTY_CONFIG": (0.5, False, "hang up and set up terminals that it reaches"),
    "CAP_MKNOD": (0.3, False, "make nodes of devices"),
    "CAP_LEASE": (0.1, False, "hold leases on any file, for which who opens it waits"),
    "CAP_AUDIT_WRITE": (0.1, False, "write records into the host's audit log"),
    "CAP_AUDIT_CONTROL": (1.5, False, "switch the host's audit on and off"),
    "CAP_SETFCAP": (0.1, False, "give files capabilities"),
    "CAP_MAC_OVERRIDE": (1.5, False, "pass over the rules of Smack"),
    "CAP_MAC_ADMIN": (1.5, False, "change the rules of Smack and AppArmor"),
    "CAP_SYSLOG": (1.0, False, "read and clear the kernel's log, and see its addresses"),
    "CAP_WAKE_ALARM": (0.2, False, "wake the host from suspend"),
    "CAP_BLOCK_SUSPEND": (0.2, False, "keep the host from suspend"),
    "CAP_AUDIT_READ": (1.0, False, "read the host's audit log"),
    "CAP_PERFMON": (2.0, False, "watch the kernel and all processes (perf_event_open)"),
    "CAP_BPF": (2.0, False, "load programs into the kernel"),
    "CAP_CHECKPOINT_RESTORE": (0.5, False, "choose pids, and follow the links of /proc/PID/map_files"),
}

#: How much is left of a capability that only a set-uid program, or one with file capabilities, gets.
_BY_A_PROGRAM = 0.3


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what each capability exposes that the program has, or can get."""
    for name in facts.held:
        weight = _weight(facts, name)
        if weight:
            where = facts.capability_origin(name)
            what = CAPABILITIES[name][2] + (", within its user namespace" if facts.confined else "")
            yield Exposure(
                name, weight, where, f"{name}: {what}", f"remove {name} from /process/capabilities"
            )
    yield from _reachable(facts)


def _weight(facts: Facts, name: str) -> float:
    weight, in_namespace, _ = CAPABILITIES[name]
    if not facts.confined:
        return weight
    return weight * IN_USER_NAMESPACE if in_namespace else 0.0


def _reachable(facts: Facts) -> Iterator[Exposure]:
    """Yield what the bounding set lets a set-uid program of the image have beyond that."""
    if not facts.gains or facts.uid == 0:
        return
    names = [name for name in facts.bounding if name not in facts.held and _weight(facts, name)]
    if names:
        heaviest = max(_weight(facts, name) for name in names)
        shown = "all capabilities" if len(names) == len(NAMES) else ", ".join(names)
        what = f"a set-uid program of the image gets what the bounding set allows: {shown}"
        fix = "set /process/noNewPrivileges to true, or remove them from /process/capabilities/bounding"
        yield Exposure("bounding-set", heaviest * _BY_A_PROGRAM, "/process/capabilities/bounding", what, fix)
