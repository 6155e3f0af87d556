"""The verbs that look at running containers or change them: ps, top, events, update, plan."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.support.bundle import Bundle
from tests.support.command import Runtime
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Bundle:
    """A container with two processes, a shell and a sleep."""
    bundle.config["linux"]["resources"]["memory"] = {"limit": 64 << 20}
    bundle.shell("sleep 1000; true")
    naja.run_detached(bundle)
    wait_until(lambda: len(pids(naja, bundle)) == 2)
    return bundle


def pids(naja: Runtime, bundle: Bundle) -> list[int]:
    found: list[int] = json.loads(naja.run("ps", "--format", "json", bundle.id).stdout)
    return found


def test_ps(naja: Runtime, running: Bundle) -> None:
    init, child = sorted(pids(naja, running))
    assert init == naja.state(running)["pid"]
    title, *lines = naja.run("ps", running.id).stdout.splitlines()
    assert "PID" in title
    assert [int(line.split()[1]) for line in lines] == [init, child]
    title, *lines = naja.run("ps", running.id, "-o", "pid,comm").stdout.splitlines()
    assert sorted(line.split() for line in lines) == sorted([[str(init), "sh"], [str(child), "sleep"]])
    assert "no column PID" in naja.run("ps", running.id, "-o", "comm=", check=False).stderr


def test_events_once(naja: Runtime, running: Bundle) -> None:
    event = json.loads(naja.run("events", "--stats", running.id).stdout)
    assert event["type"] == "stats"
    assert event["id"] == running.id
    assert event["data"]["pids"]["current"] == 2
    assert event["data"]["memory"]["usage"]["limit"] == 64 << 20


def test_events_until_the_end(naja: Runtime, running: Bundle) -> None:
    command = naja.command("events", "--interval=100ms", running.id)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        assert json.loads(events.stdout.readline())["type"] == "stats"
        naja.delete(running, "--force")
        rest = events.stdout.read()
    assert events.returncode == 0
    assert all(json.loads(line)["type"] == "stats" for line in rest.splitlines())


def test_events_tell_of_memory_that_ran_out(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["linux"]["resources"]["memory"] = {"limit": 8 << 20}
    bundle.shell("read line; x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x); sleep 1000")
    reader, writer = os.pipe()
    naja.run_detached(bundle, stdin=reader)
    with subprocess.Popen(naja.command("events", bundle.id), stdout=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        wait_until(lambda: _watches(events.pid))
        os.write(writer, b"go\n")
        assert json.loads(events.stdout.readline()) == {"type": "oom", "id": bundle.id}
        naja.delete(bundle, "--force")
    os.close(reader)
    os.close(writer)


def _watches(pid: int) -> bool:
    """Tell whether a process waits for events of the kernel's."""
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    return any("eventfd" in link or link.endswith("memory.events") for link in links)


def test_update(naja: Runtime, running: Bundle) -> None:
    naja.run("update", "--memory", "32m", "--pids-limit=20", running.id)
    assert limits(naja, running) == (32 << 20, 20)
    naja.run("update", "--resources=-", running.id, input='{"memory": {"limit": 50331648}}')
    assert limits(naja, running) == (48 << 20, 20)
    naja.run("update", "--resources", "-", running.id, input='{"pids": {"limit": 30}}')
    assert limits(naja, running) == (48 << 20, 30)


def test_an_update_of_nothing(naja: Runtime, running: Bundle) -> None:
    """A person who names no limit is told so; an engine that has none to change is not."""
    result = naja.run("update", running.id, check=False)
    assert (result.status, result.stdout) == (1, "")
    assert "there is nothing to update" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    for resources in ("{}", '{"memory": {}}', '{"memory": null}'):
        silent = naja.run("update", "--resources", "-", running.id, input=resources)
        assert (silent.stdout, silent.stderr) == ("", "")


def limits(naja: Runtime, bundle: Bundle) -> tuple[int, int]:
    data = json.loads(naja.run("events", "--stats", bundle.id).stdout)["data"]
    return data["memory"]["usage"]["limit"], data["pids"]["limit"]


@pytest.mark.parametrize(
    "words", [["--cpu-share=77", "--memory=4096"], ["--memory=40m", "--pids-limit=9", "--cpuset-cpus=4000"]]
)
def test_an_update_that_fails_changes_nothing(naja: Runtime, running: Bundle, words: list[str]) -> None:
    """Not even what the kernel has accepted before it refuses something else."""

    def limits() -> Any:
        data = json.loads(naja.run("events", "--stats", running.id).stdout)["data"]
        memory, cpuset = data["memory"], data["cpuset"]
        shares = Path(f"/sys/fs/cgroup/cpu/{running.id}/cpu.shares")
        shown = [memory[name]["limit"] for name in ("usage", "swap")], data["pids"]["limit"], cpuset["cpus"]
        return shown, shares.read_text() if shares.exists() else ""

    naja.run("update", "--cpuset-cpus=0", "--pids-limit=30", "--memory-swap=96m", running.id)
    before = limits()
    result = naja.run("update", *words, running.id, check=False)
    assert (result.status, result.stderr.count("\n")) == (1, 1)
    assert limits() == before


@pytest.mark.parametrize("text", ["", "[]", '{"memory": {"limit": "32m"}}', '{"memory": 5}'])
def test_update_refuses_what_is_no_limit(naja: Runtime, running: Bundle, text: str) -> None:
    result = naja.run("update", "--resources=-", running.id, input=text, check=False)
    assert result.status == 1
    assert result.stderr.count("\n") == 1
    assert "internal error" not in result.stderr


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"args": "ls", "cwd": "/"}', '{"args": ["ls"], "cwd": "x"}']
)
def test_exec_refuses_what_is_no_process(naja: Runtime, running: Bundle, tmp_path: Path, text: str) -> None:
    path = tmp_path / "process.json"
    path.write_text(text)
    result = naja.run("exec", "--process", str(path), running.id, check=False)
    assert result.status == 255
    assert result.stderr.count("\n") == 1
    assert "internal error" not in result.stderr


def test_exec_names_the_document_that_asked(naja: Runtime, running: Bundle, tmp_path: Path) -> None:
    """A file that --process names, not config.json; and of the container's own process the option."""
    path = tmp_path / "process.json"

    def error(*words: str, **process: Any) -> str:
        path.write_text(json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], **process}))
        result = naja.run("exec", *words, "--process", str(path), running.id, check=False)
        assert "config.json" not in result.stderr
        return result.stderr

    assert f"naja: --process {path} /cwd: must be an absolute path" in error(cwd="x")
    assert f"asked for by --process {path} /cwd" in error(cwd="/none")
    assert f"asked for by --process {path} /args/0" in error(args=["none"])
    assert f"asked for by --process {path} /terminal" in error("--detach", terminal=True)
    assert f"asked for by --process {path} /capabilities" in error(capabilities={"bounding": ["CAP_NOPE"]})
    for words, place in (
        (["--cwd", "/none", running.id, "true"], "asked for by --cwd"),
        (["--cap", "CAP_NOPE", running.id, "true"], "CAP_NOPE, asked for by --cap"),
        ([running.id, "none"], "none"),
    ):
        stderr = naja.run("exec", *words, check=False).stderr
        assert place in stderr
        assert "config.json" not in stderr


def test_update_names_the_document_that_asked(naja: Runtime, running: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"cpu": {"cpus": "4000"}}))
    stderr = naja.run("update", "--resources", str(path), running.id, check=False).stderr
    assert f"asked for by --resources {path} /cpu/cpus" in stderr
    stderr = naja.run("update", "--cpuset-cpus", "4000", running.id, check=False).stderr
    assert "asked for by --cpuset-cpus" in stderr
    path.write_text(json.dumps({"cpu": {"idle": 7}}))
    stderr = naja.run("update", "--resources", str(path), running.id, check=False).stderr
    assert f"naja: --resources {path} /cpu/idle: " in stderr


def test_top(naja: Runtime, running: Bundle) -> None:
    title, row = naja.run("top", "--once", "--interval=50ms").stdout.splitlines()
    assert title.split() == ["ID", "PIDS", "CPU", "MEMORY", "LIMIT", "READ", "WRITTEN"]
    assert row.split()[:2] == [running.id, "2"]
    assert "64.0 MiB" in row


def test_top_again_and_again(naja: Runtime, running: Bundle) -> None:
    """Where nobody looks at a terminal the looks follow each other."""
    looks = naja.run("top", "-n", "3", "--interval=50ms").stdout.split("\n\n")
    assert len(looks) == 3
    assert all(look.split()[0] == "ID" and running.id in look for look in looks)
    assert naja.run("top", "-n", "-1", check=False).status == 1


@contextmanager
def watching(naja: Runtime, *words: str) -> Iterator[IO[str]]:
    """Run a verb that goes on until it is interrupted, and yield what it prints."""
    with subprocess.Popen(naja.command(*words), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout
            assert len(os.listdir(f"/proc/{process.pid}/fd")) < 12, "descriptors of those that are gone"
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()


def test_top_of_what_comes_and_goes(naja: Runtime, busybox_bundle: Callable[[], Bundle]) -> None:
    first, second = busybox_bundle(), busybox_bundle()
    naja.run_detached(first.args("/bin/sleep", "1000"))
    with watching(naja, "top", "--interval=100ms") as looks:
        wait_until(lambda: first.id in _look(looks), timeout=60)
        naja.run_detached(second.args("/bin/sleep", "1000"))
        wait_until(lambda: second.id in _look(looks), timeout=60)
        naja.delete(first, "--force")
        wait_until(lambda: first.id not in _look(looks), timeout=60)
        naja.delete(second, "--force")
        wait_until(lambda: second.id not in _look(looks), timeout=60)


def _look(lines: IO[str]) -> str:
    """Return the next table."""
    text = ""
    while line := lines.readline().strip():
        text += line
    return text


def test_events_of_all(naja: Runtime, busybox_bundle: Callable[[], Bundle]) -> None:
    """Statistics again and again, of new containers too; memory that runs out; ends, with the exit code."""
    first, second = busybox_bundle(), busybox_bundle()
    assert naja.run("events", "--stats").stdout == ""
    reader, writer = os.pipe()
    with watching(naja, "events", "--interval=100ms") as events:
        seen: list[dict[str, Any]] = []

        def until(kind: str, id: str) -> dict[str, Any]:
            while True:
                for event in seen:
                    if (event["type"], event["id"]) == (kind, id):
                        return event
                seen.append(json.loads(events.readline()))

        first.linux["resources"]["memory"] = {"limit": 8 << 20}
        first.shell("read line; x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x); sleep 1000")
        naja.run_detached(first, stdin=reader)
        assert "pids" in until("stats", first.id)["data"]
        naja.run_detached(second.shell("while ! test -e /go; do sleep 0.1; done; exit 3"))
        until("stats", second.id)
        os.write(writer, b"go\n")
        until("oom", first.id)
        second.write("/go", "")
        assert until("end", second.id).get("exitCode", 3) == 3
        naja.delete(second)
        naja.delete(first, "--force")
        until("end", first.id)
    os.close(reader)
    os.close(writer)


def test_events_of_all_once(naja: Runtime, running: Bundle) -> None:
    (line,) = naja.run("events", "--stats").stdout.splitlines()
    assert json.loads(line)["id"] == running.id


def test_a_plan_needs_no_privilege(naja: Runtime, bundle: Bundle) -> None:
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    if subprocess.run(["test", "-x", naja.argv[0]], **nobody, check=False).returncode or _is_private():
        pytest.skip("the installed naja, or its Python, is not for other users to run")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        os.mkdir(f"{directory}/rootfs")
        Path(directory, "config.json").write_text(json.dumps(bundle.config))
        assert "[/root/path]" in naja.run("plan", directory, **nobody).stdout
        phases = json.loads(naja.run("plan", "--json", directory, **nobody).stdout)
    assert isinstance(phases, list)
    assert naja.ids() == []


def _is_private() -> bool:
    """Tell whether the interpreter of the installed command lies where only root may go."""
    return any(not parent.stat().st_mode & 0o001 for parent in Path(sys.executable).resolve().parents)


def test_the_root_option_may_be_relative(naja: Runtime, running: Bundle) -> None:
    root, name = os.path.split(naja.root)
    result = subprocess.run(
        [*naja.argv, "--root", name, "list", "-q"], cwd=root, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"{running.id}\n"


def test_an_interrupt_is_no_traceback(naja: Runtime) -> None:
    """Whenever Ctrl-C comes: while Python starts, while naja works, or at its end."""
    if len(naja.argv) > 1 or Path(naja.argv[0]).read_bytes().startswith(b"#!"):
        pytest.skip("only startup/native/launcher.c can say how Python starts; that takes a C compiler")
    for moment in range(80):
        command = naja.command("state", "no-such-container")
        state = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(moment * 0.0002)
        state.send_signal(signal.SIGINT)
        _, text = state.communicate(timeout=10)
        assert b"Traceback" not in text, f"after {moment * 0.2:.1f} ms: {text.decode()}"


def test_validate_as_json_holds_the_warnings_too(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["hostnam"] = "x"
    bundle.config["annotations"] = None
    bundle.process["cwd"] = "relative"
    bundle.process["terminal"] = "no"
    done = naja.run("validate", "--json", bundle.save().path, check=False)
    found = [(entry["level"], entry["origin"]) for entry in json.loads(done.stdout)]
    assert (done.status, done.stderr) == (1, "")
    assert found == [
        *(("error", "/process/terminal"), ("error", "/process/cwd")),
        *(("warning", "/hostnam"), ("warning", "/annotations")),
    ]


def test_a_life_with_nulls(naja: Runtime, bundle: Bundle) -> None:
    """As generators write them for what is not set: from create to delete nobody stumbles over one."""
    for name in ("hooks", "annotations", "domainname", "vm"):
        bundle.config[name] = None
    for name in ("rlimits", "capabilities", "oomScoreAdj", "selinuxLabel", "consoleSize", "user"):
        bundle.process[name] = None
    for name in ("seccomp", "sysctl", "uidMappings", "devices", "maskedPaths", "rootfsPropagation"):
        bundle.linux[name] = None
    bundle.linux["resources"].update(memory={"limit": None}, cpu=None, pids={"limit": None}, unified=None)
    bundle.config["mounts"][0]["options"] = None
    naja.create(bundle.args("/bin/sleep", "1000"))
    naja.start(bundle)
    assert naja.state(bundle)["status"] == "running"
    process = json.dumps(
        {"cwd": "/", "args": ["echo", "hi"], "env": ["PATH=/bin"], "user": None, "rlimits": None}
    )
    file = os.path.join(bundle.path, "process.json")
    with open(file, "w") as stream:
        stream.write(process)
    assert naja.run("exec", "--process", file, bundle.id).stdout == "hi\n"
    naja.run("update", "--resources", "-", bundle.id, input='{"memory": null, "pids": {"limit": null}}')
    naja.delete(bundle, "--force")
