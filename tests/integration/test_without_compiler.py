"""naja on a machine without a C compiler: Python seals itself, and opens the door to the kernel itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import REPOSITORY, Runtime
from tests.support.namespaces import Holder, map_ids, namespaces
from tests.support.needs import requires_command
from tests.support.resident import Resident

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o755)
    # By its name the package is found here, and not where the tests' own was installed with a compiler.
    for name, copy in (("runtime", "naja"), ("schemas", "schemas")):
        shutil.copytree(
            os.path.join(REPOSITORY, name), home / copy, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = str(home / "command")
    environment = {**os.environ, "PATH": "/nowhere"}
    subprocess.run(
        [sys.executable, "-m", "naja.startup.launcher", path], cwd=home, env=environment, check=True
    )
    assert list((home / "naja" / "__pycache__").glob("precompiled.*"))
    assert not list((home / "naja" / "__pycache__").glob("*.so"))
    with open(path, "rb") as file:
        assert file.readline() == b"#!/bin/sh\n"
    return path


@pytest.fixture
def plain(command: str, tmp_path: Path) -> Runtime:
    return Runtime(str(tmp_path / "root"), [command])


def test_a_life(plain: Runtime, bundle: Bundle) -> None:
    plain.create(bundle.args("/bin/sleep", "1000"))
    assert plain.status(bundle) == "created"
    plain.start(bundle)
    assert plain.status(bundle) == "running"
    assert plain.run("exec", bundle.id, "/bin/echo", "inside").stdout == "inside\n"
    plain.run("delete", "--force", bundle.id)
    assert plain.ids() == []


def test_a_process_that_stays(plain: Runtime, bundle: Bundle) -> None:
    """It is sealed, and so are its workers; the kernel's door is there before all is loaded."""
    resident = Resident(plain)
    resident.create(bundle.args("/bin/sleep", "1000"))
    resident.of(bundle, "start")
    program = {"args": ["/bin/sh", "-c", "exit 3"], "cwd": "/"}
    added = resident.of(bundle, "exec", program=program)
    assert resident.code(bundle, process=added["process"]) == 3
    resident.of(bundle, "delete", force=True)
    resident.leave()
    assert resident.process.returncode == 0


def test_every_operation_is_told(plain: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Of all processes (--debug)."""
    log = tmp_path / "log"
    bundle.args("/bin/true")
    plain.run("--debug", "--log", str(log), "run", "--bundle", bundle.path, bundle.id)
    told = log.read_text()
    assert "init[" in told and ": mount proc on /proc" in told and ": execute /bin/true" in told


@requires_command("unshare")
def test_a_joined_pid_namespace_under_a_user_namespace(plain: Runtime, bundle: Bundle) -> None:
    """Its procfs is mounted by a child of the stage."""
    holder = Holder()
    try:
        namespaces(bundle, pid=holder.path("pid"), user="")
        map_ids(bundle)
        result = plain.run_attached(bundle.shell("cd /proc; echo [0-9]*; ls /sys/class/net"))
    finally:
        holder.end()
    pids, *interfaces = result.stdout.splitlines()
    assert (pids.split()[0], len(pids.split()), interfaces) == ("1", 2, ["lo"])


@requires_command("unshare")
def test_what_only_the_runtime_may_do_for_a_user_namespace(plain: Runtime, bundle: Bundle) -> None:
    """Devices are made, a source is opened in its turn, the clocks are set; no id is 0."""
    map_ids(bundle)
    host = bundle.linux["uidMappings"][0]["hostID"]
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 3, "hostID": host, "size": 100}]
    namespaces(bundle, user="", time="")
    bundle.process["user"] = {"uid": 3, "gid": 3}
    bundle.linux["timeOffsets"] = {"boottime": {"secs": 86400 * 365}}
    bundle.linux["devices"] = [{"path": "/dev/foo", "type": "c", "major": 1, "minor": 3, "uid": 4}]
    bundle.mount("/mnt", "bind", bundle.rootfs, "bind")
    bundle.mount("/final", "bind", f"{bundle.rootfs}/mnt/etc", "bind", "ro")
    script = "stat -c %u /dev/foo; ls -d /final/passwd; tail -n 1 /proc/self/timens_offsets"
    result = plain.run_attached(bundle.shell(script))
    assert result.stdout.split() == ["4", "/final/passwd", "boottime", "31536000", "0"]


def test_it_goes_on_sealed(plain: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """In its own place, with the pid, words, environment, directory and descriptors that it was given."""
    words = plain.command("run", "--preserve-fds", "1", "-b", bundle.path, bundle.id)
    bundle.shell("echo inside >&3; read line")
    command = subprocess.Popen(
        ["/bin/sh", "-c", 'exec "$@" 3>&1', "sh", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"NAME": "value"},
        cwd=tmp_path,
        text=True,
    )
    assert command.stdout
    assert command.stdout.readline() == "inside\n"
    home = f"/proc/{command.pid}"
    assert os.readlink(f"{home}/exe").count("/") == 1
    assert os.readlink(f"{home}/cwd") == str(tmp_path)
    with open(f"{home}/environ") as environment, open(f"{home}/cmdline") as line:
        assert "NAME=value" in environment.read().split("\0")
        assert line.read().split("\0")[-len(words) - 1 : -1] == words
    command.communicate("\n")
    assert command.returncode == 0
    assert plain.ids() == []


def test_where_it_cannot_be_sealed(bundle: Bundle, tmp_path: Path) -> None:
    """What takes itself for sealed and is not makes no container, and does not execute itself for ever."""
    python = [sys.executable, "-X", "naja-sealed", "-m", "naja"]
    refused = Runtime(str(tmp_path / "root"), python).run_attached(bundle.args("/bin/true"), check=False)
    assert refused.status == 1
    assert "start the sealed interpreter: what was started is not sealed" in refused.stderr


def test_run(plain: Runtime, bundle: Bundle) -> None:
    assert plain.run_attached(bundle.shell("id -u; exit 7"), check=False).status == 7
    assert plain.ids() == []


def test_an_error(plain: Runtime, bundle: Bundle) -> None:
    refused = plain.run_attached(bundle.args("/no/such/program"), check=False)
    assert refused.status == 1
    assert "no such file or directory" in refused.stderr
    assert plain.ids() == []


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_directory_as_a_standard_stream(plain: Runtime, bundle: Bundle, stream: int) -> None:
    """Python would not start with it; the container has the null device in its place."""
    bundle.shell(f"test -c /proc/self/fd/{stream}")
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            f'exec "$@" {stream}< /',
            "sh",
            *plain.command("run", "-b", bundle.path, bundle.id),
        ],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
