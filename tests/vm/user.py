"""A user of the guest with a systemd of his own, and the runtime as he calls it."""

from __future__ import annotations

import os
import shutil
import subprocess

from runtime.config.template import rootless_config
from tests.support.bundle import Bundle
from tests.support.command import REPOSITORY, Runtime
from tests.vm.kernel import GUEST

#: As in the names of the files in guest/user.
UID = 4321
RUNTIME_DIRECTORY = f"/run/user/{UID}"
BUS = f"unix:path={RUNTIME_DIRECTORY}/bus"


def start_systemd() -> None:
    """Make the user, if he is not there yet, and start his systemd; both end with the guest."""
    with open("/etc/passwd", "r+") as passwd:
        if f"x:{UID}:" not in passwd.read():
            passwd.write(f"najauser:x:{UID}:{UID}::/:/bin/sh\n")
    units = os.path.join(GUEST, "user")
    for name in os.listdir(units):
        place = f"/run/systemd/{'system' if name.startswith('user@') else 'user/sockets.target.wants'}"
        os.makedirs(place, exist_ok=True)
        shutil.copy(os.path.join(units, name), place if name != "dbus.service" else os.path.dirname(place))
    # He has to reach naja and Python, wherever the checkout is; the guest's files are its own.
    for program in (REPOSITORY, os.path.realpath(shutil.which("python3") or "/usr/bin/python3")):
        directory = program
        while (directory := os.path.dirname(directory)) != "/":
            os.chmod(directory, os.stat(directory).st_mode | 0o001)
    for command in ("daemon-reload", f"start user@{UID}.service"):
        subprocess.run(["systemctl", *command.split()], check=True, timeout=60)


def as_user(*words: str, **environment: str) -> list[str]:
    """Return the command line that runs a command as the user, with nothing else in its environment."""
    variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment}
    assignments = [f"{name}={value}" for name, value in variables.items()]
    ids = (f"--reuid={UID}", f"--regid={UID}", "--clear-groups")
    return ["setpriv", *ids, "env", "--ignore-environment", *assignments, *words]


def runtime(naja: Runtime, directory: str, **environment: str) -> Runtime:
    """Return the runtime as the user calls it, told to let systemd make cgroups."""
    return Runtime(os.path.join(directory, "root"), as_user(*naja.argv, "--systemd-cgroup", **environment))


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
