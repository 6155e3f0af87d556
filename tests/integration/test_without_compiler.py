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

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle

_PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> str:
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o755)
    for name in ("runtime", "schemas"):
        shutil.copytree(
            os.path.join(REPOSITORY, name), home / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    path = str(home / "naja")
    environment = {**os.environ, "PATH": "/nowhere"}
    subprocess.run(
        [sys.executable, "-m", "naja.startup.launcher", path], cwd=home, env=environment, check=True
    )
    assert not list((home / "runtime" / "__pycache__").glob("*.so"))
    with open(path, "rb") as file:
        assert file.readline() == f"#!{_PYTHON} -IS\n".encode()
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


def test_run(plain: Runtime, bundle: Bundle) -> None:
    assert plain.run_attached(bundle.shell("id -u; exit 7"), check=False).status == 7
    assert plain.ids() == []


def test_an_error(plain: Runtime, bundle: Bundle) -> None:
    refused = plain.run_attached(bundle.args("/no/such/program"), check=False)
    assert refused.status == 1
    assert "no such file or directory" in refused.stderr
    assert plain.ids() == []
