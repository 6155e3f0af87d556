"""Operations on what the container's process may take of the machine.

Some need privileges on the host that the container's own root lacks; those are done by the runtime
on the process from outside, others by the process to itself.
"""

from __future__ import annotations

import errno
import os

from ..errors import NajaError
from ..linux import process, scheduling
from .base import RUNTIME, Context, Operation

_INFINITY = 0xFFFFFFFFFFFFFFFF


def _target(context: Context) -> int:
    """Return the process that is meant: the container's, or 0 for the caller that becomes it."""
    return context.pid if context.actor == RUNTIME else 0


class AdjustOomScore(Operation):
    """Set how likely the kernel kills the process where memory runs out (config.md, oomScoreAdj).

    Done before any namespace is joined: lowering the score takes a privilege on the host, and the
    score is inherited.
    """

    __slots__ = ("score",)

    def __init__(self, score: int, *, origin: str) -> None:
        self.origin = origin
        self.score = score

    def describe(self) -> str:
        return f"set oom_score_adj to {self.score}"

    def apply(self, context: Context) -> None:
        # A process that is not dumpable owns its files in /proc only where it is the host's root.
        process.set_dumpable(True)
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(self.score).encode())
        finally:
            os.close(descriptor)
            process.set_dumpable(False)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_oom_score(error)


class RaiseLimit(Operation):
    """Raise a hard limit of the container's process from outside, where it is lower than asked for.

    The process itself could not once it has left the host's user namespace; it lowers its limits to
    what is wanted with SetLimit, as the last thing, so that naja never runs within them.
    """

    __slots__ = ("hard", "name")

    def __init__(self, name: str, hard: int, *, origin: str) -> None:
        self.origin = origin
        self.name = name
        self.hard = hard

    def describe(self) -> str:
        return f"raise {self.name} to {_amount(self.hard)} where it is lower"

    def apply(self, context: Context) -> None:
        # Inherited from the caller; those of a process that has become another user are not told.
        soft, hard = scheduling.prlimit(0, self.name)
        if hard < self.hard:
            _set_limits(context.pid, self.name, soft, self.hard, context.descriptors.get("proc", -1))


class SetLimit(Operation):
    """Set a resource limit of the calling process (setrlimit(2))."""

    __slots__ = ("hard", "name", "soft")

    def __init__(self, name: str, soft: int, hard: int, *, origin: str) -> None:
        self.origin = origin
        self.name = name
        self.soft = soft
        self.hard = hard

    def describe(self) -> str:
        return f"limit {self.name} to {_amount(self.soft)}, at most {_amount(self.hard)}"

    def apply(self, context: Context) -> None:
        _set_limits(0, self.name, self.soft, self.hard, context.descriptors.get("proc", -1))


def _set_limits(pid: int, name: str, soft: int, hard: int, proc: int) -> None:
    """Set both limits of a process, 0 being the caller; ``proc`` is a procfs, or -1. Raises NajaError."""
    try:
        scheduling.prlimit(pid, name, (soft, hard))
    except OSError as error:
        why = ""
        if error.errno == errno.EINVAL:
            why = "the soft limit exceeds the hard one"
        elif isinstance(error, PermissionError):
            from . import reasons

            why = reasons.of_many_files(proc, hard) if name == "RLIMIT_NOFILE" else ""
            now = _amount(scheduling.prlimit(0, name)[1])
            why = why or f"the hard limit is {now}, and to raise it takes CAP_SYS_RESOURCE on the host"
        raise NajaError.from_os_error(f"set {name} to {_amount(hard)}", error, why=why) from None


def _amount(value: int) -> str:
    return "unlimited" if value == _INFINITY else str(value)


class SetScheduler(Operation):
    """Set the scheduling policy of the container's process (config.md, scheduler; sched(7))."""

    __slots__ = ("deadline", "flags", "nice", "period", "policy", "priority", "runtime")

    def __init__(
        self,
        policy: str,
        *,
        flags: int = 0,
        nice: int = 0,
        priority: int = 0,
        runtime: int = 0,
        deadline: int = 0,
        period: int = 0,
        origin: str,
    ) -> None:
        self.origin = origin
        self.policy = policy
        self.flags = flags
        self.nice = nice
        self.priority = priority
        self.runtime = runtime
        self.deadline = deadline
        self.period = period

    def describe(self) -> str:
        names = ("nice", "priority", "runtime", "deadline", "period", "flags")
        values = "".join(f", {name} {getattr(self, name)}" for name in names if getattr(self, name))
        return f"schedule as {self.policy}{values}"

    def apply(self, context: Context) -> None:
        scheduling.sched_setattr(
            _target(context),
            scheduling.POLICIES[self.policy],
            flags=self.flags,
            nice=self.nice,
            priority=self.priority,
            runtime=self.runtime,
            deadline=self.deadline,
            period=self.period,
        )

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_scheduler(self.policy, error)


class SetIoPriority(Operation):
    """Set the I/O class and priority of the container's process (config.md, ioPriority)."""

    __slots__ = ("io_class", "priority")

    def __init__(self, io_class: str, priority: int, *, origin: str) -> None:
        self.origin = origin
        self.io_class = io_class
        self.priority = priority

    def describe(self) -> str:
        return f"set the I/O priority to {self.io_class} {self.priority}"

    def apply(self, context: Context) -> None:
        scheduling.ioprio_set(_target(context), scheduling.IO_CLASSES[self.io_class], self.priority)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_io_priority(error)


class SetMemoryPolicy(Operation):
    """Set from which memory nodes the process gets its memory (config-linux.md, memoryPolicy)."""

    __slots__ = ("flags", "mode", "nodes")

    def __init__(self, mode: str, flags: int, nodes: list[int]) -> None:
        self.origin = "/linux/memoryPolicy"
        self.mode = mode
        self.flags = flags
        self.nodes = nodes

    def describe(self) -> str:
        nodes = ",".join(map(str, self.nodes))
        return f"set the memory policy to {self.mode}" + (f" of nodes {nodes}" if nodes else "")

    def apply(self, context: Context) -> None:
        scheduling.set_mempolicy(scheduling.MEMORY_POLICY_MODES[self.mode] | self.flags, self.nodes)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_memory_policy(context.descriptors.get("proc", -1), error)


class ResetAffinity(Operation):
    """Let the process run on all processors of its cgroup, not only on those that the caller was kept to.

    To be done in the cgroup: Linux has remembered since 6.2 what a process asked for, and a service
    manager may have kept naja's caller to few (CPUAffinity= of systemd.exec(5)).
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "run on all processors of the cgroup"

    def apply(self, context: Context) -> None:
        try:
            scheduling.reset_affinity(_target(context))
        except OSError as error:
            context.warn(f"the container runs on no more processors than naja: {error.strerror}")


class SetAffinity(Operation):
    """Let the process run on some processors only (config.md, execCPUAffinity)."""

    __slots__ = ("processors",)

    def __init__(self, processors: list[int], *, origin: str) -> None:
        self.origin = origin
        self.processors = processors

    def describe(self) -> str:
        return f"run on processors {','.join(map(str, self.processors))}"

    def apply(self, context: Context) -> None:
        os.sched_setaffinity(_target(context), self.processors)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_affinity(_target(context), error)
