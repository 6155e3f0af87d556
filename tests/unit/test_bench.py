"""What `make bench` makes of its measurements."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree

import pytest

from conformance.bench import many, memory, seccomp
from conformance.bench.counter import Counter
from conformance.bench.picture import picture
from conformance.bench.subject import Cost, Failed
from conformance.bench.table import Table
from conformance.bench.timeline import split

NAJA = """\
10 1.000 execve("/bin/naja", ["naja", "run"], 0x0) = 0
11 1.0005 openat(AT_FDCWD, "/sys/fs/cgroup/cgroup.procs", O_WRONLY) = 3
10 1.001 execve("/proc/self/fd/3", ["python"], 0x0) = 0
10 1.005 openat(AT_FDCWD, "/naja/__pycache__/precompiled.cpython-311", O_RDONLY) = 4
10 1.009 openat(AT_FDCWD, "/b/config.json", O_PATH) = 5
10 1.011 clone(child_stack=0x0, flags=CLONE_VM|CLONE_VFORK|SIGCHLD <unfinished ...>
12 1.014 execve("/sbin/true", ["/bin/true"], 0x0) = -1 ENOENT (No such file or directory)
12 1.015 execve("/bin/true", ["/bin/true"], 0x0) = 0
12 1.016 +++ exited with 0 +++
11 1.017 +++ exited with 0 +++
10 1.018 +++ exited with 0 +++
"""
CRUN = """\
20 1.000 execve("/bin/crun", ["crun", "run"], 0x0) = 0
20 1.001 execveat(3, "", ["crun", "run"], 0x0, AT_EMPTY_PATH) = 0
20 1.002 openat(AT_FDCWD, "config.json", O_RDONLY) = 3
20 1.003 clone(child_stack=0x0, flags=CLONE_VM|CLONE_THREAD) = 21
20 1.004 clone3({flags=CLONE_NEWNS}, 88) = 22
22 1.008 execve("/bin/true", ["/bin/true"], 0x0) = 0
22 1.009 +++ exited with 0 +++
20 1.010 +++ exited with 0 +++
"""


def parts(trace: str) -> dict[str, float]:
    return {part: round(took, 3) for part, took in split(trace.splitlines(keepends=True)).items()}


def test_a_trace_of_run_is_split() -> None:
    assert parts(NAJA) == {
        "launcher, sealing": 1,
        "start": 4,
        "imports": 4,
        "config, plan, cgroups": 2,
        "namespaces, mounts, identity": 4,
        "the program": 1,
        "taking it away": 2,
    }


def test_a_runtime_without_python_has_no_imports() -> None:
    assert parts(CRUN) == {
        "launcher, sealing": 1,
        "start": 1,
        "config, plan, cgroups": 2,
        "namespaces, mounts, identity": 4,
        "the program": 1,
        "taking it away": 1,
    }


@pytest.mark.parametrize("lines", [0, 1, 4])
def test_a_trace_of_anything_else_is_refused(lines: int) -> None:
    with pytest.raises(Failed, match="strace"):
        parts("".join(NAJA.splitlines(keepends=True)[:lines]))


def test_the_picture_shows_all_parts_of_all_runtimes() -> None:
    found = {"naja": parts(NAJA), "a<b": parts(CRUN)}
    text = picture(found, "milliseconds & more")
    shapes = ElementTree.fromstring(text)
    words = [element.text for element in shapes.iter() if element.text]
    assert {"milliseconds & more", "naja", "a<b", "18.0 ms", "10.0 ms"} <= set(words)
    for part in {*found["naja"], *found["a<b"]}:
        assert part in words, part
    assert "prefers-color-scheme: dark" in text


def test_a_table_leaves_out_what_is_not_there() -> None:
    table = Table("ms", {"create": {"naja": 1.0, "runc": 2.0}, "list": {"naja": 3.0}})
    assert table.markdown().splitlines()[2:] == ["| create | 1.0 | 2.0 | 0.50 |", "| list | 3.0 |  |  |"]
    assert table.plain() == {"title": "ms", "rows": table.rows}


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, None)
    assert (Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40)).instructions == 44


def test_a_counter_counts_children() -> None:
    """Where there is one: of the processor's time here, which every machine counts."""
    software, task_clock = 1, 1
    with (counter := Counter(software, task_clock)):
        os.waitpid(
            os.posix_spawn("/bin/sh", ["sh", "-c", "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"], {}), 0
        )
    if counter.value is None:
        pytest.skip("perf_event_open(2) is not allowed here")
    assert counter.value > 1_000_000


def test_memory_of_a_process() -> None:
    found = memory.memory_of(os.getpid())
    assert found["resident"] > found["proportional"] > 0
    assert found["resident"] >= found["private"] > 0


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({}, True),
        ({"includes": {"arches": [seccomp._ARCHITECTURE, "x86"]}}, True),
        ({"includes": {"arches": ["s390"]}}, False),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"includes": {"caps": ["CAP_KILL"]}}, True),
        ({"excludes": {"caps": ["CAP_KILL"]}}, False),
    ],
)
def test_which_of_an_engines_rules_apply(entry: dict[str, dict[str, list[str]]], expected: bool) -> None:
    assert seccomp.applies(entry, ["CAP_KILL"]) is expected


def test_what_has_become_slower_is_named() -> None:
    cost = {"ms": 10.0, many._CPU: 5.0, many._FAULTS: 100.0}
    assert many.grown("naja", cost, {**cost, "ms": 99.0, many._CPU: 5.2}) == []
    [told] = many.grown("naja", cost, {**cost, many._CPU: 5.3})
    assert told.startswith("naja: ms of the processors of a run")
    quiet = {"state": 8.0, "list": 8.0}
    assert many.slower("naja", quiet, {"state": 8.7, "list": 99.0}, {**quiet, "state": 8.4}) == []
    [told] = many.slower("naja", quiet, {"state": 8.9, "list": 9.0}, {**quiet, "state": 8.4})
    assert told.startswith("naja: state takes 8.9 ms beside 300 containers, 8.4 without")
