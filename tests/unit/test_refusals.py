"""Why the kernel refuses a limit, read off files that stand for the kernel's."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from naja.operations import namespaces, reasons
from naja.operations.base import INIT, Context
from naja.operations.cgroup import MakeCgroup
from naja.operations.identity import JoinSessionKeyring, SetExecProfile

if TYPE_CHECKING:
    from pathlib import Path


CONTEXT = Context(INIT, print)


def refused(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("file", "value", "said"),
    [
        ("cpu.max", "10 100000", "the kernel takes a quota of at least 1000, in microseconds"),
        ("cpu.max", "1000 10", "the kernel takes a period from 1000 to 1000000, in microseconds"),
        ("cpu.max", "max 10", "the kernel takes a period from 1000 to 1000000, in microseconds"),
        ("cpu.max", "1000000000000000 100000", "it is too large, or more than the share of the cgroup above"),
        ("cpu.cfs_quota_us", "999", "the kernel takes a quota of at least 1000, in microseconds"),
        ("cpu.cfs_quota_us", "-2", "it is too large, or more than the share of the cgroup above"),
        ("cpu.cfs_period_us", "2000000", "the kernel takes a period from 1000 to 1000000, in microseconds"),
        ("pids.max", "5000000", "the kernel takes at most 4194304"),
        ("io.max", "8:0 rbps=x", ""),
    ],
)
def test_of_a_value(file: str, value: str, said: str) -> None:
    assert reasons.of_limit("/no/such", file, value, refused(errno.EINVAL)) == said


@pytest.mark.parametrize("name", ["cpuset.cpus.effective", "cpuset.effective_cpus"])
def test_of_processors(tmp_path: Path, name: str) -> None:
    """They are those of the cgroup above, in a file of v2's or of v1's."""
    (tmp_path / name).write_text("0-1,3\n")
    for number in (errno.EINVAL, errno.ERANGE, errno.EACCES):
        said = reasons.of_limit(str(tmp_path / "c"), "cpuset.cpus", "9", refused(number))
        assert said == "there are the processors 0-1,3"


def test_of_what_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "memory.usage_in_bytes").write_text("123456\n")
    said = reasons.of_limit(str(tmp_path), "memory.limit_in_bytes", "4096", refused(errno.EBUSY))
    assert said == "123456 bytes are in use, and the kernel could not free enough of them"


def test_of_two_that_depend_on_each_other(tmp_path: Path) -> None:
    (tmp_path / "memory.limit_in_bytes").write_text("5\n")
    said = reasons.of_limit(str(tmp_path), "memory.memsw.limit_in_bytes", "4", refused(errno.EINVAL))
    assert said == "memory.limit_in_bytes is 5"


def test_of_a_cgroup(tmp_path: Path) -> None:
    directory = str(tmp_path / "a" / "b")
    assert reasons.of_cgroup(directory, refused(errno.EROFS)) == "the tree of cgroups is mounted read-only"
    said = reasons.of_cgroup(directory, refused(errno.EACCES))
    assert said.startswith(f"{tmp_path} is user {os.geteuid()}'s: leave out cgroupsPath and resources")
    assert "cgroup.max.depth" in reasons.of_cgroup(directory, refused(errno.EAGAIN))
    assert reasons.of_cgroup(directory, refused(errno.EBUSY)) == ""


def test_of_what_is_used_up() -> None:
    assert "kernel.keys.maxkeys" in JoinSessionKeyring("x", "").explain(refused(errno.EDQUOT), CONTEXT)
    assert JoinSessionKeyring("x", "").explain(refused(errno.EPERM), CONTEXT) == ""
    assert "no number left" in MakeCgroup("/c", optional=False).explain(refused(errno.ENOSPC), CONTEXT)
    proc = os.open("/proc", os.O_PATH)
    assert reasons.of_many_files(proc, 1 << 62).endswith("(sysctl fs.nr_open)")
    assert reasons.of_many_files(proc, 1) == ""
    os.close(proc)
    assert reasons.of_many_files(-1, 1 << 62) == ""


def test_of_a_profile() -> None:
    profile = SetExecProfile("x", origin="")
    assert profile.explain(refused(errno.ENOENT), CONTEXT).startswith("it is not loaded")
    assert profile.explain(refused(errno.EACCES), CONTEXT) == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "raise the limit of namespaces (sysctl user.max_*_namespaces)"),
        (errno.EAGAIN, "raise the limit of processes (ulimit -u), or that of the cgroup (pids.max)"),
        (errno.EIO, ""),
    ],
)
def test_of_a_namespace(number: int, said: str) -> None:
    assert namespaces.refused(refused(number)) == said


def test_of_huge_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hugepages-1048576kB", "hugepages-64kB", "hugepages-2048kB"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(reasons, "_HUGE_PAGES", str(tmp_path))
    said = reasons.of_limit("/c", "hugetlb.3MB.max", "1", refused(errno.ENOENT))
    assert said == "the sizes of huge pages here are 64KB, 2MB, 1GB"
    (tmp_path / "hugepages-many").mkdir()
    assert reasons.of_limit("/c", "hugetlb.3MB.max", "1", refused(errno.ENOENT)).endswith("not known")


def test_of_a_block_device() -> None:
    said = reasons.of_limit("/c", "io.max", "1:2 rbps=1", refused(errno.ENODEV))
    assert said.startswith("there is no such block device; there are ")


def test_what_is_not_known_is_not_said() -> None:
    assert reasons.of_limit("/c", "memory.max", "x", refused(errno.EIO)) == ""
    assert reasons.of_oom_score(refused(errno.EIO)) == ""
    assert reasons.of_scheduler("SCHED_RR", refused(errno.EIO)) == ""
    assert reasons.of_affinity(0, refused(errno.EPERM)) == ""
    assert reasons.of_time_offsets(refused(errno.EPERM)) == ""


def test_of_time() -> None:
    said = reasons.of_time_offsets(refused(errno.ERANGE))
    assert said.startswith("no clock may be below 0 with it, nor beyond 146 years; monotonic is ")
