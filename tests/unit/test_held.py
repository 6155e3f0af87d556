"""A process that is looked at once and held, and children that are ended: never another one of that pid."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from naja.errors import NajaError
from naja.linux.process import Held, start_time
from naja.process.dialogue import Mailbox
from naja.process.launch import Launch


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "1000"])


def end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def test_what_is_held_is_never_another() -> None:
    child = sleeper()
    held = Held.find(child.pid, start_time(child.pid))
    assert held
    with held:
        assert not held.ending()
        assert os.stat(f"/proc/{held.name}/root").st_ino == os.stat(f"/proc/{child.pid}/root").st_ino
        assert held.signal(0)
        assert held.signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert held.ending()
        child.wait()
        assert held.ending()
        assert not held.signal(0)
        with pytest.raises(OSError):
            os.readlink("ns/mnt", dir_fd=held.directory)


def test_who_is_not_found() -> None:
    child = sleeper()
    started = start_time(child.pid)
    before = os.listdir("/proc/self/fd")
    assert Held.find(child.pid, started + 1) is None
    assert Held.find(0, started) is None
    assert Held.find(child.pid, 0) is None
    end(child)
    assert Held.find(child.pid, started) is None
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_pid_that_has_become_a_threads() -> None:
    """pidfd_open(2) has an error of its own for that."""
    script = (
        "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); print(1, flush=1)"
    )
    with subprocess.Popen(["python3", "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        thread = next(int(name) for name in os.listdir(f"/proc/{child.pid}/task") if int(name) != child.pid)
        assert Held.find(thread, 1) is None
        end(child)


def test_a_child_that_was_reaped_is_left_alone() -> None:
    """The first error is the one that counts, and a pid that is nobody's child may be anybody's."""
    child, stranger = sleeper(), sleeper()
    end(child)
    launch = Launch.__new__(Launch)
    launch.stage = 0
    launch.channel = Mailbox()
    try:
        for pid in (child.pid, os.getppid()):
            launch.init = pid
            with pytest.raises(NajaError, match="the first"), launch:
                raise NajaError("the first")
        launch.init = stranger.pid
        launch.abandon()
        with pytest.raises(ChildProcessError):
            os.waitpid(stranger.pid, 0)
    finally:
        end(stranger)
