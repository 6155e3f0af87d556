"""On a kernel, or under a filter, that lacks a system call one line says which, from every verb."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Puts itself under a filter that denies one call by an errno, and becomes a program.
_DENY = f"""
import os, sys
sys.path.insert(0, {REPOSITORY!r} + "/build/import")
from naja.linux import seccomp
from naja.linux.seccomp_filter import compile_filter
rule = {{"names": [sys.argv[1]], "action": "SCMP_ACT_ERRNO", "errnoRet": int(sys.argv[2])}}
seccomp.load(compile_filter({{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}), 0)
os.execv(sys.argv[3], sys.argv[3:])
"""

#: Without these a container cannot be made.
NEEDED = [
    "openat2",
    "close_range",
    "fsopen",
    "fsconfig",
    "fsmount",
    "open_tree",
    "move_mount",
    "mount_setattr",
]
#: An EPERM of these can have no other cause.
UNPRIVILEGED = ["openat2", "close_range"]


def without(call: str, number: int, argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command for which a call fails."""
    return subprocess.run(
        [sys.executable, "-c", _DENY, call, str(number), *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Iterator[Bundle]:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    yield bundle
    naja.delete(bundle, "--force")


def says_which(done: subprocess.CompletedProcess[str], call: str) -> bool:
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    return f"the kernel has no {call}(2), or a seccomp filter denies it" in done.stderr


@pytest.mark.parametrize("call", NEEDED)
@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_container_without(naja: Runtime, bundle: Bundle, verb: str, call: str) -> None:
    argv = naja.command(verb, "--bundle", bundle.args("/bin/true").path, bundle.id)
    assert says_which(without(call, errno.ENOSYS, argv), call)
    if call in UNPRIVILEGED:
        assert says_which(without(call, errno.EPERM, argv), call)
    else:
        assert "died" not in without(call, errno.EPERM, argv).stderr
    assert bundle.id not in naja.ids()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
@pytest.mark.parametrize(
    ("call", "words"),
    [("pidfd_open", ["kill", "ID", "KILL"]), ("close_range", ["exec", "ID", "/bin/true"])],
)
def test_other_verbs_without(
    naja: Runtime, running: Bundle, call: str, words: list[str], number: int
) -> None:
    argv = naja.command(*[running.id if word == "ID" else word for word in words])
    assert says_which(without(call, number, argv), call)


@pytest.mark.parametrize(
    "call", ["unshare", "pivot_root", "umount2", "setresuid", "setgroups", "prctl", "capset"]
)
def test_calls_that_every_kernel_has(naja: Runtime, bundle: Bundle, call: str) -> None:
    """A filter may deny them all the same; then the line says what was done, and where."""
    bundle.config["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [5]}
    argv = naja.command("run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    done = without(call, errno.ENOSYS, argv)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    if hasattr(os, call):
        assert says_which(done, call)
    else:
        where = "the kernel lacks a system call, or a seccomp filter denies it, in "
        assert where in done.stderr, done.stderr
    assert bundle.id not in naja.ids()


@pytest.mark.parametrize("call", ["flock", "fstatfs", "prlimit64"])
@pytest.mark.parametrize("words", [["run", "--bundle", "BUNDLE", "NEW"], ["start", "ID"], ["pause", "ID"]])
def test_what_naja_asks_for_itself(
    naja: Runtime, running: Bundle, busybox_bundle: Callable[[], Bundle], call: str, words: list[str]
) -> None:
    """It goes on without, or says in a line what it was about."""
    other = busybox_bundle().args("/bin/true")
    known = {"ID": running.id, "NEW": other.id, "BUNDLE": other.path}
    done = without(call, errno.ENOSYS, naja.command(*[known.get(word, word) for word in words]))
    assert done.stderr.count("\n") <= 1, done.stderr
    assert "internal error" not in done.stderr
    assert " > " not in done.stderr.partition(": ")[2].partition(": ")[0], done.stderr


@pytest.mark.parametrize(
    ("device", "second"),
    [
        ({"type": "c", "major": 1, "minor": 77}, "No such file or directory"),
        ({"type": "p"}, ""),
    ],
)
def test_a_device_that_cannot_be_made(
    naja: Runtime, bundle: Bundle, device: dict[str, object], second: str
) -> None:
    """Why it cannot is told first, and why the host's does not do either; a FIFO of the host's never does."""
    bundle.linux["devices"] = [{"path": "/dev/none-such", **device}]
    argv = naja.command("run", "--bundle", bundle.args("/bin/true").path, bundle.id)
    done = without("mknodat", errno.EPERM, argv)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    first, _, rest = done.stderr.partition(": Operation not permitted (EPERM), asked for by ")
    assert "make the device /dev/none-such" in first
    assert ("nor does the host's do: " in rest) == bool(second)
    assert second in rest
