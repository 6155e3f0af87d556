"""The thin wrappers around the kernel's calls on processes: births, pidfds, descriptors, signals."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from naja.linux import keyring, namespaces, process
from tests.support.child import in_child


def test_a_birth_in_a_new_pid_namespace() -> None:
    pid = process.clone3(namespaces.CLONE_NEWPID)
    if pid == 0:
        os._exit(10 + os.getpid())
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 11


def test_the_interpreter_is_whole_on_both_sides() -> None:
    """CPython repairs itself after a fork: hooks run, the clock, imports and further forks work."""
    seen: list[str] = []

    def work() -> list[str]:
        os.register_at_fork(before=lambda: seen.append("before"), after_in_child=lambda: seen.append("child"))
        reader, writer = os.pipe()
        pid = process.clone3(0)
        if pid == 0:
            import colorsys  # noqa: F401 - anything not loaded yet

            time.sleep(0.001)
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0)
            os.waitpid(grandchild, 0)
            os.write(writer, " ".join(seen).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        return os.read(reader, 100).decode().split()

    assert in_child(work) == ["before", "child", "before"]


def test_a_sibling() -> None:
    """CLONE_PARENT: the child belongs to the caller's parent, which hears of its end by SIGCHLD."""

    def work() -> int:
        middle = os.fork()
        if middle == 0:
            if process.clone3(process.CLONE_PARENT) == 0:
                os._exit(7)
            os._exit(0)
        os.waitpid(middle, 0)
        return os.waitstatus_to_exitcode(os.wait()[1])

    assert in_child(work) == 7


@pytest.mark.parametrize(
    ("flags", "cgroup_fd", "number"),
    [(namespaces.CLONE_NEWNS | 0x200, -1, errno.EINVAL), (0, 0, errno.EBADF)],
)
def test_a_birth_that_is_refused(flags: int, cgroup_fd: int, number: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    with pytest.raises(OSError) as refused:
        process.clone3(flags, cgroup_fd=cgroup_fd if cgroup_fd < 0 else null)
    os.close(null)
    assert refused.value.errno == number


def test_pidfds() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    pidfd = process.pidfd_open(pid)
    assert not os.get_inheritable(pidfd)
    process.pidfd_send_signal(pidfd, 0)
    process.pidfd_send_signal(pidfd, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        process.pidfd_send_signal(pidfd, 0)
    os.close(pidfd)
    with pytest.raises(ProcessLookupError):
        process.pidfd_open(pid)


def test_ranges_of_descriptors() -> None:
    def work() -> tuple[bool, bool, bool]:
        for number in (900, 901, 902):
            os.dup2(0, number)
        process.close_range(901, 901, process.CLOSE_RANGE_CLOEXEC)
        process.close_range(902)
        return os.get_inheritable(900), os.get_inheritable(901), os.path.exists("/proc/self/fd/902")

    assert in_child(work) == (True, False, False)


def test_a_c_functions_minus_one_is_an_error() -> None:
    """prctl(2) returns an int; what is above it in the register need not be all ones."""
    with pytest.raises(OSError) as refused:
        process.prctl(12345, 0)
    assert refused.value.errno == errno.EINVAL


def test_signals_that_libc_keeps_to_itself() -> None:
    def work() -> str:
        command = ["grep", "SigIgn", "/proc/self/status"]
        reader, writer = os.pipe()

        def spawned() -> None:
            process.default_signal(32)
            process.default_signal(33)
            os.dup2(writer, 1)
            os.execvp(command[0], command)

        pid = os.fork()
        if pid == 0:
            spawned()
        os.waitpid(pid, 0)
        return os.read(reader, 100).decode().split()[1]

    assert int(in_child(work), 16) & 0x180000000 == 0


def test_a_killed_parent_takes_its_child_along() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            process.set_parent_death_signal(signal.SIGKILL)
            os.write(writer, b"x")
            signal.pause()
        signal.pause()
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    # Both ends of the pipe that the child held are closed by its death.
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_an_orphan_goes_to_the_reaper() -> None:
    def work() -> int:
        process.set_child_subreaper(True)
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                time.sleep(0.01)
                os._exit(9)
            os._exit(0)
        os.waitpid(middle, 0)
        return os.waitstatus_to_exitcode(os.wait()[1])

    assert in_child(work) == 9


def test_a_keyring_is_made_searchable() -> None:
    def work() -> int:
        key = keyring.join_session_keyring(b"_ses.naja-keyring-test")
        before = keyring.permissions(key)
        keyring.set_permissions(key, before | keyring.USER_SEARCH)
        assert keyring.permissions(key) == before | keyring.USER_SEARCH
        return before & keyring.USER_SEARCH

    assert in_child(work) == 0
