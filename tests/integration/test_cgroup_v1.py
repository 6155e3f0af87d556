"""Cgroups of v1 hierarchies on this host's kernel: made, limited, entered, frozen, counted, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.cgroups.hierarchies import by_controller
from naja.errors import NajaError, Unsupported
from naja.linux.cgroupfs import read, write
from naja.operations.base import INIT, RUNTIME, Context, apply_all
from naja.plan import cgroup as plan
from naja.plan.request import Request
from naja.startup.warmup import warm_up
from tests.support.child import in_child
from tests.support.needs import requires_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from naja.cgroups.base import Manager
    from tests.support.bundle import Bundle

HIERARCHIES = cgroups.detect()

pytestmark = pytest.mark.skipif(
    HIERARCHIES.kind != "v1" or "freezer" not in HIERARCHIES.mounts, reason="needs v1 hierarchies"
)

MIB = 1 << 20


class Container:
    """As much of a container as its cgroups need: a config, and processes."""

    def __init__(self, path: str, **linux: Any) -> None:
        self.config = {"linux": {"cgroupsPath": path, **linux}}
        self.manager = cgroups.manager(path, "x", systemd=False, rootless=False, hierarchies=HIERARCHIES)
        self.request = Request(self.config, id="x", **cgroups.describe(self.manager, HIERARCHIES))
        self.context = Context(RUNTIME, print)
        self.processes: list[subprocess.Popen[str]] = []

    def make(self) -> Container:
        """Make the cgroups with their limits."""
        self.manager.intend()
        self.manager.follow(self.context)
        for operation in plan.prepare(self.request):
            operation.apply(self.context)
        return self

    def start(self, program: str) -> subprocess.Popen[str]:
        """Start a Python program that waits for a line, and put it into the cgroups."""
        child = subprocess.Popen(
            [sys.executable, "-IS", "-c", f"import os, sys, time\nsys.stdin.readline()\n{program}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(child)
        self.context.pid = child.pid
        for operation in plan.enter(self.request):
            operation.apply(self.context)
        return child

    def run(self, program: str) -> str:
        """Run a Python program in the cgroups; return its output."""
        return self.start(program).communicate("go\n", timeout=30)[0]

    def read(self, controller: str, file: str) -> str:
        """Return the content of a file of the cgroup."""
        with open(f"{by_controller(self.manager.places)[controller]}/{file}") as opened:
            return opened.read().strip()

    def clean(self) -> None:
        """End everything."""
        self.manager.kill(9)
        for child in self.processes:
            child.kill()
            child.communicate()
        self.manager.delete()


@pytest.fixture
def container(tag: str) -> Iterator[Callable[..., Container]]:
    """Make containers whose cgroups are below one that is this test's own."""
    containers: list[Container] = []

    def make(**linux: Any) -> Container:
        containers.append(Container(f"/{tag}/{len(containers)}", **linux))
        return containers[-1]

    yield make
    for made in containers:
        made.clean()
    for mount in HIERARCHIES.mounts.values():
        for path in (f"{mount}/{tag}/0", f"{mount}/{tag}"):
            if os.path.isdir(path):
                os.rmdir(path)


def restored(container: Container) -> Manager:
    """Return the manager as another command would find it: by way of JSON."""
    return cgroups.restore(json.loads(json.dumps(container.manager.record())))


def test_limits_are_set(container: Callable[..., Container]) -> None:
    resources = {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB, "swappiness": 7},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 1000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 20},
    }
    made = container(resources=resources).make()
    assert made.read("memory", "memory.limit_in_bytes") == str(64 * MIB)
    assert made.read("memory", "memory.memsw.limit_in_bytes") == str(96 * MIB)
    assert made.read("memory", "memory.soft_limit_in_bytes") == str(32 * MIB)
    assert made.read("memory", "memory.swappiness") == "7"
    assert made.read("cpu", "cpu.shares") == "512"
    assert made.read("cpu", "cpu.cfs_quota_us") == "50000"
    assert made.read("cpu", "cpu.cfs_burst_us") == "1000"
    assert made.read("cpuset", "cpuset.cpus") == "0"
    assert made.read("pids", "pids.max") == "20"


def test_limits_rise_and_fall_in_whatever_order_works(container: Callable[..., Container]) -> None:
    made = container(resources={"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}).make()
    manager = restored(made)
    for limit in (128, 32, 256):
        manager.apply({"memory": {"limit": limit * MIB, "swap": limit * MIB}})
        assert made.read("memory", "memory.limit_in_bytes") == str(limit * MIB)
    manager.apply({"memory": {"limit": -1}})
    assert int(made.read("memory", "memory.memsw.limit_in_bytes")) > 1 << 60
    manager.apply({"cpu": {"quota": 20000, "burst": 10000}})
    manager.apply({"cpu": {"quota": 5000, "burst": 4000}})
    assert made.read("cpu", "cpu.cfs_quota_us") == "5000"


def test_a_limit_that_the_kernel_refuses_is_named(container: Callable[..., Container]) -> None:
    made = container(resources={"memory": {"limit": 64 * MIB, "swap": 64 * MIB}}).make()
    with pytest.raises(NajaError) as caught:
        made.manager.apply({"memory": {"limit": 128 * MIB}})
    assert "memory.limit_in_bytes = 134217728" in str(caught.value)
    assert "EINVAL" in str(caught.value)
    assert caught.value.origin == "/linux/resources/memory/limit"


def test_usage_is_checked_first_where_asked_for(container: Callable[..., Container]) -> None:
    made = container(resources={"memory": {"limit": 64 * MIB}}).make()
    child = made.start("data = bytearray(8 << 20); print(); sys.stdout.flush(); time.sleep(60)")
    assert child.stdin
    assert child.stdout
    child.stdin.write("go\n")
    child.stdin.flush()
    child.stdout.readline()
    with pytest.raises(NajaError, match=r"memory\.usage_in_bytes is below"):
        made.manager.apply({"memory": {"limit": 4 * MIB, "checkBeforeUpdate": True}})
    assert made.read("memory", "memory.limit_in_bytes") == str(64 * MIB)


@pytest.mark.skipif(
    any("net_cls" in names.split(",") for names in HIERARCHIES.mounts), reason="this host has net_cls"
)
def test_a_controller_that_is_not_there_is_named(container: Callable[..., Container]) -> None:
    made = container(resources={"network": {"classID": 1}})
    with pytest.raises(Unsupported, match="net_cls is not mounted"):
        made.make()
    assert not any(os.path.isdir(path) for path in made.manager.places.values())


@pytest.fixture
def unified() -> Iterator[str]:
    """The v2 tree of a hybrid host that has the hugetlb controller; what it hands down is restored."""
    mount = HIERARCHIES.mounts.get("", "")
    if not mount or "hugetlb" not in read(f"{mount}/cgroup.controllers").split():
        pytest.skip("needs the hugetlb controller in a v2 tree beside v1 hierarchies")
    before = read(f"{mount}/cgroup.subtree_control").split()
    yield mount
    for controller in set(read(f"{mount}/cgroup.subtree_control").split()).difference(before):
        write(f"{mount}/cgroup.subtree_control", f"-{controller}")


@pytest.mark.usefixtures("unified")
def test_the_v2_tree_of_a_hybrid_host_limits_huge_pages(container: Callable[..., Container]) -> None:
    made = container(resources={"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}).make()
    assert made.read("", "hugetlb.2MB.max") == str(4 * MIB)
    manager = restored(made)
    manager.apply({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}], "pids": {"limit": 7}})
    assert made.read("", "hugetlb.2MB.max") == str(2 * MIB)
    assert made.read("pids", "pids.max") == "7"
    assert manager.statistics()["hugetlb"]["2MB"] == {"failcnt": 0}


@pytest.mark.usefixtures("unified")
def test_an_update_needs_the_controller_of_the_v2_tree(container: Callable[..., Container]) -> None:
    made = container().make()
    if "hugetlb" in made.read("", "cgroup.controllers").split():
        pytest.skip("this host hands the hugetlb controller down to all")
    with pytest.raises(Unsupported, match="hugetlb is not available") as caught:
        made.manager.apply({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]})
    assert caught.value.origin == "/linux/resources/hugepageLimits/0"


def test_a_process_is_in_all_hierarchies(container: Callable[..., Container], tag: str) -> None:
    made = container().make()
    child = made.start("time.sleep(60)")
    with open(f"/proc/{child.pid}/cgroup") as file:
        found = {line.split(":", 2)[1]: line.rstrip().split(":", 2)[2] for line in file}
    assert {name for name, path in found.items() if path.endswith(f"/{tag}/0")} == set(HIERARCHIES.mounts)
    assert restored(made).processes() == [child.pid]


def test_a_relative_path_is_below_the_callers_own(tag: str) -> None:
    made = Container(f"{tag}/r").make()
    try:
        for name, own in HIERARCHIES.own.items():
            assert made.manager.places[name] == f"{HIERARCHIES.mounts[name]}{own.rstrip('/')}/{tag}/r"
    finally:
        made.clean()
        for path in made.manager.places.values():
            os.rmdir(os.path.dirname(path))


def test_warming_up_moves_nobody() -> None:
    def work() -> None:
        with open("/proc/self/cgroup") as file:
            before = file.read()
        descriptors = len(os.listdir("/proc/self/fd"))
        warm_up()
        assert len(os.listdir("/proc/self/fd")) == descriptors
        time.sleep(0.02)
        with open("/proc/self/cgroup") as file:
            assert file.read() == before

    in_child(work)


def enter_alone(made: Container, offered: dict[str, int]) -> tuple[list[str], str]:
    """Have a child enter by these doors; return which it says it has, and /proc/self/cgroup."""

    def work() -> tuple[list[str], str]:
        context = Context(INIT, print)
        context.descriptors.update(offered)
        apply_all(plan.offer(made.request)[1], context)
        assert not context.descriptors
        return context.values.get("cgroups entered", []), Path("/proc/self/cgroup").read_text()

    found: tuple[list[str], str] = in_child(work)
    for descriptor in offered.values():
        os.close(descriptor)
    return found


def offer(made: Container) -> dict[str, int]:
    """Return the doors that the runtime opens."""
    apply_all(plan.offer(made.request)[0], made.context)
    names, made.context.handover = made.context.handover, []
    return {name: made.context.take(name) for name in names}


def test_a_process_enters_by_itself(container: Callable[..., Container]) -> None:
    made = container().make()
    entered, text = enter_alone(made, offer(made))
    assert sorted(entered) == sorted(path for name, path in made.manager.places.items() if name)
    own = made.config["linux"]["cgroupsPath"]
    names = {line.split(":")[1] for line in text.splitlines() if line.endswith(own)}
    assert names == {name for name in HIERARCHIES.mounts if name}


def test_nobody_enters_by_itself_what_is_frozen(container: Callable[..., Container]) -> None:
    made = container().make()
    made.manager.freeze()
    assert not offer(made)
    made.manager.thaw()


def test_a_cgroup_that_has_gone_is_left_to_the_runtime(container: Callable[..., Container]) -> None:
    made = container().make()
    offered = offer(made)
    pids = by_controller(made.manager.places)["pids"]
    os.rmdir(pids)
    entered, _ = enter_alone(made, offered)
    assert entered
    assert pids not in entered


def test_who_has_entered_by_itself_is_not_moved(container: Callable[..., Container]) -> None:
    made = container().make()
    pids = by_controller(made.manager.places)["pids"]
    made.context.values["cgroups entered"] = [pids]
    made.start("time.sleep(60)")
    assert not read(f"{pids}/cgroup.procs")
    assert read(f"{by_controller(made.manager.places)['memory']}/cgroup.procs")


def test_names_need_not_be_utf8(tag: str) -> None:
    made = Container(f"/{tag}-\udcff x", resources={"pids": {"limit": 5}}).make()
    try:
        child = made.start("time.sleep(60)")
        assert restored(made).processes() == [child.pid]
        assert made.read("pids", "pids.max") == "5"
    finally:
        made.clean()
    assert not made.manager.exists()


def test_a_cgroup_with_somebody_in_it_is_refused_and_left_alone(container: Callable[..., Container]) -> None:
    first = container().make()
    child = first.start("time.sleep(60)")
    second = Container(first.config["linux"]["cgroupsPath"])
    with pytest.raises(NajaError, match="has processes in it"):
        second.make()
    second.clean()
    assert child.poll() is None
    assert first.manager.exists()


def test_the_root_cgroup_is_refused() -> None:
    made = Container("/")
    with pytest.raises(NajaError, match="has processes in it"):
        made.make()
    assert made.manager.paths == {}
    made.clean()


def test_an_empty_cgroup_of_somebody_elses_stays(container: Callable[..., Container]) -> None:
    made = container()
    theirs = made.manager.places["freezer"]
    os.makedirs(theirs)
    made.make()
    assert made.manager.adopted == [theirs]
    child = made.start("time.sleep(60)")
    manager = restored(made)
    manager.kill(9)
    child.wait(10)
    manager.delete()
    assert os.path.isdir(theirs)
    assert not os.path.exists(made.manager.places["memory"])


def test_a_frozen_leftover_is_refused(container: Callable[..., Container]) -> None:
    made = container()
    os.makedirs(made.manager.places["freezer"])
    state = f"{made.manager.places['freezer']}/freezer.state"
    try:
        with open(state, "w") as file:
            file.write("FROZEN")
        with pytest.raises(NajaError, match="is frozen"):
            made.make()
    finally:
        with open(state, "w") as file:
            file.write("THAWED")


def test_freeze_and_thaw(container: Callable[..., Container]) -> None:
    made = container().make()
    child = made.start("while True: print(flush=True)")
    assert child.stdin
    child.stdin.write("go\n")
    child.stdin.flush()
    manager = restored(made)
    assert not manager.frozen()
    manager.freeze()
    assert manager.frozen()
    assert made.read("freezer", "freezer.state") == "FROZEN"
    manager.thaw()
    assert not manager.frozen()


def test_a_frozen_container_can_be_killed(container: Callable[..., Container]) -> None:
    made = container().make()
    child = made.start("time.sleep(60)")
    manager = restored(made)
    manager.freeze()
    manager.kill(15)
    time.sleep(0.05)
    assert child.poll() is None, "a frozen process does not even end"
    assert manager.frozen(), "only SIGKILL thaws"
    manager.kill(9)
    assert child.wait(10) in (-15, -9)


def test_processes_below_count_and_are_killed(container: Callable[..., Container]) -> None:
    made = container().make()
    child = made.start("time.sleep(60)")
    for path in made.manager.paths.values():
        os.mkdir(f"{path}/below")
        if path == made.manager.paths["cpuset"]:
            for file in ("cpuset.cpus", "cpuset.mems"):
                with open(f"{path}/{file}") as source, open(f"{path}/below/{file}", "w") as target:
                    target.write(source.read())
        with open(f"{path}/below/cgroup.procs", "w") as target:
            target.write(str(child.pid))
    manager = restored(made)
    assert manager.processes(recursive=False) == []
    assert manager.processes() == [child.pid]
    manager.kill(9)
    manager.delete()
    assert not manager.exists()


def test_delete_tells_who_is_in_the_way(
    container: Callable[..., Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naja.cgroups.base._PATIENCE", 0.05)
    made = container().make()
    child = made.start("time.sleep(60)")
    with pytest.raises(NajaError, match=f"process {child.pid} is in it"):
        made.manager.delete()


def test_pids_are_limited(container: Callable[..., Container]) -> None:
    made = container(resources={"pids": {"limit": 1}}).make()
    program = "try:\n    os.fork()\nexcept BlockingIOError as error:\n    print(error.strerror)"
    assert "temporarily unavailable" in made.run(program)
    assert made.read("pids", "pids.max") == "1"


def test_no_pids_at_all_lets_the_process_live_but_not_fork(container: Callable[..., Container]) -> None:
    made = container(resources={"pids": {"limit": 0}}).make()
    assert made.run("os.execv('/bin/echo', ['echo', 'alive'])") == "alive\n"


OPEN = """
for name in {names}:
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK))
        print(name, "ok")
    except OSError as error:
        print(name, error.strerror)
"""


def test_devices(container: Callable[..., Container]) -> None:
    made = container(resources={"devices": [{"allow": False, "access": "rwm"}]}).make()
    program = OPEN.format(names=["/dev/null", "/dev/zero", "/dev/kmsg"])
    denied = "/dev/null ok\n/dev/zero ok\n/dev/kmsg Operation not permitted\n"
    assert made.run(program) == denied
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    made.manager.apply({"devices": [{"allow": False, "access": "rwm"}, kmsg]})
    assert made.run(program).endswith("/dev/kmsg ok\n")
    assert made.run("os.open('/dev/kmsg', os.O_WRONLY)") == ""
    made.manager.apply({"devices": [{"allow": False, "access": "rwm"}]})
    assert made.run(program) == denied


def test_an_update_of_something_else_leaves_devices_alone(container: Callable[..., Container]) -> None:
    kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    made = container(resources={"devices": [kmsg]}).make()
    before = made.read("devices", "devices.list")
    made.manager.apply({"pids": {"limit": 7}})
    assert made.read("devices", "devices.list") == before
    assert "c 1:11 r" in before.split("\n")


def test_out_of_memory_is_told(container: Callable[..., Container]) -> None:
    made = container(resources={"memory": {"limit": 8 * MIB, "swap": 8 * MIB}}).make()
    child = made.start("data = bytearray(64 << 20)")
    manager = restored(made)
    with manager.watch_oom() as watch:
        assert not watch.wait(0)
        child.communicate("go\n", timeout=30)
        assert watch.wait(5)
        assert not watch.ended()
        assert child.returncode == -9
        manager.delete()
        assert watch.ended()
        assert not watch.wait(1)


def test_statistics(container: Callable[..., Container]) -> None:
    made = container(resources={"pids": {"limit": 9}, "memory": {"limit": 64 * MIB}}).make()
    assert made.run("sum(range(3000000)); open('/dev/null').read()") == ""
    made.start("time.sleep(60)")
    found = restored(made).statistics()
    assert found["pids"] == {"current": 1, "limit": 9}
    assert found["memory"]["usage"]["limit"] == 64 * MIB
    assert found["memory"]["usage"]["max"] > 0
    assert found["cpu"]["usage"]["total"] > 1_000_000
    assert len(found["cpu"]["usage"]["percpu"]) == os.cpu_count()
    assert found["cpuset"]["mems"] == [0]


def shape(value: Any) -> Any:
    """Return a document with its numbers and texts replaced by their types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


@requires_command("runc")
def test_statistics_have_the_form_of_runcs(bundle: Bundle, tmp_path: Path) -> None:
    """A container of runc's, counted by both."""
    bundle.args("/bin/sh", "-c", "dd if=/dev/zero of=/tmp/x bs=64k count=64; exec sleep 60")
    runc = ["runc", "--root", str(tmp_path / "runc")]
    subprocess.run(
        [*runc, "run", "--detach", "--bundle", bundle.path, bundle.id],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.2)
        theirs = json.loads(subprocess.check_output([*runc, "events", "--stats", bundle.id]))["data"]
        manager = cgroups.manager(
            f"/{bundle.id}", bundle.id, systemd=False, rootless=False, hierarchies=HIERARCHIES
        )
        ours = cgroups.restore(
            {**manager.record(), "places": manager.places, "made": [*manager.places.values()]}
        )
        counted = ours.statistics()
        if "hugetlb" not in HIERARCHIES.mounts:
            # runc does not look into a v2 tree beside v1 hierarchies.
            counted["hugetlb"] = {}
        assert shape(counted) == shape(theirs)
    finally:
        subprocess.run([*runc, "delete", "--force", bundle.id], check=True)
