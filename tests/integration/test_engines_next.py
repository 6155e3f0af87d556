"""The lane of another Debian's engines: it says what it lacks, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conformance.sandbox import hierarchies
from tests.engines.sandbox import remove_cgroup
from tests.support.command import REPOSITORY
from tests.support.needs import requires_command, requires_root
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [requires_root, requires_command("unshare", "pivot_root")]

#: In the place of debootstrap: it makes files, a mount, a process and a cgroup, and tells what it is called.
MAKE = """#!/bin/sh
mkdir -p "$3/etc"; mount -t tmpfs made "$3/etc"; sleep 1000 &
mkdir "$(find /sys/fs/cgroup -name cgroup.procs -printf '%h\\n' | tail -n 1)/made" || exit 1
basename "$TMPDIR" > """


class Lane:
    """`python -m conformance.engines_next` with a mirror and a debootstrap of ours."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.temporary = directory / "tmp"
        #: The name of its cgroups and of its directory, once there is one.
        self.name = directory / "name"
        (directory / "mirror/dists/trixie").mkdir(parents=True)
        (directory / "mirror/dists/trixie/Release").touch()
        self.temporary.mkdir()
        self.program("apt-get", f"#!/bin/sh\necho file://{directory}/mirror/\n")

    def program(self, name: str, script: str) -> None:
        """Put a program in front of all others of its name."""
        path = self.directory / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def start(self, path: str = os.environ["PATH"]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "conformance.engines_next"],
            cwd=REPOSITORY,
            env={**os.environ, "PATH": f"{self.directory}/bin:{path}", "TMPDIR": str(self.temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        process = self.start()
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def left(self) -> list[str]:
        """Return what there is of it: files, mounts, cgroups, processes."""
        names = os.listdir(self.temporary)
        with open("/proc/self/mountinfo") as file:
            names += [line for line in file if str(self.directory) in line]
        for point in [point for point, _ in hierarchies().values()] or ["/sys/fs/cgroup"]:
            names += [point] if self.name.read_text().strip() in os.listdir(point) else []
        return names + [f"process {pid}" for pid in self.processes()]

    def processes(self) -> list[int]:
        """Return the pids of its processes, which have its directory in their environment."""
        pids = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environment:
                    if pid != os.getpid() and os.fsencode(self.temporary) in environment.read():
                        pids.append(pid)
            except OSError:
                continue
        return pids

    def clean(self) -> None:
        """Take away what it should have taken away itself."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self.processes(), what="processes to end")
        if self.name.exists():
            for point, _ in hierarchies().values():
                remove_cgroup(os.path.join(point, self.name.read_text().strip()))


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    lane = Lane(tmp_path)
    yield lane
    lane.clean()


def test_a_mirror_that_does_not_answer(lane: Lane) -> None:
    """As on a machine without a network: it is skipped, in words."""
    lane.program("debootstrap", "#!/bin/sh\nexit 9\n")
    (lane.directory / "mirror/dists/trixie/Release").unlink()
    status, output = lane.run()
    assert (status, output.count("\n")) == (0, 1)
    assert output.startswith("engines-next is skipped: Debian's mirror does not answer: ")


def test_no_mirror_and_no_debootstrap(lane: Lane) -> None:
    lane.program("debootstrap", "#!/bin/sh\nexit 9\n")
    lane.program("apt-get", "#!/bin/sh\nexit 1\n")
    assert lane.run() == (0, "engines-next is skipped: apt names no mirror of Debian's\n")
    (lane.directory / "bin/debootstrap").unlink()
    for name in ("unshare", "pivot_root"):
        lane.program(name, "#!/bin/sh\n")
    output, _ = lane.start(path="/nowhere").communicate(timeout=60)
    assert output == "engines-next is skipped: it needs debootstrap\n"


def test_a_root_that_cannot_be_made(lane: Lane) -> None:
    lane.program("debootstrap", f"{MAKE} {lane.name}\necho 'E: no such release'; exit 1\n")
    status, output = lane.run()
    assert (status, output.splitlines()[-1]) == (1, "E: no such release")
    assert not lane.left()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_it_is_ended(lane: Lane, sent: signal.Signals) -> None:
    lane.program("debootstrap", f"{MAKE} {lane.name}\nsleep 1000\n")
    process = lane.start()
    try:
        wait_until(lambda: lane.name.exists() and lane.name.read_text(), timeout=30, what="debootstrap")
        assert lane.left()
        process.send_signal(sent)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    wait_until(lambda: not lane.left(), timeout=20, what="nothing is left")
