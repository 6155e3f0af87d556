"""On which processors a container runs: those of its cgroup, wherever naja itself is kept to."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.namespaces import map_ids, namespaces
from tests.support.needs import need_command
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

_LIST = ["grep", "Cpus_allowed_list", "/proc/self/status"]
_ALL = f"Cpus_allowed_list:\t0-{(os.cpu_count() or 1) - 1}"
_FIRST = "Cpus_allowed_list:\t0"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors"),
]


def to_the_first() -> None:
    """Keep a command to one processor, as CPUAffinity= of systemd does with an engine."""
    os.sched_setaffinity(0, [0])


@pytest.fixture(params=["plain", "cpuset", "user namespace", "cgroup namespace", "shared pids"])
def kept(request: pytest.FixtureRequest, bundle: Bundle) -> Bundle:
    """A bundle of a kind of container, each of which is born in a way of its own."""
    if request.param == "cpuset":
        bundle.linux["resources"]["cpu"] = {"cpus": "0-1"}
    elif request.param == "user namespace":
        namespaces(bundle, user="")
        map_ids(bundle)
    elif request.param == "cgroup namespace":
        namespaces(bundle, cgroup="")
    elif request.param == "shared pids":
        namespaces(bundle, pid=None)
    return bundle.save()


def test_the_callers_processors_are_not_the_containers(naja: Runtime, kept: Bundle) -> None:
    assert naja.run_attached(kept.args(*_LIST), preexec_fn=to_the_first).stdout.strip() == _ALL


def test_create_and_exec(naja: Runtime, kept: Bundle) -> None:
    script = f"{' '.join(_LIST)} > /tmp/first; sleep 1000"
    kept.write("/tmp/first", "", 0o666)
    naja.create(kept.shell(script), preexec_fn=to_the_first)
    naja.start(kept)
    written = os.path.join(kept.rootfs, "tmp/first")
    wait_until(lambda: os.path.getsize(written), what="the container's processors")
    with open(written) as file:
        assert file.read().strip() == _ALL
    assert naja.exec(kept, *_LIST, preexec_fn=to_the_first).stdout.strip() == _ALL


@pytest.mark.parametrize(
    ("affinity", "seen"),
    [({"initial": "0"}, _ALL), ({"final": "0"}, _FIRST), ({"initial": "1", "final": "0"}, _FIRST)],
)
def test_what_exec_is_told(
    naja: Runtime, bundle: Bundle, tmp_path: Path, affinity: dict[str, Any], seen: str
) -> None:
    """``initial`` is over in the cgroup; a process from a file has what the container names."""
    bundle.process["execCPUAffinity"] = affinity
    naja.run_detached(bundle.args("sleep", "1000"))
    assert naja.exec(bundle, *_LIST, preexec_fn=to_the_first).stdout.strip() == seen
    process = tmp_path / "process.json"
    process.write_text('{"cwd": "/", "args": ["/bin/grep", "Cpus_allowed_list", "/proc/self/status"]}')
    done = naja.run("exec", "--process", str(process), bundle.id, preexec_fn=to_the_first)
    assert done.stdout.strip() == seen


def test_a_smaller_cpuset(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["cpu"] = {"cpus": "1"}
    done = naja.run_attached(bundle.args(*_LIST), preexec_fn=to_the_first)
    assert done.stdout.strip() == "Cpus_allowed_list:\t1"


def test_deadline_scheduling_takes_all_processors(naja: Runtime, bundle: Bundle) -> None:
    """sched(7): the kernel admits such a process with the processors of its whole domain only."""
    times = {"runtime": 10_000_000, "deadline": 20_000_000, "period": 30_000_000}
    bundle.process["scheduler"] = {
        "policy": "SCHED_DEADLINE", **times, "flags": ["SCHED_FLAG_RESET_ON_FORK"]
    }  # fmt: skip
    free = naja.run_attached(bundle.args(*_LIST), check=False)
    if free.status:
        pytest.skip(f"no deadline processes here: {free.stderr}")
    assert naja.run_attached(bundle, preexec_fn=to_the_first).stdout.strip() == _ALL


def traced(naja: Runtime, trace: Path, *more: str) -> Runtime:
    need_command("strace")
    strace = [shutil.which("strace") or "", "-f", "-e", "trace=sched_setaffinity", *more, "-o", str(trace)]
    return type(naja)(naja.root, [*strace, *naja.argv])


def test_more_processors_than_a_cpu_set_of_libc_has(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """The mask has room for all that Linux can be built for (CPU_SET(3) has it for 1024)."""
    trace = tmp_path / "trace"
    traced(naja, trace).run_attached(bundle)
    (call,) = [line for line in trace.read_text().splitlines() if "sched_setaffinity(" in line]
    assert int(call.split(", ")[1]) * 8 >= 8192


@pytest.mark.parametrize("gate", [False, True])
def test_a_host_that_denies_it(naja: Runtime, bundle: Bundle, tmp_path: Path, gate: bool) -> None:
    """A filter of whoever runs naja does: the container has the caller's processors, and naja says so."""
    denied = traced(naja, tmp_path / "trace", "-e", "inject=sched_setaffinity:error=EPERM")
    bundle.args(*_LIST)
    if gate:
        bundle.config["hooks"] = {"createRuntime": [{"path": "/bin/true"}]}
    done = denied.run_attached(bundle.save(), preexec_fn=to_the_first)
    assert done.stdout.strip() in (_FIRST, _ALL)  # Before 6.2 Linux does it itself, in a cpuset.
    assert "Operation not permitted" in done.stderr
    assert done.stderr.count("\n") == 1
