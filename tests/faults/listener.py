"""The kernel's side: a seccomp filter whose listener is asked about system calls (seccomp_unotify(2)).

A command is started under a filter that all its children inherit. Each of their calls waits until the
listener has said: go on, or fail with this errno. Whoever says nothing yet, delays it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import signal
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

_SET_MODE_FILTER = 1
#: Where a signal comes while a call waits for its answer, it is not made (and asked about) a second time.
_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NR = 0  # The offset of the call's number in struct seccomp_data.

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTIFICATION, _ANSWER = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI")
_CONTINUE = 1

#: libc takes an error of brk(2) for an address, and a signal may end a call that waits for its listener.
_UNASKED = ("brk",)

#: The first descriptor that is free in a new child, once all but the standard streams are closed.
_FIRST_FREE = 3

_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def _libseccomp() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return library


@functools.cache
def call_name(number: int) -> str:
    """Return the name of a system call of this machine."""
    text = _libseccomp().seccomp_syscall_resolve_num_arch(_libseccomp().seccomp_arch_native(), number)
    name = ctypes.string_at(text).decode() if text else str(number)
    return {"newfstatat": "fstatat"}.get(name, name)


@functools.cache
def call_number(name: str) -> int:
    """Return the number of a system call of this machine."""
    number: int = _libseccomp().seccomp_syscall_resolve_name(name.encode())
    return number


@dataclass
class Call:
    """A system call that waits for an answer."""

    listener: int
    id: int
    task: int
    name: str
    arguments: tuple[int, ...]

    def answer(self, error: int = 0) -> None:
        """Let it go on, or fail. A task that was killed meanwhile needs no answer."""
        flags = 0 if error else _CONTINUE
        try:
            fcntl.ioctl(self.listener, _SEND, bytearray(_ANSWER.pack(self.id, 0, -error, flags)))
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise

    def waits(self) -> bool:
        """Tell whether it still waits: its task may have been killed."""
        try:
            fcntl.ioctl(self.listener, _IS_VALID, struct.pack("=Q", self.id))
        except OSError:
            return False
        return True

    def text(self, argument: int) -> str:
        """Return the string that an argument points to; empty where it cannot be read."""
        return _string(self.task, self.arguments[argument])

    def words(self, argument: int) -> list[str]:
        """Return the strings of an array like execve's argv."""
        found = []
        for index in range(64):
            pointer = _read(self.task, self.arguments[argument] + 8 * index, 8)
            if len(pointer) < 8 or not any(pointer):
                break
            found.append(_string(self.task, int.from_bytes(pointer, "little")))
        return found


def _read(task: int, address: int, size: int) -> bytes:
    try:
        with open(f"/proc/{task}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)
    except (OSError, OverflowError):
        return b""


def _string(task: int, address: int) -> str:
    page = 4096 - address % 4096
    content = _read(task, address, page)
    if b"\0" not in content:
        content += _read(task, address + page, 4096)
    return content.partition(b"\0")[0].decode(errors="replace")


def receive(listener: int) -> Call | None:
    """Return the next call that waits; None where its task was killed before anybody looked."""
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    id, task, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
    return Call(listener, id, task, call_name(number), tuple(arguments))


def _program(names: Sequence[str]) -> bytes:
    """Return a filter that asks about these calls, or where none is named about all but _UNASKED."""
    listed, others = (_NOTIFY, _ALLOW) if names else (_ALLOW, _NOTIFY)
    names = names or _UNASKED
    instructions = [(_LOAD, 0, 0, _NR)]
    for index, name in enumerate(names):
        instructions.append((_JUMP_EQUAL, len(names) - index, 0, call_number(name)))
    instructions += [(_RETURN, 0, 0, others), (_RETURN, 0, 0, listed)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)


def start(argv: Sequence[str], streams: Sequence[int], names: Sequence[str] = ()) -> tuple[int, int, int]:
    """Start a command under a filter that asks about the calls ``names`` (none: all).

    ``streams`` are its standard streams. Returns its pid, its pidfd and the listener. The first call
    that is asked about is the execve of the command.
    """
    program = _program(names)
    pid = os.fork()
    if pid == 0:
        _become(argv, streams, lambda: _load(program))
    pidfd = os.pidfd_open(pid)
    return pid, pidfd, _fetch_listener(pidfd)


def _become(argv: Sequence[str], streams: Sequence[int], load: Callable[[], None]) -> NoReturn:
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(_FIRST_FREE, 1024)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        load()
        os.execv(argv[0], list(argv))
    finally:
        os._exit(127)


def _load(program: bytes) -> None:
    buffer = ctypes.create_string_buffer(program, len(program))
    filter = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    _libc.syscall(call_number("seccomp"), _SET_MODE_FILTER, _NEW_LISTENER | _WAIT_KILLABLE, filter)


def _fetch_listener(pidfd: int) -> int:
    """Fetch the listener out of the child that has just loaded its filter (pidfd_getfd(2))."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        copy: int = _libc.syscall(call_number("pidfd_getfd"), pidfd, _FIRST_FREE, 0)
        if copy >= 0:
            if "seccomp" in os.readlink(f"/proc/self/fd/{copy}"):
                return copy
            os.close(copy)
        time.sleep(0.0003)
    raise TimeoutError("the child has loaded no filter")
