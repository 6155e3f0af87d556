"""The matrix of engines once more, with the engines of the Debian release after the one that CI has.

    python -m conformance.engines_next [options of conformance.engines]

In a root of that release, made by debootstrap on a tmpfs, naja is installed on the release's own Python,
and conformance.engines plays its scenarios with it and with the release's runc and crun. The root, all
mounts and all processes belong to namespaces that end with this program, however it ends; the cgroups
are removed. What it needs and does not find (root, debootstrap, memory, the network) it says, and ends
with 0, as a test that is skipped; otherwise the exit status is that of conformance.engines.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request

from conformance import containerd, sandbox

#: Where `make containerd` puts its programs.
CONTAINERD = "build/containerd"
#: The release, and its Python.
RELEASE, PYTHON = "trixie", "3.13"
#: All that is needed in the root, naja's Python modules included.
PACKAGES = (
    *("runc", "crun", "containerd", "docker.io", "docker-cli", "podman", "netavark", "buildah", "conmon"),
    *("containernetworking-plugins", "iptables", "nftables", "iproute2", "procps", "uidmap", "tini"),
    *("busybox-static", "ca-certificates", "gcc", "libc6-dev", "libseccomp2", "python3-venv"),
    *("python3-hatchling", "python3-jsonschema", "python3-click", "python3-pyroute2"),
    *("python3-jeepney", "python3-websockets"),
)
#: What the root and all that is played in it take, in bytes.
MEMORY = 4 << 30
#: Seconds that all may take.
TIME = 3600

#: ``sh -c ENTER sh MIRROR CHECKOUT PYTHON INSIDE ARGUMENT...``: make the root, move into it, run INSIDE.
#: gRPC comes by this machine's pip: Debian's own waits for ever where a scenario forks.
ENTER = f"""
set -e
mirror=$1 checkout=$2 python=$3 inside=$4; shift 4
root=$TMPDIR/root
debootstrap --variant=minbase {RELEASE} "$root" "$mirror" > "$TMPDIR/log" || {{
    tail "$TMPDIR/log" >&2
    exit 1
}}
"$python" -m pip download --quiet --only-binary :all: --python-version {PYTHON} --dest "$root/wheels" grpcio
mount --bind "$root" "$root"
cd "$root"
mkdir src old
mount --bind "$checkout" src
mount -o remount,bind,ro src
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs run run
pivot_root . old
umount --lazy /old
export TMPDIR=/tmp HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
cd /src
exec sh -c "$inside" sh "$@"
"""

#: What follows in the root, with the arguments of conformance.engines.
INSIDE = f"""
set -e
# No service starts beside those of the scenarios.
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
export DEBIAN_FRONTEND=noninteractive
pip="/opt/naja/bin/pip install --no-index"
{{
    apt-get update &&
    apt-get install --yes --no-install-recommends {" ".join(PACKAGES)} &&
    python3 -m venv --system-site-packages /opt/naja &&
    $pip --find-links /wheels grpcio &&
    $pip --no-build-isolation --no-deps /src &&
    /opt/naja/bin/python -m naja.startup.launcher /opt/naja/bin/naja
}} > /tmp/log 2>&1 || {{
    tail -n 30 /tmp/log >&2
    exit 1
}}
/opt/naja/bin/python -m conformance.engines "$@"
# Debian 12's Docker takes no shims.
/opt/naja/bin/python -m conformance.kills --engine Docker --kills "${{NAJA_KILLS:-10}}"
if [ -x {CONTAINERD}/containerd ]; then
    # A newer containerd than Debian's.
    for program in {" ".join(containerd.PROGRAMS)}; do
        mount --bind {CONTAINERD}/$program /usr/bin/$program
    done
    /opt/naja/bin/python -m conformance.engines --engine ctr --engine CRI "$@"
fi
"""


def mirror() -> str:
    """Return where apt gets Debian from on this machine; "" where it is not Debian's apt."""
    if not shutil.which("apt-get"):
        return ""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return next(iter(done.stdout.split()), "")


def missing() -> str:
    """Say what this machine lacks; "" where all is there."""
    if os.geteuid():
        return "it needs root"
    for program in ("debootstrap", "unshare", "pivot_root"):
        if not shutil.which(program):
            return f"it needs {program}"
    if available() < MEMORY:
        return f"it needs {MEMORY >> 30} GiB of memory for the root"
    where = mirror()
    if not where:
        return "apt names no mirror of Debian's"
    try:
        with urllib.request.urlopen(f"{where}dists/{RELEASE}/Release", timeout=20):
            return ""
    except (OSError, ValueError) as error:
        return f"Debian's mirror does not answer: {error}"


def available() -> int:
    """Return how much memory there is for the taking, in bytes (proc_meminfo(5))."""
    with open("/proc/meminfo") as file:
        values = dict(line.split(":") for line in file)
    return int(values["MemAvailable"].split()[0]) * 1024


def main(arguments: list[str]) -> int:
    """Make the root, play in it, and return the exit status."""
    if why := missing():
        print(f"engines-next is skipped: {why}", file=sys.stderr)
        return 0
    # What ends this program has to reach its `finally` blocks.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = ["sh", "-c", ENTER, "sh", mirror(), checkout, sys.executable, INSIDE, *arguments]
    outcome = sandbox.run(script, "/", {}, TIME, output=None)
    if outcome.status is None:
        print(f"engines-next: not done within {TIME} seconds", file=sys.stderr)
        return 1
    return outcome.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
