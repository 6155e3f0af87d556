"""naja called as CRI-O calls a runtime: by conmon, and with CRI-O's own command lines (runtime_oci.go).

No package of Debian 12's has CRI-O itself; conmon is the program that it starts.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.needs import need_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

#: All of the environment that CRI-O passes.
ENVIRONMENT = {"CRI_O_EXTERNAL": "1", "XDG_RUNTIME_DIR": "/run", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
SERVER = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.1; done"


class Crio:
    """A container that was created through conmon, and the calls that CRI-O makes for it."""

    def __init__(self, naja: Runtime, bundle: Bundle, place: Path) -> None:
        """Create it. Raises AssertionError with conmon's message where it cannot be."""
        need_command("conmon")
        if len(naja.argv) > 1:
            pytest.skip("conmon needs a runtime that is one program")
        self.naja = naja
        self.bundle = bundle
        self.exits = place / "exits"
        self.log = place / "log"
        self.exits.mkdir()
        (place / "persist").mkdir()
        report, their_report = os.pipe()
        their_start, start = os.pipe()
        command = [
            *("conmon", "-b", bundle.path, "-c", bundle.id, "-u", bundle.id, "-n", "k8s_box"),
            *("--exit-dir", str(self.exits), "-l", str(self.log), "--log-level", "info"),
            *("-P", str(place / "conmon.pid"), "-p", os.path.join(bundle.path, "pidfile")),
            *("--persist-dir", str(place / "persist"), "--socket-dir-path", str(place)),
            *("-r", naja.argv[0], "--runtime-arg", f"--root={naja.root}"),
        ]
        pipes = {"_OCI_SYNCPIPE": str(their_report), "_OCI_STARTPIPE": str(their_start)}
        with subprocess.Popen(
            command,
            env=ENVIRONMENT | pipes,
            pass_fds=(their_report, their_start),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as conmon:
            os.close(their_report)
            os.close(their_start)
            os.write(start, b"\0")  # conmon is in its cgroup
            os.close(start)
            with open(report) as file:
                answer: dict[str, Any] = json.loads(file.readline())
            conmon.wait(timeout=10)
        self.pid = int(answer.get("data", answer.get("pid", -1)))
        assert self.pid > 0, answer

    def call(self, *words: str, check: bool = True, **options: Any) -> Result:
        return self.naja.run(*words, check=check, env=ENVIRONMENT, **options)

    def exit_code(self) -> int:
        """Return the code that conmon reports once the container has ended."""
        path = self.exits / self.bundle.id
        wait_until(path.exists, what="conmon's report")
        return int(path.read_text())


def test_life_of_a_container(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    crio = Crio(naja, bundle.shell(SERVER), tmp_path)
    crio.call("start", bundle.id)
    state = json.loads(crio.call("state", bundle.id).stdout)
    assert (state["status"], state["pid"]) == ("running", crio.pid)
    assert state["created"]
    wait_until(lambda: "stdout F up" in crio.log.read_text(), what="the log")
    crio.call("pause", bundle.id)
    assert json.loads(crio.call("state", bundle.id).stdout)["status"] == "paused"
    crio.call("resume", bundle.id)
    crio.call("kill", bundle.id, "TERM")  # the image's stop signal, as it is written there
    assert crio.exit_code() == 7
    wait_until(lambda: json.loads(crio.call("state", bundle.id).stdout)["status"] == "stopped")
    assert "stdout F bye" in crio.log.read_text()
    late = crio.call("kill", bundle.id, "KILL", check=False)
    assert late.status == 1
    assert "container not running" in late.stderr  # CRI-O takes it for success
    crio.call("delete", "--force", bundle.id)


def test_exec_sync(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Attached, with the process from a file; the code is the command's."""
    crio = Crio(naja, bundle.shell(SERVER), tmp_path)
    crio.call("start", bundle.id)
    process = tmp_path / "process.json"
    words = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    process.write_text(json.dumps({**bundle.process, "args": words, "terminal": False}))
    done = crio.call("exec", "--process", str(process), bundle.id, check=False)
    assert (done.stdout, done.stderr, done.status) == ("out\n", "err\n", 3)
    crio.call("kill", bundle.id, "KILL")
    assert crio.exit_code() == 137
    crio.call("delete", "--force", bundle.id)


def test_update_from_stdin(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """In two words, unlike containerd's ``--resources=-``."""
    crio = Crio(naja, bundle.shell(SERVER), tmp_path)
    crio.call("start", bundle.id)
    crio.call("update", "--resources", "-", bundle.id, input=json.dumps({"pids": {"limit": 77}}))
    with open(f"/proc/{crio.pid}/cgroup") as file:
        paths = dict(line.strip().split(":", 2)[1:] for line in file)
    path = f"/sys/fs/cgroup/pids{paths['pids']}" if "pids" in paths else f"/sys/fs/cgroup{paths['']}"
    with open(f"{path}/pids.max") as file:
        assert file.read() == "77\n"
    crio.call("kill", bundle.id, "KILL")
    assert crio.exit_code() == 137
    crio.call("delete", "--force", bundle.id)


def test_a_create_that_fails(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="executable file not found in"):
        Crio(naja, bundle.args("no-such-program"), tmp_path)
    naja.run("delete", "--force", bundle.id)


@pytest.mark.parametrize("verb", ["--version", "features"])
def test_what_is_read_together_with_stderr(naja: Runtime, verb: str) -> None:
    done = naja.run(verb, env=ENVIRONMENT)
    assert done.stdout
    assert done.stderr == ""
