"""Failures that were looked into: which result, and why a correct runtime cannot or need not pass it."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """An explanation, for where both patterns are found in the program's name and in what failed."""

    program: str
    failure: str
    why: str


KNOWN = (
    Known(
        r"^(delete_resources|linux_cgroups_(relative_)?pids)$",
        r"pids limit is set correctly: expect: \d{9,}",
        "The test compares pointers (the limit is an *int64 in the specification's Go types), not the "
        "limits.",
    ),
    Known(
        r"^delete$",
        r"that is not `stopped` MUST",
        "The test deletes a container that is only created: it has run nothing yet, and may be deleted as"
        " with runc and crun, which do so without --force.",
    ),
    Known(
        r"^linux_cgroups_(relative_)?memory$",
        r"memory kernel is set correctly",
        "Linux has no limit of kernel memory alone since 5.16; the specification discourages it.",
    ),
    Known(
        r"^linux_cgroups_(relative_)?blkio$",
        r"(leaf_weight|weight).*(No such file|no such file|not have)",
        "blkio's weights went with the CFQ scheduler in Linux 5.0 (bfq brings its own, without leaf "
        "weights), and the test needs a disk 8:0.",
    ),
    Known(
        r"^linux_cgroups_(relative_)?(hugetlb|network)$",
        r"hugetlb|net_cls|net_prio",
        "No v1 hierarchy with that controller is mounted here, and none is made for a test: hierarchies "
        "belong to the kernel, not to a namespace.",
    ),
    Known(
        r"^linux_process_apparmor_profile$",
        r"(?i)apparmor",
        "The test needs AppArmor and a loaded profile acme_secure_profile; without them an error is right: "
        "a property that cannot be applied MUST cause one (runtime.md, create). Of the profile itself the "
        "test asserts nothing; a newer crun passes it by running the process unconfined.",
    ),
    Known(
        r"^process_capabilities$",
        r"(?i)CAP_|capset|apply caps",
        "The test asks for every capability; root lacks some here (see CapBnd in /proc/self/status).",
    ),
    Known(
        r"^process_capabilities_fail$",
        r"cannot be mapped to a relevant kernel interface MUST cause an error",
        "The test holds to release 1.0; since 1.1 an unknown capability is warned about and left out "
        "(config.md).",
    ),
    Known(
        r"^process_rlimits$",
        r"soft RLIMIT_NOFILE",
        "runtimetest is a Go program, and Go (since 1.19) raises its soft limit of open files to the hard"
        " one.",
    ),
    Known(
        r"^misc_props$",
        r"unknown annotation key: .*/runtimetest",
        "The test's process is /runtimetest, which it forgets to put into the bundle.",
    ),
    Known(
        r"^pidfile$",
        r"--pid-file' option works",
        "The process is `true` and has ended when the test kills it; to kill a stopped container is an "
        "error (runtime.md), as the program `kill` demands.",
    ),
    Known(
        r"^killsig$",
        r"send the specified signal.*not stopped: running",
        "The test sends the signal as soon as the container runs. On a busy machine its shell has not set "
        "the trap by then, and PID 1 of a namespace gets no signal that it does not handle.",
    ),
    Known(
        r"^start$",
        r"`process` was not set|^timeout in waiting for the container status|^exit status 1",
        "The test creates a container without a process and wants `start` to succeed, and the container to "
        "stop, under a title that wants an error, as runtime.md (start) does.",
    ),
)


def explain(program: str, failure: str) -> str:
    """Return why ``program`` reports ``failure``, or "" where nobody has found out yet."""
    for known in KNOWN:
        if re.search(known.program, program) and re.search(known.failure, failure):
            return known.why
    return ""
