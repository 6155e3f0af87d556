"""Differences between naja, runc 1.1.5 and crun 1.8.1 that were looked into, and who is right."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """An explanation, for where the three patterns are found in the variant, the config, the file."""

    key: str
    variant: str
    config: str
    file: str
    why: str

    def explains(self, variant: str, config: str, file: str) -> bool:
        """Say whether a difference is the one that is meant."""
        asked = ((self.variant, variant), (self.config, config), (self.file, file))
        return all(re.search(pattern, text) for pattern, text in asked)


_V2 = "^(v2|systemd)$"

KNOWN = (
    Known(
        "hybrid",
        r"^hybrid$",
        r"^plain$",
        r"refused",
        "crun runs no container where a v2 tree beside v1 hierarchies has controllers, here hugetlb, "
        "rdma and misc. With runc and naja the container is in that tree too.",
    ),
    Known(
        "beside",
        r"^hybrid$",
        r"^hugetlb$",
        r"refused|^unified/",
        "v1 has no hierarchy for it here, but the v2 tree beside has the controller: naja sets the limit "
        "there, runc and crun refuse the config.",
    ),
    Known(
        "sub-cgroup",
        r"^systemd$",
        r"",
        r"^\.\./|^cgroup\.controllers$|^(misc|rdma)\.max$",
        "crun has systemd make the scope, and then its own cgroup `container` in it, where the process is "
        "and most limits are; the controllers misc and rdma are not passed down to it. runc and naja limit "
        "the scope itself. crun since 1.18 can be told to do without.",
    ),
    Known(
        "tasks of a scope",
        r"^systemd$",
        r"^plain$",
        r"^pids\.max$",
        "No config asks for it: systemd gives every scope 15 % of the machine's tasks (DefaultTasksMax). "
        "crun's sub-cgroup has no limit of its own, but that of the scope above it holds.",
    ),
    Known(
        "weight",
        _V2,
        r"^cpu(-shares-1024)?$",
        r"^cpu\.weight(\.nice)?$",
        "cpu.weight is computed from shares. Once that was in proportion, which gives a container with the "
        "default of v1, 1024, the weight 39, where the default of v2 is 100; runc since 1.4 and crun since "
        "1.23 use a curve through both defaults, and so does naja. cpu.weight.nice is the same number on "
        "another scale.",
    ),
    Known(
        "burst",
        r"",
        r"^cpu-burst$",
        r"burst",
        "cpu.burst came with the runtime specification 1.1: runc has it since 1.2, crun since 1.11. These "
        "two pass over it, naja writes it.",
    ),
    Known(
        "idle",
        r"",
        r"^cpu-idle$",
        r"^(cpu,cpuacct/)?cpu\.(idle|weight|weight\.nice|shares)$",
        "cpu.idle came with the runtime specification 1.1: crun has it since 1.5, runc since 1.2; this one "
        "passes over it. The kernel then shows the weight of an idle group, 0 (3 on v1).",
    ),
    Known(
        "pids 0",
        r"",
        r"^pids-0$",
        r"pids\.max$",
        "A limit of 0 is a limit by the runtime specification 1.3, and so with naja and with runc since 1.4; "
        "older releases take it for none.",
    ),
    Known(
        "reservations",
        r"",
        r"^hugetlb$",
        r"rsvd",
        "The specification asks for the limit on reservations where the kernel has one (1.1): a process is "
        "refused its mmap, and not killed by SIGBUS later. runc writes it since 1.1.10.",
    ),
    Known(
        "no such limit",
        _V2,
        r"^(swappiness|network)$",
        r"refused",
        "cgroup v2 has nothing like it. runc says nothing and goes on without; crun and naja refuse: who "
        "asks for a limit is not to believe that there is one.",
    ),
    Known(
        "rdma",
        r"",
        r"^rdma$",
        r"refused",
        "The machine has no such device, so the kernel does not take the limit. crun 1.8.1 passes over rdma.",
    ),
    Known(
        "bfq on v1",
        r"^(v1|hybrid)$",
        r"^blkio-weight",
        r"refused",
        "blkio.weight went with the CFQ scheduler in Linux 5.0; what is left is blkio.bfq.weight. runc and "
        "naja write the one that is there, crun since 1.8.2.",
    ),
    Known(
        "default devices",
        r"",
        r"",
        r"^device c (5:1|10:200)$|devices\.list$",
        "Beside the config's rules each has a list of its own. /dev/net/tun (c 10:200) is in runc's, but for "
        "1.2.0 to 1.2.3, and in naja's; crun took it out in 1.5. /dev/console (c 5:1) is in crun's; the "
        "others give a container a terminal of its own in that place, a device 136:N.",
    ),
)
