"""The Python API: containers, their streams and ends, from any thread, and what it leaves alone."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import naja
from naja import DEVNULL, PIPE, STDOUT, Container
from naja.library import connection
from tests.support.library import is_gone, resident_gone, resident_pid
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture(autouse=True)
def _resident(leak_check: object) -> Iterator[None]:
    with resident_gone():
        yield


@pytest.fixture
def root(naja: Runtime) -> Path:
    return Path(naja.root)


@pytest.fixture
def sleeper(bundle: Bundle, root: Path) -> Iterator[Container]:
    """A container that sleeps."""
    bundle.args("/bin/sleep", "1000")
    with Container.start_new(bundle.id, bundle.path, root=root, stdin=DEVNULL) as container:
        yield container


def descriptors() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
    return found


def test_run_returns_what_the_program_did(bundle: Bundle, root: Path) -> None:
    bundle.shell("cat; echo out; echo err >&2; exit 3")
    done = naja.run(bundle.id, Path(bundle.path), root=root, input="in\n", capture_output=True, text=True)
    assert (done.id, done.returncode, done.stdout, done.stderr) == (bundle.id, 3, "in\nout\n", "err\n")
    with pytest.raises(naja.ProgramFailed, match="exit status 3") as failed:
        naja.run(None, bundle.path, root=root, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, check=True)
    assert (failed.value.returncode, failed.value.stdout) == (3, b"out\nerr\n")
    assert naja.list_containers(root) == []


def test_streams_are_descriptors_and_files(bundle: Bundle, root: Path) -> None:
    bundle.shell("cat; echo err >&2")
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as taken:
        given.write(b"given")
        given.seek(0)
        done = naja.run(None, bundle.path, root=root, stdin=given, stdout=taken.fileno(), stderr=DEVNULL)
        taken.seek(0)
        assert done.returncode == 0 and not done.stdout and not done.stderr
        assert taken.read() == b"given"


def test_run_in_time(bundle: Bundle, root: Path) -> None:
    bundle.shell("echo begun; sleep 1000")
    with pytest.raises(naja.TimeoutExpired) as expired:
        naja.run(bundle.id, bundle.path, root=root, capture_output=True, text=True, timeout=2)
    assert (expired.value.timeout, expired.value.stdout) == (2, "begun\n")
    assert naja.list_containers(root) == []


def test_a_program_that_does_not_begin_in_time(bundle: Bundle, root: Path) -> None:
    """What is under way when the time is over is undone."""
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    bundle.save()
    with pytest.raises(naja.TimeoutExpired):
        naja.run(bundle.id, bundle.path, root=root, timeout=1)
    wait_until(lambda: not list(root.glob("*")), timeout=20, what="the undo")


def test_a_life(bundle: Bundle, root: Path) -> None:
    bundle.shell("read line; echo $line; exec sleep 1000")
    container = Container.create(bundle.id, bundle.path, root=root, stdin=PIPE, stdout=PIPE, text=True)
    assert container.status() == "created"
    assert os.readlink(f"/proc/self/fd/{container.pidfd}") == "anon_inode:[pidfd]"
    container.start()
    with pytest.raises(naja.WrongState, match="already running"):
        container.start()
    assert container.stdin and container.stdout
    container.stdin.write("hello\n")
    assert container.stdout.readline() == "hello\n"
    state = container.state()
    assert (state["id"], state["status"], state["pid"]) == (bundle.id, "running", container.pid)
    assert container.processes() == [container.pid]
    container.pause()
    assert container.status() == "paused"
    container.resume()
    container.update(pids={"limit": 77})
    assert container.stats()["pids"]["limit"] == 77
    container.mount(root, "/seen", options=["ro"])
    assert container.exec(["ls", f"/seen/{bundle.id}"], stdout=DEVNULL).wait() == 0
    container.unmount("/seen")
    assert container.poll() is None
    with pytest.raises(naja.TimeoutExpired):
        container.wait(0.1)
    container.kill(signal.SIGKILL)
    assert container.wait() == container.wait(1) == 128 + 9
    container.close()
    container.delete()
    with pytest.raises(naja.NotFound):
        container.delete()
    container.delete(force=True)
    with pytest.raises(naja.NotFound):
        Container.get(bundle.id, root=root)


@pytest.mark.parametrize("which", [15, "15", "TERM", "sigterm", signal.SIGTERM])
def test_signals_by_number_and_name(sleeper: Container, which: int | str) -> None:
    # Init ignores what it has no handler for.
    with sleeper.exec(["sleep", "1000"]) as process:
        process.send_signal(which)
        assert process.wait() == 128 + 15


def test_what_is_no_signal(sleeper: Container) -> None:
    for wrong in ("NONE", 99, -1):
        with pytest.raises(ValueError, match="no signal"):
            sleeper.kill(wrong)


def test_a_container_goes_with_its_block(bundle: Bundle, root: Path) -> None:
    bundle.args("/bin/sleep", "1000")
    with pytest.raises(KeyError), Container.create(bundle.id, bundle.path, root=root) as container:
        raise KeyError(container.id)
    assert naja.list_containers(root) == []


def test_logs(bundle: Bundle, root: Path) -> None:
    bundle.shell("echo out; echo err >&2")
    with Container.start_new(bundle.id, bundle.path, root=root, logs=True) as container:
        assert container.wait() == 0
        assert container.logs == (b"out\n", b"err\n")
    container = Container.create(bundle.id, bundle.path, root=root)
    with container, pytest.raises(naja.NajaError, match="not captured"):
        assert container.logs


def test_events(sleeper: Container) -> None:
    events = sleeper.events(interval=0.1)
    first, second = next(events), next(events)
    assert (first["type"], first["id"]) == (second["type"], second["id"]) == ("stats", sleeper.id)
    assert first["data"]["pids"]["current"] == 1
    sleeper.kill("KILL")
    assert all(event["type"] == "stats" for event in events)


def test_a_terminal(bundle: Bundle, root: Path) -> None:
    bundle.process["terminal"] = True
    bundle.shell("test -t 0 && echo yes")
    with Container.create(bundle.id, bundle.path, root=root) as container:
        container.start()
        assert container.console
        assert container.console.read(100) == b"yes\r\n"
    with pytest.raises(naja.NajaError, match="/process/terminal"):
        naja.run(bundle.id, bundle.path, root=root)
    assert naja.list_containers(root) == []


def test_exec_has_what_the_container_has(bundle: Bundle, root: Path) -> None:
    bundle.process["env"].append("OWN=1")
    bundle.process.update(user={"uid": 7, "gid": 8}, cwd="/tmp")
    bundle.args("/bin/sleep", "1000")
    script = ["sh", "-c", "id -u; id -g; pwd; echo $OWN $MORE"]
    with Container.start_new(bundle.id, bundle.path, root=root) as container:
        process = container.exec(script, env={"MORE": "2"}, stdout=PIPE, text=True)
        assert process.communicate() == ("7\n8\n/tmp\n1 2\n", None)
        process = container.exec(script, cwd="/bin", user="9:10", stdout=PIPE)
        assert process.communicate()[0] == b"9\n10\n/bin\n1\n"
        process = container.exec(script, user="user", stdout=PIPE)
        assert process.communicate()[0].startswith(b"1000\n1000\n")
        document: naja.types.Process = {"args": ["pwd"], "cwd": "/", "env": ["PATH=/bin"]}
        assert container.exec(document, stdout=PIPE).communicate()[0] == b"/\n"


def test_a_process_is_like_popen(sleeper: Container) -> None:
    with sleeper.exec(["sh", "-c", "echo out; exec sleep 1000"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as one:
        assert one.poll() is None
        with pytest.raises(naja.TimeoutExpired) as expired:
            one.communicate(timeout=1)
        assert (expired.value.stdout, expired.value.stderr, one.returncode) == (b"out\n", b"", None)
        one.kill()
        assert one.communicate() == (b"out\n", b"")
    with sleeper.exec(["cat"], stdin=PIPE, stdout=PIPE) as two:
        content = b"x" * 300_000
        assert two.communicate(content, timeout=60) == (content, None)
        assert two.returncode == two.poll() == two.wait() == 0
    three = sleeper.exec(["sleep", "1000"])
    assert sorted(sleeper.processes()) == sorted([sleeper.pid, three.pid])
    three.terminate()
    assert three.wait(30) == 143
    three.kill()
    three.close()


def test_exec_in_a_terminal(sleeper: Container) -> None:
    with sleeper.exec(["tty"], terminal=True) as process:
        assert process.console
        assert process.console.read(100) == b"/dev/pts/0\r\n"


def test_errors_have_kinds_and_are_pickled(bundle: Bundle, root: Path) -> None:
    with pytest.raises(naja.NotFound) as unknown:
        Container(bundle.id, root=root).start()
    first = Container.create(bundle.id, bundle.path, root=root)
    with first, pytest.raises(naja.AlreadyExists) as twice:
        Container.create(bundle.id, bundle.path, root=root)
    bundle.process["args"] = 1
    bundle.save()
    with pytest.raises(naja.ConfigError) as wrong:
        naja.run(None, bundle.path, root=root)
    assert (wrong.value.origin, wrong.value.what) == ("/process/args", "config.json")
    late = naja.TimeoutExpired("wait", 1.5, b"out")
    for error in (unknown.value, twice.value, wrong.value, late):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_container_of_somebody_else(bundle: Bundle, naja: Runtime) -> None:
    bundle.args("/bin/sleep", "1000")
    naja.run_detached(bundle)
    with Container.get(bundle.id, root=naja.root) as container:
        assert container.exec(["true"]).wait() == 0
        container.kill("KILL")
    assert naja.ids() == []


def test_run_from_fifty_threads(busybox_bundle: Callable[[], Bundle], root: Path) -> None:
    """Each gets its own output and code."""
    bundles = [busybox_bundle() for _ in range(5)]
    for number, bundle in enumerate(bundles):
        del bundle.linux["cgroupsPath"]
        bundle.shell(f"read word; echo {number} $word; exit {number}")

    def run(index: int) -> tuple[int, str]:
        bundle = bundles[index % 5]
        done = naja.run(
            f"{bundle.id}t{index}", bundle.path, root=root, input=f"w{index}\n", stdout=PIPE, text=True
        )
        return done.returncode, done.stdout

    with ThreadPoolExecutor(50) as pool:
        found = list(pool.map(run, range(50)))
    assert found == [(index % 5, f"{index % 5} w{index}\n") for index in range(50)]


def test_nothing_of_the_caller_is_touched(bundle: Bundle, root: Path) -> None:
    bundle.shell("read line")  # It lasts as long as somebody can write to it.
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    before = os.getcwd(), os.umask(0o77), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    os.umask(before[1])
    threads, first = threading.enumerate(), descriptors()
    naja.run(None, bundle.path, root=root, stdin=DEVNULL, capture_output=True)
    opened = descriptors()
    for _ in range(3):
        naja.run(None, bundle.path, root=root, stdin=DEVNULL, capture_output=True)
        with Container.start_new(None, bundle.path, root=root, logs=True, stdin=PIPE) as container:
            container.exec(["true"]).wait()
    gc.collect()
    del container
    gc.collect()
    assert descriptors() == opened
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers
    after = os.getcwd(), os.umask(before[1]), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert after == before
    assert threading.enumerate() == threads
    assert not any(os.get_inheritable(int(number)) for number in set(opened) - set(first))


#: A program that is not the subreaper that pytest is here.
_ALONE = """
import os, signal, sys
import naja
bundle, root, id = sys.argv[1:]
caught = []
signal.signal(signal.SIGCHLD, lambda *_: caught.append(1))
with naja.Container.start_new(id, bundle, root=root, stdin=naja.DEVNULL) as container:
    assert container.exec(["true"]).wait() == 0
    container.kill("KILL")
    container.wait()
try:
    os.wait()
except ChildProcessError:
    print("no children")
print(len(caught) <= 1)
"""


def alone(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_no_child_is_left_to_wait_for(bundle: Bundle, root: Path) -> None:
    bundle.args("/bin/sleep", "1000")
    done = alone(_ALONE, bundle.path, str(root), bundle.id)
    assert (done.returncode, done.stdout) == (0, "no children\nTrue\n"), done.stderr


_GONE = """
import os, sys
import naja
bundle, root, id = sys.argv[1:]
naja.Container.start_new(id + "tied", bundle, root=root, stdin=naja.DEVNULL).__enter__()
null = {"stdin": naja.DEVNULL, "stdout": naja.DEVNULL, "stderr": naja.DEVNULL}
naja.Container.start_new(id + "free", bundle, root=root, **null)
os._exit(0)
"""


def test_what_is_tied_goes_with_the_program(bundle: Bundle, naja: Runtime) -> None:
    del bundle.linux["cgroupsPath"]
    bundle.args("/bin/sleep", "1000")
    done = alone(_GONE, bundle.path, naja.root, bundle.id)
    assert done.returncode == 0, done.stderr
    wait_until(lambda: naja.ids() == [f"{bundle.id}free"], timeout=30, what="the end of what is tied")
    container = Container.get(f"{bundle.id}free", root=naja.root)
    assert container.status() == "running"
    container.delete(force=True)


def test_a_forked_child_has_its_own(sleeper: Container) -> None:
    own = resident_pid()
    process = sleeper.exec(["sleep", "1000"])
    child = os.fork()
    if not child:
        status = 1
        try:
            assert resident_pid() == 0
            assert sleeper.exec(["true"]).wait() == 0
            assert resident_pid() not in (0, own)
            with pytest.raises(naja.NajaError, match="forked child"):
                process.wait()
            status = 0
        finally:
            connection.disconnect()
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sleeper.exec(["true"]).wait() == 0
    assert resident_pid() == own
    process.kill()
    process.wait()
    process.close()


def test_a_resident_process_that_died_is_started_anew(sleeper: Container) -> None:
    old = resident_pid()
    process = sleeper.exec(["sleep", "1000"])
    waiter = ThreadPoolExecutor(1).submit(process.wait)
    time.sleep(0.1)
    os.kill(old, signal.SIGKILL)
    with pytest.raises(naja.NajaError, match="the resident process has ended: it was killed"):
        waiter.result(30)
    wait_until(functools.partial(is_gone, old), timeout=10, what="the end of the old one")
    assert sleeper.exec(["true"]).wait() == 0
    assert resident_pid() != old
    process.close()
    # It is a child of this process by now; till somebody reaps it the container's first one does not end.
    os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def test_an_interrupted_creation_leaves_nothing(bundle: Bundle, root: Path) -> None:
    bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "1000"]}]}
    bundle.save()

    def interrupt() -> None:
        wait_until((root / bundle.id).exists, timeout=20, what="the beginning")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        Container.create(bundle.id, bundle.path, root=root)
    thread.join()
    wait_until(lambda: not list(root.glob("*")), timeout=20, what="the undo")


def test_run_leaves_nothing_where_the_resident_process_dies(bundle: Bundle, root: Path) -> None:
    bundle.shell("read line")
    reader, writer = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(naja.run, bundle.id, bundle.path, root=root, stdin=reader)
        wait_until(lambda: naja.list_containers(root, warn=lambda _: None), what="the container")
        wait_until(lambda: Container(bundle.id, root=root).status() == "running", what="its program")
        os.kill(resident_pid(), signal.SIGKILL)
        with pytest.raises(naja.NajaError, match="the resident process has ended"):
            running.result(60)
    os.close(reader)
    os.close(writer)
    assert naja.list_containers(root) == []
