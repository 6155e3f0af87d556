"""The life of a container, verb by verb, on a busybox bundle and the real kernel."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from naja.linux.process import start_time
from tests.support.namespaces import Holder, namespaces
from tests.support.terminal import OnTerminal
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Ends with 7 on SIGTERM; a first process gets no signal that it does not handle (pid_namespaces(7)).
OBEYS_TERM = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"


def test_every_verb(naja: Runtime, bundle: Bundle) -> None:
    bundle.args("/bin/sleep", "1000")
    naja.create(bundle)
    state = naja.state(bundle)
    assert state["id"] == bundle.id
    assert state["bundle"] == bundle.path
    assert state["status"] == "created"
    assert state["pid"] > 1
    assert state["ociVersion"]
    naja.start(bundle)
    assert naja.state(bundle)["status"] == "running"
    with open(f"/proc/{state['pid']}/cmdline") as cmdline:
        assert cmdline.read() == "/bin/sleep\0001000\0"
    naja.kill(bundle, "KILL")
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)
    gone = naja.run("state", bundle.id, check=False)
    assert gone.status == 1
    assert "does not exist" in gone.stderr


def test_every_verb_on_a_terminal(naja: Runtime, bundle: Bundle) -> None:
    """As a person would type them: all of stdin, stdout and stderr are a pseudo-terminal."""

    def on_terminal(*words: str) -> str:
        with OnTerminal(naja.command(*words)) as process:
            assert process.wait() == 0, process.screen.rest(0)
            return process.screen.seen

    bundle.args("/bin/sleep", "1000")
    assert on_terminal("create", "--bundle", bundle.path, bundle.id) == ""
    assert json.loads(on_terminal("state", bundle.id))["status"] == "created"
    assert on_terminal("start", bundle.id) == ""
    assert json.loads(on_terminal("state", bundle.id))["status"] == "running"
    assert on_terminal("kill", bundle.id, "KILL") == ""
    naja.wait_for(bundle, "stopped")
    assert on_terminal("delete", bundle.id) == ""
    assert naja.ids() == []


def test_nothing_is_printed_on_success(naja: Runtime, bundle: Bundle) -> None:
    bundle.args("/bin/sleep", "1000")
    done = [naja.create(bundle), naja.start(bundle), naja.kill(bundle)]
    naja.wait_for(bundle, "stopped")
    done.append(naja.delete(bundle))
    assert [(result.stdout, result.stderr) for result in done] == [("", "")] * 4


@pytest.mark.parametrize("given", ["TERM", "SIGTERM", "15", "term"])
def test_kill_takes_names_and_numbers(naja: Runtime, bundle: Bundle, tmp_path: Path, given: str) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        naja.run_detached(bundle.shell(OBEYS_TERM), output=file.fileno())
    wait_until(lambda: b"ready" in output.read_bytes())
    naja.kill(bundle, given)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_kill_refuses_what_is_no_signal(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    assert naja.kill(bundle, "NONSENSE", check=False).status == 1
    assert naja.status(bundle) == "running"


def test_kill_defaults_to_term(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.shell("trap 'exit 7' TERM; while :; do sleep 0.05; done"))
    # A signal before the trap is set is ignored by the first process of a PID namespace.
    wait_until(lambda: naja.run("kill", bundle.id, check=False) and naja.status(bundle) == "stopped")
    naja.delete(bundle)


def test_an_empty_signal_is_the_default(naja: Runtime, bundle: Bundle) -> None:
    """What `kill ID "$SIGNAL"` gives."""
    naja.run_detached(bundle.shell("trap 'exit 7' TERM; while :; do sleep 0.05; done"))
    wait_until(lambda: naja.kill(bundle, "", check=False) and naja.status(bundle) == "stopped")
    naja.delete(bundle)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT"])
def test_a_signal_that_asks_for_the_end_ends_a_created_container(
    naja: Runtime, bundle: Bundle, name: str
) -> None:
    """Though the kernel spares the first process of a PID namespace what it does not handle."""
    naja.create(bundle)
    for other in ("USR1", "WINCH", "0"):
        naja.kill(bundle, other)
    assert naja.status(bundle) == "created"
    naja.kill(bundle, name)
    naja.wait_for(bundle, "stopped")
    assert "cannot start a container that has stopped" in naja.run("start", bundle.id, check=False).stderr
    naja.delete(bundle)


def test_kill_of_a_stopped_container_says_so(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle)
    naja.wait_for(bundle, "stopped")
    refused = naja.kill(bundle, check=False)
    assert refused.status == 1
    assert "container not running" in refused.stderr  # containerd and CRI-O look for this
    naja.delete(bundle)


@pytest.mark.parametrize("pids", [None, "joined"])
def test_kill_reaches_those_who_outlive_the_first_process(
    naja: Runtime, bundle: Bundle, pids: str | None
) -> None:
    """Of a container without a pid namespace of its own; then there is nobody left."""
    holder = Holder() if pids else None
    try:
        namespaces(bundle, pid=holder.path("pid") if holder else None)
        naja.run_detached(bundle.shell("sleep 1000 & echo $! > /tmp/other"))
        naja.wait_for(bundle, "stopped")
        (other,) = json.loads(naja.run("ps", "--format", "json", bundle.id).stdout)
        assert naja.kill(bundle, "TERM", check=False).status == 1
        assert naja.kill(bundle, "KILL").stderr == ""
        wait_until(lambda: not start_time(other), what="the end of the other process")
        refused = naja.kill(bundle, "KILL", check=False)
        assert "container not running" in refused.stderr
    finally:
        if holder:
            holder.end()


def test_created_container_can_be_killed(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle)
    naja.kill(bundle, "KILL")
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_delete_refuses_a_running_container(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    refused = naja.delete(bundle, check=False)
    assert refused.status == 1
    assert "not stopped: running" in refused.stderr
    assert naja.status(bundle) == "running"
    naja.delete(bundle, "--force")
    assert naja.ids() == []


def test_delete_force_of_an_unknown_container_is_no_error(naja: Runtime, bundle: Bundle) -> None:
    naja.delete(bundle, "--force")
    assert naja.delete(bundle, check=False).status == 1


@pytest.mark.parametrize("verb", ["state", "start", "delete", "kill"])
def test_unknown_container(naja: Runtime, bundle: Bundle, verb: str) -> None:
    result = naja.run(verb, bundle.id, check=False)
    assert result.status == 1
    assert "does not exist" in result.stderr
    assert result.stdout == ""


def test_an_id_is_taken_once(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle)
    refused = naja.create(bundle, check=False)
    assert refused.status == 1
    assert "already exists" in refused.stderr
    assert naja.status(bundle) == "created"


def test_start_only_once(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    naja.start(bundle)
    again = naja.start(bundle, check=False)
    assert again.status == 1
    assert "cannot start an already running container" in again.stderr


def test_a_container_in_the_making(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """runtime.md, kill: what is neither created nor running is left alone, and that is an error."""
    wait = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", wait]}]}
    bundle.args("/bin/sleep", "1000")
    command = naja.command("create", "--bundle", bundle.path, bundle.id)
    creating = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until((tmp_path / "begun").exists)
    assert naja.status(bundle) == "creating"
    for words, message in (
        (["kill", bundle.id, "KILL"], f"container not running: {bundle.id} is being created"),
        (["kill", "--all", bundle.id, "KILL"], f"container not running: {bundle.id} is being created"),
        (["exec", bundle.id, "/bin/true"], "cannot exec in a container that is being created"),
    ):
        assert message in naja.run(*words, check=False).stderr
    (tmp_path / "go").touch()
    assert creating.wait() == 0
    assert naja.status(bundle) == "created"
    naja.delete(bundle)


def test_start_of_a_paused_container(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    naja.run("pause", bundle.id)
    result = naja.run("start", bundle.id, check=False)
    assert (result.status, result.stderr) == (
        1,
        f"{naja.name}: cannot start a container in the paused state\n",
    )
    naja.run("resume", bundle.id)
    naja.start(bundle)
    assert naja.status(bundle) == "running"


def test_a_bundle_behind_a_link(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The state names the bundle's own place, as with runc and crun: the link may be another's later."""
    (tmp_path / "link").symlink_to(bundle.path)
    naja.run_detached(bundle.args("/bin/sleep", "1000"), "--bundle", str(tmp_path / "link"))
    state = naja.state(bundle)
    assert (state["bundle"], state["rootfs"]) == (bundle.path, bundle.rootfs)


@pytest.mark.parametrize("id", ["", "../up", "a/b", ".", "..", "a b", "é"])
def test_ids_that_are_refused(naja: Runtime, bundle: Bundle, id: str) -> None:
    refused = naja.run("create", "--bundle", bundle.path, id, check=False)
    assert refused.status == 1
    assert naja.ids() == []


def test_the_longest_id(naja: Runtime, bundle: Bundle) -> None:
    """A file name has at most 255 bytes."""
    bundle.id = bundle.id.ljust(255, "x")
    naja.create(bundle)
    naja.start(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)
    assert "File name too long" in naja.run("run", "--bundle", bundle.path, "x" * 256, check=False).stderr


def test_the_bundle_defaults_to_the_current_directory(naja: Runtime, bundle: Bundle) -> None:
    naja.run("run", bundle.id, cwd=bundle.path)


def test_an_almost_empty_environment_is_enough(naja: Runtime, bundle: Bundle) -> None:
    """podman passes XDG_RUNTIME_DIR only to some verbs: no PATH, no HOME, no LANG."""
    bare: dict[str, str] = {"XDG_RUNTIME_DIR": "/run"}
    naja.create(bundle.args("/bin/sleep", "1000"), env=bare)
    for words in (("start",), ("state",), ("kill",), ("delete", "--force")):
        naja.run(*words, bundle.id, env=bare)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_pid_file(naja: Runtime, bundle: Bundle, tmp_path: Path, verb: str) -> None:
    path = tmp_path / "pid"
    bundle.args("/bin/sleep", "1000")
    if verb == "create":
        naja.create(bundle, "--pid-file", str(path))
    else:
        naja.run_detached(bundle, "--pid-file", str(path))
    content = path.read_bytes()
    assert content.isdigit(), content  # go-runc converts the raw bytes: no newline
    assert int(content) == naja.state(bundle)["pid"]


def test_a_pid_file_in_a_directory_of_others(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """Links that somebody made there lead nowhere."""
    victim, path = tmp_path / "victim", tmp_path / "pid"
    victim.write_text("of the host")
    path.symlink_to(victim)
    (tmp_path / ".pid").symlink_to(victim)
    naja.create(bundle, "--pid-file", str(path))
    assert victim.read_text() == "of the host"
    assert path.read_text() == str(naja.state(bundle)["pid"])
    assert not path.is_symlink()
    assert sorted(name for name in os.listdir(tmp_path) if "pid" in name) == [".pid", "pid"]


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def _link_to_a_descriptor(path: Path) -> None:
    path.symlink_to("/proc/self/fd/1")


@pytest.mark.parametrize("verb", ["create", "run", "exec"])
@pytest.mark.parametrize(
    "make", [os.mkfifo, _device, _socket, os.mkdir, _link_to_a_fifo, _link_to_a_descriptor]
)
def test_a_pid_file_in_the_place_of_something_else(
    naja: Runtime, bundle: Bundle, tmp_path: Path, make: Callable[[Path], None], verb: str
) -> None:
    """What is no file stays what it is, nothing has run, and nothing is left beside it."""
    place = tmp_path / "place"
    place.mkdir()
    path = place / "pid"
    make(path)
    before, names = os.lstat(path).st_ino, sorted(os.listdir(place))
    if verb == "exec":
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        refused = naja.run("exec", "--pid-file", str(path), bundle.id, "/bin/touch", "/ran", check=False)
    else:
        bundle.args("/bin/touch", "/ran")
        refused = naja.detached(
            verb, "--bundle", bundle.path, "--pid-file", str(path), bundle.id, check=False
        )
    assert refused.status != 0
    assert f"write the pid file {path}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not os.path.exists(os.path.join(bundle.rootfs, "ran"))
    assert (os.lstat(path).st_ino, sorted(os.listdir(place))) == (before, names)


def test_the_process_becomes_the_callers_child(naja: Runtime, bundle: Bundle) -> None:
    """Engines are subreapers and wait(2) for the container; this process is one, too (conftest)."""
    naja.create(bundle.shell("exit 9"))
    pid = naja.state(bundle)["pid"]
    naja.start(bundle)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert naja.status(bundle) == "stopped"
    naja.delete(bundle)


def test_list(naja: Runtime, busybox_bundle: Callable[[], Bundle]) -> None:
    bundles = [busybox_bundle(), busybox_bundle()]
    assert naja.run("list", "--quiet").stdout == ""
    naja.create(bundles[0])
    naja.run_detached(bundles[1].args("/bin/sleep", "1000"))
    assert naja.run("list", "-q").stdout.split() == [bundle.id for bundle in bundles]
    listed = json.loads(naja.run("list", "--format", "json").stdout)
    assert [(entry["id"], entry["status"]) for entry in listed] == [
        (bundles[0].id, "created"),
        (bundles[1].id, "running"),
    ]
    table = naja.run("list").stdout.splitlines()
    assert table[0].split()[:3] == ["ID", "PID", "STATUS"]
    assert len(table) == 3


def test_kill_all_reaches_processes_of_a_shared_pid_namespace(naja: Runtime, bundle: Bundle) -> None:
    """Without a PID namespace of its own the kernel does not end a container's other processes."""
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    naja.run_detached(bundle.shell("sleep 1000 & sleep 1000 & wait"))
    naja.run("kill", "--all", bundle.id, "KILL")
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_two_commands_on_one_container_do_not_disturb_each_other(naja: Runtime, bundle: Bundle) -> None:
    """Eight `delete --force` at once: each succeeds or finds nothing, and nothing is left."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    racers = [
        subprocess.Popen(
            naja.command("delete", "--force", bundle.id), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(8)
    ]
    for racer in racers:
        _, text = racer.communicate(timeout=30)
        assert racer.returncode == 0, text.decode()
    assert naja.ids() == []


def test_terminated_create_leaves_nothing_after_delete(naja: Runtime, bundle: Bundle) -> None:
    """SIGTERM instead of SIGKILL (test_killed_create.py): the runtime may clean up, delete does the rest."""
    creating = subprocess.Popen(
        naja.command("create", "--bundle", bundle.path, bundle.id),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    creating.send_signal(signal.SIGTERM)
    creating.wait(timeout=30)
    naja.delete(bundle, "--force")
    assert naja.ids() == []


@pytest.fixture
def half_made(naja: Runtime, bundle: Bundle) -> Iterator[int]:
    """The pid of a create that stands still before the container is there."""
    record = os.path.join(naja.root, bundle.id, "state.json")
    bundle.args("/bin/sleep", "1000")
    for _ in range(20):
        creating = subprocess.Popen(naja.command("create", "--bundle", bundle.path, bundle.id))
        while not os.path.exists(record) and creating.poll() is None:
            pass
        if creating.returncode is None:
            creating.send_signal(signal.SIGSTOP)
            os.waitpid(creating.pid, os.WUNTRACED)
            if naja.status(bundle) == "creating":
                break
        creating.send_signal(signal.SIGCONT)
        creating.wait()
        naja.delete(bundle, "--force")
    yield creating.pid
    creating.send_signal(signal.SIGCONT)
    creating.wait(timeout=10)


def test_exec_waits_for_a_container_that_is_being_made(naja: Runtime, bundle: Bundle, half_made: int) -> None:
    """The record names naja itself meanwhile: nothing may run where that is, on the host."""
    exec = subprocess.Popen(naja.command("exec", bundle.id, "/bin/hostname"), stdout=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        exec.wait(timeout=0.3)
    os.kill(half_made, signal.SIGCONT)
    output, _ = exec.communicate(timeout=10)
    assert (exec.returncode, output) == (0, b"naja-test\n")


def test_exec_does_not_wait_for_ever(naja: Runtime, bundle: Bundle, half_made: int) -> None:
    refused = naja.exec(bundle, "/bin/hostname", check=False)
    assert refused.status == 255
    assert f"cannot exec in a container that is being created: {bundle.id}" in refused.stderr


def test_kill_waits_for_a_container_that_is_being_made(naja: Runtime, bundle: Bundle, half_made: int) -> None:
    kill = subprocess.Popen(naja.command("kill", bundle.id, "KILL"))
    with pytest.raises(subprocess.TimeoutExpired):
        kill.wait(timeout=0.3)
    os.kill(half_made, signal.SIGCONT)
    assert kill.wait(timeout=10) == 0
    # Killed before it has come to its gate, it is one whose making failed: nothing is left of it.
    wait_until(
        lambda: (state := naja.run("state", bundle.id, check=False)).status or "stopped" in state.stdout
    )
