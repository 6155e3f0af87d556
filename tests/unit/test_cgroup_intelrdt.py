"""intelRdt, on a directory that looks like the resctrl file system: few machines have the real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.cgroups.intelrdt import enter, prepare
from naja.errors import NajaError, Unsupported
from naja.operations.base import RUNTIME, Context
from naja.operations.intelrdt import EnterClassOfService, MakeClassOfService
from naja.plan import cgroup as plan
from naja.plan.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from naja.operations.base import Operation


class Tree:
    """A directory with the files that the kernel makes in each group."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.context = Context(RUNTIME, print)
        self.context.pid = 4711
        os.mkdir(f"{root}/info")
        self.write("info/last_cmd_status", "ok\n")
        self.fill("")

    def write(self, path: str, text: str) -> None:
        with open(f"{self.root}/{path}", "w") as file:
            file.write(text)

    def read(self, path: str) -> str:
        with open(f"{self.root}/{path}") as file:
            return file.read()

    def fill(self, group: str, schemata: str = "MB:0=100;1=100\nL3:0=fffff;1=fffff\n") -> None:
        """Do what the kernel does when a class is made."""
        os.makedirs(f"{self.root}/{group}/mon_groups")
        self.write(f"{group}/schemata", schemata)
        self.write(f"{group}/tasks", "")

    def run(self, operations: list[Operation]) -> None:
        for operation in operations:
            operation.apply(self.context)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    tree = Tree(tmp_path)
    mkdir: Callable[..., None] = os.mkdir

    def mkdir_as_the_kernel(path: bytes | str, *rest: Any) -> None:
        mkdir(path, *rest)
        # makedirs passes text; the operations pass bytes.
        if isinstance(path, bytes):
            tree.fill(os.path.relpath(os.fsdecode(path), tree.root))

    monkeypatch.setattr(os, "mkdir", mkdir_as_the_kernel)
    return tree


def test_a_class_of_its_own(tree: Tree) -> None:
    settings = {"l3CacheSchema": "L3:0=7f0;1=1f"}
    tree.run(prepare(settings, "ID", root=tree.root) + enter(settings, "ID", root=tree.root))
    assert "L3:0=7f0;1=1f\n" in tree.read("ID/schemata")
    assert tree.read("ID/tasks") == "4711"
    assert tree.context.values["resctrl groups made"] == [f"{tree.root}/ID"]


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"schemata": ["L2:0=f", "MB:0=20"]}, ["L2:0=f", "MB:0=20"]),
        ({"l3CacheSchema": "L3:0=f\nMB:0=70", "memBwSchema": "MB:0=20"}, ["L3:0=f", "MB:0=20"]),
        ({"l3CacheSchema": "L3:0=f\nMB:0=70"}, ["L3:0=f", "MB:0=70"]),
        (
            {"schemata": ["L2:0=f"], "memBwSchema": "MB:0=20", "l3CacheSchema": "L3:0=f"},
            ["L3:0=f", "MB:0=20", "L2:0=f"],
        ),
        ({"closID": "guaranteed"}, []),
    ],
)
def test_lines_of_schemata(settings: dict[str, Any], lines: list[str]) -> None:
    (make,) = prepare(settings, "ID")
    assert isinstance(make, MakeClassOfService)
    assert (make.schemata, make.must_exist) == (lines, not lines)


@pytest.mark.parametrize(("linux", "expected"), [({}, 0), ({"intelRdt": {}}, 2)])
def test_only_who_asks_for_it_gets_a_class(linux: dict[str, Any], expected: int) -> None:
    request = Request({"linux": linux}, id="ID", rootless=True, cgroup_mounts={"": "/v2"}, cgroup_kind="v2")
    request.cgroup_paths = {"": "/ID"}
    operations = plan.prepare(request) + plan.enter(request)
    kinds = (MakeClassOfService, EnterClassOfService)
    assert sum(isinstance(operation, kinds) for operation in operations) == expected


def test_a_named_class_that_exists_is_used_and_not_changed(tree: Tree) -> None:
    tree.fill("guaranteed", "L3:0=00ff0;1=0001f\n")
    settings = {"closID": "guaranteed", "l3CacheSchema": "L3:0=ff0;1=1f"}
    tree.run(prepare(settings, "ID", root=tree.root) + enter(settings, "ID", root=tree.root))
    assert tree.read("guaranteed/schemata") == "L3:0=00ff0;1=0001f\n"
    assert tree.read("guaranteed/tasks") == "4711"
    assert tree.context.values.get("resctrl groups made", []) == []


def test_a_named_class_with_something_else_in_it_is_refused(tree: Tree) -> None:
    tree.fill("guaranteed", "L3:0=00ff0;1=0001f\n")
    with pytest.raises(NajaError, match="exists and has 1f there"):
        tree.run(prepare({"closID": "guaranteed", "schemata": ["L3:1=f"]}, "ID", root=tree.root))


def test_a_named_class_that_is_made_outlives_the_container(tree: Tree) -> None:
    settings = {"closID": "shared", "schemata": ["L3:0=ff0"], "enableMonitoring": True}
    tree.run(prepare(settings, "ID", root=tree.root))
    assert "L3:0=ff0\n" in tree.read("shared/schemata")
    assert tree.context.values["resctrl groups made"] == [f"{tree.root}/shared/mon_groups/ID"]


def test_a_line_break_is_refused() -> None:
    with pytest.raises(NajaError) as caught:
        prepare({"schemata": ["L3:0=f", "MB:0=20\nMB:1=20"]}, "ID")
    assert caught.value.origin == "/linux/intelRdt/schemata/1"


def test_a_class_that_is_only_named_must_exist(tree: Tree) -> None:
    with pytest.raises(NajaError) as caught:
        tree.run(prepare({"closID": "guaranteed"}, "ID", root=tree.root))
    assert caught.value.origin == "/linux/intelRdt/closID"


def test_the_top_class_with_monitoring(tree: Tree) -> None:
    settings = {"closID": "/", "enableMonitoring": True}
    tree.run(prepare(settings, "ID", root=tree.root) + enter(settings, "ID", root=tree.root))
    assert tree.read("mon_groups/ID/tasks") == "4711"
    assert tree.context.values["resctrl groups made"] == [f"{tree.root}/mon_groups/ID"]


def test_only_what_was_made_is_in_the_record(tree: Tree) -> None:
    hierarchies = cgroups.Hierarchies("v1", {}, {})
    manager = cgroups.manager("", "ID", systemd=False, rootless=False, hierarchies=hierarchies)
    manager.follow(tree.context)
    tree.run(prepare({"schemata": ["L3:0=f"]}, "ID", root=tree.root))
    assert cgroups.restore(manager.record()).resctrl == [f"{tree.root}/ID"]


@pytest.mark.skipif(
    " - resctrl " in open("/proc/self/mountinfo").read(), reason="this machine has a resctrl file system"
)
def test_without_the_file_system_it_is_refused() -> None:
    (make,) = prepare({"schemata": ["L3:0=f"]}, "ID")
    with pytest.raises(Unsupported, match="no resctrl"):
        make.apply(Context(RUNTIME, print))
