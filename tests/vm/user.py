"""A user of the guest with a systemd of his own, and the runtime as he calls it."""

from __future__ import annotations

import os
import subprocess
import sys

from naja.config.template import rootless_config
from tests.support.bundle import Bundle
from tests.support.command import Runtime

#: As in the names of the files in guest/user.
UID = 4321
RUNTIME_DIRECTORY = f"/run/user/{UID}"
BUS = f"unix:path={RUNTIME_DIRECTORY}/bus"


def start_systemd() -> None:
    """Make the user, if he is not there yet, and start his systemd; both end with the guest."""
    with open("/etc/passwd", "r+") as passwd:
        if f"x:{UID}:" not in passwd.read():
            passwd.write(f"najauser:x:{UID}:{UID}::/:/bin/sh\n")
    # He has to reach naja and Python, wherever the checkout is; the guest's files are its own.
    for directory in (sys.executable, os.path.realpath(sys.executable)):
        while (directory := os.path.dirname(directory)) != "/":
            os.chmod(directory, os.stat(directory).st_mode | 0o001)
    subprocess.run(["systemctl", "start", f"user@{UID}.service"], check=True, timeout=60)


def as_user(*words: str, **environment: str) -> list[str]:
    """Return the command line that runs a command as the user, with nothing else in its environment."""
    variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    assignments = [f"{name}={value}" for name, value in variables.items()]
    ids = (f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
    return ["setpriv", *ids, "env", "--ignore-environment", *assignments, *words]


def runtime(naja: Runtime, directory: str, *prefix: str, **environment: str) -> Runtime:
    """Return the runtime as the user calls it, through the command ``prefix``, with systemd for cgroups."""
    argv = as_user(*prefix, *naja.argv, "--systemd-cgroup", **environment)
    root = os.path.join(directory, "root")
    os.makedirs(root, exist_ok=True)
    os.chown(root, UID, UID)
    return Runtime(root, argv)


def bundle(directory: str, id: str, rootfs: str) -> Bundle:
    """Make a bundle that the user can run; all files are his."""
    made = Bundle(os.path.join(directory, "bundle"), id, rootfs)
    resources = made.linux["resources"]
    rootless_config(made.config)
    made.linux["resources"] = resources
    made.linux["uidMappings"][0]["hostID"] = made.linux["gidMappings"][0]["hostID"] = UID
    made.linux["cgroupsPath"] = f"user.slice:naja:{id}"
    for path, directories, files in os.walk(directory):
        for name in (".", *directories, *files):
            os.chown(os.path.join(path, name), UID, UID, follow_symlinks=False)
    return made.save()
