"""What can be done to processes: pidfds, limits, scores, checkpoints, classes of service."""

from __future__ import annotations

import os

from ..criu import service
from ..errors import NajaError
from ..linux import mounts, process, scheduling
from ..operations.base import STAGE, Context
from ..operations.limits import AdjustOomScore
from .attempt import first_line, tried
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def findings() -> Iterator[Finding]:
    """Yield findings about processes."""
    why = tried(lambda: process.pidfd_send_signal(process.pidfd_open(os.getpid()), 0))
    yield Finding("pidfd", why, needed="every command that finds a container", remedy="Linux 5.3")
    hard = scheduling.prlimit(0, "RLIMIT_NOFILE")[1]
    remedy = "CAP_SYS_RESOURCE on the host, or a higher limit of who calls naja (ulimit -H, LimitNOFILE=)"
    needed = f"/process/rlimits above the caller's (RLIMIT_NOFILE is {hard})"
    yield Finding("rlimit-raised", tried(_raise_limit), needed=needed, remedy=remedy)
    score = int(first_line("/proc/self/oom_score_adj") or 0)
    lower = AdjustOomScore(max(score - 1, -1000), origin="")
    why = tried(lambda: lower.apply(Context(STAGE, lambda text: None)))
    needed = f"/process/oomScoreAdj below {score}"
    yield Finding("oom-score-lowered", why, needed=needed, remedy="CAP_SYS_RESOURCE on the host")
    why = tried(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
    needed = "/process/scheduler of real-time policies"
    remedy = "CAP_SYS_NICE; with v1 and RT_GROUP_SCHED cpu.rt_runtime_us of the cgroups as well"
    yield Finding("realtime", why, needed=needed, remedy=remedy)
    yield _checkpoint()
    yield _classes()


def _raise_limit() -> None:
    _, hard = scheduling.prlimit(0, "RLIMIT_NOFILE")
    scheduling.prlimit(0, "RLIMIT_NOFILE", (16, hard - 1))
    scheduling.prlimit(0, "RLIMIT_NOFILE", (16, hard))


def _checkpoint() -> Finding:
    needed = "checkpoint and restore"
    try:
        program = service.find()
        service.require_version()
    except NajaError as error:
        return Finding("criu", str(error), needed=needed, remedy="install the package criu")
    why = "" if service.works() else "criu check fails"
    remedy = "run criu check as root: it names what the kernel lacks"
    return Finding("criu", why, needed=needed, detail=program, remedy=remedy)


def _classes() -> Finding:
    needed = "/linux/intelRdt"
    points = [point for _, point, kind in mounts.mount_table() if kind == "resctrl"]
    if points:
        return Finding("intel-rdt", needed=needed, detail=points[0])
    with open("/proc/filesystems", encoding="ascii", errors="replace") as file:
        known = any(line.split()[-1] == "resctrl" for line in file)
    if known:
        remedy = "mount -t resctrl resctrl /sys/fs/resctrl"
        return Finding("intel-rdt", "resctrl is not mounted", needed=needed, remedy=remedy)
    return Finding("intel-rdt", "the kernel has no resctrl", needed=needed, remedy="a processor with RDT")
