"""`naja resident`: containers kept by one process, for whoever asks it by messages."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from naja.resident.messages import MOST_BYTES, MOST_DESCRIPTORS
from naja.version import VERSION
from tests.support.command import runtime_command
from tests.support.resident import Caller, Refused, Resident
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

SLEEP = ("/bin/sleep", "1000")


@pytest.fixture
def resident(naja: Runtime) -> Iterator[Resident]:
    process = Resident(naja)
    yield process
    process.leave()
    assert process.process.returncode == 0


def program(*args: str, **more: Any) -> dict[str, Any]:
    return {"args": list(args), "cwd": "/", "env": ["PATH=/bin"], **more}


def pipes() -> tuple[int, list[int]]:
    """Return what a program's output is read from, and its three standard streams."""
    reader, writer = os.pipe()
    return reader, [os.open("/dev/null", os.O_RDONLY), writer, os.dup(writer)]


def close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def output(reader: int) -> str:
    """Read to the end, which is there when nobody has the other side any more."""
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


def test_a_life(resident: Resident, bundle: Bundle, naja: Runtime) -> None:
    bundle.shell("echo hello; exit 7")
    reader, streams = pipes()
    pid = resident.create(bundle, streams, streams=True)["pid"]
    close(streams)
    state = resident.of(bundle, "state")
    assert (state["status"], state["pid"]) == ("created", pid)
    # The command sees it as well.
    assert naja.state(bundle)["status"] == "created"
    resident.of(bundle, "start")
    ended = resident.of(bundle, "wait")
    assert ended["code"] == 7
    assert abs(ended["time"] / 1e9 - time.time()) < 60
    assert output(reader) == "hello\n"
    # Who asks later is told the same.
    assert resident.of(bundle, "wait") == ended
    resident.of(bundle, "delete")
    with pytest.raises(Refused, match="container does not exist"):
        resident.of(bundle, "state")


def test_processes_in_it(resident: Resident, bundle: Bundle) -> None:
    bundle.args(*SLEEP)
    resident.create(bundle)
    resident.of(bundle, "start")
    reader, streams = pipes()
    added = resident.of(
        bundle, "exec", streams, streams=True, program=program("sh", "-c", "echo here; exit 5")
    )
    close(streams)
    assert output(reader) == "here\n"
    assert resident.code(bundle, process=added["process"]) == 5
    # As of a child that was waited for.
    with pytest.raises(Refused, match="no such process"):
        resident.code(bundle, process=added["process"])
    added = resident.of(bundle, "exec", program=program(*SLEEP))
    assert len(resident.of(bundle, "processes")) == 2
    resident.of(bundle, "signal", process=added["process"], signal=15)
    assert resident.code(bundle, process=added["process"]) == 128 + 15
    resident.of(bundle, "signal", signal=9)
    assert resident.code(bundle) == 128 + 9
    with pytest.raises(Refused, match="container not running"):
        resident.of(bundle, "signal", signal=15)
    resident.of(bundle, "delete")


def test_a_pidfd_and_the_terminal_come_with_the_answer(resident: Resident, bundle: Bundle) -> None:
    bundle.process["terminal"] = True
    bundle.args("/bin/sh", "-c", "tty; sleep 1000")
    number = resident.begin("create", root=resident.root, id=bundle.id, bundle=bundle.path)
    value, (pidfd, console) = resident.value(number)
    assert f"Pid:\t{value['pid']}\n" in open(f"/proc/self/fdinfo/{pidfd}").read()
    resident.of(bundle, "start")
    text = b""
    while b"\n" not in text:
        text += os.read(console, 1000)
    # As it is: line ends are the terminal's own.
    assert text == b"/dev/pts/0\r\n"
    number = resident.begin("exec", root=resident.root, id=bundle.id, program=program("tty", terminal=True))
    value, (second, terminal) = resident.value(number)
    assert os.read(terminal, 100).endswith(b"/dev/pts/1\r\n")
    assert resident.code(bundle, process=value["process"]) == 0
    close([pidfd, console, second, terminal])
    resident.of(bundle, "delete", force=True)


def test_pause_update_statistics(resident: Resident, bundle: Bundle) -> None:
    bundle.args(*SLEEP)
    resident.create(bundle)
    resident.of(bundle, "start")
    resident.of(bundle, "pause")
    assert resident.of(bundle, "state")["status"] == "paused"
    with pytest.raises(Refused, match="cannot exec in a paused container"):
        resident.of(bundle, "exec", program=program("true"))
    # What is frozen ends all the same.
    resident.of(bundle, "resume")
    resident.of(bundle, "update", resources={"pids": {"limit": 77}})
    assert resident.of(bundle, "statistics")["pids"]["limit"] == 77
    with pytest.raises(Refused, match="limit"):
        resident.of(bundle, "update", resources={"pids": {"limit": "many"}})
    resident.of(bundle, "pause")
    resident.of(bundle, "signal", signal=9)
    assert resident.code(bundle) == 128 + 9
    resident.of(bundle, "delete")


def test_preserved_descriptors(resident: Resident, bundle: Bundle) -> None:
    bundle.shell("echo third >&3")
    reader, writer = os.pipe()
    resident.create(bundle, [writer])
    os.close(writer)
    resident.of(bundle, "start")
    assert output(reader) == "third\n"
    resident.of(bundle, "wait")
    resident.of(bundle, "delete")


def test_nothing_of_the_resident_process_is_open_in_a_container(resident: Resident, bundle: Bundle) -> None:
    bundle.shell("ls -l /proc/self/fd")
    reader, streams = pipes()
    inode = os.fstat(reader).st_ino
    resident.create(bundle, streams, streams=True)
    close(streams)
    resident.of(bundle, "start")
    lines = [line.split(" -> ")[-1] for line in output(reader).splitlines() if " -> " in line]
    # One more is the directory itself, which is gone by the time that its link is read.
    pipe = f"pipe:[{inode}]"
    assert [line for line in lines if not line.startswith("/proc/")] == ["/dev/null", pipe, pipe]
    resident.of(bundle, "wait")
    resident.of(bundle, "delete")


def test_it_is_sealed_and_reaps(resident: Resident, bundle: Bundle) -> None:
    children = f"/proc/{resident.process.pid}/task/{resident.process.pid}/children"
    bundle.args("/bin/true")
    for _ in range(3):
        resident.create(bundle)
        resident.of(bundle, "start")
        resident.of(bundle, "wait")
        resident.of(bundle, "delete")
    # What has answered is the sealed program, which the launcher has begun in its own place: it lies in a
    # detached mount, or in memory.
    assert os.readlink(f"/proc/{resident.process.pid}/exe").count("/") == 1
    wait_until(lambda: open(children).read() == "", timeout=10, what="no children")


def test_a_config_that_is_refused_is_explained(resident: Resident, bundle: Bundle) -> None:
    """By modules that no worker had loaded: it still finds them."""
    bundle.process["cwd"] = "relative"
    bundle.save()
    with pytest.raises(Refused) as caught:
        resident.create(bundle)
    assert "/process/cwd" in caught.value.error["origin"] + caught.value.error["what"]
    assert "internal" not in str(caught.value)


def test_one_that_hangs_holds_nobody_up(
    resident: Resident, busybox_bundle: Callable[[], Bundle], tmp_path: Path
) -> None:
    hanging, other = busybox_bundle().args(*SLEEP), busybox_bundle().args(*SLEEP)
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    hanging.config["hooks"] = {"createRuntime": [{"path": "/bin/cat", "args": ["cat", fifo]}]}
    hanging.save()
    number = resident.begin("create", root=resident.root, id=hanging.id, bundle=hanging.path)
    resident.create(other)
    resident.of(other, "start")
    for _ in range(5):
        added = resident.of(other, "exec", program=program("true"))
        assert resident.code(other, process=added["process"]) == 0
    resident.of(other, "delete", force=True)
    with open(fifo, "w"):
        pass
    close(resident.value(number)[1])
    resident.of(hanging, "delete", force=True)


def test_a_caller_that_goes_away_takes_what_is_not_done(
    naja: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    bundle.args(*SLEEP).config["hooks"] = {"createRuntime": [{"path": "/bin/cat", "args": ["cat", fifo]}]}
    bundle.save()
    resident = Resident(naja)
    resident.begin("create", root=naja.root, id=bundle.id, bundle=bundle.path)
    wait_until(lambda: naja.ids() == [bundle.id], timeout=10, what="a container in the making")
    resident.leave()
    assert naja.ids() == []


def test_what_hangs_does_not_keep_the_process(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    bundle.args(*SLEEP).config["hooks"] = {"poststart": [{"path": "/bin/cat", "args": ["cat", fifo]}]}
    bundle.save()
    resident = Resident(naja)
    resident.create(bundle)
    resident.begin("start", root=naja.root, id=bundle.id)
    writer = wait_until(lambda: _open_once_read(fifo), timeout=10, what="the hook")
    resident.leave()
    os.close(writer)
    naja.delete(bundle, "--force")


def _open_once_read(fifo: str) -> int:
    """Open a FIFO to write to it; 0 where nobody reads from it."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return 0


def test_containers_stay_when_the_last_caller_is_gone(naja: Runtime, bundle: Bundle) -> None:
    bundle.args(*SLEEP)
    resident = Resident(naja)
    resident.create(bundle)
    resident.of(bundle, "start")
    resident.leave()
    assert naja.state(bundle)["status"] == "running"
    naja.delete(bundle, "--force")


def _took_over(naja: Runtime, bundle: Bundle) -> Resident:
    """Create a container by a process that is killed, and return another one."""
    first = Resident(naja)
    first.create(bundle.args(*SLEEP))
    first.of(bundle, "start")
    first.process.kill()
    first.process.wait()
    Caller.leave(first)
    return Resident(naja)


def test_a_container_of_a_process_that_was_killed_is_taken_over(naja: Runtime, bundle: Bundle) -> None:
    second = _took_over(naja, bundle)
    added = second.of(bundle, "exec", program=program("sh", "-c", "exit 4"))
    assert second.code(bundle, process=added["process"]) == 4
    number = second.begin("wait", root=naja.root, id=bundle.id)
    second.of(bundle, "signal", signal=9)
    # Linux tells since 6.15 how another's child has ended.
    assert second.value(number)[0]["code"] in (128 + 9, None)
    second.of(bundle, "delete")
    second.leave()


def test_a_container_that_a_command_has_made_in_the_place_of_another(
    resident: Resident, bundle: Bundle, naja: Runtime
) -> None:
    resident.create(bundle.args(*SLEEP))
    naja.delete(bundle, "--force")
    # How the first has ended can still be asked, for nobody else knows.
    assert resident.code(bundle) == 128 + 9
    naja.create(bundle)
    naja.start(bundle)
    resident.of(bundle, "signal", signal=0)
    assert resident.of(bundle, "state")["pid"] == naja.state(bundle)["pid"]
    naja.delete(bundle, "--force")


def test_the_number_of_a_kept_state_directory_is_no_others(
    resident: Resident, bundle: Bundle, naja: Runtime
) -> None:
    """By it the container of another command is told from the one that is kept."""
    resident.create(bundle.args(*SLEEP))
    number = os.stat(os.path.join(naja.root, bundle.id)).st_ino
    before = len(resident.descriptors())
    naja.delete(bundle, "--force")
    assert resident.code(bundle) == 128 + 9
    # ext4 gives the lowest number that is free.
    others = [os.path.join(naja.root, f"{bundle.id}-{each}") for each in range(100)]
    try:
        for other in others:
            os.mkdir(other)
        assert number not in [os.stat(other).st_ino for other in others]
    finally:
        for other in others:
            os.rmdir(other)
    with pytest.raises(Refused):
        resident.of(bundle, "delete")
    assert len(resident.descriptors()) < before


def test_a_container_that_a_command_has_deleted(resident: Resident, bundle: Bundle, naja: Runtime) -> None:
    resident.create(bundle.args(*SLEEP))
    naja.delete(bundle, "--force")
    with pytest.raises(Refused) as caught:
        resident.of(bundle, "delete")
    assert caught.value.error["kind"] == "NoContainer"
    # It is kept no longer.
    with pytest.raises(Refused, match="container does not exist"):
        resident.of(bundle, "wait")


def test_two_callers_by_a_listening_socket(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen()
    process = subprocess.Popen([*runtime_command(), "resident"], stdin=listener.fileno())
    listener.close()
    callers = []
    for _ in range(2):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(path)
        callers.append(Caller(connection, naja.root))
    one, two = callers
    one.create(bundle.args(*SLEEP))
    one.of(bundle, "start")
    number = two.begin("wait", root=naja.root, id=bundle.id)
    one.of(bundle, "signal", signal=9)
    assert two.value(number)[0]["code"] == 128 + 9
    one.leave()
    two.of(bundle, "delete")
    assert process.poll() is None
    two.leave()
    assert process.wait(timeout=20) == 0


def test_what_a_service_manager_said_is_not_for_containers(naja: Runtime, bundle: Bundle) -> None:
    environment = {**os.environ, "NOTIFY_SOCKET": "/run/nobody", "LISTEN_FDS": "1", "LISTEN_PID": ""}
    resident = Resident(naja, env=environment)
    resident.create(bundle.args("/bin/true"))
    with open(f"{naja.root}/{bundle.id}/state.json") as file:
        assert json.load(file)["notify"] is False
    resident.of(bundle, "start")
    assert resident.code(bundle) == 0
    resident.of(bundle, "delete")
    resident.leave()


def test_what_is_no_socket_is_refused(naja: Runtime) -> None:
    done = subprocess.run(
        [*runtime_command(), "resident"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "SOCK_SEQPACKET" in done.stderr


def _directory() -> int:
    return os.open("/", os.O_RDONLY | os.O_DIRECTORY)


HOSTILE: dict[str, tuple[Any, str]] = {
    "no JSON": (b"{", "expecting"),
    "no object": (b"[1]", "no object"),
    "no text": (b"\xff\xfe\x00", "expected a value"),
    "nested": (b"[" * 100_000, "nested too deeply"),
    "no number": ({"do": "state"}, "call is no number"),
    "a number of another kind": ({"call": True, "do": "state"}, "call is no number"),
    "too long": (b" " * (MOST_BYTES + 1), "more than"),
    "nothing to do": ({"call": 7}, "do is missing"),
    "an unknown thing to do": ({"call": 7, "do": "__class__"}, "nothing that could be done"),
    "a path that is none": ({"call": 7, "do": "state", "root": "x", "id": 1}, "no absolute path"),
    "a path that is no text": ({"call": 7, "do": "state", "root": "/\ud800", "id": "x"}, "no absolute path"),
    "an id that is no text": (
        {"call": 7, "do": "state", "root": "/x", "id": "\ud800"},
        "invalid container ID",
    ),
    "an unknown field": ({"call": 7, "do": "state", "root": "/x", "x": 1}, "id is missing"),
    "a wrong type": (
        {"call": 7, "do": "create", "root": "/x", "bundle": ["/"]},
        "id is missing",
    ),
    "a signal that is none": ({"call": 7, "do": "signal", "signal": 1000}, "no signal"),
    "a process that is none": ({"call": 7, "do": "wait", "process": 99}, "no such process"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages_are_refused_and_their_descriptors_closed(resident: Resident, name: str) -> None:
    content, words = HOSTILE[name]
    packet = content if isinstance(content, bytes) else json.dumps(content).encode()
    resident.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    before = _quiet(resident)
    foreign = [_directory(), *os.pipe(), resident.connection.fileno()]
    socket.send_fds(resident.connection, [packet], foreign)
    close(foreign[:3])
    packet, _, _, _ = socket.recv_fds(resident.connection, 1 << 20, 16)
    error = json.loads(packet)["error"]
    assert words in f"{error['what']} {error['why']}"
    assert _quiet(resident) == before


def _quiet(resident: Resident) -> list[str]:
    """Return what is open once a question has been answered."""
    with pytest.raises(Refused, match="container does not exist"):
        resident.ask("state", root=resident.root, id="nobody")
    return resident.descriptors()


def test_hostile_ids_and_descriptors(resident: Resident, bundle: Bundle) -> None:
    before = _quiet(resident)
    with pytest.raises(Refused, match="invalid container ID"):
        resident.ask("state", root=resident.root, id="../../etc")
    with pytest.raises(Refused, match="descriptors that nobody has asked for"):
        resident.ask("state", os.pipe(), root=resident.root, id=bundle.id)
    with pytest.raises(Refused, match="directory"):
        resident.create(bundle, [_directory()])
    with pytest.raises(Refused, match="three standard streams"):
        resident.create(bundle, os.pipe(), streams=True)
    with pytest.raises(Refused, match="is not known here"):
        resident.create(bundle, interrupted=True)
    with pytest.raises(Refused, match="rootless is not true or false"):
        resident.create(bundle, rootless="yes")
    assert _quiet(resident) == before


def test_more_descriptors_than_a_message_may_have(resident: Resident) -> None:
    before = _quiet(resident)
    reader, writer = os.pipe()
    resident.begin("state", [reader] * (MOST_DESCRIPTORS * 2), root="/x", id="y")
    os.close(reader)
    message, _ = resident.answer(None)
    assert "descriptors" in message["error"]["what"]
    # Nobody reads any more.
    wait_until(lambda: _is_broken(writer), timeout=10, what="the end of the copies")
    os.close(writer)
    assert _quiet(resident) == before


def _is_broken(writer: int) -> bool:
    try:
        os.write(writer, b"x")
    except BrokenPipeError:
        return True
    return False


def test_a_caller_that_does_not_read_is_left(naja: Runtime) -> None:
    resident = Resident(naja)
    resident.connection.setblocking(False)
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                resident.connection.send(b"[]")
            except BlockingIOError:
                time.sleep(0.01)
    resident.leave()
    assert resident.process.returncode == 0


def test_workers_killed_at_any_moment(resident: Resident, bundle: Bundle, naja: Runtime) -> None:
    """Each is an error in words, or had done its work; nothing is left, and nothing hangs."""
    bundle.args(*SLEEP)
    seed = int(os.environ.get("NAJA_SEED", random.randrange(1 << 32)))
    print(f"NAJA_SEED={seed}")
    moments = random.Random(seed)
    children = f"/proc/{resident.process.pid}/task/{resident.process.pid}/children"
    killed = 0
    for _ in range(25):
        number = resident.begin("create", root=naja.root, id=bundle.id, bundle=bundle.path)
        killed += _kill_children(children, moments.uniform(0, 0.03))
        message, descriptors = resident.answer(number)
        close(descriptors)
        if "error" in message:
            assert (
                "the worker died: killed by signal 9"
                in f"{message['error']['what']}: {message['error']['why']}"
            )
            assert naja.ids() == []
        else:
            resident.of(bundle, "delete", force=True)
        wait_until(lambda: open(children).read() == "", timeout=10, what="no children")
    assert killed


def _kill_children(children: str, after: float) -> int:
    """Kill what is a worker, after some time; or what keeps its moves cheap, or a container's process."""
    time.sleep(after)
    pids = [int(pid) for pid in open(children).read().split()]
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(pids)


def test_workers_of_exec_killed_at_any_moment(resident: Resident, bundle: Bundle) -> None:
    """No process is left in the container that nobody was told of."""
    resident.create(bundle.args(*SLEEP))
    resident.of(bundle, "start")
    init = str(resident.of(bundle, "state")["pid"])
    moments = random.Random(os.environ.get("NAJA_SEED", "1"))
    children = f"/proc/{resident.process.pid}/task/{resident.process.pid}/children"
    for _ in range(25):
        number = resident.begin("exec", root=resident.root, id=bundle.id, program=program(*SLEEP))
        time.sleep(moments.uniform(0, 0.02))
        for pid in open(children).read().split():
            if pid != init:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        message, descriptors = resident.answer(number)
        close(descriptors)
        if "error" not in message:
            resident.of(bundle, "signal", process=message["value"]["process"], signal=9)
            resident.code(bundle, process=message["value"]["process"])
        wait_until(lambda: len(resident.of(bundle, "processes")) == 1, timeout=10, what="one process")
    resident.of(bundle, "delete", force=True)


def test_killed_itself_at_any_moment(naja: Runtime, bundle: Bundle) -> None:
    """What is left is removed by a command, and nothing hangs."""
    bundle.args(*SLEEP)
    moments = random.Random(os.environ.get("NAJA_SEED", "2"))
    for _ in range(15):
        resident = Resident(naja)
        resident.begin("create", root=naja.root, id=bundle.id, bundle=bundle.path)
        time.sleep(moments.uniform(0, 0.12))
        resident.process.kill()
        resident.process.wait()
        Caller.leave(resident)
        naja.delete(bundle, "--force")
        assert naja.ids() == []


def test_many_execs_at_a_time(resident: Resident, bundle: Bundle) -> None:
    """Nothing stays open, and no memory is kept, for 10,000 of them would be as many times that."""
    resident.create(bundle.args(*SLEEP))
    resident.of(bundle, "start")
    before, sizes = _quiet(resident), []
    for _ in range(8):
        numbers = [
            resident.begin("exec", root=resident.root, id=bundle.id, program=program("sh", "-c", f"exit {n}"))
            for n in range(16)
        ]
        codes = []
        for number in numbers:
            value, descriptors = resident.value(number)
            close(descriptors)
            codes.append(resident.code(bundle, process=value["process"]))
        assert codes == list(range(16))
        sizes.append(resident.memory())
    assert _quiet(resident) == before
    # What is used for the first time becomes memory of its own, for a few rounds.
    assert sizes[-1] - sizes[3] < 64 << 10
    resident.of(bundle, "delete", force=True)


def test_memory_is_given_back_while_there_is_nothing_to_do(
    resident: Resident, bundle: Bundle, naja: Runtime
) -> None:
    if "start: from a dump" not in naja.run("--version").stdout:
        pytest.skip("needs a command from a dump")
    resident.create(bundle.args(*SLEEP))
    resident.of(bundle, "start")
    for _ in range(2):
        value, descriptors = resident.value(
            resident.begin("exec", root=resident.root, id=bundle.id, program=program("sh", "-c", "exit 3"))
        )
        close(descriptors)
        assert resident.code(bundle, process=value["process"]) == 3
        before = resident.memory()
        wait_until(lambda: resident.memory() < before - (50 << 10))  # noqa: B023
    resident.of(bundle, "delete", force=True)


def test_hello(resident: Resident) -> None:
    told = resident.ask("hello")
    assert (told["pid"], told["version"]) == (resident.process.pid, VERSION)


def test_what_ends_at_once_is_deleted_at_once(resident: Resident, bundle: Bundle, naja: Runtime) -> None:
    bundle.shell("echo brief; exit 9")
    reader, streams = pipes()
    answer = resident.of(bundle, "run", streams, bundle=bundle.path, streams=True, brief=True)
    close(streams)
    assert answer["code"] == 9
    assert output(reader) == "brief\n"
    assert naja.ids() == []
    # What goes on is a container as others are.
    answer = resident.of(bundle.args(*SLEEP), "run", bundle=bundle.path, brief=True)
    assert naja.state(bundle)["pid"] == answer["pid"]
    resident.of(bundle, "signal", signal=signal.SIGKILL)
    assert resident.code(bundle) == 137
    resident.of(bundle, "delete")


def test_what_ends_before_anybody_is_told(resident: Resident, bundle: Bundle, naja: Runtime) -> None:
    """Nothing is left, also of what it has left running; hooks and a program that fails are as ever."""

    def run(script: str) -> int:
        answer = resident.of(bundle.shell(script), "run", bundle=bundle.path, brief=True)
        if "code" not in answer:  # Other work on the machine made it last.
            answer["code"] = resident.code(bundle)
            resident.of(bundle, "delete")
        assert bundle.id not in naja.ids()
        code: int = answer["code"]
        return code

    for _ in range(3):
        assert run("sleep 1000 & exit 7") == 7
    told = os.path.join(bundle.path, "told")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {told}"]}
    bundle.config["hooks"] = {"poststart": [hook]}
    assert run("exit 8") == 8
    with open(told) as file:
        assert json.load(file)["id"] == bundle.id
    del bundle.config["hooks"]
    bundle.write("bin/none", "#!/none\n")
    with pytest.raises(Refused, match="/none"):
        run_brief(resident, bundle.args("/bin/none"))
    assert naja.ids() == []


def test_what_is_tied_goes_with_its_caller(
    resident: Resident, busybox_bundle: Callable[[], Bundle], naja: Runtime
) -> None:
    tied, untied, free = (busybox_bundle().args(*SLEEP) for _ in range(3))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    resident.ask("connect", [theirs.fileno()])
    theirs.close()
    second = Caller(ours, naja.root)
    for bundle in (tied, untied, free):
        second.of(bundle, "run", bundle=bundle.path, tied=bundle is untied)
    second.of(tied, "tie", tied=True)
    second.of(untied, "tie", tied=False)
    second.leave()
    wait_until(lambda: naja.ids() == sorted([untied.id, free.id]), timeout=30, what="the end of what is tied")
    for bundle in (untied, free):
        resident.of(bundle, "delete", force=True)


@pytest.mark.parametrize("after", [0.0, 0.01, 0.1])
def test_a_request_that_is_cancelled(resident: Resident, bundle: Bundle, naja: Runtime, after: float) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    bundle.save()
    number = resident.begin("create", root=naja.root, id=bundle.id, bundle=bundle.path)
    time.sleep(after)
    resident.connection.send(json.dumps({"call": number, "do": "cancel"}).encode())
    with pytest.raises(Refused):
        resident.value(number)
    assert naja.ids() == []
    # One that is over, or never was, is nobody's concern.
    resident.connection.send(json.dumps({"call": number, "do": "cancel"}).encode())
    assert resident.ask("hello")


def test_a_wait_that_is_cancelled(resident: Resident, bundle: Bundle) -> None:
    resident.create(bundle)
    number = resident.begin("wait", root=resident.root, id=bundle.id)
    resident.ask("hello")
    resident.connection.send(json.dumps({"call": number, "do": "cancel"}).encode())
    with pytest.raises(Refused, match="cancelled"):
        resident.value(number)
    resident.of(bundle, "delete", force=True)


def test_what_is_no_connection(resident: Resident) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(Refused):
        resident.ask("connect", [null])
    os.close(null)
    with pytest.raises(Refused, match="one descriptor"):
        resident.ask("connect")
    reader, writer = os.pipe()
    resident.ask("connect", [reader])  # It hears nothing, and is dropped.
    close([reader, writer])
    assert resident.ask("hello")


def spare(resident: Resident, *, before: int = 0) -> int:
    """Return the pid of the worker that waits for the next container; no other worker is left.

    ``before`` is the one that waited before, and is about to end.
    """

    def settled() -> int:
        found = {pid: opened_by(pid) for pid in children_of(resident.process.pid)}
        # Who keeps moves into cgroups cheap is no worker, but may still have what it was born with.
        workers = [pid for pid, files in found.items() if not any("cgroup.procs" in name for name in files)]
        alone = len(workers) == 1 and workers[0] != before
        return workers[0] if alone and sum(map(is_socket, found[workers[0]])) == 1 else 0

    def still() -> int:
        """One that has done its work has nothing else open till it ends."""
        first = settled()
        time.sleep(0.1)
        return first if first == settled() else 0

    return wait_until(still, timeout=30, what="a worker that waits")


def children_of(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def opened_by(pid: int) -> list[str]:
    """Return what a process has open; nothing where it has ended."""
    try:
        return [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return []


def is_socket(name: str) -> bool:
    return name.startswith("socket:")


def run_brief(resident: Resident, bundle: Bundle) -> int:
    code: int = resident.of(bundle, "run", bundle=bundle.path, brief=True)["code"]
    return code


def test_a_worker_that_was_born_ahead(resident: Resident, bundle: Bundle) -> None:
    """It does the next one, has nothing open of anybody else's, and its death is no loss."""
    bundle.shell("exit 3")
    reader, streams = pipes()
    assert resident.of(bundle, "run", streams, streams=True, bundle=bundle.path, brief=True)["code"] == 3
    close(streams)
    waiting = spare(resident)
    assert output(reader) == ""
    opened = opened_by(waiting)
    assert sum(map(is_socket, opened)) == 1, opened
    assert not any(name.startswith(("pipe:", resident.root)) for name in opened), opened
    assert run_brief(resident, bundle) == 3
    again = spare(resident, before=waiting)
    os.kill(again, signal.SIGKILL)
    # One that is about to die is given work like any other, and its end is an error.
    wait_until(lambda: not os.path.exists(f"/proc/{again}"), what="the end of it")
    assert run_brief(resident, bundle) == 3
    assert spare(resident) != again


def test_a_worker_that_rehearses_in_vain(resident: Resident, busybox_bundle: Callable[[], Bundle]) -> None:
    first, second = busybox_bundle(), busybox_bundle()
    first.shell("exit 3")
    second.shell("exit 4")
    assert run_brief(resident, first) == 3
    os.rename(first.path, f"{first.path}.away")
    assert run_brief(resident, second) == 4
    assert spare(resident)
    with pytest.raises(Refused, match="not found"):
        run_brief(resident, first)
    assert run_brief(resident, second) == 4
