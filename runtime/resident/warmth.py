"""Loads what workers need, so that none of them has to: what a verb imports is a third of its time.

Left out is what few containers need: checkpoints, systemd, network devices, Intel RDT, tracing. And what has
to do with ``linux.foreign``, which must not be in sys.modules before ``linux.libc`` asks for it.
"""

from __future__ import annotations

import _signal  # noqa: F401
import _socket  # noqa: F401
import fcntl  # noqa: F401
import termios  # noqa: F401

from .. import hooks  # noqa: F401
from ..cgroups import (  # noqa: F401
    devices,
    events,
    limits_v1,
    limits_v2,
    resources,
    statistics_v1,
    statistics_v2,
    tree,
    v1,
    v2,
)
from ..config import rules, rules_linux, verdict  # noqa: F401
from ..container import creation, execution, lifecycle, remains  # noqa: F401
from ..linux import bpf, cgroup_walk, channel  # noqa: F401
from ..operations import (  # noqa: F401
    cgroup_limits,
    console,
    copyup,
    covers,
    early,
    errand,
    gate,
    instances,
    kernel,
    nodes,
    terminal,
)
from ..operations import hooks as hook_operations  # noqa: F401
from ..plan import hook_environment  # noqa: F401
from ..process import attached, dialogue, launch, stage  # noqa: F401
