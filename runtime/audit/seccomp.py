"""Which parts of the kernel a seccomp filter leaves open. Pure."""

from __future__ import annotations

from ..operations.seccomp import CompileSeccomp, LoadSeccomp
from .exposure import Exposure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .facts import Facts

_ORIGIN = "/linux/seccomp"

#: Calls that few programs need, and that many holes of the kernel were behind, or that are about the host.
DANGEROUS = (
    *("acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "delete_module", "finit_module"),
    *("fsconfig", "fsmount", "fsopen", "init_module", "io_uring_setup", "ioperm", "iopl", "kexec_file_load"),
    *("kexec_load", "keyctl", "mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree"),
    *("perf_event_open", "personality", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("quotactl", "reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2"),
    *("unshare", "userfaultfd"),
)
_EACH, _MOST = 0.06, 1.5
_FREE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
_SPEC_ALLOW = 1 << 2


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what is exposed by a filter, or by there being none."""
    profile = facts.one(CompileSeccomp)
    if profile is None:
        what = "no seccomp filter: every system call of the kernel, and every error in one, is in its reach"
        yield Exposure(
            "no-seccomp", 2.0, _ORIGIN, what, f"add {_ORIGIN} with a profile, such as the engines' default"
        )
        return
    open_ = [name for name in DANGEROUS if allows(profile.profile, name)]
    if open_:
        what = f"its seccomp filter allows {', '.join(open_)}"
        weight = min(len(open_) * _EACH, _MOST)
        yield Exposure("seccomp-allows", weight, _where(profile.profile, open_), what, "deny them there")
    load = facts.one(LoadSeccomp)
    if load and load.flags & _SPEC_ALLOW:
        what = "the filter leaves the mitigation of Spectre 4 off (naja's default is that of the engines)"
        fix = f"set {_ORIGIN}/flags, to [] for instance"
        yield Exposure("seccomp-speculation", 0.05, facts.origin("linux", "seccomp", "flags"), what, fix)


def free(facts: Facts, name: str) -> bool:
    """Tell whether the container may make a system call, with whatever arguments."""
    profile = facts.one(CompileSeccomp)
    return profile is None or allows(profile.profile, name)


def allows(profile: dict[str, Any], name: str) -> bool:
    """Tell whether a profile allows a system call with whatever arguments."""
    allowed = profile["defaultAction"] in _FREE
    for rule in profile.get("syscalls") or ():
        if name in rule["names"]:
            if rule["action"] in _FREE:
                allowed = allowed or not rule.get("args")
            elif not rule.get("args"):
                return False
    return allowed


def _where(profile: dict[str, Any], names: list[str]) -> str:
    if profile["defaultAction"] in _FREE:
        return f"{_ORIGIN}/defaultAction"
    for index, rule in enumerate(profile.get("syscalls") or ()):
        if rule["action"] in _FREE and {*names} & {*rule["names"]}:
            return f"{_ORIGIN}/syscalls/{index}"
    return _ORIGIN
