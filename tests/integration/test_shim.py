"""containerd's shim, asked as containerd asks it: each call, each event, each stream."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from naja.shim import messages, ttrpc
from naja.shim.ttrpc import Failure
from naja.startup import lenders
from tests.support.bundle import Bundle
from tests.support.command import Runtime
from tests.support.criu import need_criu
from tests.support.leaks import Watch
from tests.support.rootless import let_through
from tests.support.shim import Containerd, Task, program
from tests.support.wait import wait_until


@pytest.fixture
def containerd(tmp_path: Path, leak_check: Watch | None) -> Iterator[Containerd]:
    if not program():
        pytest.skip("needs containerd-shim-naja-v2 beside the runtime under test")
    played = Containerd(str(tmp_path))
    if leak_check:
        leak_check.roots.append(os.path.join(played.root, "naja-test"))
    yield played
    played.close()


@pytest.fixture
def task(containerd: Containerd, bundle: Bundle) -> Task:
    return containerd.task(bundle.args("/bin/sleep", "1000"))


class Reader(threading.Thread):
    """Reads a FIFO to its end, as an engine does."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.content = b""
        self.start()

    def run(self) -> None:
        with open(self.path, "rb") as file:
            self.content = file.read()

    def result(self) -> bytes:
        self.join(20)
        assert not self.is_alive(), f"no end of {self.path}"
        return self.content


def code_of(call: Callable[[], Any]) -> int:
    with pytest.raises(Failure) as caught:
        call()
    return caught.value.code


def is_gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_life(containerd: Containerd, task: Task) -> None:
    pid = task.create()
    assert task.status() == "created"
    assert task("Start")["pid"] == pid
    assert task.status() == "running"
    assert task("Connect") == {"shim_pid": task.shim, "task_pid": pid, "version": ""}
    wait = task.begin("Wait")
    task("Kill", signal=9)
    ended = task.finish(wait)
    assert ended["exit_status"] == 137 and abs(ended["exited_at"]["seconds"] - time.time()) < 60
    assert task.status() == "stopped"
    assert task("Wait") == ended
    assert task.delete() == {"pid": pid, **ended}
    wait_until(lambda: is_gone(task.shim))
    assert not os.path.exists(task.address.removeprefix("unix://"))
    wait_until(lambda: len(containerd.events.seen) == 4)
    assert containerd.events.topics() == ["create", "start", "exit", "delete"]
    assert all(event["pid"] == pid for _, event in containerd.events.seen)
    exit = containerd.events.seen[2][1]
    assert (exit["container_id"], exit["id"], exit["exit_status"]) == (task.id, task.id, 137)


def test_a_process_is_added(containerd: Containerd, task: Task) -> None:
    task.run()
    out = task.fifo("out")
    reader = Reader(out)
    pid = task.exec("one", "sh", "-c", "echo hello; exit 5", stdout=out)
    assert task("Wait", exec_id="one")["exit_status"] == 5
    assert reader.result() == b"hello\n"
    assert task.status("one") == "stopped"
    assert task("Delete", exec_id="one")["exit_status"] == 5
    assert code_of(lambda: task("State", exec_id="one")) == ttrpc.NOT_FOUND
    wait_until(lambda: "exit" in containerd.events.topics())
    assert containerd.events.topics() == ["create", "start", "exec-added", "exec-started", "exit"]
    assert [event["pid"] for _, event in containerd.events.seen[3:]] == [pid, pid]
    assert containerd.events.seen[4][1]["id"] == "one"


def test_a_process_that_cannot_be_added(task: Task) -> None:
    task.run()
    with pytest.raises(Failure) as caught:
        task.exec("one", "nosuch")
    assert caught.value.message.startswith(
        'OCI runtime exec failed: exec: "nosuch": executable file not found in $PATH'
    )
    task("Delete", exec_id="one")
    assert task("Wait", exec_id=task.exec("two", "true") and "two")["exit_status"] == 0


def test_a_container_that_cannot_be_made(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle.args("nosuch"))
    with pytest.raises(Failure) as caught:
        task.create()
    assert caught.value.message.startswith('OCI runtime create failed: exec: "nosuch": executable file not')
    task("Shutdown")
    wait_until(lambda: is_gone(task.shim))


#: Method, its values, and the code that it fails with, where there is no such thing or its status is another.
NOT_THERE: list[tuple[str, dict[str, Any], int]] = [
    *(
        (method, {"id": "nobody"}, ttrpc.NOT_FOUND)
        for method in ("State", "Start", "Delete", "Pids", "Pause")
    ),
    *((method, {"id": "nobody"}, ttrpc.NOT_FOUND) for method in ("Resume", "Checkpoint", "Kill", "Exec")),
    *((method, {"id": "nobody"}, ttrpc.NOT_FOUND) for method in ("ResizePty", "CloseIO", "Update", "Wait")),
    ("Stats", {"id": "nobody"}, ttrpc.NOT_FOUND),
    *((method, {"exec_id": "nobody"}, ttrpc.NOT_FOUND) for method in ("State", "Start", "Delete", "Wait")),
    *((method, {"exec_id": "nobody"}, ttrpc.NOT_FOUND) for method in ("Kill", "ResizePty", "CloseIO")),
    ("Start", {}, ttrpc.FAILED_PRECONDITION),
    ("Delete", {}, ttrpc.FAILED_PRECONDITION),
    ("Resume", {}, ttrpc.FAILED_PRECONDITION),
    ("Create", {"bundle": "/nowhere"}, ttrpc.ALREADY_EXISTS),
    ("Exec", {"exec_id": "e", "spec": {"type_url": "x", "value": b"[]"}}, ttrpc.INVALID_ARGUMENT),
    ("Exec", {"exec_id": "e", "spec": {"type_url": "x", "value": b"{"}}, ttrpc.INVALID_ARGUMENT),
    ("Create", {"id": "other", "options": {"type_url": "x.Y", "value": b""}}, ttrpc.INVALID_ARGUMENT),
]


def test_what_is_not_there_or_not_so(task: Task) -> None:
    task.run()
    assert task("Connect", id="nobody")["task_pid"] == 0
    for method, values, code in NOT_THERE:
        assert code_of(lambda: task(method, **values)) == code, (method, values)  # noqa: B023
    task("Kill", signal=9)
    task("Wait")
    for method in ("Pause", "Resume", "Start", "Checkpoint", "Update"):
        assert code_of(lambda: task(method)) == ttrpc.FAILED_PRECONDITION, method  # noqa: B023
    assert code_of(lambda: task("Kill", signal=15)) == ttrpc.NOT_FOUND
    task("Kill", signal=9, all=True)


def test_an_exec_id_is_there_once(task: Task) -> None:
    task.run()
    task.exec("one", "sleep", "1000")
    assert code_of(lambda: task.exec("one", "true")) == ttrpc.ALREADY_EXISTS
    assert code_of(lambda: task("Start", exec_id="one")) == ttrpc.FAILED_PRECONDITION
    assert code_of(lambda: task("Delete", exec_id="one")) == ttrpc.FAILED_PRECONDITION
    task("Kill", exec_id="one", signal=signal.SIGTERM)
    assert task("Wait", exec_id="one")["exit_status"] == 128 + signal.SIGTERM
    assert code_of(lambda: task("Kill", exec_id="one", signal=9)) == ttrpc.NOT_FOUND


def test_pause_and_resume(containerd: Containerd, task: Task) -> None:
    task.run()
    task("Pause")
    assert task.status() == "paused"
    assert code_of(lambda: task.exec("one", "true")) == ttrpc.FAILED_PRECONDITION
    task("Resume")
    assert task.status() == "running"
    task("Pause")
    task("Kill", signal=9)
    assert task("Wait")["exit_status"] == 137
    wait_until(lambda: "exit" in containerd.events.topics())
    assert containerd.events.topics()[2:] == ["paused", "resumed", "paused", "exit"]


def test_pids_and_statistics(task: Task) -> None:
    pid = task.run()
    added = task.exec("one", "sleep", "1000")
    found = task("Pids")["processes"]
    assert {each["pid"] for each in found} == {pid, added}
    details = next(each["info"] for each in found if each["pid"] == added)
    assert messages.unwrap(details, messages.PROCESS_DETAILS) == {"exec_id": "one"}
    from naja.shim import metrics

    stats = task("Stats")["stats"]
    kind = metrics.V1 if stats["type_url"] == metrics.V1.name else metrics.V2
    values = messages.unwrap(stats, kind)
    assert values["pids"]["current"] == 2
    usage = values["memory"]["usage"]
    assert (usage["usage"] if kind is metrics.V1 else usage) > 0


def test_limits_are_changed(task: Task) -> None:
    task.run()
    resources = {"type_url": "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources"}
    value = json.dumps({"pids": {"limit": 77}}).encode()
    task("Update", resources={**resources, "value": value})
    stats = task("Stats")["stats"]
    from naja.shim import metrics

    kind = metrics.V1 if stats["type_url"] == metrics.V1.name else metrics.V2
    assert messages.unwrap(stats, kind)["pids"]["limit"] == 77


def test_out_of_memory(containerd: Containerd, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 8 << 20, "swap": 8 << 20}
    task = containerd.task(bundle.shell("cat; tail /dev/zero"))
    stdin = task.fifo("in")
    task.run(stdin=stdin)
    with open(stdin, "wb"):
        task("CloseIO", stdin=True)
    assert task("Wait")["exit_status"] in (137, 143, 1)
    wait_until(lambda: "oom" in containerd.events.topics())


#: Guests are slow, and CRIU starts many programs; in seconds.
_EMULATED = 150


class Numbers(threading.Thread):
    """Reads the numbers that a container counts, from a FIFO, to its end."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.seen = [0]
        self.start()

    def run(self) -> None:
        with open(self.path) as file:
            for line in file:
                self.seen.append(int(line))


def test_checkpoint(containerd: Containerd, bundle: Bundle) -> None:
    """What a container has as output, a FIFO of the host's, is not saved with it."""
    need_criu()
    bundle.shell("n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done")
    task = containerd.task(bundle)
    task.client.socket.settimeout(_EMULATED)
    numbers = Numbers(task.fifo("first"))
    task.run(stdout=numbers.path)
    wait_until(lambda: numbers.seen[-1] > 2, timeout=60)
    task("Checkpoint", path=os.path.join(bundle.path, "images"))
    assert task.status() == "running"
    seen = len(numbers.seen)
    wait_until(lambda: len(numbers.seen) > seen, timeout=60)
    wait_until(lambda: "checkpointed" in containerd.events.topics())


def test_checkpoint_and_restore(containerd: Containerd, bundle: Bundle) -> None:
    """A container goes on where it was, with the FIFO that it is given then."""
    need_criu()
    images = os.path.join(bundle.path, "images")
    bundle.shell("n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done")
    task = containerd.task(bundle)
    first = Numbers(task.fifo("first"))
    task.run(stdout=first.path)
    wait_until(lambda: first.seen[-1] > 2, timeout=60)
    task.client.socket.settimeout(_EMULATED)
    task("Checkpoint", path=images, options=messages.wrap(messages.CHECKPOINT_OPTIONS, {"exit": True}))
    task("Wait")
    task.delete()
    first.join(20)
    wait_until(lambda: is_gone(task.shim), timeout=60)

    task = containerd.task(bundle)
    task.client.socket.settimeout(_EMULATED)
    second = Numbers(task.fifo("second"))
    assert task.create(stdout=second.path, checkpoint=images) == 0
    assert task("Start")["pid"]
    wait_until(lambda: len(second.seen) > 3, timeout=_EMULATED)
    # The last one may have been on its way.
    assert first.seen[-1] < second.seen[1] <= first.seen[-1] + 2
    assert task.exec("e", "true") and task("Wait", exec_id="e")["exit_status"] == 0
    task("Kill", signal=9)
    assert task("Wait")["exit_status"] == 137
    task.delete()
    wait_until(lambda: "checkpointed" in containerd.events.topics())


def test_what_cannot_be_saved(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle.args("sleep", "1000"))
    task.create()
    for values in ({"cgroups_mode": "nonsense"}, {"empty_namespaces": ["pid"]}):
        options = messages.wrap(messages.CHECKPOINT_OPTIONS, values)
        assert code_of(lambda: task("Checkpoint", options=options)) == ttrpc.FAILED_PRECONDITION  # noqa: B023
    task("Start")
    for values, why in (
        ({"cgroups_mode": "nonsense"}, "no mode of cgroups is called 'nonsense'"),
        ({"empty_namespaces": ["pid"]}, "CRIU leaves no namespace empty but network"),
    ):
        options = messages.wrap(messages.CHECKPOINT_OPTIONS, values)
        with pytest.raises(Failure) as caught:
            task("Checkpoint", path="images", options=options)
        assert why in caught.value.message
    assert task.status() == "running"


# Streams.


def test_streams(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle.shell("cat; echo error >&2; exit 3"))
    names = {name: task.fifo(name) for name in ("stdin", "stdout", "stderr")}
    readers = {name: Reader(names[name]) for name in ("stdout", "stderr")}
    task.run(**names)
    with open(names["stdin"], "wb") as stdin:
        stdin.write(b"through " * 50000)
        task("CloseIO", stdin=True)
    assert readers["stdout"].result() == b"through " * 50000
    assert readers["stderr"].result() == b"error\n"
    assert task("Wait")["exit_status"] == 3
    task.delete()


def test_input_goes_on_until_it_is_closed(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle.args("cat"))
    names = {name: task.fifo(name) for name in ("stdin", "stdout")}
    reader = Reader(names["stdout"])
    task.run(**names)
    for turn in (b"one ", b"two "):
        with open(names["stdin"], "wb") as stdin:
            stdin.write(turn)
    assert task.status() == "running"
    task("CloseIO", stdin=True)
    assert reader.result() == b"one two "


def test_a_reader_goes_away_and_comes_back(containerd: Containerd, bundle: Bundle) -> None:
    lines = 30000
    bundle.shell(f"read go; i=0; while [ $i -lt {lines} ]; do echo $i; i=$((i + 1)); done")
    task = containerd.task(bundle)
    names = {name: task.fifo(name) for name in ("stdin", "stdout")}
    first = os.open(names["stdout"], os.O_RDONLY | os.O_NONBLOCK)
    task.run(**names)
    with open(names["stdin"], "wb") as stdin:
        stdin.write(b"go\n")
    os.set_blocking(first, True)
    content = os.read(first, 1000)
    os.close(first)
    # Nobody reads: the FIFO fills, and the process waits.
    time.sleep(0.3)
    assert task.status() == "running"
    content += Reader(names["stdout"]).result()
    assert content.split() == [str(number).encode() for number in range(lines)]
    assert task("Wait")["exit_status"] == 0


def test_what_was_written_waits_for_a_reader(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle.args("echo", "last words"))
    stdout = task.fifo("stdout")
    task.run(stdout=stdout)
    assert task("Wait")["exit_status"] == 0
    time.sleep(0.1)
    assert Reader(stdout).result() == b"last words\n"


def test_a_terminal(containerd: Containerd, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    task = containerd.task(bundle.shell("tty; read line; stty size; echo got $line"))
    names = {name: task.fifo(name) for name in ("stdin", "stdout")}
    reader = Reader(names["stdout"])
    task.create(terminal=True, **names)
    task("ResizePty", width=77, height=33)
    task("Start")
    with open(names["stdin"], "wb", buffering=0) as stdin:
        stdin.write(b"word\n")
        assert task("Wait")["exit_status"] == 0
    text = reader.result().decode()
    # What is typed is shown at once, also before the shell says anything.
    assert "/dev/pts/0\r\n" in text and text.endswith("33 77\r\ngot word\r\n"), text
    task.delete()


def test_a_terminal_of_an_added_process(task: Task) -> None:
    task.run()
    out = task.fifo("out")
    reader = Reader(out)
    task.exec(
        "one",
        "sh",
        "-c",
        "tty; i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done",
        terminal=True,
        stdout=out,
    )
    assert task("Wait", exec_id="one")["exit_status"] == 0
    lines = reader.result().split()
    assert lines[0].startswith(b"/dev/pts/") and lines[-1] == b"2999" and len(lines) == 3001


def test_output_into_a_file(containerd: Containerd, bundle: Bundle) -> None:
    path = os.path.join(bundle.path, "logs/of it")
    task = containerd.task(bundle.shell("echo out; echo error >&2"))
    uri = "file://" + path.replace(" ", "%20")
    task.run(stdout=uri, stderr=uri)
    task("Wait")
    task.delete()
    with open(path) as file:
        assert sorted(file.read().split()) == ["error", "out"]


def test_output_to_a_logger(containerd: Containerd, bundle: Bundle) -> None:
    logger, log = os.path.join(bundle.path, "logger"), os.path.join(bundle.path, "log of it")
    with open(logger, "w") as file:
        file.write('#!/bin/sh\nexec > "$2"\necho "$1 $CONTAINER_ID $CONTAINER_NAMESPACE"\n')
        file.write("exec 5>&-\ncat <&3; cat <&4\n")
    os.chmod(logger, 0o755)
    task = containerd.task(bundle.shell("echo out; echo error >&2"))
    uri = f"binary://{logger}?-to={log.replace(' ', '+')}"
    task.run(stdout=uri, stderr=uri)
    task("Wait")
    wait_until(lambda: os.path.exists(log) and len(Path(log).read_text().split("\n")) == 4)
    task.delete()
    assert Path(log).read_text() == f"-to {task.id} naja-test\nout\nerror\n"


def test_a_logger_that_is_missing(containerd: Containerd, bundle: Bundle) -> None:
    task = containerd.task(bundle)
    uri = "binary:///no/such/logger"
    with pytest.raises(Failure) as caught:
        task.create(stdout=uri, stderr=uri)
    assert "/no/such/logger" in caught.value.message
    assert code_of(lambda: task.create(stdout="ftp://host/x")) == ttrpc.UNKNOWN


def test_streams_of_a_user_of_a_user_namespace(containerd: Containerd, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = mapping
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "cgroup"]
    let_through(os.path.dirname(bundle.rootfs))
    task = containerd.task(bundle.shell("echo again > /dev/stdout"))
    stdout = task.fifo("stdout")
    reader = Reader(stdout)
    task.run(stdout=stdout)
    assert task("Wait")["exit_status"] == 0
    assert reader.result() == b"again\n"


# The process.


def test_events_are_kept_while_nobody_takes_them(containerd: Containerd, task: Task) -> None:
    task.create()
    wait_until(lambda: containerd.events.topics() == ["create"])
    containerd.events.hang_up()
    os.unlink(containerd.events.path)
    task("Start")
    for number in range(5):
        task.exec(f"e{number}", "true")
        task("Wait", exec_id=f"e{number}")
    assert containerd.events.topics() == ["create"]
    containerd.events.listen()
    task("Kill", signal=9)
    task("Wait")
    wait_until(lambda: len(containerd.events.seen) == 18)
    added = [topic for _ in range(5) for topic in ("exec-added", "exec-started", "exit")]
    assert containerd.events.topics() == ["create", "start", *added, "exit"]


def test_nobody_is_held_up(task: Task) -> None:
    """A hook that hangs, or a program that does not start, is its own container's affair."""
    task.run()
    begun = time.monotonic()
    waits = [task.begin("Wait", exec_id="") for _ in range(3)]
    for number in range(3):
        task.exec(f"e{number}", "sleep", "1000")
    assert task.status() == "running"
    assert time.monotonic() - begun < 20
    task("Kill", signal=9)
    assert [task.finish(wait)["exit_status"] for wait in waits] == [137] * 3


def test_many_are_added_at_once(task: Task) -> None:
    task.run()
    spec = json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
    before = len(os.listdir(f"/proc/{task.shim}/fd"))
    ids = [f"e{number}" for number in range(32)]
    for id in ids:
        task("Exec", exec_id=id, spec={"type_url": "Process", "value": spec.encode()})
    calls = [task.begin("Start", exec_id=id) for id in ids]
    assert all(task.finish(call)["pid"] for call in calls)
    assert [task("Wait", exec_id=id)["exit_status"] for id in ids] == [0] * 32
    for id in ids:
        task("Delete", exec_id=id)
    # It has come to have a nursery meanwhile.
    wait_until(lambda: len(os.listdir(f"/proc/{task.shim}/fd")) <= before + 1)


def test_the_shim_is_killed(containerd: Containerd, task: Task) -> None:
    pid = task.run()
    os.kill(task.shim, 9)
    done = containerd.run(task.bundle, "-bundle", task.bundle.path, "delete")
    assert done.returncode == 0 and not done.stderr, done
    answer = messages.EXIT.decode(done.stdout)
    assert (answer["pid"], answer["exit_status"]) == (pid, 137)
    assert is_gone(pid)
    assert not os.path.exists(task.address.removeprefix("unix://"))


def _kill_workers(task: Task, after: float, spared: int = 0) -> int:
    """Kill what is a worker of a shim's, after some time; return how many."""
    time.sleep(after)
    pids = {int(pid) for pid in open(f"/proc/{task.shim}/task/{task.shim}/children").read().split()}
    for pid in pids - {spared}:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(pids - {spared})


def _end(task: Task, **which: Any) -> None:
    """End a process that may have been killed as a worker already, at its birth."""
    try:
        task("Kill", signal=9, **which)
    except Failure as failure:
        assert failure.code == ttrpc.NOT_FOUND
    task("Wait", **which)


def test_a_create_whose_worker_is_killed_leaves_nothing(containerd: Containerd, bundle: Bundle) -> None:
    """The shim ends then, and containerd removes the bundle: it may be that nobody else comes to clean up."""
    moments = random.Random(os.environ.get("NAJA_SEED", "3"))
    bundle.args("/bin/sleep", "1000")
    killed = 0
    for _ in range(25):
        task = containerd.task(bundle)
        call = task.begin("Create", bundle=task.bundle.path, options=task.options)
        killed += _kill_workers(task, moments.uniform(0, 0.03))
        try:
            task.finish(call)
        except Failure as failure:
            assert "killed by signal 9" in failure.message
            left = [path for path in Path(containerd.root).glob("*/*") if "seccomp," not in path.name]
            assert not left
        else:
            _end(task)
            task.delete()
        wait_until(lambda: is_gone(task.shim))  # noqa: B023
    assert killed


def test_a_start_of_another_process_whose_worker_is_killed(task: Task) -> None:
    """No process is left in the container that nobody was told of."""
    init = task.run()
    moments = random.Random(os.environ.get("NAJA_SEED", "4"))
    for number in range(25):
        spec = json.dumps({"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}})
        task("Exec", exec_id=f"e{number}", spec={"type_url": "Process", "value": spec.encode()})
        call = task.begin("Start", exec_id=f"e{number}")
        _kill_workers(task, moments.uniform(0, 0.03), spared=init)
        try:
            task.finish(call)
        except Failure:
            pass
        else:
            _end(task, exec_id=f"e{number}")
        task("Delete", exec_id=f"e{number}")
        wait_until(lambda: len(task("Pids")["processes"]) == 1, what="one process")


@pytest.mark.parametrize("what", ["late", "killed", "paused", "never"])
def test_what_is_begun_before_a_start(task: Task, what: str) -> None:
    """A worker has begun with it when it is asked for; all goes on without that one."""
    init = task.run()
    spec = json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}})
    task("Exec", exec_id="one", spec={"type_url": "Process", "value": spec.encode()})
    if what == "late":
        time.sleep(2.2)
    elif what == "killed":
        _kill_workers(task, 0.01, spared=init)
        time.sleep(0.2)
    elif what == "paused":
        task("Pause")
        assert code_of(lambda: task("Start", exec_id="one")) == ttrpc.FAILED_PRECONDITION
        task("Resume")
    if what != "never":
        task("Start", exec_id="one")
        assert task("Wait", exec_id="one")["exit_status"] == 0
    task("Delete", exec_id="one")
    # It may have come to have a nursery.
    children = f"/proc/{task.shim}/task/{task.shim}/children"
    wait_until(lambda: len(open(children).read().split()) <= 2)
    assert len(task("Pids")["processes"]) == 1


@pytest.mark.parametrize("verb", ["start", "delete"])
def test_who_has_called_is_gone(containerd: Containerd, bundle: Bundle, verb: str) -> None:
    """containerd was killed: what is written to it goes nowhere, and that is all."""
    reader, writer = os.pipe()
    os.close(reader)
    words = ["-namespace", "naja-test", "-address", containerd.address]
    words += ["-id", bundle.id, "-bundle", bundle.path]
    try:
        done = subprocess.run(
            [program(), *words, verb],
            cwd=bundle.path,
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=writer,
            timeout=20,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 1
    containerd.run(bundle, "-bundle", bundle.path, "delete")


def test_what_a_start_leaves_that_was_killed(containerd: Containerd, task: Task) -> None:
    """A socket that nobody listens at, and no bundle tells of: the next one that cleans up removes it."""
    path = "/run/containerd/s/naja-nobody"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
    done = containerd.run(task.bundle, "-bundle", task.bundle.path, "delete")
    assert done.returncode == 0 and not os.path.exists(path)
    # Who listens is left alone.
    other = containerd.task(task.bundle)
    assert os.path.exists(other.address.removeprefix("unix://"))


def test_delete_tells_a_shim_that_lives(containerd: Containerd, task: Task) -> None:
    task.run()
    containerd.run(task.bundle, "-bundle", task.bundle.path, "delete")
    wait_until(lambda: is_gone(task.shim))


def test_a_group_has_one_shim(containerd: Containerd, busybox_bundle: Callable[[], Bundle]) -> None:
    tasks = []
    for annotation in ("io.kubernetes.cri.sandbox-id", "io.containerd.naja.v2.group"):
        for _ in range(2):
            bundle = busybox_bundle()
            bundle.config["annotations"] = {annotation: "together"}
            tasks.append(containerd.task(bundle.args("sleep", "1000")))
    one, two, three, four = tasks
    assert one.shim == two.shim != three.shim == four.shim
    for task in tasks:
        task.run()
    one("Kill", signal=9)
    one("Wait")
    one.delete()
    assert two.status() == "running"
    two("Kill", signal=9)
    two("Wait")
    two.delete()
    wait_until(lambda: is_gone(one.shim))
    assert three.status() == "running"


def test_shims_share_their_memory(containerd: Containerd, busybox_bundle: Callable[[], Bundle]) -> None:
    one = containerd.task(busybox_bundle().args("sleep", "1000"))
    one.run()
    place = lenders.place(containerd.address)
    wait_until(lambda: os.path.exists(place))
    two = containerd.task(busybox_bundle().args("sleep", "1000"))
    two.run()
    assert two.shim != one.shim
    assert memory_of(two.shim, "Shared_Dirty") > 2000, "most of its memory is its own"
    assert two("Connect", id=one.id)["task_pid"] == 0
    # Neither needs the other.
    os.kill(one.shim, 9)
    assert two.exec("e", "true") and two("Wait", exec_id="e")["exit_status"] == 0
    three = containerd.task(busybox_bundle().args("sleep", "1000"))
    assert three.run()
    assert two("Kill", signal=9) == {} and two("Wait")["exit_status"] == 137
    two.delete()
    wait_until(lambda: is_gone(two.shim))


def test_an_idle_shim_gives_back_memory(
    naja: Runtime, containerd: Containerd, busybox_bundle: Callable[[], Bundle]
) -> None:
    if "start: from a dump" not in naja.run("--version").stdout:
        pytest.skip("needs a command from a dump")
    tasks = []
    for _ in range(2):
        tasks.append(containerd.task(busybox_bundle().args("sleep", "1000")))
        tasks[-1].run()
        wait_until(lambda: os.path.exists(lenders.place(containerd.address)))
    task = tasks[1]  # A fork of the nursery's.
    for turn in range(2):
        assert task.exec(f"e{turn}", "true") and task("Wait", exec_id=f"e{turn}")["exit_status"] == 0
        task("Delete", exec_id=f"e{turn}")
        before = memory_of(task.shim, "Anonymous")
        wait_until(lambda: memory_of(task.shim, "Anonymous") < before - 200)  # noqa: B023
        assert task.status() == "running" and len(task("Pids")["processes"]) == 1
    assert "memfd:naja-pages" in Path(f"/proc/{task.shim}/maps").read_text()


@pytest.fixture
def lender(containerd: Containerd, busybox_bundle: Callable[[], Bundle]) -> Task:
    """A shim that has made a nursery."""
    task = containerd.task(busybox_bundle().args("sleep", "1000"))
    task.run()
    wait_until(lambda: os.path.exists(lenders.place(containerd.address)))
    return task


def test_what_a_fork_is_lent_for(
    containerd: Containerd, lender: Task, busybox_bundle: Callable[[], Bundle]
) -> None:
    """It has limits and environment of who asks, and cleans up as another process would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bundle = busybox_bundle().args("sleep", "1000")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 5, hard))
        containerd.variables = {"MAX_SHIM_VERSION": "3"}
        done = containerd.run(bundle, "start", options=messages.ANY.encode(containerd.options()))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert done.returncode == 0 and not done.stderr, done
    task = Task(containerd, bundle, json.loads(done.stdout)["address"], containerd.options())
    containerd.tasks.append(task)
    assert parent(parent(task.shim)) == lender.shim
    with open(f"/proc/{task.shim}/limits") as file:
        assert f"Max open files            {soft - 5} " in file.read()
    pid = task.run()
    os.kill(task.shim, 9)
    done = containerd.run(bundle, "-bundle", bundle.path, "delete")
    assert done.returncode == 0 and not done.stderr, done
    assert messages.EXIT.decode(done.stdout)["pid"] == pid and is_gone(pid)
    # What fails is told to who asked.
    os.unlink(os.path.join(bundle.path, "config.json"))
    done = containerd.run(bundle, "start")
    assert done.returncode == 1 and b"config.json: No such file" in done.stderr, done
    assert lender.status() == "running"


def test_who_is_elsewhere_is_lent_nothing(
    containerd: Containerd, lender: Task, busybox_bundle: Callable[[], Bundle]
) -> None:
    for before in (["unshare", "--uts"], ["unshare", "--mount"]):
        containerd.before = before
        task = containerd.task(busybox_bundle().args("sleep", "1000"))
        assert parent(parent(task.shim)) != lender.shim
    containerd.before = []


def test_a_nursery_that_does_not_answer_or_is_killed(
    containerd: Containerd, lender: Task, busybox_bundle: Callable[[], Bundle]
) -> None:
    nursery = parent(containerd.task(busybox_bundle().args("sleep", "1000")).shim)
    assert parent(nursery) == lender.shim
    os.kill(nursery, signal.SIGSTOP)
    try:
        task = containerd.task(busybox_bundle().args("sleep", "1000"))
        assert parent(task.shim) != nursery
    finally:
        os.kill(nursery, signal.SIGCONT)
    assert task.run() and lender.status() == "running"
    os.kill(nursery, signal.SIGKILL)
    wait_until(lambda: is_gone(nursery))

    def lends() -> bool:
        """One of those that are started in the ordinary way makes another."""
        task = containerd.task(busybox_bundle().args("sleep", "1000"))
        return parent(parent(task.shim)) in {each.shim for each in containerd.tasks}

    wait_until(lends, timeout=20)


def test_a_nursery_ends_with_the_last_shim(
    containerd: Containerd, lender: Task, busybox_bundle: Callable[[], Bundle]
) -> None:
    task = containerd.task(busybox_bundle().args("sleep", "1000"))
    task.run()
    nursery = parent(task.shim)
    for each in (lender, task):
        each("Kill", signal=9)
        each("Wait")
        assert not is_gone(nursery)
        each.delete()
        wait_until(lambda: is_gone(each.shim))  # noqa: B023
    wait_until(lambda: is_gone(nursery))
    assert not os.path.exists(lenders.place(containerd.address))


def parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def memory_of(pid: int, kind: str) -> int:
    """Return how much of a process's memory is of a kind (proc_pid_smaps(5)), in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{kind}:"))


def test_a_container_that_is_announced_is_waited_for(
    containerd: Containerd, busybox_bundle: Callable[[], Bundle]
) -> None:
    bundles = [busybox_bundle().args("sleep", "1000") for _ in range(2)]
    for bundle in bundles:
        bundle.config["annotations"] = {"io.containerd.naja.v2.group": "together"}
        bundle.save()
    one = containerd.task(bundles[0])
    one.run()
    two = containerd.task(bundles[1])
    one("Kill", signal=9)
    one("Wait")
    one.delete()
    assert two.run() and two.shim == one.shim


def test_the_protocols(containerd: Containerd, bundle: Bundle) -> None:
    """An old containerd is told the address, a newer one a document with the version that it knows."""
    bundle.args("sleep", "1000")
    address = containerd.task(bundle).address
    for known, spoken in (("2", 2), ("3", 3), ("4", 3)):
        containerd.variables["MAX_SHIM_VERSION"] = known
        any = messages.ANY.encode(containerd.options())
        document = json.loads(containerd.run(bundle, "start", options=any).stdout)
        assert document == {"version": spoken, "address": address, "protocol": "ttrpc"}
    task = containerd.tasks[0]
    answer = task.client.call("containerd.task.v3.Task", "Connect", messages.CONTAINER.encode({"id": "x"}))
    assert messages.CONNECT.decode(answer)["shim_pid"] == task.shim


def test_options_that_are_of_no_use_are_refused(containerd: Containerd, bundle: Bundle) -> None:
    any = messages.ANY.encode(containerd.options(binary_name="/usr/bin/runc"))
    done = containerd.run(bundle, "start", options=any)
    assert done.returncode == 1
    assert b"binary_name" in done.stderr.lower() or b"BinaryName=/usr/bin/runc is of no use" in done.stderr


def test_options_in_a_file(containerd: Containerd, busybox_bundle: Callable[[], Bundle]) -> None:
    path = os.path.join(containerd.directory, "shim.toml")
    with open(path, "w") as file:
        file.write(f'Root = "{containerd.root}"\nGroup = "namespace"\n')
    options = messages.wrap(messages.GENERIC_OPTIONS, {"config_path": path})
    shims = set()
    for _ in range(2):
        bundle = busybox_bundle().args("sleep", "1000")
        done = containerd.run(bundle, "start", options=messages.ANY.encode(options))
        assert done.returncode == 0, done
        task = Task(containerd, bundle, done.stdout.decode(), options)
        containerd.tasks.append(task)
        task.run()
        shims.add(task.shim)
    assert len(shims) == 1
    assert len(os.listdir(os.path.join(containerd.root, "naja-test"))) >= 2
    with open(path, "a") as file:
        file.write("Nonsense = 1\n")
    done = containerd.run(bundle, "start", options=messages.ANY.encode(options))
    assert done.returncode == 1 and b"Nonsense" in done.stderr


def test_version_and_features() -> None:
    import subprocess

    if not program():
        pytest.skip("needs containerd-shim-naja-v2 beside the runtime under test")
    said = subprocess.run([program(), "-v"], capture_output=True, text=True, check=True).stdout
    assert "naja version" in said
    said_of_it = subprocess.run([program(), "-info"], capture_output=True, input=b"", check=True).stdout
    info = messages.RUNTIME_INFO.decode(said_of_it)
    assert info["name"] == "io.containerd.naja.v2"
    assert json.loads(info["features"]["value"])["ociVersionMax"]
