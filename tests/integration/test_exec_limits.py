"""exec --limit: limits for one added process and its children, below those of its container."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from naja import cgroups
from naja.cgroups.hierarchies import by_controller
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

HOST = cgroups.detect()
V2 = HOST.kind == "v2"
MIB = 1 << 20


def directory(bundle: Bundle, controller: str) -> str:
    places = cgroups.directories(HOST.mounts, {name: f"{path}" for name, path in _paths(bundle).items()})
    return by_controller(places)["" if V2 else controller]


def _paths(bundle: Bundle) -> dict[str, str]:
    from naja.cgroups.hierarchies import locate

    return locate(HOST, bundle.linux["cgroupsPath"], bundle.id)


def left(bundle: Bundle) -> list[str]:
    """Return the cgroups of added processes that are there."""
    controllers = ("pids", "memory", "cpu", "cpuset")
    found = {entry.path for name in controllers for entry in os.scandir(directory(bundle, name))}
    return sorted(path for path in found if os.path.basename(path).startswith("exec-"))


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Bundle:
    if not V2 and not {"pids", "memory", "cpu", "cpuset"} <= {*by_controller(HOST.mounts)}:
        pytest.skip("needs the controllers pids, memory, cpu and cpuset")
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    return bundle


def limited(naja: Runtime, bundle: Bundle, *words: str, check: bool = True) -> Result:
    """Run a script with limits; the last word is the script."""
    flags = [f"--limit={word}" for word in words[:-1]]
    return naja.run("exec", *flags, bundle.id, "/bin/sh", "-c", words[-1], check=check)


def present(naja: Runtime, bundle: Bundle) -> list[int]:
    """Return the pids of a container's processes."""
    pids: list[int] = json.loads(naja.run("ps", "--format=json", bundle.id).stdout)
    return pids


def test_processes(naja: Runtime, running: Bundle) -> None:
    script = "for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait"
    assert "can't fork" in limited(naja, running, "pids=4", script, check=False).stderr
    assert limited(naja, running, "pids=20", script).stderr == ""
    assert naja.exec(running, "/bin/sh", "-c", script).stderr == "", "the others are free"
    # Those that it had begun when it could not go on may have outlived it.
    wait_until(lambda: len(present(naja, running)) == 1)
    limited(naja, running, "pids=20", "true")
    assert left(running) == []


def test_processes_that_outlive_it(naja: Runtime, running: Bundle) -> None:
    """Their cgroup stays, with its limit, till one with limits comes after them."""
    limited(naja, running, "pids=4", "sleep 1000 >&- 2>&- & sleep 1000 >&- 2>&- & true")
    outlived = left(running)
    assert len(outlived) == 1
    limited(naja, running, "pids=5", "true")
    assert left(running) == outlived, "somebody is in there"
    # Of a threaded cgroup nobody reads the processes.
    members = Path(outlived[0], "cgroup.threads" if V2 else "cgroup.procs").read_text().split()
    assert len(members) == 2
    assert Path(outlived[0], "pids.max").read_text().strip() == "4"
    for pid in members:
        os.kill(int(pid), signal.SIGKILL)
    wait_until(lambda: len(present(naja, running)) == 1)
    limited(naja, running, "pids=5", "true")
    assert left(running) == []


def test_the_end_of_another(naja: Runtime, running: Bundle) -> None:
    """With it goes nothing of what limits the others."""
    command = naja.command("exec", "--limit=pids=7", running.id, "/bin/sleep", "1000")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as first:
        try:
            wait_until(lambda: len(present(naja, running)) == 2)
            limited(naja, running, "pids=5", "true")
            assert _read(left(running), "pids.max").strip() == "7"
        finally:
            first.terminate()
    assert left(running) == []
    if V2:
        control = Path(directory(running, ""), "cgroup.subtree_control")
        assert "pids" not in control.read_text().split()


def test_many_at_a_time(naja: Runtime, running: Bundle) -> None:
    """None removes the cgroup of another, in which there is nobody yet."""
    command = naja.command("exec", "--limit=pids=4", running.id, "/bin/true")
    for _ in range(10):
        many = [subprocess.Popen(command, stdin=subprocess.DEVNULL) for _ in range(8)]
        assert [each.wait(timeout=60) for each in many] == [0] * 8
    assert left(running) == []


@pytest.mark.skipif(V2, reason="version 2 has no memory for a cgroup beside processes")
def test_memory(naja: Runtime, running: Bundle) -> None:
    script = "x=$(dd if=/dev/zero bs=1M count=64 2>/dev/null | tr '\\0' x); echo ${#x}"
    assert limited(naja, running, "memory=16m", script, check=False).status == 137
    assert limited(naja, running, "memory=1g", script).stdout.strip() == str(64 * MIB)
    assert naja.status(running) == "running"
    assert left(running) == []


@pytest.mark.skipif(not V2, reason="version 1 gives each process its memory")
def test_memory_that_cannot_be_limited(naja: Runtime, running: Bundle) -> None:
    before = open(f"{directory(running, '')}/cgroup.subtree_control").read()
    result = limited(naja, running, "memory=16m", "pids=4", "true", check=False)
    assert result.status == 255
    assert "cgroup v2 divides it only where no process is in the cgroup itself" in result.stderr
    assert open(f"{directory(running, '')}/cgroup.subtree_control").read() == before
    assert left(running) == []


def test_processor_time(naja: Runtime, running: Bundle, tmp_path: Path) -> None:
    """Detached, nobody takes the cgroup away but delete."""
    file = tmp_path / "pid"
    words = (
        "--limit=cpus=0.25",
        "--limit=cpuset=0",
        "--pid-file",
        str(file),
        running.id,
        "/bin/sleep",
        "1000",
    )
    naja.detached("exec", "-d", *words)
    pid, paths = int(file.read_text()), left(running)
    assert _read(paths, "cpu.max" if V2 else "cpu.cfs_quota_us").split()[0] == "25000"
    assert _read(paths, "cpuset.cpus").strip() == "0"
    assert pid in present(naja, running), "it is the container's"
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    naja.delete(running, "--force")
    assert not any(map(os.path.exists, paths))


def _read(paths: list[str], name: str) -> str:
    """Return the content of the one file of that name."""
    (found,) = [f"{path}/{name}" for path in paths if os.path.exists(f"{path}/{name}")]
    with open(found) as file:
        return file.read()


def test_what_it_leaves_goes_with_the_container(naja: Runtime, running: Bundle) -> None:
    """The limits hold for what goes on in the background."""
    limited(naja, running, "pids=4", "sleep 1000 > /dev/null 2>&1 &")
    (path,) = left(running)
    naja.delete(running, "--force")
    assert not os.path.exists(path)


def test_in_a_cgroup_that_is_named(naja: Runtime, running: Bundle) -> None:
    if V2:
        pytest.skip("it would have to be made by the container")
    inner = f"{directory(running, 'pids')}/inner"
    os.mkdir(inner)
    words = ("exec", "--cgroup=pids:inner", "--limit=pids=3", running.id, "/bin/sh", "-c")
    result = naja.run(*words, "cat /proc/self/cgroup")
    assert any("/inner/exec-" in line for line in result.stdout.splitlines() if "pids" in line)
    assert os.listdir(inner).count("cgroup.procs") == 1
    assert not [name for name in os.listdir(inner) if name.startswith("exec-")]


@pytest.mark.parametrize(
    "limit",
    ["memory", "memory=", "pids=-1", "pids=0", "cpus=x", "cpus=0", "cpus=-1", "cpus=1e3", "swap=1", "="],
)  # fmt: skip
def test_limits_that_are_none(naja: Runtime, running: Bundle, limit: str) -> None:
    result = limited(naja, running, limit, "true", check=False)
    assert result.status == 255
    assert "--limit" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert left(running) == []


def test_what_the_kernel_refuses(naja: Runtime, running: Bundle) -> None:
    result = limited(naja, running, "pids=5", "cpuset=4000", "true", check=False)
    assert result.status == 255
    assert "--limit" in result.stderr
    assert left(running) == []


def test_a_program_that_cannot_be_run(naja: Runtime, running: Bundle) -> None:
    result = naja.run("exec", "--limit=pids=5", running.id, "no-such-program", check=False)
    assert result.status == 255
    wait_until(lambda: left(running) == [])


def test_a_stopped_container(naja: Runtime, running: Bundle) -> None:
    naja.kill(running)
    naja.wait_for(running, "stopped")
    assert "stopped container" in limited(naja, running, "pids=5", "true", check=False).stderr
