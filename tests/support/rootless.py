"""A user of the host without ranges of subordinate ids, and containers as he can have them."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.support.bundle import Bundle
from tests.support.command import Runtime

NOBODY = 65534

#: Keyword arguments of subprocess.run that make a command his.
AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}


def let_through(directory: str) -> None:
    """Let everybody through a directory of a test's, and through those above it that pytest keeps to root."""
    while True:
        os.chmod(directory, os.stat(directory).st_mode & 0o7777 | 0o011)
        above, name = os.path.split(directory)
        if name.startswith("pytest-of-") or above == directory:
            return
        directory = above


def nobodys_bundle(directory: str, id: str, rootfs: str) -> Bundle:
    """Make a bundle in a directory that all may enter: its one user is nobody, and it has no cgroups."""
    os.chmod(directory, 0o755)
    bundle = Bundle(f"{directory}/bundle", id, rootfs)
    linux = bundle.linux
    linux["namespaces"] += [{"type": "user"}]
    for name in ("uidMappings", "gidMappings"):
        linux[name] = [{"containerID": 0, "hostID": NOBODY, "size": 1}]
    del linux["cgroupsPath"], linux["resources"]
    left_out = ("/dev/pts", "/sys/fs/cgroup")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] not in left_out]
    bundle.save()
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", bundle.path], check=True)
    return bundle


def nobodys_runtime(naja: Runtime, directory: str) -> Runtime:
    """Return the runtime with a state root of nobody's; to be called with AS_NOBODY."""
    runtime = Runtime(f"{directory}/root", naja.argv)
    os.mkdir(runtime.root)
    os.chown(runtime.root, NOBODY, NOBODY)
    return runtime
