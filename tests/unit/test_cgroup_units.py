"""Names and properties of systemd units, and annotations that become properties."""

from __future__ import annotations

from typing import Any

import pytest

from naja.cgroups import units
from naja.cgroups.hierarchies import Hierarchies
from naja.cgroups.variants import annotated, parse
from naja.errors import NajaError, Unsupported
from naja.operations import scope
from naja.operations.base import RUNTIME, Context

INFINITY = 2**64 - 1


@pytest.mark.parametrize(
    ("path", "unit", "slice"),
    [
        ("", "naja-ID.scope", "system.slice"),
        ("machine.slice:libpod:abc", "libpod-abc.scope", "machine.slice"),
        (":docker:abc", "docker-abc.scope", "system.slice"),
        ("a.slice::b.slice", "b.slice", "a.slice"),
        ("a.slice:b:", "b-.scope", "a.slice"),
        ("a.slice::", "-.scope", "a.slice"),
        ("a.slice::b", "-b.scope", "a.slice"),
    ],
)
def test_names(path: str, unit: str, slice: str) -> None:
    assert units.unit_name(path, "ID") == unit
    assert units.slice_name(path, "ID", rootless=False) == slice


@pytest.mark.parametrize("path", ["/a/b", "a:b", "a:b:c:d", "a:b:c/d"])
def test_paths_that_name_no_unit(path: str) -> None:
    with pytest.raises(NajaError, match="slice:prefix:name"):
        units.unit_name(path, "ID")


@pytest.mark.parametrize(
    ("name", "path"),
    [("-.slice", ""), ("a.slice", "/a.slice"), ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice")],
)
def test_slices_nest(name: str, path: str) -> None:
    assert units.expand_slice(name) == path


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("a.slice:p:n", "/a.slice/p-n.scope"),
        ("-.slice:p:n", "/p-n.scope"),
        ("a.slice:p:a-b.slice", "/a.slice/a-b.slice"),
        ("a.slice:p:b.slice", "/b.slice"),
        ("::b-c.slice", "/b.slice/b-c.slice"),
    ],
)
def test_where_a_unit_lies(path: str, directory: str) -> None:
    """A slice lies where its own name says, for there systemd puts it."""
    v2 = Hierarchies("v2", {"": "/sys/fs/cgroup"}, {})
    assert units.locate_unit(v2, path, "ID", rootless=False) == {"": directory}


@pytest.mark.parametrize("name", ["-.slice", ".slice", "a--b.slice"])
def test_a_unit_that_can_be_no_containers(name: str) -> None:
    with pytest.raises(NajaError, match=r"slice"):
        units.locate_unit(
            Hierarchies("v2", {"": "/sys/fs/cgroup"}, {}), f"a.slice::{name}", "ID", rootless=False
        )


@pytest.mark.parametrize("name", ["a", "a.scope", "a--b.slice", "-a.slice", ".slice", "a/b.slice", "slice"])
def test_slices_that_are_none(name: str) -> None:
    with pytest.raises(NajaError, match="slice"):
        units.expand_slice(name)


def test_where_a_unit_is() -> None:
    both = Hierarchies("v1", {"memory": "/m", "name=systemd": "/s"}, {"memory": "/", "name=systemd": "/x"})
    path = "/a.slice/a-b.slice/p-n.scope"
    assert units.locate_unit(both, "a-b.slice:p:n", "ID", rootless=False) == {
        "memory": path,
        "name=systemd": path,
    }
    with pytest.raises(Unsupported):
        units.locate_unit(both, "", "ID", rootless=True)


@pytest.mark.parametrize(
    ("resources", "v1", "v2"),
    [
        (
            {"memory": {"limit": 64, "swap": 96, "reservation": 8}},
            {"MemoryLimit": 64},
            {"MemoryMax": 64, "MemorySwapMax": 32, "MemoryLow": 8},
        ),
        (
            {"memory": {"limit": -1}},
            {"MemoryLimit": INFINITY},
            {"MemoryMax": INFINITY, "MemorySwapMax": INFINITY},
        ),
        ({"cpu": {"shares": 1024}}, {"CPUShares": 1024}, {"CPUWeight": 100}),
        ({"blockIO": {"weight": 300}}, {"BlockIOWeight": 300}, {}),
    ],
)
def test_limits(resources: dict[str, Any], v1: dict[str, Any], v2: dict[str, Any]) -> None:
    assert {name: value for name, _, value in units.limit_properties(resources, "v1")} == v1
    assert {name: value for name, _, value in units.limit_properties(resources, "v2")} == v2


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ({"quota": 50000, "period": 100000}, {"CPUQuotaPeriodUSec": 100000, "CPUQuotaPerSecUSec": 500000}),
        ({"quota": 33333}, {"CPUQuotaPerSecUSec": 340000}),
        ({"quota": -1}, {"CPUQuotaPerSecUSec": INFINITY}),
        ({"period": 5000}, {"CPUQuotaPeriodUSec": 5000, "CPUQuotaPerSecUSec": INFINITY}),
        ({"cpus": "0-2,9", "mems": "0"}, {"AllowedCPUs": b"\x07\x02", "AllowedMemoryNodes": b"\x01"}),
    ],
)
def test_processors(cpu: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: value for name, _, value in units.limit_properties({"cpu": cpu}, "v2")} == expected


@pytest.mark.parametrize("resources", [{"pids": {"limit": 0}}, {"unified": {"pids.max": "0"}}])
def test_no_tasks_are_fewer_than_systemd_can_say(resources: dict[str, Any]) -> None:
    assert units.limit_properties(resources, "v2") == [("TasksMax", "t", 1)]


def test_unified_files_that_systemd_knows() -> None:
    files = {
        "memory.high": "5",
        "pids.max": "max",
        "cpu.max": "1000 10000",
        "cpuset.cpus": "1",
        "io.max": "x",
    }
    found = {name: value for name, _, value in units.limit_properties({"unified": files}, "v2")}
    assert found == {
        "MemoryHigh": 5,
        "TasksMax": INFINITY,
        "CPUQuotaPeriodUSec": 10000,
        "CPUQuotaPerSecUSec": 100000,
        "AllowedCPUs": b"\x02",
    }
    with pytest.raises(NajaError, match=r"memory\.max"):
        units.limit_properties({"unified": {"memory.max": "lots"}}, "v2")


def test_devices() -> None:
    found = scope.device_properties(
        False, ["c *:* m", "c 1:3 rwm", "c 136:* rw", "b 259:* r"], {"c 136": "pts"}
    )
    assert found == [
        ("DevicePolicy", "s", "strict"),
        ("DeviceAllow", "a(ss)", [("char-*", "m"), ("/dev/char/1:3", "rwm"), ("char-pts", "rw")]),
    ]
    assert scope.device_properties(True, [], {})[0] == ("DevicePolicy", "s", "auto")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("b", True)),
        ("'it\\'s'", ("s", "it's")),
        ('"a"', ("s", "a")),
        ("5", ("i", 5)),
        ("uint64 5", ("t", 5)),
        ("uint32 0x10", ("u", 16)),
        ("2.5", ("d", 2.5)),
        ("['a, b', 'c']", ("as", ["a, b", "c"])),
        ("[[1], [2, 3]]", ("aai", [[1], [2, 3]])),
        ("@as []", ("as", [])),
        ("@t 7", ("t", 7)),
        (r"b'\x01'", ("ay", b"\x01\0")),
        (r'b"\001\18\n\"é"', ("ay", b'\x01\x018\n"\xc3\xa9\0')),
        ("b''", ("ay", b"\0")),
        ("@ay [0x01, 0x03]", ("ay", b"\x01\x03")),
        ("@ay []", ("ay", b"")),
        ("[byte 1, byte 3]", ("ay", b"\x01\x03")),
        ("[b'a, ]', b'b']", ("aay", [b"a, ]\0", b"b\0"])),
        (r"'a\n\u00e9\'\\'", ("s", "a\né'\\")),
    ],
)
def test_variants(text: str, expected: tuple[str, Any]) -> None:
    assert parse(text) == expected


def test_annotations() -> None:
    found = annotated(
        {
            "org.systemd.property.TimeoutStopSec": "1.5",
            "org.systemd.property.TimeoutStopUSec": "uint64 123",
            "org.systemd.property.After": "['a.service']",
            "other": "x",
        }
    )
    assert found == [
        ("TimeoutStopUSec", "t", 1500000),
        ("TimeoutStopUSec", "t", 123),
        ("After", "as", ["a.service"]),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("A", "5"),
        ("Bad-Name", "5"),
        ("Name", ""),
        ("Name", "'a"),
        ("Name", "[]"),
        ("Name", "[1, 'a']"),
        ("Name", "x"),
        ("Name", "b'a"),
        ("Name", r"b'\x1'"),
        ("Name", r"'\u12'"),
        ("Name", r"'a\'"),
        ("Slice", "'other.slice'"),
        ("PIDs", "[uint32 1]"),
        ("DelegateSubgroup", "'x'"),
    ],
)
def test_annotations_that_cannot_be_read(name: str, text: str) -> None:
    with pytest.raises(NajaError) as caught:
        annotated({f"org.systemd.property.{name}": text}, "a.slice")
    assert caught.value.origin == f"/annotations/org.systemd.property.{name}"


def test_an_annotation_that_names_the_slice_as_it_is() -> None:
    assert annotated({"org.systemd.property.Slice": "'a.slice'"}, "a.slice") == []


class FakeSystemd:
    """Takes every job, and remembers its arguments."""

    jobs: list[tuple[Any, ...]]

    def __init__(self, *, user: bool) -> None:
        FakeSystemd.jobs = []

    def __enter__(self) -> FakeSystemd:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run_job(self, what: str, method: str, signature: str, *arguments: Any) -> str:
        self.jobs.append(arguments)
        return "done"

    def invocation(self, unit: str) -> str:
        return "0123"


@pytest.mark.parametrize("values", [{"stage": 7, "init": 0}, {"stage": 7}, {"stage": 0, "init": 7}])
def test_a_scope_starts_with_the_stage_or_the_init(
    values: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 would be the caller: naja itself would be killed with the container."""
    monkeypatch.setattr(scope, "Systemd", FakeSystemd)
    context = Context(RUNTIME, print)
    context.values.update(values)
    scope.StartUnit("naja-x.scope", [], user=False).apply(context)
    ((unit, mode, properties, _),) = FakeSystemd.jobs
    assert (unit, mode) == ("naja-x.scope", "replace")
    assert properties == [("PIDs", ("au", [7]))]
