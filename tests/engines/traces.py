"""What an engine's containers must not leave once the engine has removed them."""

from __future__ import annotations

import glob
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.engines.sandbox import Sandbox

#: Where runtimes keep state below the sandbox's root (`--root`, or their default), one entry a container.
STATE = (
    "/run/containerd/runc/*/*",
    "/run/containerd/naja/*/*",
    "/run/containerd/s/*",
    *(f"{place}/{runtime}/*" for place in ("/run", "/run/user/*") for runtime in ("naja", "runc", "crun")),
)
#: The same below the sandbox's directory: dockerd's exec-root.
DOCKER_STATE = ("docker*/exec/runtime-*/*/*", "swarm/exec/runtime-*/*/*")
#: Network devices: one end of a pair whose other end is in a container, and what overlay networks use.
DEVICES = ("veth", "vx-", "br-")
#: What is kept for the next container on purpose, by the end of its path: engines' own mounts, the
#: compiled seccomp filters of naja, the cgroup of all conmons.
KEPT = ("/run/netns", "/netns/default", "/storage/overlay", "/libpod_parent/conmon")
KEPT_STATE = "/seccomp,"
#: Podman 4.3 forgets the cgroup of a pod in the hierarchy name=systemd.
FORGOTTEN = re.compile(r"cgroup .*/systemd/.*/libpod_parent/[0-9a-f]{64}")


class Traces:
    """What there is now; ``left`` says what is there beyond it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.before = self._look()

    def left(self, patience: float = 10) -> list[str]:
        """Return a line for each thing that is new and stays for longer than ``patience`` seconds."""
        end = time.monotonic() + patience
        while (found := sorted(self._look() - self.before)) and time.monotonic() < end:
            time.sleep(0.1)
        return found

    def _look(self) -> set[str]:
        sandbox = self.sandbox
        found = {f"process {pid}: {line}" for pid, line in sandbox.processes().items() if line}
        found |= {f"mount {point}" for point in sandbox.mounts()}
        found |= {f"network device {name}" for name in sandbox.devices() if name.startswith(DEVICES)}
        # The first level holds the engines' own parents, which they keep: /docker, /kubepods …
        found |= {f"cgroup {path}" for path in sandbox.cgroups() if path.count("/") > 6}
        patterns = [f"/proc/{sandbox.first}/root{pattern}" for pattern in STATE]
        patterns += [f"{sandbox.directory}/{pattern}" for pattern in DOCKER_STATE]
        for pattern in patterns:
            found |= {f"state {path}" for path in glob.glob(pattern) if KEPT_STATE not in path}
        return {line for line in found if not line.endswith(KEPT) and not FORGOTTEN.fullmatch(line)}
