"""What the kernel answers with a number only, said with the reason and with what there is instead."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_bad_configs import mutate
from tests.support.needs import requires_path

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


def said(naja: Runtime, bundle: Bundle, **changes: Any) -> str:
    """Return the one line of a run that fails; ``changes`` are by pointers, with __ for /."""
    for pointer, value in changes.items():
        mutate(bundle.config, "/" + pointer.replace("__", "/"), value)
    result = naja.run_attached(bundle.save(), check=False)
    assert result.status == 1, str(result)
    (line,) = result.stderr.splitlines()
    assert bundle.id not in naja.ids()
    return line


@requires_path("/sys/fs/cgroup/cpuset/cpuset.cpus", "cgroup v1")
def test_processors_and_nodes_that_there_are(naja: Runtime, bundle: Bundle) -> None:
    line = said(naja, bundle, linux__resources__cpu={"cpus": "0-999"})
    assert re.search(r"/linux/resources/cpu/cpus: there are the processors [0-9,-]+$", line)
    line = said(naja, bundle, linux__resources__cpu={"mems": "63"})
    assert re.search(r"/linux/resources/cpu/mems: there are the memory nodes [0-9,-]+$", line)


@requires_path("/sys/fs/cgroup/memory/memory.limit_in_bytes", "cgroup v1")
def test_a_limit_below_what_is_in_use(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["resources"]["memory"] = {"limit": 64 << 20}
    bundle.mount("/data", "tmpfs", "tmpfs").shell("head -c 8000000 /dev/zero > /data/x; echo; sleep 1000")
    naja.create(bundle)
    naja.start(bundle)
    naja.run("exec", bundle.id, "/bin/sh", "-c", "until test -s /data/x; do :; done")
    result = naja.run("update", "--memory", "1000000", bundle.id, check=False)
    assert result.status == 1
    assert re.search(
        r"EBUSY\), asked for by .*: \d+ bytes are in use, and the kernel could not", result.stderr
    )


def test_a_mount_point_on_a_read_only_file_system(naja: Runtime, bundle: Bundle) -> None:
    subprocess.run(["mount", "--bind", bundle.rootfs, bundle.rootfs], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", bundle.rootfs], check=True)
        mount = {"destination": "/data", "type": "tmpfs", "source": "tmpfs"}
        line = said(naja, bundle, mounts=[mount])
        assert line.endswith(
            "open the mount point /data: Read-only file system (EROFS), asked for by config.json /mounts/0: "
            "it is not there, and cannot be made, as the file system is read-only: make it there beforehand"
        )
    finally:
        subprocess.run(["umount", "--lazy", bundle.rootfs], check=True)


def test_a_parameter(naja: Runtime, bundle: Bundle) -> None:
    line = said(naja, bundle, linux__sysctl={"net.ipv4.ip_forward": "yes"})
    assert re.search(r"the kernel does not take this value; it is [01] now$", line)
    line = said(naja, bundle, linux__sysctl={"net.ipv4.nothing": "1"})
    assert line.endswith("this kernel has no such parameter for a container")
    line = said(naja, bundle, linux__sysctl={"net.ipv4.tcp_congestion_control": "x"})
    assert re.search(r": there are .*(cubic|reno)", line)


def test_a_filter_that_denies_the_program(naja: Runtime, bundle: Bundle) -> None:
    rule = {"names": ["execve", "openat2"], "action": "SCMP_ACT_ERRNO"}
    line = said(naja, bundle, linux__seccomp={"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    assert line.endswith("the container's filter may deny execve (/linux/seccomp)")


def test_memory_nodes_of_a_policy(naja: Runtime, bundle: Bundle) -> None:
    line = said(naja, bundle, linux__memoryPolicy={"mode": "MPOL_BIND", "nodes": "63"})
    assert "/linux/memoryPolicy: " in line


def test_processors_of_an_exec(naja: Runtime, bundle: Bundle, tmp_path: object) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    process = f"{tmp_path}/process.json"
    with open(process, "w") as file:
        file.write('{"cwd": "/", "args": ["/bin/true"], "execCPUAffinity": {"final": "999"}}')
    result = naja.run("exec", "--process", process, bundle.id, check=False)
    assert result.status == 255
    assert re.search(r"Invalid argument \(EINVAL\).*: there are the processors 0", result.stderr)


def test_offsets_of_clocks(naja: Runtime, bundle: Bundle) -> None:
    if not os.path.exists("/proc/self/timens_offsets"):
        pytest.skip("needs time namespaces")
    bundle.linux["namespaces"].append({"type": "time"})
    line = said(naja, bundle, linux__timeOffsets={"monotonic": {"secs": -(10**9)}})
    assert re.search(r"no clock may be below 0 with it, .* monotonic is \d+ s, boottime is \d+ s$", line)
