"""Namespaces for a container to join, and the part of its config that says so."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.support.rootless import let_through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle

#: The user of the host that is root of a user namespace.
OUTSIDE = 100000


class Holder:
    """A process that holds a new namespace of each kind; ``user`` owns them, or the host."""

    def __init__(self, user: str = "", cgroup: str = "") -> None:
        enter = f"echo $$ > {cgroup}/cgroup.procs;" if cgroup else ""
        self.become = ["nsenter", f"--user={user}"] if user else []
        unshare = ["unshare", "--ipc", "--net", "--cgroup", "--pid", "--fork", "--kill-child"]
        self.process = subprocess.Popen(
            [
                "sh",
                "-c",
                f'{enter} exec "$@"',
                "sh",
                *self.become,
                *unshare,
                "sh",
                "-c",
                "echo; exec sleep 1000",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.process.stdout.readline()

    def path(self, kind: str) -> str:
        name = {"pid": "pid_for_children", "network": "net"}.get(kind, kind)
        return f"/proc/{self.process.pid}/ns/{name}"

    def make_queue(self, directory: Path) -> None:
        """Make a message queue "theirs"."""
        script = f"mount -t mqueue mqueue {directory}; touch {directory}/theirs"
        command = [
            *(self.become or ["nsenter"]),
            f"--ipc={self.path('ipc')}",
            "unshare",
            "--mount",
            "sh",
            "-ec",
            script,
        ]
        subprocess.run(command, check=True)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def namespaces(bundle: Bundle, **paths: str | None) -> None:
    """Say by kind which namespace is joined, made ("") or shared (None); the others stay."""
    kept = [entry for entry in bundle.linux["namespaces"] if entry["type"] not in paths]
    named = [
        {"type": kind, "path": path} if path else {"type": kind}
        for kind, path in paths.items()
        if path is not None
    ]
    bundle.linux["namespaces"] = kept + named
    if paths.get("network", "") is None or paths.get("uts", "") is None:
        bundle.config.pop("hostname", None)


def map_ids(bundle: Bundle, host: int = OUTSIDE, size: int = 65536) -> None:
    """Give the container a new user namespace, whose root owns the root file system."""
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": host, "size": size}]
    subprocess.run(["chown", "-R", f"{host}:{host}", bundle.rootfs], check=True)
    let_through(os.path.dirname(bundle.path))
    bundle.process.pop("rlimits", None)
