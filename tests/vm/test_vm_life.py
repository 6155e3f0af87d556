"""What cgroups are for beside limits: devices, freezing, statistics, finding the processes, being gone."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wait import wait_until
from tests.vm.cgroup import V2, Cgroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

    Run = Callable[[dict[str, Any]], Cgroup]

MIB = 1 << 20
#: A device that no container has by default, and that root may open without more: /dev/loop-control.
DEVICE = {"type": "c", "major": 10, "minor": 237}
OPEN = "mknod /tmp/device c 10 237 && : < /tmp/device"


def allow_mknod(bundle: Bundle) -> None:
    for capabilities in bundle.process["capabilities"].values():
        capabilities.append("CAP_MKNOD")


def test_device_denied(naja: Runtime, bundle: Bundle) -> None:
    allow_mknod(bundle)
    bundle.linux["resources"]["devices"].append({"allow": True, "access": "m", **DEVICE})
    done = naja.run_attached(bundle.shell(OPEN), check=False)
    assert done.status
    assert "not permitted" in done.stdout + done.stderr


def test_device_allowed(naja: Runtime, bundle: Bundle) -> None:
    allow_mknod(bundle)
    bundle.linux["resources"]["devices"].append({"allow": True, "access": "rm", **DEVICE})
    naja.run_attached(bundle.shell(OPEN))


def test_device_denied_by_a_later_rule(naja: Runtime, bundle: Bundle) -> None:
    allow_mknod(bundle)
    bundle.linux["resources"]["devices"] += [
        {"allow": True, "access": "rwm"},
        {"allow": False, "access": "r", **DEVICE},
    ]
    assert naja.run_attached(bundle.shell(OPEN), check=False).status


def test_usual_devices_work(naja: Runtime, bundle: Bundle) -> None:
    bundle.shell("head -c 3 /dev/zero /dev/urandom > /dev/null && ! echo 1 > /dev/full")
    naja.run_attached(bundle)


def test_exec_is_bound_by_the_device_rules(naja: Runtime, bundle: Bundle) -> None:
    allow_mknod(bundle)
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    assert naja.exec(bundle, "/bin/sh", "-c", OPEN, check=False).status


def test_pause_and_resume(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.shell("i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.1; done"))
    count = f"{bundle.rootfs}/tmp/count"
    wait_until(lambda: _number(count) > 0, timeout=60, what="a first turn of the loop")
    naja.run("pause", bundle.id)
    assert naja.status(bundle) == "paused"
    stopped_at = _number(count)
    subprocess.check_call(["sleep", "1"])
    assert _number(count) == stopped_at
    naja.run("resume", bundle.id)
    assert naja.status(bundle) == "running"
    wait_until(lambda: _number(count) > stopped_at, timeout=60, what="the loop going on")


def _number(path: str) -> int:
    try:
        with open(path) as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


def test_paused_container_is_killed_and_deleted(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    naja.run("pause", bundle.id)
    naja.delete(bundle, "--force")
    assert bundle.id not in naja.ids()


def test_exec_lands_in_the_same_cgroup(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    with open(f"/proc/{naja.state(bundle)['pid']}/cgroup") as file:
        assert naja.exec(bundle, "/bin/cat", "/proc/self/cgroup").stdout == file.read()


def test_exec_with_a_cgroup_namespace(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "cgroup"})
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    lines = naja.exec(bundle, "/bin/cat", "/proc/self/cgroup").stdout.splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {"/"}


def test_statistics(naja: Runtime, bundle: Bundle, running: Run) -> None:
    if naja.name == "crun":
        pytest.skip("crun has no events")
    cgroup = running({"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}})
    event = json.loads(naja.run("events", "--stats", bundle.id).stdout)
    assert (event["type"], event["id"]) == ("stats", bundle.id)
    data = event["data"]
    assert data["memory"]["usage"]["limit"] == 64 * MIB
    assert 0 < data["memory"]["usage"]["usage"] <= 64 * MIB
    assert data["pids"] == {"current": 1, "limit": 20}
    used = cgroup.value("cpu.stat", "usage_usec") * 1000 if V2 else int(cgroup.read("cpuacct.usage"))
    assert 0 < data["cpu"]["usage"]["total"] <= used


def test_out_of_memory_is_an_event(naja: Runtime, bundle: Bundle) -> None:
    if naja.name == "crun":
        pytest.skip("crun has no events")
    bundle.linux["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    go = "until [ -e /tmp/go ]; do sleep 0.1; done"
    naja.run_detached(bundle.shell(f"{go}; tail < /dev/zero > /dev/null; sleep 1000"))
    watcher = subprocess.Popen(
        naja.command("events", "--interval", "1s", bundle.id), stdout=subprocess.PIPE, text=True
    )
    try:
        assert watcher.stdout
        # A first line of statistics says that the watcher watches.
        kinds = [json.loads(watcher.stdout.readline())["type"]]
        bundle.write("/tmp/go", "")
        while "oom" not in kinds and len(kinds) < 30:
            kinds.append(json.loads(watcher.stdout.readline())["type"])
        assert "oom" in kinds
    finally:
        watcher.kill()
        watcher.communicate()


def test_ps(naja: Runtime, bundle: Bundle) -> None:
    naja.run_detached(bundle.shell("sleep 1000 & sleep 1000 & wait"))
    pids: list[int] = []

    def look() -> bool:
        pids[:] = json.loads(naja.run("ps", "--format", "json", bundle.id).stdout)
        return len(pids) >= 3

    wait_until(look, timeout=60, what="three processes")
    assert naja.state(bundle)["pid"] in pids


def test_nothing_is_left(naja: Runtime, bundle: Bundle, running: Run, manager: str) -> None:
    cgroup = running({"memory": {"limit": 64 * MIB}})
    assert cgroup.directories()
    show = ("systemctl", "show", "--value", "--property=LoadState", f"naja-{bundle.id}.scope")
    if manager == "systemd":
        assert subprocess.check_output(show, text=True) == "loaded\n"
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)
    assert cgroup.directories() == []
    assert naja.ids() == []
    if manager == "systemd":
        assert subprocess.check_output(show, text=True) == "not-found\n"
