"""Every limit: read back from the kernel, then run into."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wait import wait_until
from tests.vm.cgroup import V2, VARIANT, Cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

    Run = Callable[[dict[str, Any]], Cgroup]

MIB = 1 << 20

#: linux.resources, and the files that must hold it on v1 and on v2.
LIMITS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, str]]] = {
    "memory": (
        {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB}},
        {
            "memory.limit_in_bytes": str(64 * MIB),
            "memory.soft_limit_in_bytes": str(32 * MIB),
            "memory.memsw.limit_in_bytes": str(96 * MIB),
        },
        {"memory.max": str(64 * MIB), "memory.low": str(32 * MIB), "memory.swap.max": str(32 * MIB)},
    ),
    "pids": ({"pids": {"limit": 20}}, {"pids.max": "20"}, {"pids.max": "20"}),
    "cpu": (
        {"cpu": {"quota": 50000, "period": 100000, "shares": 1024}},
        {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000", "cpu.shares": "1024"},
        {"cpu.max": "50000 100000"},
    ),
    "cpuset": (
        {"cpu": {"cpus": "1", "mems": "0"}},
        {"cpuset.cpus": "1", "cpuset.mems": "0"},
        {"cpuset.cpus": "1", "cpuset.mems": "0"},
    ),
    "hugetlb": (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {"hugetlb.2MB.limit_in_bytes": str(4 * MIB)},
        {"hugetlb.2MB.max": str(4 * MIB)},
    ),
}


def need_huge_pages(naja: Runtime) -> None:
    if VARIANT == "hybrid" and naja.name == "runc":
        pytest.skip("runc does not use the controllers of a v2 tree beside v1 hierarchies")


@pytest.mark.parametrize("limit", LIMITS)
def test_read_back(limit: str, naja: Runtime, running: Run) -> None:
    resources, v1, v2 = LIMITS[limit]
    if limit == "hugetlb":
        need_huge_pages(naja)
    cgroup = running(resources)
    expected = v2 if cgroup.is_v2(limit) else v1
    assert {name: cgroup.read(name) for name in expected} == expected


def test_shares_become_a_weight(running: Run) -> None:
    cgroup = running({"cpu": {"shares": 512}})
    if V2:
        # 20 by the linear formula of old, 59 by the one that maps the default 1024 to 100.
        assert cgroup.read("cpu.weight") in ("20", "59")
    else:
        assert cgroup.read("cpu.shares") == "512"


@pytest.mark.skipif(not V2, reason="needs cgroup v2")
def test_unified(running: Run, manager: str, naja: Runtime) -> None:
    cgroup = running({"unified": {"memory.high": "50331648", "pids.max": "33"}})
    assert (cgroup.read("memory.high"), cgroup.read("pids.max")) == ("50331648", "33")


def test_out_of_memory(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    bundle.shell("head -c 60000000 /dev/zero | tail > /dev/null; sleep 1000")
    naja.run_detached(bundle)
    cgroup = Cgroup(naja.state(bundle)["pid"], bundle.id)
    events = "memory.events" if V2 else "memory.oom_control"
    wait_until(lambda: cgroup.value(events, "oom_kill") > 0, timeout=60, what="an OOM kill")
    assert naja.status(bundle) == "running"


def test_out_of_memory_of_the_process(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    bundle.shell("exec tail < /dev/zero > /dev/null")
    assert naja.run_attached(bundle, check=False).status == 128 + 9


def test_out_of_pids(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["pids"] = {"limit": 5}
    bundle.shell("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo started")
    done = naja.run_attached(bundle, check=False)
    assert "can't fork" in done.stdout + done.stderr


def test_cpu_is_throttled(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["cpu"] = {"quota": 20000, "period": 100000}
    naja.run_detached(bundle.shell("while :; do :; done"))
    cgroup = Cgroup(naja.state(bundle)["pid"], bundle.id)
    wait_until(lambda: cgroup.value("cpu.stat", "nr_throttled") > 2, timeout=60, what="throttling")


def test_cpuset_is_kept(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["cpu"] = {"cpus": "1"}
    bundle.args("/bin/grep", "Cpus_allowed_list", "/proc/self/status")
    assert naja.run_attached(bundle).stdout.split()[-1] == "1"


def test_out_of_huge_pages(naja: Runtime, bundle: Bundle) -> None:
    need_huge_pages(naja)
    bundle.linux["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MIB}]
    bundle.mount("/huge", "hugetlbfs", "hugetlbfs", "pagesize=2M")
    bundle.shell("fallocate -l 4194304 /huge/fits && ! fallocate -l 8388608 /huge/fits_not")
    naja.run_attached(bundle)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    """A loop device of 4 MiB; a path like /dev/loop0."""
    image = tmp_path / "disk"
    image.write_bytes(os.urandom(4 * MIB))
    device = subprocess.check_output(["losetup", "--find", "--show", str(image)], text=True).strip()
    yield device
    subprocess.check_call(["losetup", "--detach", device])


def test_io_is_throttled(naja: Runtime, bundle: Bundle, disk: str) -> None:
    number = os.stat(disk).st_rdev
    device = {"major": os.major(number), "minor": os.minor(number)}
    bundle.linux["devices"] = [{"path": "/dev/disk", "type": "b", "fileMode": 0o600, **device}]
    bundle.linux["resources"]["devices"].append({"allow": True, "type": "b", "access": "rwm", **device})
    bundle.linux["resources"]["blockIO"] = {"throttleReadBpsDevice": [{"rate": MIB // 2, **device}]}
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    cgroup = Cgroup(naja.state(bundle)["pid"], bundle.id)
    line = f"{device['major']}:{device['minor']} "
    if V2:
        assert cgroup.read("io.max").startswith(f"{line}rbps={MIB // 2}")
    else:
        assert cgroup.read("blkio.throttle.read_bps_device") == f"{line}{MIB // 2}"
    began = time.monotonic()
    naja.exec(bundle, "/bin/dd", "if=/dev/disk", "of=/dev/null", "bs=65536", "count=24")
    assert time.monotonic() - began > 2.5, "1.5 MiB at 0.5 MiB a second"


def test_update(naja: Runtime, bundle: Bundle, running: Run) -> None:
    cgroup = running({"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}})
    flags = ("--memory", str(48 * MIB), "--pids-limit", "9", "--cpu-quota", "30000", "--cpu-period", "100000")
    naja.run("update", *flags, bundle.id)
    assert cgroup.read("memory.max" if V2 else "memory.limit_in_bytes") == str(48 * MIB)
    assert cgroup.read("pids.max") == "9"
    assert cgroup.read("cpu.max" if V2 else "cpu.cfs_quota_us").split()[0] == "30000"


@pytest.mark.parametrize("source", ["config", "update"])
def test_update_of_memory_keeps_the_total(naja: Runtime, bundle: Bundle, running: Run, source: str) -> None:
    limits = {"limit": 64 * MIB, "swap": 128 * MIB}
    cgroup = running({"memory": limits} if source == "config" else {})
    if source == "update":
        naja.run("update", "--memory", str(64 * MIB), "--memory-swap", str(128 * MIB), bundle.id)
    naja.run("update", "--memory", str(96 * MIB), bundle.id)
    if V2:
        assert (cgroup.read("memory.max"), cgroup.read("memory.swap.max")) == (str(96 * MIB), str(32 * MIB))
    else:
        total = cgroup.read("memory.memsw.limit_in_bytes")
        assert (cgroup.read("memory.limit_in_bytes"), total) == (str(96 * MIB), str(128 * MIB))
    assert naja.run("update", "--memory", str(160 * MIB), bundle.id, check=False).status == 1


def test_update_from_a_file(naja: Runtime, bundle: Bundle, running: Run) -> None:
    cgroup = running({"memory": {"limit": 64 * MIB}})
    naja.run("update", "--resources", "-", bundle.id, input=json.dumps({"memory": {"limit": 40 * MIB}}))
    assert cgroup.read("memory.max" if V2 else "memory.limit_in_bytes") == str(40 * MIB)


def test_update_of_every_limit(naja: Runtime, bundle: Bundle, running: Run) -> None:
    # A peer's update leaves some of them alone.
    names = [*LIMITS] if naja.name == "naja" else ["memory", "pids", "cpu"]
    cgroup = running({})
    resources: dict[str, Any] = {"hugepageLimits": LIMITS["hugetlb"][0]["hugepageLimits"]}
    expected: dict[str, str] = {}
    for name in names:
        asked, v1, v2 = LIMITS[name]
        for section, values in asked.items():
            if section != "hugepageLimits":
                resources.setdefault(section, {}).update(values)
        expected |= v2 if cgroup.is_v2(name) else v1
    naja.run("update", "--resources", "-", bundle.id, input=json.dumps(resources))
    assert {name: cgroup.read(name) for name in expected} == expected


def test_an_updated_limit_is_enforced(naja: Runtime, bundle: Bundle, running: Run) -> None:
    running({"pids": {"limit": 20}})
    fork = ("/bin/sh", "-c", "sleep 0 & wait")
    assert naja.exec(bundle, *fork).stderr == ""
    naja.run("update", "--pids-limit", "1", bundle.id)
    refused = naja.exec(bundle, *fork, check=False).stderr
    # runc needs threads there itself.
    assert "can't fork" in refused or "pthread_create failed" in refused
