"""A closed place for daemons: everything that an engine makes vanishes with it.

Mount, PID, network, IPC, UTS and cgroup namespaces of their own; /run is empty, /etc is a copy on
write; cgroups are made below one of this place's in every v1 hierarchy. A v2 tree beside v1
hierarchies is hidden, because crun 1.8 refuses it and the engines are compared on equal terms.
"""

from __future__ import annotations

import os
import subprocess
import time

from conformance.sandbox import hierarchies
from tests.support.terminal import OnTerminal
from tests.support.wait import wait_until

#: PID 1, as ``sh -c FIRST sh DIRECTORY NAME=OPTIONS...`` (cgroup hierarchies). It reaps orphans.
FIRST = """
set -e
directory=$1; shift
mount -t tmpfs run /run
mkdir /run/lock
mount -t overlay -o "lowerdir=/etc,upperdir=$directory/etc,workdir=$directory/work" etc /etc
umount --recursive --lazy /sys/fs/cgroup
mount -t tmpfs cgroup /sys/fs/cgroup
for hierarchy in "$@"; do
    mkdir "/sys/fs/cgroup/${hierarchy%%=*}"
    mount -t cgroup -o "${hierarchy#*=}" cgroup "/sys/fs/cgroup/${hierarchy%%=*}"
done
ip link set lo up
# Docker warns in each container's output without it.
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
sleep infinity &
wait
"""

#: Put before every program: into the sandbox's cgroups, from wherever the caller is.
ENTER = 'for procs in /sys/fs/cgroup/*/cgroup.procs; do echo 0 > "$procs"; done; exec "$@"'

NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")

#: Debian's own programs, in front of whatever else is installed.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class CommandFailed(AssertionError):
    """A command in the sandbox that was to succeed did not; the text has all of its output."""


class Sandbox:
    """The namespaces, held by a first process, until ``close``."""

    #: How many times as long as here everything may take.
    patience = 1

    def __init__(self, directory: str, programs: str = "") -> None:
        """Set up; ``directory`` (on a disk: overlays are made there) is for files. Raises OSError.

        ``programs`` is one more directory that programs are looked for in, after all others.
        """
        self.directory = directory
        self._path = f"{PATH}:{programs}" if programs else PATH
        for name in ("etc", "work"):
            os.makedirs(os.path.join(directory, name))
        found = hierarchies()
        name = os.path.basename(directory)
        self._cgroups = [make_cgroup(os.path.join(point, name)) for point, _ in found.values()]
        self._holder = subprocess.Popen(
            [
                *("unshare", "--propagation", "private", "--fork", "--kill-child", "--mount-proc"),
                *(*NAMESPACES, "--", "sh", "-c", FIRST, "sh", directory),
                *(f"{name}={options}" for name, (_, options) in found.items()),
            ],
            preexec_fn=lambda: enter(self._cgroups),  # noqa: PLW1509 - no threads here yet
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout
        if self._holder.stdout.readline() != "ready\n":
            self.close()
            raise OSError("the sandbox for engines cannot be set up")
        with open(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children") as file:
            self.first = int(file.read().split()[0])
        self._daemons: list[subprocess.Popen[bytes]] = []

    def command(self, argv: list[str]) -> list[str]:
        """Return the command line that runs ``argv`` inside."""
        enter = ["nsenter", "--target", str(self.first), *NAMESPACES, "--wdns=/", "--"]
        environment = ["env", "-i", f"PATH={self._path}", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8"]
        return [*enter, "sh", "-c", ENTER, "sh", *environment, *argv]

    def run(
        self, argv: list[str], *, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end. Raises CommandFailed where it fails (with ``check``)."""
        done = subprocess.run(
            self.command(argv),
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout * self.patience,
            check=False,
        )
        if check and done.returncode:
            words = " ".join(argv)
            raise CommandFailed(f"{words} → {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        return done

    def on_terminal(self, argv: list[str]) -> OnTerminal:
        """Run a command inside, on a pseudo-terminal of its own."""
        return OnTerminal(self.command(argv))

    def daemon(self, argv: list[str], log: str, socket: str, timeout: float = 60) -> None:
        """Start a daemon that runs until ``close``; wait until it listens. Raises AssertionError."""
        with open(log, "ab") as file:
            process = subprocess.Popen(
                self.command(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
            )
        self._daemons.append(process)

        def listening() -> bool:
            if process.poll() is not None:
                with open(log, errors="replace") as file:
                    raise AssertionError(f"{argv[0]} ended:\n{file.read()[-2000:]}")
            return os.path.exists(socket)

        wait_until(listening, timeout=timeout * self.patience, what=socket)

    def mounts(self) -> list[str]:
        """Return the mount points inside."""
        with open(f"/proc/{self.first}/mountinfo", errors="surrogateescape") as mountinfo:
            return [line.split(" ")[4] for line in mountinfo]

    def devices(self) -> list[str]:
        """Return the names of the network devices inside."""
        with open(f"/proc/{self.first}/net/dev") as file:
            return [line.partition(":")[0].strip() for line in file if ":" in line]

    def cgroups(self) -> list[str]:
        """Return the directories of all cgroups that were made inside, as seen from outside."""
        return [
            os.path.join(directory, name)
            for cgroup in self._cgroups
            for directory, names, _ in os.walk(cgroup)
            for name in names
        ]

    def processes(self) -> dict[int, str]:
        """Return the command lines of all processes inside, by pid as seen from outside."""
        pids: set[int] = set()
        for directory, _, _ in os.walk(self._cgroups[0]):
            with open(os.path.join(directory, "cgroup.procs")) as file:
                pids |= {int(line) for line in file}
        found = {}
        for pid in pids:
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    found[pid] = file.read().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def close(self) -> None:
        """Kill everything inside and remove the cgroups; mounts go with their namespace."""
        self._holder.kill()
        self._holder.wait()
        for daemon in getattr(self, "_daemons", []):
            daemon.kill()  # nsenter(1), which may have been stopped by whoever stopped its child
            daemon.wait()
        for cgroup in self._cgroups:
            remove_cgroup(cgroup)


def make_cgroup(path: str) -> str:
    """Make a cgroup that processes can enter, and return its path."""
    os.mkdir(path)
    # A new cpuset is empty, and an empty one takes no process (cpusets(7)).
    for name in ("cpuset.cpus", "cpuset.mems"):
        above = os.path.join(os.path.dirname(path), name)
        if os.path.exists(above):
            with open(above) as source, open(os.path.join(path, name), "w") as target:
                target.write(source.read())
    return path


def enter(cgroups: list[str]) -> None:
    """Move the calling process into the cgroups."""
    for cgroup in cgroups:
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
            file.write("0")


def remove_cgroup(path: str) -> None:
    """Remove a cgroup and all below it; the kernel may take a moment to let the dead go."""
    for directory, _, _ in os.walk(path, topdown=False):
        end = time.monotonic() + 10
        while True:
            try:
                os.rmdir(directory)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
