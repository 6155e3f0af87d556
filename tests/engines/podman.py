"""Podman, of root and of a user without privileges."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.engines.docker import Docklike

if TYPE_CHECKING:
    from tests.engines.sandbox import Sandbox

#: The user, and where the IDs begin that are the user's own in user namespaces (subuid(5)).
USER, SUBORDINATE = 1000, 300000
#: Podman 5 warns of version 1 of cgroups in the output of each command.
QUIET = "PODMAN_IGNORE_CGROUPSV1_WARNING=1"


class Podman(Docklike):
    """Podman, which has no daemon: conmon stays beside each container."""

    name = "Podman"

    def __init__(self, sandbox: Sandbox, runtime: str, images: str, manager: str = "cgroupfs") -> None:
        """Write containers.conf, with ``manager`` for cgroups, and load the images."""
        directory = os.path.join(sandbox.directory, "podman")
        os.makedirs(directory)
        configuration = write_containers_conf(directory, runtime, "/run/libpod", manager)
        command = ["env", QUIET, f"CONTAINERS_CONF={configuration}", "podman"]
        command += ["--root", os.path.join(directory, "storage"), "--runroot", "/run/podman-storage"]
        super().__init__(sandbox, [*command, "--storage-driver", "overlay"])
        self("load", "--input", images)


class RootlessPodman(Docklike):
    """Podman of a user who has nothing but subordinate IDs: no cgroups of its own (v1), no network."""

    name = "Podman, rootless"
    user, subordinate, place, driver = USER, str(SUBORDINATE), "rootless", "overlay"

    def __init__(self, sandbox: Sandbox, runtime: str, images: str, manager: str = "cgroupfs") -> None:
        """Make the user and what a login would make, write containers.conf and load the images."""
        directory = os.path.join(sandbox.directory, self.place)
        run = f"/run/user/{self.user}"
        sandbox.run(["sh", "-c", MAKE_USER, "sh", str(self.user), self.subordinate, run])
        os.makedirs(directory)
        configuration = write_containers_conf(directory, runtime, f"{run}/libpod", manager)
        os.chown(directory, self.user, self.user)
        command = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups"]
        command += ["env", "--chdir", directory, f"HOME={directory}", f"XDG_RUNTIME_DIR={run}"]
        command += [QUIET, f"CONTAINERS_CONF={configuration}", "podman"]
        command += ["--root", os.path.join(directory, "storage"), "--storage-driver", self.driver]
        super().__init__(sandbox, command)
        self("load", "--input", images)


class RangelessPodman(RootlessPodman):
    """Podman of a user who has not even these: one ID is all that there is, and setgroups(2) is denied."""

    name = "Podman, rootless, one ID"
    user, subordinate, place = USER + 1, "", "rangeless"


#: ``sh -c MAKE_USER sh UID FIRST-SUBORDINATE-ID-OR-NOTHING XDG_RUNTIME_DIR``
MAKE_USER = """
set -e
getent passwd $1 > /dev/null || echo "user$1:x:$1:$1::/:/bin/sh" >> /etc/passwd
getent group $1 > /dev/null || echo "user$1:x:$1:" >> /etc/group
if [ "$2" ]; then
    echo "$1:$2:65536" >> /etc/subuid
    echo "$1:$2:65536" >> /etc/subgid
fi
mkdir -p -m 711 "${3%/*}"
mkdir -p -m 700 "$3"
chown "$1:$1" "$3"
"""


def write_containers_conf(directory: str, runtime: str, temporary: str, manager: str = "cgroupfs") -> str:
    """Write a containers.conf(5) that makes the runtime Podman's own; return its path.

    The limits are for a root without CAP_SYS_RESOURCE, who can raise none.
    """
    path = os.path.join(directory, "containers.conf")
    with open(path, "w") as file:
        file.write(f"""
[containers]
netns = "none"
cgroupns = "private"
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
init_path = "/usr/bin/tini-static"

[engine]
runtime = "under-test"
cgroup_manager = "{manager}"
events_logger = "file"
tmp_dir = "{temporary}"
static_dir = "{directory}/libpod"
volume_path = "{directory}/volumes"

[engine.runtimes]
under-test = ["{runtime}"]
""")
    return path
