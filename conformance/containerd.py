"""Builds today's containerd with Go, for `make engines-next`: ``python -m conformance.containerd DIRECTORY``.

Debian 13 has the release before. It takes some five minutes of processor time, and leaves three programs.
"""

from __future__ import annotations

import os
import sys

from conformance import go

MODULE, VERSION = "github.com/containerd/containerd/v2", "v2.1.4"
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")
#: What only some storage needs, and C libraries.
WITHOUT = "no_btrfs no_devmapper no_zfs no_tracing"


def build(target: str, scratch: str) -> None:
    """Fetch and build in a directory. Raises CalledProcessError where Go fails, OSError without it."""
    source = go.fetch(MODULE, VERSION, scratch)
    os.makedirs(target, exist_ok=True)
    flags = ("-tags", WITHOUT, "-ldflags", f"-s -w -X {MODULE}/version.Version={VERSION}")
    for program in reversed(PROGRAMS):  # The one that is looked for comes last.
        go.build(source, scratch, f"./cmd/{program}", os.path.join(target, program), *flags)


if __name__ == "__main__":
    sys.exit(go.main("containerd", build))
