"""Engines that leave cgroups to systemd: what they ask for is in force, and the unit shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.engines.containerd import Containerd, Ctr
from tests.engines.docker import Docker
from tests.engines.image import write_images
from tests.engines.podman import Podman, RootlessPodman
from tests.engines.sandbox import PATH, Sandbox
from tests.support.bundle import make_rootfs
from tests.support.command import runtime_command
from tests.support.needs import need_command
from tests.vm import user
from tests.vm.cgroup import VARIANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.engines.docker import Docklike

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(VARIANT != "systemd", reason="needs systemd"),
]

MIB = 1 << 20
PROPERTIES = ("ActiveState", "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec")
#: The guest's kernel has AppArmor, but nothing is there that could load a profile.
UNCONFINED = ("--security-opt", "apparmor=unconfined")


class Guest(Sandbox):
    """The guest itself, which ends soon: engines need no other place there. It is emulated."""

    patience = 5

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._daemons = []

    def command(self, argv: list[str]) -> list[str]:
        """Return the command line that runs ``argv`` with nothing of ours in its environment."""
        return ["env", "-i", f"PATH={PATH}", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8", *argv]

    def close(self) -> None:
        """End the daemons."""
        for daemon in self._daemons:
            daemon.terminate()
            daemon.wait()


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    directory = tempfile.mkdtemp(prefix="naja-engines-")
    os.chmod(directory, 0o711)
    made = Guest(directory)
    yield made
    made.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def images(guest: Guest) -> str:
    """The images of tests/engines, in one file."""
    rootfs, path = os.path.join(guest.directory, "rootfs"), os.path.join(guest.directory, "images.tar")
    make_rootfs(rootfs)
    write_images(path, rootfs)
    return path


def _docker(guest: Guest, runtime: str, images: str) -> Docklike:
    need_command("docker", "dockerd", "containerd")
    return Docker(guest, runtime, images, settings={"exec-opts": ["native.cgroupdriver=systemd"]})


def _podman(guest: Guest, runtime: str, images: str) -> Docklike:
    need_command("podman", "conmon")
    return Podman(guest, runtime, images, manager="systemd")


class UsersPodman(RootlessPodman):
    """Podman of the user who has a systemd of his own. (On a tmpfs his overlays have no attributes.)"""

    user, driver = user.UID, "vfs"


def _rootless(guest: Guest, runtime: str, images: str) -> Docklike:
    need_command("podman", "conmon", "newuidmap")
    user.start_systemd()
    return UsersPodman(guest, runtime, images, manager="systemd")


def unit_of(pid: int, as_user: bool = False) -> tuple[str, dict[str, str], str]:
    """Return the unit that a process is in, what systemd shows of it, and its cgroup's directory."""
    with open(f"/proc/{pid}/cgroup") as file:
        directory = "/sys/fs/cgroup" + file.read().strip().partition("::")[2]
    unit = os.path.basename(directory)
    return unit, shown(unit, as_user), directory


def shown(unit: str, as_user: bool, *names: str) -> dict[str, str]:
    """Return properties of a unit, as the system's or the user's systemd has them."""
    words = ["systemctl", "show", unit, f"--property={','.join(names or PROPERTIES)}"]
    if as_user:
        words = user.as_user(*words, "--user", XDG_RUNTIME_DIR=user.RUNTIME_DIRECTORY)
    lines = subprocess.check_output(words, text=True).splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def read(directory: str, file: str) -> str:
    with open(os.path.join(directory, file)) as content:
        return content.read().strip()


@pytest.mark.parametrize("make", [_docker, _podman, _rootless])
def test_a_container_of_an_engine(
    guest: Guest, images: str, make: Callable[[Guest, str, str], Docklike]
) -> None:
    """Started, asked, changed and removed."""
    as_user = make is _rootless
    (runtime,) = runtime_command()
    engine = make(guest, shutil.which(runtime) or runtime, images)
    assert engine.run("sh", "-c", "exit 7", flags=UNCONFINED, check=False).returncode == 7
    engine.start("box", "sleep", "1000", flags=(*UNCONFINED, "--memory=64m", "--pids-limit=50", "--cpus=0.5"))
    unit, properties, directory = unit_of(engine.pid("box"), as_user)
    assert unit.endswith(".scope")
    assert properties == {
        "ActiveState": "active",
        "MemoryMax": str(64 * MIB),
        "TasksMax": "50",
        "CPUQuotaPerSecUSec": "500ms",
    }
    limits = [read(directory, file) for file in ("memory.max", "pids.max", "cpu.max")]
    assert limits == [str(64 * MIB), "50", "50000 100000"]
    ran = engine("exec", "box", "sh", "-c", "cat /proc/self/cgroup; exit 9", check=False)
    assert (ran.returncode, ran.stdout) == (9, "0::/\n")
    used = engine.output("stats", "--no-stream", "--format", "{{.MemUsage}}", "box")
    assert used.endswith(("64MiB", "67.11MB")), used
    engine("update", "--memory=80m", "--memory-swap=160m", "box")
    assert (shown(unit, as_user)["MemoryMax"], read(directory, "memory.max")) == (str(80 * MIB),) * 2
    engine("rm", "--force", "box")
    assert shown(unit, as_user, "LoadState") == {"LoadState": "not-found"}
    assert not os.path.exists(directory)


def test_a_container_of_ctr(guest: Guest, images: str) -> None:
    """containerd's shim reads the unit's cgroup by itself."""
    need_command("containerd", "ctr")
    (runtime,) = runtime_command()
    ctr = Ctr(Containerd(guest, shutil.which(runtime) or runtime, images))
    ctr.start("box", "sleep", "1000", flags=(*placed("box"), f"--memory-limit={64 * MIB}", "--cpus=0.5"))
    unit, properties, directory = unit_of(ctr.pid("box"))
    assert unit == "ctr-box.scope"
    assert properties["MemoryMax"] == read(directory, "memory.max") == str(64 * MIB)
    assert properties["CPUQuotaPerSecUSec"] == "500ms"
    assert ctr.exec("box", "sh", "-c", "exit 9", check=False).returncode == 9
    assert str(64 * MIB) in ctr.call("tasks", "metrics", "box").stdout
    ctr.remove_all()
    assert shown(unit, False, "LoadState") == {"LoadState": "not-found"}
    assert not os.path.exists(directory)
    assert ctr.run("sh", "-c", "exit 7", flags=placed("once"), check=False).returncode == 7


def placed(name: str) -> tuple[str, ...]:
    """Return the flags of ``ctr run`` that put a container into a unit."""
    return "--runc-systemd-cgroup", f"--cgroup=system.slice:ctr:{name}"
