"""``--systemd-cgroup`` without privileges: the units are those of the user's own systemd."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.wait import wait_until
from tests.vm import user
from tests.vm.cgroup import VARIANT, Cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime
    from tests.support.leaks import Watch

pytestmark = pytest.mark.skipif(VARIANT != "systemd", reason="needs systemd")

MIB = 1 << 20


@pytest.fixture
def manager() -> str:
    """Of the runtime as root calls it; as the user calls it is told by ``user.runtime``."""
    return "cgroupfs"


@pytest.fixture(scope="module")
def systemd() -> None:
    user.start_systemd()


@pytest.fixture
def directory(systemd: None) -> Iterator[str]:
    """A directory that the user can reach, as pytest's own he cannot."""
    path = tempfile.mkdtemp(prefix="naja-user-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def runtime(naja: Runtime, directory: str, leak_check: Watch | None) -> Runtime:
    """The runtime as the user calls it, from a service of the system."""
    made = user.runtime(naja, directory, XDG_RUNTIME_DIR=user.RUNTIME_DIRECTORY)
    if leak_check:
        leak_check.roots.append(made.root)
    return made


@pytest.fixture
def bundle(directory: str, tag: str, busybox_rootfs: str, runtime: Runtime) -> Iterator[Bundle]:
    made = user.bundle(directory, f"{tag}u", busybox_rootfs)
    yield made
    if made.id in runtime.ids():
        runtime.delete(made, "--force", check=False)


def unit(bundle: Bundle, name: str) -> str:
    """Return a property of the container's unit, as the user's systemd tells it."""
    command = ("systemctl", "--user", "show", "--value", f"--property={name}", f"naja-{bundle.id}.scope")
    environment = {"XDG_RUNTIME_DIR": user.RUNTIME_DIRECTORY}
    return subprocess.check_output(user.as_user(*command, **environment), text=True).strip()


def test_limits_and_life(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"] |= {
        "memory": {"limit": 64 * MIB},
        "pids": {"limit": 20},
        "cpu": {"quota": 50000, "period": 100000, "shares": 512, "cpus": "1"},
    }
    runtime.run_detached(bundle.args("/bin/sleep", "1000"))
    cgroup = Cgroup(runtime.state(bundle)["pid"], bundle.id)
    (directory,) = cgroup.directories()
    assert directory.endswith(f"/user@{user.UID}.service/user.slice/naja-{bundle.id}.scope")
    files = ("memory.max", "pids.max", "cpu.max", "cpu.weight", "cpuset.cpus")
    assert [cgroup.read(file) for file in files] == [str(64 * MIB), "20", "50000 100000", "59", "1"]
    assert [unit(bundle, name) for name in ("MemoryMax", "TasksMax")] == [str(64 * MIB), "20"]

    words = ("--memory", str(48 * MIB), "--pids-limit", "1")
    runtime.run("update", *words, bundle.id)
    assert [cgroup.read(file) for file in files[:2]] == [str(48 * MIB), "1"]
    assert [unit(bundle, name) for name in ("MemoryMax", "TasksMax")] == [str(48 * MIB), "1"]
    assert "can't fork" in runtime.exec(bundle, "/bin/sh", "-c", "sleep 1 & wait", check=False).stderr

    assert runtime.exec(bundle, "/bin/cat", "/proc/self/cgroup").stdout == f"0::{directory[14:]}\n"
    assert json.loads(runtime.run("ps", "--format", "json", bundle.id).stdout) == [
        runtime.state(bundle)["pid"]
    ]
    data = json.loads(runtime.run("events", "--stats", bundle.id).stdout)["data"]
    assert data["memory"]["usage"]["limit"] == 48 * MIB
    runtime.run("pause", bundle.id)
    assert (runtime.status(bundle), cgroup.read("cgroup.freeze")) == ("paused", "1")
    runtime.run("resume", bundle.id)
    runtime.kill(bundle)
    runtime.wait_for(bundle, "stopped")
    runtime.delete(bundle)
    assert cgroup.directories() == []
    assert unit(bundle, "LoadState") == "not-found"


def test_out_of_memory(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    bundle.shell("head -c 60000000 /dev/zero | tail > /dev/null; sleep 1000")
    runtime.run_detached(bundle)
    cgroup = Cgroup(runtime.state(bundle)["pid"], bundle.id)
    wait_until(lambda: cgroup.value("memory.events", "oom_kill") > 0, timeout=60, what="an OOM kill")
    runtime.delete(bundle, "--force")


def test_the_bus_by_its_address(naja: Runtime, bundle: Bundle, directory: str) -> None:
    """And nobody has named a cgroup."""
    del bundle.linux["cgroupsPath"]
    runtime = user.runtime(naja, directory, DBUS_SESSION_BUS_ADDRESS=user.BUS)
    shown = runtime.run_attached(bundle.args("/bin/cat", "/proc/self/cgroup")).stdout
    assert shown.strip().endswith(f"/user@{user.UID}.service/user.slice/naja-{bundle.id}.scope")


def test_without_a_bus_the_error_says_so(naja: Runtime, bundle: Bundle, directory: str) -> None:
    done = user.runtime(naja, directory).run_attached(bundle, check=False)
    assert done.status
    assert "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set" in done.stderr
    nowhere = {"XDG_RUNTIME_DIR": "/nonexistent"}
    done = user.runtime(naja, directory, **nowhere).run_attached(bundle, check=False)
    assert done.status
    assert "reach systemd over the user bus unix:path=/nonexistent/bus" in done.stderr


def test_a_controller_that_was_not_delegated(runtime: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 0}]
    done = runtime.run_attached(bundle.save(), check=False)
    assert done.status
    assert "controller hugetlb is not available" in done.stderr
    assert "/linux/resources/hugepageLimits/0" in done.stderr
    assert unit(bundle, "LoadState") == "not-found"


def test_called_from_a_unit_of_the_user(naja: Runtime, bundle: Bundle, directory: str) -> None:
    """As from a terminal of a desktop: the caller is in a scope of the same systemd."""
    scope = ("systemd-run", "--user", "--scope", "--quiet", "--")
    runtime = user.runtime(naja, directory, *scope, XDG_RUNTIME_DIR=user.RUNTIME_DIRECTORY)
    bundle.linux["resources"]["pids"] = {"limit": 20}
    runtime.run_detached(bundle.args("/bin/sleep", "1000"))
    cgroup = Cgroup(runtime.state(bundle)["pid"], bundle.id)
    assert cgroup.read("pids.max") == "20"
    inside = runtime.exec(bundle, "/bin/cat", "/proc/self/cgroup").stdout
    assert inside.endswith(f"/user.slice/naja-{bundle.id}.scope\n")
    runtime.delete(bundle, "--force")
    assert cgroup.directories() == []


def test_called_from_a_user_namespace(naja: Runtime, bundle: Bundle, directory: str) -> None:
    """As podman does it for a user: the caller is root there, and the container gets no other."""
    namespace = ("unshare", "--user", "--map-root-user", "--")
    runtime = user.runtime(naja, directory, *namespace, XDG_RUNTIME_DIR=user.RUNTIME_DIRECTORY)
    bundle.linux["namespaces"] = [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]
    del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    bundle.linux["resources"]["pids"] = {"limit": 3}
    bundle.shell("cat /proc/self/cgroup; for i in 1 2 3 4 5; do sleep 1 & done")
    done = runtime.run_attached(bundle, check=False)
    assert done.stdout.endswith(f"/user@{user.UID}.service/user.slice/naja-{bundle.id}.scope\n")
    assert "can't fork" in done.stderr
    assert unit(bundle, "LoadState") == "not-found"


def test_somebody_elses_scope_of_that_name(runtime: Runtime, bundle: Bundle) -> None:
    """It is refused, and the undo leaves the unit and its process alone."""
    environment = {"XDG_RUNTIME_DIR": user.RUNTIME_DIRECTORY}
    name = f"naja-{bundle.id}.scope"
    command = ("systemd-run", "--user", "--scope", f"--unit={name}", "--quiet", "sleep", "1000")
    stranger = subprocess.Popen(user.as_user(*command, **environment))
    try:
        wait_until(lambda: unit(bundle, "ActiveState") == "active", timeout=60, what="the scope")
        done = runtime.run("create", "--bundle", bundle.path, bundle.id, check=False, timeout=60)
        assert "UnitExists" in done.stderr
        assert stranger.poll() is None
        assert unit(bundle, "ActiveState") == "active"
    finally:
        stranger.kill()
        stranger.wait()


def test_the_scope_of_a_stopped_container_is_somebody_elses_by_now(runtime: Runtime, bundle: Bundle) -> None:
    environment = {"XDG_RUNTIME_DIR": user.RUNTIME_DIRECTORY}
    runtime.run_detached(bundle.args("/bin/sleep", "1000"), timeout=60)
    runtime.kill(bundle)
    wait_until(lambda: unit(bundle, "LoadState") == "not-found", timeout=60, what="end of the scope")
    name = f"naja-{bundle.id}.scope"
    command = ("systemd-run", "--user", "--scope", f"--unit={name}", "--quiet", "sleep", "1000")
    stranger = subprocess.Popen(user.as_user(*command, **environment))
    try:
        wait_until(lambda: unit(bundle, "ActiveState") == "active", timeout=60, what="the scope")
        runtime.run("kill", "--all", bundle.id, "KILL")
        runtime.delete(bundle, "--force")
        assert stranger.poll() is None
        assert unit(bundle, "ActiveState") == "active"
    finally:
        stranger.kill()
        stranger.wait()
