"""Births that share the memory (linux/birth.py), and both doors to the kernel (linux/libc.py)."""

from __future__ import annotations

import errno
import os
import random
import select
import signal
import struct
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux import birth, foreign, libc, namespaces
from tests.support.child import in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

shares = pytest.mark.skipif(libc.birth is None, reason="naja was installed without a C compiler")


def live(work: Callable[[], object], flags: int = 0) -> int:
    """Return the exit code of a process in this memory that does some work."""

    def life() -> NoReturn:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)

    return os.waitstatus_to_exitcode(os.waitpid(birth.share_memory(life, flags), 0)[1])


@shares
def test_what_the_child_changes_stays_changed() -> None:
    def work() -> list[Any]:
        seen: list[Any] = []
        code = live(lambda: seen.extend([os.getpid(), {"made": "there"}]), namespaces.CLONE_NEWPID)
        return [code, *seen]

    assert in_child(work) == [0, 1, {"made": "there"}]


@shares
def test_what_is_not_memory_is_its_own() -> None:
    """Descriptors, the working directory, the umask and the session are not shared."""

    def work() -> list[Any]:
        reader, _ = os.pipe()
        os.umask(0o027)
        before = [os.getcwd(), os.getsid(0), os.getuid()]

        def change() -> None:
            os.close(reader)
            os.chdir("/proc")
            os.umask(0o777)
            os.setsid()

        code = live(change)
        os.fstat(reader)
        return [code, [os.getcwd(), os.getsid(0), os.getuid()] == before, os.umask(0)]

    assert in_child(work) == [0, True, 0o027]


@shares
def test_it_may_become_a_program() -> None:
    def work() -> int:
        return live(lambda: os.execv("/bin/sh", ["sh", "-c", "exit 7"]))

    assert in_child(work) == 7


@shares
def test_python_is_whole_afterwards() -> None:
    """Deep calls, exceptions and memory: on both sides, and many times."""

    def deep(levels: int) -> int:
        return deep(levels - 1) + 1 if levels else 0

    def child() -> None:
        assert deep(500) == 500
        try:
            raise ValueError
        except ValueError:
            assert [bytearray(100000) for _ in range(10)]

    def work() -> list[int]:
        codes = [live(child) for _ in range(50)]
        assert deep(500) == 500
        return sorted(set(codes))

    assert in_child(work) == [0]


@shares
def test_handlers_stay_with_the_parent() -> None:
    """A signal for the child has its default effect there, and the handler is in place afterwards."""

    def work() -> list[Any]:
        seen: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: seen.append(number))

        def kill() -> None:
            os.kill(os.getpid(), signal.SIGUSR1)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())

        code = live(kill)
        quiet = not seen
        os.kill(os.getpid(), signal.SIGUSR1)
        return [code, quiet, seen == [signal.SIGUSR1], not signal.pthread_sigmask(signal.SIG_BLOCK, ())]

    assert in_child(work) == [-signal.SIGUSR1, True, True, True]


@shares
def test_a_child_that_is_killed_in_a_system_call() -> None:
    """It had released the interpreter's lock, and cannot take it again for its parent."""

    def work() -> list[int]:
        kill = libc.function("kill")
        code = live(lambda: libc.call(kill, os.getpid(), signal.SIGKILL))
        # Both release the lock, and take it.
        return [code, libc.call(libc.function("getpid")) - os.getpid(), len(os.listdir("/proc/self/task"))]

    assert in_child(work) == [-signal.SIGKILL, 0, 1]


@shares
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a Python that cannot take the lock from the dead")
def test_a_child_that_is_killed_at_any_moment() -> None:
    """That may be while it gives the lock away, or takes it. (What else: docs/design.md, Turns.)"""

    def work() -> int:
        reader, writer = os.pipe()
        parent = os.getpid()
        getppid, pause = libc.function("getppid"), libc.function("usleep")

        def kill_soon() -> None:
            while True:
                if not select.select([reader], [], [], 5)[0]:
                    os.kill(parent, signal.SIGKILL)  # It waits for a lock, and no other signal wakes it.
                if not (packed := os.read(reader, 4)):
                    return
                (child,) = struct.unpack("=i", packed)
                for _ in range(random.randrange(400)):
                    libc.call(getppid)
                os.kill(child, signal.SIGKILL)

        def loop() -> None:
            os.write(writer, struct.pack("=i", os.getpid()))
            while True:
                libc.call(getppid)

        killer = os.fork()
        if killer == 0:
            os.close(writer)
            kill_soon()
            os._exit(0)
        codes = {live(loop) for _ in range(200)}
        libc.call(pause, 1)
        os.close(writer)
        os.waitpid(killer, 0)
        return sum(codes)

    assert in_child(work) == -signal.SIGKILL


@shares
def test_a_birth_that_is_refused() -> None:
    def work() -> int:
        try:
            live(lambda: None, namespaces.CLONE_NEWNS | 0x200)  # with CLONE_FS
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_child(work) == errno.EINVAL


@shares
def test_a_small_stack_has_no_room() -> None:
    def work() -> list[bool]:
        import resource

        rooms = [birth.can_share_memory()]
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, resource.RLIM_INFINITY))
        return [*rooms, birth.can_share_memory()]

    assert in_child(work) == [True, False]


@pytest.fixture(params=["compiled", "foreign"])
def door(request: pytest.FixtureRequest) -> Any:
    if request.param == "foreign":
        return foreign
    if libc.birth is None:
        pytest.skip("naja was installed without a C compiler")
    return libc._door


def test_a_call(door: ModuleType) -> None:
    getpid, stat = door.find(b"getpid"), door.find(b"access")
    assert door.call(getpid) == os.getpid()
    assert door.call(stat, b"/", os.R_OK) == 0


def test_a_call_that_fails(door: ModuleType) -> None:
    with pytest.raises(FileNotFoundError) as failed:
        door.call(door.find(b"access"), b"/no/such/file", os.R_OK)
    assert failed.value.errno == errno.ENOENT
    assert failed.value.strerror == os.strerror(errno.ENOENT)


def test_the_most_arguments(door: ModuleType) -> None:
    """A system call has six, and its number: here mmap of nothing, which is refused."""
    with pytest.raises(OSError) as failed:
        door.call(door.find(b"mmap"), None, 0, 0, 0x22, -1, 0)
    assert failed.value.errno == errno.EINVAL


def test_a_buffer_is_filled(door: ModuleType) -> None:
    buffer = bytearray(16)
    door.call(door.find(b"getrlimit"), 7, buffer)
    import resource

    unlimited = 2**64 - 1
    expected = [limit & unlimited for limit in resource.getrlimit(resource.RLIMIT_NOFILE)]
    assert list(struct.unpack("=2Q", buffer)) == expected


def test_an_address(door: ModuleType) -> None:
    source, target = bytearray(b"naja"), bytearray(4)
    memcpy = door.find(b"memcpy")
    assert door.call(memcpy, target, door.address(source), 4) == door.address(target)
    assert target == b"naja"


def test_no_such_function(door: ModuleType) -> None:
    with pytest.raises(OSError):
        door.find(b"no_such_function")


def test_a_birth_with_a_memory_of_its_own(door: ModuleType) -> None:
    def work() -> int:
        request = struct.pack("=11Q", 0, 0, 0, 0, signal.SIGCHLD, *[0] * 6)
        pid = door.clone(request)
        if pid == 0:
            os._exit(5)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(work) == 5
