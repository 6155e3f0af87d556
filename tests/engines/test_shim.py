"""containerd-shim-naja-v2 behind a real containerd: what tells most, and what is killed at random."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.engines.catalogue import CATALOGUE, Engines
from tests.engines.image import BUSYBOX
from tests.engines.traces import Traces
from tests.support.needs import need_command
from tests.support.shim import program
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engines.containerd import Containerd

pytestmark = pytest.mark.engine

#: Of each engine those that ask most of a shim; `make engines` plays all.
SCENARIOS = [
    *(("ctr", name) for name in ("run -it", "exec -it", "kill --all", "pause, unpause", "user namespace")),
    *(("CRI", name) for name in ("runtime handler (RuntimeClass)", "exec probe that times out")),
]

#: How often something is killed at random; `make engines` has 100.
KILLS = int(os.environ.get("NAJA_KILLS", "0"))


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """containerd, with the shim beside the runtime under test."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    need_command("busybox", "unshare", "nsenter", "ip")
    if not program():
        pytest.skip("needs containerd-shim-naja-v2 beside the runtime under test")
    if missing := CATALOGUE["ctr"].missing():
        pytest.skip(f"needs {', '.join(missing)}")
    with Engines(program()) as engines:
        yield engines


@pytest.mark.parametrize(("engine", "scenario"), SCENARIOS)
def test_scenario(engines: Engines, engine: str, scenario: str) -> None:
    if missing := CATALOGUE[engine].missing(engines.runtime):
        pytest.skip(f"{engine} needs {', '.join(missing)}")
    left = engines.play(engine, scenario)
    assert not left, "left behind:\n" + "\n".join(left)


def pids(containerd: Containerd, word: str) -> list[int]:
    """Return the pids of processes whose command line has a word in it."""
    found = containerd.sandbox.processes()
    return [pid for pid, line in found.items() if word in line and "nsenter" not in line]


def others(left: list[str]) -> list[str]:
    """Return what is left but for containerd itself, which is another process now."""
    return [line for line in left if "containerd --config" not in line]


def kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass  # It has ended before.


def test_containerd_is_killed(engines: Engines) -> None:
    containerd = engines.containerd()
    engine = engines.engine("ctr")
    traces = Traces(engines.sandbox)
    log = os.path.join(containerd.directory, "log of box")
    words = ("sh", "-c", "i=0; while [ $i -lt 25 ]; do i=$((i + 1)); echo $i; sleep 0.1; done; exit 7")
    engine.call(*engine.run_words("box", words, ("--detach", "--log-uri", f"file://{log}")))
    pid = engine.pid("box")
    for each in pids(containerd, "containerd --config"):
        kill(each)
    time.sleep(0.5)
    containerd.start()
    assert (engine.pid("box"), engine.status("box")) == (pid, "RUNNING")
    assert engine.exec("box", "echo", "still").stdout == "still\n"
    wait_until(lambda: engine.status("box") == "STOPPED", timeout=30)
    with open(log) as file:
        assert file.read().split() == [str(number) for number in range(1, 26)]
    done = engine.call("tasks", "delete", "box", check=False)
    assert "exit code 7" in done.stderr
    engine.remove_all()
    assert not others(traces.left())


def test_a_shim_is_killed(engines: Engines) -> None:
    containerd, engine = engines.containerd(), engines.engine("ctr")
    traces = Traces(engines.sandbox)
    engine.start("box", "sleep", "1000")
    for each in pids(containerd, "containerd-shim-naja"):
        kill(each)
    wait_until(lambda: engine.status("box") in ("", "STOPPED", "UNKNOWN"), timeout=20)
    wait_until(lambda: not pids(containerd, "sleep 1000"), timeout=20)
    engine.remove_all()
    assert not traces.left()


class Load(threading.Thread):
    """Makes containers, adds processes to them and removes them; what fails is no matter."""

    def __init__(self, containerd: Containerd, number: int) -> None:
        super().__init__(daemon=True)
        self.containerd = containerd
        self.number = number
        self.is_over = False
        self.successes = 0
        self.start()

    def run(self) -> None:
        turn = 0
        while not self.is_over:
            turn += 1
            self._play(f"load{self.number}x{turn}")

    def _play(self, id: str) -> None:
        try:
            shim = ("--runtime", "io.containerd.naja.v2")
            self._ctr("run", "--detach", *shim, "--null-io", BUSYBOX, id, "sleep", "1000")
            for exec_id in ("a", "b"):
                self.successes += self._ctr("tasks", "exec", "--exec-id", exec_id, id, "true") == 0
            self._ctr("tasks", "kill", "--signal", "SIGKILL", id)
            self._ctr("tasks", "delete", "--force", id)
            self._ctr("containers", "delete", id)
        except subprocess.TimeoutExpired:
            pass

    def _ctr(self, *words: str) -> int:
        return self.containerd.ctr(*words, check=False, timeout=20).returncode


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not KILLS, reason="takes minutes: NAJA_KILLS=100, or make engines")
def test_killed_at_random(engines: Engines) -> None:
    """containerd and shims are killed in a load: nothing is left, and nothing runs that nobody knows."""
    containerd, engine = engines.containerd(), engines.engine("ctr")
    traces = Traces(engines.sandbox)
    chance = random.Random(KILLS)
    loads = [Load(containerd, number) for number in range(3)]
    for turn in range(KILLS):
        time.sleep(chance.uniform(0.1, 1.0))
        victims = pids(containerd, "containerd --config" if turn % 3 == 2 else "containerd-shim-naja")
        if victims:
            kill(chance.choice(victims))
        if turn % 3 == 2:
            containerd.start()
    for load in loads:
        load.is_over = True
    for load in loads:
        load.join(120)
    assert sum(load.successes for load in loads) > 0
    # A last restart, for what was killed while containerd was away.
    for each in pids(containerd, "containerd --config"):
        kill(each)
    containerd.start()

    def removed() -> bool:
        engine.remove_all()
        return not engine.call("containers", "list", "--quiet").stdout.split()

    wait_until(removed, timeout=60)
    # A shim whose container never came waits for it for a while.
    assert not others(traces.left(60))
