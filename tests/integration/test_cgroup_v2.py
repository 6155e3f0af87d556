"""The v2 tree, in a mount namespace that has nothing else: what needs no controller.

Controllers belong to v1 on such a host; the tests of tests/vm have a machine where they do not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.errors import NajaError, Unsupported
from naja.linux import namespaces
from naja.linux.cgroupfs import cgroup_of, read, write
from naja.operations.base import RUNTIME, Context
from naja.plan import cgroup as plan
from naja.plan.request import Request
from tests.support.child import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from naja.cgroups.base import Manager


def only_v2() -> None:
    """Give this process a mount namespace with nothing but a v2 tree in /sys/fs/cgroup."""
    namespaces.unshare(namespaces.CLONE_NEWNS)
    for command in (
        "mount --make-rprivate /",
        "umount --recursive --lazy /sys/fs/cgroup",
        "mount -t cgroup2 none /sys/fs/cgroup",
    ):
        subprocess.run(command.split(), check=True, stderr=subprocess.DEVNULL)


class Container:
    """As much of a container as its cgroup needs: a config, and processes."""

    def __init__(self, tag: str, **config: Any) -> None:
        hierarchies = cgroups.detect()
        assert hierarchies.kind == "v2"
        path = f"/{tag}/c"
        linux = {"cgroupsPath": path, **config.pop("linux", {})}
        self.manager = cgroups.manager(path, "c", systemd=False, rootless=False, hierarchies=hierarchies)
        where = cgroups.describe(self.manager, hierarchies)
        self.request = Request({"linux": linux, **config}, id="c", **where)
        self.context = Context(RUNTIME, print)
        self.directory = f"/sys/fs/cgroup{path}"

    def __enter__(self) -> Container:
        self.manager.intend()
        self.manager.follow(self.context)
        for operation in plan.prepare(self.request):
            operation.apply(self.context)
        return self

    def __exit__(self, *_: object) -> None:
        self.manager.kill(9)
        self.manager.delete()
        os.rmdir(os.path.dirname(self.directory))

    def start(self, program: str = "time.sleep(60)", beside: int = 0) -> subprocess.Popen[str]:
        """Start a Python program in the cgroup."""
        child = subprocess.Popen(
            [sys.executable, "-IS", "-c", f"import os, sys, time\nsys.stdin.readline()\n{program}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.context.pid = child.pid
        try:
            for operation in plan.enter(self.request, beside=beside):
                operation.apply(self.context)
        except NajaError:
            child.kill()
            child.communicate()
            raise
        return child

    def run(self, program: str) -> str:
        """Run a Python program in the cgroup; return its output."""
        return self.start(program).communicate("go\n", timeout=30)[0]

    def restored(self) -> Manager:
        """Return the manager as another command would find it."""
        return cgroups.restore(self.manager.record())


def on_v2(work: Callable[[], None]) -> None:
    """Run a test in such a namespace."""

    def inside() -> None:
        only_v2()
        control = "/sys/fs/cgroup/cgroup.subtree_control"
        before = read(control).split()
        try:
            work()
        finally:
            # The tree is the host's: what a container's cgroup made it hand down is taken back.
            for controller in set(read(control).split()).difference(before):
                write(control, f"-{controller}")

    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("needs mount namespaces")
    in_child(inside)


OPEN = """
for name in {names}:
    try:
        os.close(os.open(name, os.O_RDONLY | os.O_NONBLOCK))
        print(name, "ok")
    except OSError as error:
        print(name, error.strerror)
"""


def test_devices(tag: str) -> None:
    def work() -> None:
        deny_all = {"allow": False, "access": "rwm"}
        kmsg = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
        program = OPEN.format(names=["/dev/null", "/dev/zero", "/dev/kmsg"])
        denied = "/dev/null ok\n/dev/zero ok\n/dev/kmsg Operation not permitted\n"
        with Container(tag, linux={"resources": {"devices": [deny_all]}}) as made:
            assert made.run(program) == denied
            made.manager.apply({"devices": [deny_all, kmsg]})
            assert made.run(program).endswith("/dev/kmsg ok\n")
            assert made.run("os.open('/dev/kmsg', os.O_WRONLY); print('ok')") == ""
            # Replaced, not added: otherwise the stricter of the two would still decide.
            made.manager.apply({"devices": [{"allow": True, "access": "rwm"}]})
            assert made.run("os.open('/dev/kmsg', os.O_WRONLY); print('ok')") == "ok\n"
            made.manager.apply(
                {"devices": [{"allow": True, "access": "rwm"}, {**kmsg, "allow": False, "access": "m"}]}
            )
            assert made.run("os.close(os.open('/dev/kmsg', os.O_WRONLY)); print('ok')") == "ok\n"
            node = f"/tmp/{tag}node"
            make = f"os.mknod('{node}', 0o20600, os.makedev(1, 11)); os.unlink('{node}'); print('ok')"
            assert made.run(make) == ""
            made.manager.apply({"devices": [deny_all]})
            assert made.run(program) == denied

    on_v2(work)


def test_freeze_thaw_and_kill(tag: str) -> None:
    def work() -> None:
        with Container(tag) as made:
            child = made.start("while True: pass")
            manager = made.restored()
            assert manager.processes() == [child.pid]
            assert not manager.frozen()
            manager.freeze()
            assert manager.frozen()
            assert "frozen 1" in read(f"{made.directory}/cgroup.events")
            manager.kill(signal.SIGTERM)
            time.sleep(0.05)
            assert manager.frozen()
            manager.kill(signal.SIGKILL)
            assert child.wait(10) in (-9, -15)
            manager.thaw()
            assert not manager.frozen()

    on_v2(work)


def test_all_below_is_killed_and_removed(tag: str) -> None:
    def work() -> None:
        with Container(tag) as made:
            child = made.start()
            os.makedirs(f"{made.directory}/a/b")
            write(f"{made.directory}/a/b/cgroup.procs", str(child.pid))
            manager = made.restored()
            assert manager.processes(recursive=False) == []
            assert manager.processes() == [child.pid]
            manager.kill(9)
            assert child.wait(10) == -9
            manager.delete()
            assert not manager.exists()

    on_v2(work)


@pytest.mark.parametrize("what", ["kill", "terminate", "thaw", "frozen", "processes"])
def test_a_cgroup_that_goes_meanwhile(tag: str, what: str) -> None:
    """systemd removes one when its last process has ended, at any moment."""
    actions: dict[str, Callable[[Manager], object]] = {
        "kill": lambda manager: manager.kill(signal.SIGKILL),
        "terminate": lambda manager: manager.kill(signal.SIGTERM),
        "thaw": lambda manager: manager.thaw(),
        "frozen": lambda manager: manager.frozen(),
        "processes": lambda manager: manager.processes(),
    }

    def work() -> None:
        kernels = os.open
        with Container(tag) as made:

            def open_and_remove(*arguments: Any) -> int:
                descriptor = kernels(*arguments)
                os.open = kernels
                os.rmdir(made.directory)
                return descriptor

            manager = made.restored()
            os.open = open_and_remove  # type: ignore[assignment]
            actions[what](manager)
            os.open = kernels
            assert not manager.exists()

    on_v2(work)


def need_hugetlb() -> None:
    """Skip where v1 has taken the one controller that is often left to v2."""
    if "hugetlb" not in read(f"{cgroups.detect().mounts.get('', '/nowhere')}/cgroup.controllers").split():
        pytest.skip("needs the hugetlb controller in the v2 tree")


def test_huge_pages_are_limited(tag: str) -> None:
    need_hugetlb()

    def work() -> None:
        resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
        with Container(tag, linux={"resources": resources}) as made:
            assert read(f"{made.directory}/hugetlb.2MB.max") == str(4 << 20)
            assert read(f"{made.directory}/hugetlb.2MB.rsvd.max") == str(4 << 20)
            made.manager.apply({"unified": {"hugetlb.2MB.max": "max"}})
            assert read(f"{made.directory}/hugetlb.2MB.max") == "max"
            assert made.manager.statistics()["hugetlb"]["2MB"] == {"failcnt": 0}
            with pytest.raises(Unsupported, match="the sizes of huge pages here are"):
                made.manager.apply({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]})

    on_v2(work)


def test_one_more_process_goes_to_the_first_where_the_container_made_cgroups(tag: str) -> None:
    """The container's own cgroup takes no process once it has children with controllers."""
    need_hugetlb()

    def work() -> None:
        with Container(tag) as made:
            first = made.start()
            assert cgroup_of(first.pid, made.directory) == made.directory
            os.mkdir(f"{made.directory}/init")
            write(f"{made.directory}/init/cgroup.procs", str(first.pid))
            write(f"{made.directory}/cgroup.subtree_control", "+hugetlb")
            second = made.start(beside=first.pid)
            with open(f"/proc/{second.pid}/cgroup") as file:
                assert f"/{tag}/c/init\n" in file.read()
            with pytest.raises(NajaError, match="takes no processes of its own"):
                made.start()

    on_v2(work)


def test_a_controller_that_is_not_there_is_named(tag: str) -> None:
    def work() -> None:
        there = read("/sys/fs/cgroup/cgroup.controllers").split()
        for resources, controller in (
            ({"memory": {"limit": 1 << 20}}, "memory"),
            ({"unified": {"pids.max": "5"}}, "pids"),
            ({"unified": {"nowhere.max": "5"}}, "nowhere"),
        ):
            if controller in there:
                continue
            made = Container(tag, linux={"resources": resources})
            with pytest.raises(Unsupported, match=f"controller {controller} is not available"):
                made.__enter__()
            made.__exit__()
        with Container(tag) as made, pytest.raises(Unsupported, match="nowhere is not available"):
            made.manager.apply({"unified": {"nowhere.max": "5"}})

    on_v2(work)


def test_files_of_the_core_need_no_controller(tag: str) -> None:
    def work() -> None:
        unified = {"cgroup.max.depth": "3"}
        with Container(tag, linux={"resources": {"unified": unified}}) as made:
            assert read(f"{made.directory}/cgroup.max.depth") == "3"

    on_v2(work)


def test_a_cgroup_below_a_threaded_one(tag: str) -> None:
    def work() -> None:
        top = f"/sys/fs/cgroup/{tag}"
        os.makedirs(f"{top}/sibling")
        write(f"{top}/sibling/cgroup.type", "threaded")
        try:
            limited = Container(tag, linux={"resources": {"memory": {"limit": 1 << 20}}})
            with pytest.raises(Unsupported, match='of type "domain threaded"'):
                limited.__enter__()
            limited.manager.delete()
            made = Container(tag)
            made.__enter__()
            assert read(f"{made.directory}/cgroup.type") == "threaded"
            made.manager.delete()
        finally:
            os.rmdir(f"{top}/sibling")
            os.rmdir(top)

    on_v2(work)


def test_it_is_given_to_the_containers_user(tag: str) -> None:
    def work() -> None:
        config = {
            "process": {"user": {"uid": 7, "gid": 0}},
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}],
            "linux": {
                "namespaces": [{"type": "cgroup"}],
                "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
            },
        }
        with Container(tag, **config) as made:
            owners = {name: os.stat(f"{made.directory}/{name}").st_uid for name in os.listdir(made.directory)}
            assert os.stat(made.directory).st_uid == 100007
            assert owners["cgroup.procs"] == owners["cgroup.subtree_control"] == 100007
            assert owners["cgroup.max.depth"] == 0

    on_v2(work)


@pytest.mark.parametrize(
    ("namespaces", "options"),
    [([], []), ([{"type": "cgroup", "path": "/proc/1/ns/cgroup"}], []), ([{"type": "cgroup"}], ["ro"])],
)
def test_it_is_not_given_away_otherwise(namespaces: list[dict[str, str]], options: list[str]) -> None:
    config = {
        "process": {"user": {"uid": 7, "gid": 0}},
        "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "c", "options": options}],
        "linux": {"namespaces": namespaces},
    }
    assert plan.delegation(Request(config), "/x") == []


def test_somebody_in_it_is_left_alone(tag: str) -> None:
    def work() -> None:
        with Container(tag) as first:
            child = first.start()
            second = Container(tag)
            with pytest.raises(NajaError, match="has processes in it"):
                second.__enter__()
            second.manager.kill(9)
            second.manager.delete()
            assert child.poll() is None

    on_v2(work)


def test_statistics(tag: str) -> None:
    def work() -> None:
        with Container(tag) as made:
            made.run("sum(range(3000000))")
            found = made.restored().statistics()
            assert found["cpu"]["usage"]["total"] > 1_000_000
            assert set(found) == {
                "cpu",
                "cpuset",
                "memory",
                "pids",
                "blkio",
                "hugetlb",
                "intel_rdt",
                "network_interfaces",
            }
            if os.path.exists(f"{made.directory}/cpu.pressure"):
                assert set(found["cpu"]["psi"]["some"]) == {"avg10", "avg60", "avg300", "total"}

    on_v2(work)
