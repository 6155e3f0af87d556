"""What the process itself may do: rights that it gains, labels, keys, descriptors, priorities. Pure."""

from __future__ import annotations

from ..linux.scheduling import RLIMITS
from ..operations.execution import SealDescriptors
from ..operations.identity import ChangeUser, JoinSessionKeyring, SetExecLabel, SetExecProfile
from ..operations.kernel import SetPersonality
from ..operations.landlock import MakeLandlockRules
from ..operations.limits import AdjustOomScore, SetIoPriority, SetLimit, SetScheduler
from .exposure import Exposure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .facts import Facts

_INFINITY = (1 << 64) - 1
#: Limits that keep something for others: the least that is too much, and what is taken from them.
_TOO_MUCH = {
    "RLIMIT_CORE": (1, "its core dumps go through the host's handler (core_pattern), or onto its disk"),
    "RLIMIT_MEMLOCK": (1 << 30, "it keeps memory from being swapped out"),
    "RLIMIT_NOFILE": ((1 << 20) + 1, "it opens more files than the kernel lets anybody by default"),
    "RLIMIT_RTPRIO": (1, "it runs before all others, by real-time priority"),
    "RLIMIT_NICE": (21, "it takes processor time from others, by its priority"),
    "RLIMIT_MSGQUEUE": (1 << 27, "it keeps kernel memory by message queues"),
}
#: SELinux types, and AppArmor's profile, that confine nothing.
_UNCONFINED = ("unconfined", "unconfined_t", "spc_t")


def exposures(facts: Facts) -> Iterator[Exposure]:
    """Yield what the process exposes."""
    yield from _rights(facts)
    yield from _labels(facts)
    yield from _streams(facts)
    yield from _priorities(facts)
    for limit in facts.all(SetLimit):
        least, what = _TOO_MUCH.get(limit.name, (0, ""))
        if least and limit.hard >= least:
            said = f"{limit.name} of {'no limit' if limit.hard >= _INFINITY else limit.hard}: {what}"
            fix = f"lower {limit.origin}/hard below {least}"
            yield Exposure("rlimit", 0.1, limit.origin, said, fix)


assert {*_TOO_MUCH} <= {*RLIMITS}


def _rights(facts: Facts) -> Iterator[Exposure]:
    if facts.gains:
        what = "set-uid programs of the image, or of a volume, give it more rights"
        where = facts.origin("process", "noNewPrivileges")
        yield Exposure("new-privileges", 0.7, where, what, "set /process/noNewPrivileges to true")
    user = facts.one(ChangeUser)
    if user and user.keep_groups:
        where = "/annotations/run.oci.keep_original_groups"
        what = "it is in all groups that the caller is in, and reads and writes what they may"
        yield Exposure("callers-groups", 1.0, where, what, f"remove {where}")
    if user and user.uid != 0 and not facts.confined and 0 in (user.gid, *user.groups):
        where = "/process/user/gid" if user.gid == 0 else "/process/user/additionalGids"
        what = "it is in root's group: files of the host that this may read are readable"
        yield Exposure("group-root", 0.2, where, what, f"take 0 out of {where}")


def _labels(facts: Facts) -> Iterator[Exposure]:
    profile, label = facts.one(SetExecProfile), facts.one(SetExecLabel)
    kind = label.label.split(":")[2] if label else ""
    if facts.all(MakeLandlockRules):
        return
    if (profile and profile.profile not in _UNCONFINED) or (label and kind not in _UNCONFINED):
        return
    chosen = profile or label
    if chosen:
        what = f"{chosen.describe()}: that confines nothing"
        fix = f"name one that does at {chosen.origin}"
        yield Exposure("no-security-module", 0.7, chosen.origin, what, fix)
    else:
        what = "no AppArmor profile, SELinux label or Landlock rules: nothing but permissions confine it"
        fix = "set /process/apparmorProfile or selinuxLabel, by what the host has (naja doctor)"
        yield Exposure("no-security-module", 0.5, "/process", what, fix)


def _streams(facts: Facts) -> Iterator[Exposure]:
    if not facts.all(JoinSessionKeyring):
        what = "the caller's session keyring is its own (--no-new-keyring): it reads the keys in it"
        yield Exposure("callers-keyring", 0.5, "", what, "make it without --no-new-keyring")
    seal = facts.one(SealDescriptors)
    if seal and seal.preserved:
        what = f"{seal.preserved} descriptors of the caller are its own: whatever they are of, it has"
        yield Exposure("callers-descriptors", 1.0, "", what, "make it without --preserve-fds and LISTEN_FDS")
    if "process" in facts.config and not facts.config["process"].get("terminal"):
        what = (
            "the caller's standard streams are its own: a file among them it can change, into a terminal type"
        )
        where = facts.origin("process", "terminal")
        yield Exposure("callers-streams", 0.1, where, what, "give it pipes, or set /process/terminal to true")
    persona = facts.one(SetPersonality)
    if persona and persona.persona:
        what = f"runs under the personality {persona.domain}, whose system calls few have looked at"
        yield Exposure("personality", 0.05, persona.origin, what, "remove /linux/personality")


def _priorities(facts: Facts) -> Iterator[Exposure]:
    score = facts.one(AdjustOomScore)
    if score and score.score < 0:
        what = f"oomScoreAdj {score.score}: when memory is short, others of the host are killed before it"
        weight = 0.5 + 0.5 * (score.score / -1000)
        yield Exposure("oom-spared", weight, score.origin, what, f"set {score.origin} to 0 or more")
    scheduler = facts.one(SetScheduler)
    if scheduler and (scheduler.policy in ("SCHED_FIFO", "SCHED_RR", "SCHED_DEADLINE") or scheduler.nice < 0):
        what = f"{scheduler.describe()}: it takes processor time from all others"
        weight = 0.2 if scheduler.nice < 0 else 0.7
        yield Exposure("scheduler", weight, scheduler.origin, what, f"remove {scheduler.origin}")
    io = facts.one(SetIoPriority)
    if io and io.io_class == "IOPRIO_CLASS_RT":
        what = f"{io.describe()}: its disk accesses come before those of all others"
        yield Exposure("io-priority", 0.3, io.origin, what, f"remove {io.origin}")
