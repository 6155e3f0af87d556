"""Many containers at once, and many processes in one: nothing fails, nothing is left."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.engines.catalogue import CATALOGUE
from tests.engines.cri_scenarios import SERVER, Pod
from tests.engines.traces import Traces

if TYPE_CHECKING:
    from tests.engines.catalogue import Engines

CONTAINERS, COMMANDS, AT_ONCE = 200, 500, 8


@pytest.fixture(autouse=True)
def containerd_is_there() -> None:
    for name in ("ctr", "CRI"):
        if missing := CATALOGUE[name].missing():
            pytest.skip(f"{name} needs {', '.join(missing)}")


def descriptors(pid: int) -> int:
    """Return how many descriptors a process holds."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.engine
@pytest.mark.timeout(1200)
def test_many_containers(engines: Engines) -> None:
    engine = engines.engine("ctr")
    engine.run("true")
    traces = Traces(engines.sandbox)

    logs = os.path.join(engines.sandbox.directory, "load")
    os.mkdir(logs)

    def one(number: int) -> str:
        # Into a file by the shim: `ctr run` itself loses the output of a container that ends before the
        # thread that opens the fifo is back from it, with any runtime (Delete cancels what still opens).
        log = os.path.join(logs, str(number))
        words = engine.run_words(
            f"load{number}", ("echo", str(number)), ("--rm", "--log-uri", f"file://{log}")
        )
        engine.call(*words, timeout=120)
        with open(log) as file:
            return file.read()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        outputs = list(pool.map(one, range(CONTAINERS)))
    assert outputs == [f"{number}\n" for number in range(CONTAINERS)]
    left = traces.left()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.mark.engine
@pytest.mark.timeout(1200)
def test_many_commands_in_one_container(engines: Engines) -> None:
    engine = engines.engine("CRI")
    traces = Traces(engines.sandbox)
    try:
        container = Pod(engine).start(*SERVER)
        engine.service.exec(container, "true")
        shims = {
            pid: descriptors(pid)
            for pid, line in engines.sandbox.processes().items()
            if line.startswith("/usr/bin/containerd-shim")
        }
        assert shims

        def one(number: int) -> tuple[int, str, str]:
            code, out, err = engine.service.exec(container, "echo", str(number), timeout=120)
            return code, out, err

        with ThreadPoolExecutor(AT_ONCE) as pool:
            outcomes = list(pool.map(one, range(COMMANDS)))
        assert outcomes == [(0, f"{number}\n", "") for number in range(COMMANDS)]
        # Go keeps a few of its own (epoll, a log's end), but none for each command.
        for pid, before in shims.items():
            assert descriptors(pid) < before + AT_ONCE, pid
    finally:
        engine.remove_all()
    left = traces.left()
    assert not left, "left behind:\n" + "\n".join(left)
