"""Running one program so that nothing it leaves behind outlives it, and nobody else is disturbed.

It gets namespaces of its own (mount, pid, cgroup, uts, ipc), a private /run and scratch directory
(tmpfs), and a cgroup of its own in every v1 hierarchy, mounted as if it were the root. When it ends,
or its time is over, all processes in it are killed with its PID 1, the mounts go with their
namespace, and the cgroups are removed. A v2 tree beside v1 hierarchies is hidden, for every runtime
alike: runtime-tools reads v1 only, and crun 1.8 refuses hybrid trees that hold few controllers. Where
there is v2 alone, the cgroup of its own is there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass

#: ``sh -c ENTER sh CGROUP... -- COMMAND...``: enter the cgroups, make them the root, go on.
ENTER = """
set -e
while [ "$1" != -- ]; do
    echo 0 > "$1/cgroup.procs"
    cgroup=$1; shift
done
shift
exec unshare --cgroup sh -c "$DELEGATE" sh "$cgroup" "$@"
"""

#: ``sh -c DELEGATE sh CGROUP COMMAND...``: on v2, empty the cgroup, for only then may what is made
#: in it have controllers ("no internal processes", cgroups(7)).
DELEGATE = """
set -e
cgroup=$1; shift
if [ -e "$cgroup/cgroup.controllers" ]; then
    mkdir "$cgroup/program"
    echo 0 > "$cgroup/program/cgroup.procs"
    for controller in $(cat "$cgroup/cgroup.controllers"); do
        echo "+$controller" > "$cgroup/cgroup.subtree_control"
    done
fi
exec "$@"
"""

#: Run by PID 1 of the namespaces, as ``sh -c SETUP sh SCRATCH CGROUP-MOUNTS -- PROGRAM...``; a
#: cgroup mount is NAME=OPTIONS, and none means v2. Of a v1 hierarchy with several controllers each
#: is found by its own name too. The shell stays as PID 1, for it reaps what the program orphans.
SETUP = """
set -e
scratch=$1; shift
mount -t tmpfs scratch "$scratch"
mount -t tmpfs run /run
umount --recursive --lazy /sys/fs/cgroup
if [ "$1" = -- ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs cgroup /sys/fs/cgroup
fi
while [ "$1" != -- ]; do
    name=${1%%=*}
    mkdir "/sys/fs/cgroup/$name"
    mount -t cgroup -o "${1#*=}" cgroup "/sys/fs/cgroup/$name"
    for controller in $(echo "$name" | tr , ' '); do
        [ -e "/sys/fs/cgroup/$controller" ] || ln -s "$name" "/sys/fs/cgroup/$controller"
    done
    shift
done
shift
set +e
"$@"
exit $?
"""

NAMESPACES = (
    *("--mount", "--propagation", "private", "--uts", "--ipc"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
#: Words among a cgroup's mount options that do not name it.
FLAGS = ("rw", "ro", "xattr", "clone_children")


@dataclass
class Outcome:
    """How a program ended; ``status`` is None where its time was over."""

    status: int | None
    stdout: str
    stderr: str
    seconds: float


def hierarchies() -> dict[str, tuple[str, str]]:
    """Return the v1 hierarchies that are mounted: (mount point, mount options) by directory name."""
    found = {}
    with open("/proc/self/mountinfo") as mountinfo:
        for line in mountinfo:
            mount, _, filesystem = line.rstrip("\n").partition(" - ")
            kind, _, options = filesystem.split(" ")[:3]
            point = mount.split(" ")[4]
            if kind == "cgroup" and point.startswith("/sys/fs/cgroup/"):
                own = [word for word in options.split(",") if word not in FLAGS and "agent=" not in word]
                if own[0].startswith("name="):
                    own.insert(0, "none")
                found[os.path.basename(point)] = (point, ",".join(own))
    return found


def run(
    argv: list[str],
    directory: str,
    environment: dict[str, str],
    timeout: float,
    output: int | None = subprocess.PIPE,
) -> Outcome:
    """Run ``argv`` in ``directory``, closed in; needs root. Raises OSError where the sandbox fails.

    ``output`` None lets it write where the caller does; the outcome then has nothing of it.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runtime-tools-") as scratch:
        mounts = hierarchies()
        points = [point for point, _ in mounts.values()] or ["/sys/fs/cgroup"]
        cgroups = [_make_cgroup(point, os.path.basename(scratch)) for point in points]
        options = [f"{name}={options}" for name, (_, options) in mounts.items()]
        setup = ["sh", "-c", SETUP, "sh", scratch, *options, "--", *argv]
        process = subprocess.Popen(
            ["sh", "-c", ENTER, "sh", *cgroups, "--", "unshare", *NAMESPACES, "--", *setup],
            cwd=directory,
            env=os.environ | environment | {"TMPDIR": scratch, "DELEGATE": DELEGATE},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            errors="replace",
        )
        status: int | None
        try:
            stdout, stderr = process.communicate(timeout=timeout)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            status = None
        finally:
            process.kill()
            process.wait()
            for cgroup in cgroups:
                _remove_cgroup(cgroup)
    return Outcome(status, stdout or "", stderr or "", time.monotonic() - began)


def _make_cgroup(parent: str, name: str) -> str:
    """Make a cgroup that processes can enter, and return its path."""
    path = os.path.join(parent, name)
    os.mkdir(path)
    # A new cpuset is empty, and an empty one takes no process (cpusets(7)).
    for file in ("cpuset.cpus", "cpuset.mems"):
        if os.path.exists(os.path.join(parent, file)):
            with open(os.path.join(parent, file)) as source, open(os.path.join(path, file), "w") as target:
                target.write(source.read())
    return path


def _remove_cgroup(path: str) -> None:
    """Remove a cgroup and all below it; the kernel may take a moment to let the dead go."""
    for directory, _, _ in os.walk(path, topdown=False):
        for _ in range(500):
            try:
                os.rmdir(directory)
                break
            except OSError as error:
                busy = error
                time.sleep(0.02)
        else:
            raise busy
