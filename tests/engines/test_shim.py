"""containerd-shim-naja-v2 behind a real containerd: what tells most, and what is killed at random."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.engines import execs, kills
from tests.engines.catalogue import CATALOGUE, Engines
from tests.engines.kills import kill, others, pids
from tests.engines.traces import Traces
from tests.support.needs import need_command
from tests.support.shim import program
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

#: Of each engine those that ask most of a shim; `make engines` plays all.
SCENARIOS = [
    *(("ctr", name) for name in ("run -it", "exec -it", "kill --all", "pause, unpause", "user namespace")),
    *(("CRI", name) for name in ("runtime handler (RuntimeClass)", "exec probe that times out")),
    *(("crictl", name) for name in ("exec", "exec -it", "attach", "stop", "update of limits", "stats")),
    *(("Docker", name) for name in ("run -it", "attach", "restart policy", "healthcheck")),
    *(("Swarm", name) for name in ("task that ends is replaced", "secrets, configs, mounts")),
]

#: How often something is killed at random; `make engines` has 100.
KILLS = int(os.environ.get("NAJA_KILLS", "6"))


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


def test_containerd_is_killed(engines: Engines) -> None:
    containerd = engines.containerd()
    engine = engines.engine("ctr")
    traces = Traces(engines.sandbox)
    log = os.path.join(containerd.directory, "log of box")
    words = ("sh", "-c", "i=0; while [ $i -lt 25 ]; do i=$((i + 1)); echo $i; sleep 0.1; done; exit 7")
    engine.call(*engine.run_words("box", words, ("--detach", "--log-uri", f"file://{log}")))
    pid = engine.pid("box")
    for each in pids(engines.sandbox, "containerd --config"):
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
    engine = engines.engine("ctr")
    traces = Traces(engines.sandbox)
    engine.start("box", "sleep", "1000")
    for each in pids(engines.sandbox, "containerd-shim-naja"):
        kill(each)
    wait_until(lambda: engine.status("box") in ("", "STOPPED", "UNKNOWN"), timeout=20)
    wait_until(lambda: not pids(engines.sandbox, "sleep 1000"), timeout=20)
    engine.remove_all()
    assert not traces.left()


def test_many_processes_at_once(engines: Engines) -> None:
    """`python -m conformance.bench_shim` has 500, in 50 containers."""
    engine = engines.engine("ctr")
    ids = [f"box{number}" for number in range(6)]
    traces = Traces(engines.sandbox)
    for id in ids:
        engine.start(id, "sleep", "1000")
    outcome = execs.play(engines.containerd(), ids, 48, 16)
    assert not outcome.failures
    assert not outcome.left, "left behind:\n" + "\n".join(outcome.left)
    engine.remove_all()
    assert not traces.left()


@pytest.mark.timeout(2400)
@pytest.mark.skipif(not KILLS, reason="NAJA_KILLS=0")
@pytest.mark.parametrize("name", ["ctr", "Docker"])
def test_killed_at_random(engines: Engines, name: str) -> None:
    """Daemons and shims are killed in a load: nothing is left, and nothing runs that nobody knows."""
    if missing := CATALOGUE[name].missing(engines.runtime):
        pytest.skip(f"{name} needs {', '.join(missing)}")
    added, left = kills.play(engines, name, KILLS)
    assert added > 0
    assert not left, "left behind:\n" + "\n".join(left)
