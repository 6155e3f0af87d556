"""Run in a guest: every file of a container's cgroup, by runtime and by config, as JSON on stdout.

    python -m conformance.cgroup_survey [CONFIG ...]

conformance.cgroup_files boots the guest and makes tables of it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import stat
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from tests.support.bundle import CAPABILITIES, Bundle, make_rootfs
from tests.support.command import Runtime, runtime_command
from tests.support.wait import wait_until
from tests.vm.cgroup import V2, VARIANT, Cgroup

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
MOUNT = "/sys/fs/cgroup"
#: Instead of a file, where a runtime refuses the config.
REFUSED = "(refused)"
RUNTIMES = ("naja", "runc", "crun")
DENY_ALL = {"allow": False, "access": "rwm"}
#: The disk that the configs speak of: the first loop device.
DISK = {"major": 7, "minor": 0}

#: linux.resources of each config.
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "memory": {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB}},
    "memory-unlimited": {"memory": {"limit": -1}},
    "swappiness": {"memory": {"swappiness": 10}},
    "cpu": {"cpu": {"shares": 512, "quota": 50000, "period": 200000}},
    "cpu-shares-1024": {"cpu": {"shares": 1024}},
    "cpu-burst": {"cpu": {"quota": 50000, "period": 100000, "burst": 20000}},
    "cpu-idle": {"cpu": {"idle": 1}},
    "cpuset": {"cpu": {"cpus": "1", "mems": "0"}},
    "pids": {"pids": {"limit": 20}},
    "pids-0": {"pids": {"limit": 0}},
    "blkio-weight": {"blockIO": {"weight": 300}},
    "blkio-weight-device": {"blockIO": {"weightDevice": [{**DISK, "weight": 400}]}},
    "blkio-throttle": {
        "blockIO": {
            "throttleReadBpsDevice": [{**DISK, "rate": MIB}],
            "throttleWriteIOPSDevice": [{**DISK, "rate": 100}],
        }
    },
    "hugetlb": {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
    "rdma": {"rdma": {"mlx5_1": {"hcaHandles": 3}}},
    "network": {"network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}},
    "unified": {"unified": {"memory.high": str(48 * MIB), "pids.max": "33", "cgroup.max.depth": "4"}},
    "devices": {
        "devices": [
            DENY_ALL,
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
            {"allow": True, "type": "b", **DISK, "access": "r"},
        ]
    },
}

#: Files left out because they count or measure; what they say is different at every reading.
VOLATILE = (
    *("*.stat", "*.stat.local", "*numa_stat", "*.events", "*.events.local"),
    *("*.current", "*.peak", "*usage_in_bytes", "*failcnt", "memory.kmem.slabinfo"),
    *("cpu.pressure", "memory.pressure", "io.pressure", "irq.pressure", "cpuset.memory_pressure"),
    *("cpuacct.*", "blkio.throttle.io_*", "blkio.io_*", "blkio.bfq.io_*", "blkio.time*", "blkio.sectors*"),
    # The number of the cgroup, given by the kernel.
    "net_prio.prioidx",
)
#: Files that list processes; only how many there are can be compared.
PROCESSES = ("cgroup.procs", "cgroup.threads", "tasks")

#: What a v2 tree has no file for, so a process tries it: the devices that a container may use.
DEVICES = (
    *("c-1-3", "c-1-5", "c-1-7", "c-1-8", "c-1-9", "c-5-0", "c-5-1", "c-5-2", "c-136-0", "c-10-200"),
    *("c-10-229", "b-7-0", "b-7-1"),
)
PROBE = r"""
cd /probe
for device in *; do
    allowed=
    (: < $device) 2>&1 | grep -q permitted || allowed=r
    (: >> $device) 2>&1 | grep -q permitted || allowed=${allowed}w
    mknod /tmp/$device ${device//-/ } 2>&1 | grep -q permitted || allowed=${allowed}m
    echo $device ${allowed:-none}
done > /probed
echo end >> /probed
exec sleep 1000
"""


def survey(names: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Return the contents of the files by config, runtime, and path below the container's cgroup.

    Where a runtime refuses the config, there is only REFUSED with its last line.
    """
    with tempfile.TemporaryDirectory(prefix="naja-survey-") as directory:
        rootfs = os.path.join(directory, "rootfs")
        make_rootfs(rootfs)
        disk = os.path.join(directory, "disk")
        with open(disk, "wb") as file:
            file.truncate(4 * MIB)
        subprocess.run(["losetup", f"/dev/loop{DISK['minor']}", disk], check=True)
        # The scheduler that knows weights of single disks.
        with open(f"/sys/block/loop{DISK['minor']}/queue/scheduler", "w") as scheduler:
            scheduler.write("bfq")
        try:
            bundle = Bundle(os.path.join(directory, "bundle"), "surveyed", rootfs)
            _make_devices(os.path.join(bundle.rootfs, "probe"))
            return {name: dict(_of_config(bundle, name)) for name in names}
        finally:
            subprocess.run(["losetup", "--detach", f"/dev/loop{DISK['minor']}"], check=True)


def _make_devices(path: str) -> None:
    os.mkdir(path)
    for device in DEVICES:
        kind, major, minor = device.split("-")
        mode = stat.S_IFBLK if kind == "b" else stat.S_IFCHR
        os.mknod(os.path.join(path, device), mode | 0o666, os.makedev(int(major), int(minor)))


def _of_config(bundle: Bundle, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Run one config with each runtime in turn."""
    bundle.linux["resources"] = {"devices": [DENY_ALL]} | CONFIGS[name]
    if VARIANT == "systemd":
        bundle.linux["cgroupsPath"] = f"system.slice:naja:{bundle.id}"
    if name == "devices":
        for kind in ("bounding", "effective", "permitted"):
            bundle.process["capabilities"][kind] = [*CAPABILITIES, "CAP_MKNOD"]
        bundle.shell(PROBE)
    else:
        bundle.args("/bin/sleep", "1000")
    for runtime_name in RUNTIMES:
        argv = runtime_command() if runtime_name == "naja" else [runtime_name]
        if VARIANT == "systemd":
            argv = [*argv, "--systemd-cgroup"]
        runtime = Runtime(os.path.join(os.path.dirname(bundle.path), f"state-{runtime_name}"), argv)
        yield runtime_name, _of_container(runtime, bundle, name == "devices")


def _of_container(runtime: Runtime, bundle: Bundle, probed: bool) -> dict[str, str]:
    """Run the bundle's container, and read its cgroup, and what it said of its devices."""
    pid_file = os.path.join(bundle.path, "pid")
    try:
        done = runtime.run_detached(bundle, "--pid-file", pid_file, check=False)
        if done.status:
            return {REFUSED: _reason(done.stderr)}
        with open(pid_file) as file:
            pid = int(file.read())
        # A detached run may return while the process, with more threads, is still the runtime's.
        wait_until(lambda: _lines(f"/proc/{pid}/comm")[0] in ("sleep", "sh"), what="the container's program")
        cgroup = Cgroup(pid, bundle.id)
        answers = _probed(os.path.join(bundle.rootfs, "probed")) if probed else {}
        return dict(_files(cgroup)) | answers
    finally:
        runtime.delete(bundle, "--force", check=False)


def _reason(stderr: str) -> str:
    """Return the last line of a runtime's errors, without what runc's logger puts around it."""
    last = (stderr.strip() or "no error message").splitlines()[-1]
    return last.partition(' msg="')[2].rstrip('"').replace('\\"', '"') or last


def _files(cgroup: Cgroup) -> Iterator[tuple[str, str]]:
    """Read all that can be compared, with paths that start where the container's process is.

    So the files of a scope above a runtime's sub-cgroup are "../NAME", and those of v1
    "HIERARCHY/NAME".
    """
    for top in cgroup.directories():
        hierarchy = "" if V2 else os.path.relpath(top, MOUNT).partition("/")[0]
        tree = [directory for directory, _, _ in os.walk(top)]
        own = next(directory for directory in tree if _content(f"{directory}/cgroup.procs") != "0")
        for directory in tree:
            for name in sorted(os.listdir(directory)):
                path = os.path.join(directory, name)
                mode = os.stat(path).st_mode
                volatile = any(fnmatch.fnmatchcase(name, pattern) for pattern in VOLATILE)
                if stat.S_ISREG(mode) and mode & stat.S_IRUSR and not volatile:
                    yield os.path.join(hierarchy, os.path.relpath(path, own)), _content(path)


def _content(path: str) -> str:
    try:
        with open(path) as file:
            lines = file.read().splitlines()
    except OSError as error:
        return error.strerror or str(error)
    if os.path.basename(path) in PROCESSES:
        return str(len(lines))
    if os.path.basename(path) == "devices.list":
        # The order of exceptions means nothing, and with runc it changes.
        lines.sort()
    return "; ".join(lines)


def _probed(path: str) -> dict[str, str]:
    """Wait for what PROBE writes, and return it as if each device were a file."""
    wait_until(lambda: os.path.exists(path) and _lines(path)[-1:] == ["end"], timeout=30, what="the probe")
    answers = dict(line.split() for line in _lines(path)[:-1])
    os.remove(path)
    return {f"device {device.replace('-', ' ', 1).replace('-', ':')}": answers[device] for device in DEVICES}


def _lines(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()


if __name__ == "__main__":
    json.dump(survey(sys.argv[1:] or list(CONFIGS)), sys.stdout)
