"""The device filter of a cgroup v2: a small eBPF program, and bpf(2) to load and attach it.

The program is asked at every open and mknod of a device; it gets ``struct bpf_cgroup_dev_ctx`` (type
and access in one word, major, minor) and answers 1 to allow.
"""

from __future__ import annotations

import errno
import os
import struct

from .libc import address, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SYS_BPF = {"x86_64": 321, "ppc64le": 361, "s390x": 351}.get(os.uname().machine, 280)

_PROG_LOAD, _PROG_ATTACH, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 5, 8, 13, 15, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI, _REPLACE = 2, 4

#: By this name naja knows its own program again among those that others attached.
_NAME = b"naja_devices"

#: Linux 6.17 to 7.1 write behind a bpf_attr that is shorter than their own: give room to spare.
_ATTR_SIZE = 256

_DEVICE_TYPES = {"b": 1, "c": 2}
_ACCESS_BITS = {"m": 1, "r": 2, "w": 4}

# Instructions (the kernel's bpf/standardization/instruction-set): class, source, operation.
_LOAD_WORD = 0x61
_MOVE, _MOVE_REGISTER, _AND, _SHIFT_RIGHT = 0xB7, 0xBF, 0x57, 0x77
_JUMP_EQUAL, _JUMP_NOT_EQUAL, _JUMP_NOT_EQUAL_32, _EXIT = 0x15, 0x55, 0x56, 0x95
# Registers: the result, the context, and what the program keeps.
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR, _SCRATCH = range(7)


def _instruction(code: int, target: int, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("=BBhI", code, source << 4 | target, offset, value & 0xFFFFFFFF)


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOVE, _RESULT, value=int(allow)), _instruction(_EXIT, 0)]


def device_program(rules: list[tuple[bool, str, int, int, str]], *, allow_all: bool) -> bytes:
    """Return the instructions that decide as ``rules`` say; ``allow_all`` where none of them matches.

    A rule is (allow, "b" or "c", major, minor, access), -1 being any number. The last rule decides,
    for each kind of access on its own: so the program goes from the last to the first, and takes
    away from what is wanted what was allowed, until nothing is left or something is denied.
    """
    program = [
        _instruction(_LOAD_WORD, _WANTED, _CONTEXT, 0),
        _instruction(_MOVE_REGISTER, _TYPE, _WANTED),
        _instruction(_AND, _TYPE, value=0xFFFF),
        _instruction(_SHIFT_RIGHT, _WANTED, value=16),
        _instruction(_LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(_LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        program += _rule(*rule)
    return b"".join(program + _answer(allow_all))


def _rule(allow: bool, kind: str, major: int, minor: int, access: str) -> list[bytes]:
    bits = sum(_ACCESS_BITS[letter] for letter in access)
    if allow:
        decide = [
            _instruction(_AND, _WANTED, value=~bits),
            _instruction(_JUMP_NOT_EQUAL, _WANTED, offset=2),
        ]
    else:
        decide = [
            _instruction(_MOVE_REGISTER, _SCRATCH, _WANTED),
            _instruction(_AND, _SCRATCH, value=bits),
            _instruction(_JUMP_EQUAL, _SCRATCH, offset=2),
        ]
    body = decide + _answer(allow)
    for register, number in ((_MINOR, minor), (_MAJOR, major), (_TYPE, _DEVICE_TYPES[kind])):
        if number >= 0:
            body.insert(0, _instruction(_JUMP_NOT_EQUAL_32, register, offset=len(body), value=number))
    return body


def attach_device_filter(cgroup: int, program: bytes) -> None:
    """Let a program decide about devices in the cgroup behind a descriptor.

    Takes the place of the one that naja attached before, in one step. Raises OSError.
    """
    new = _load(program)
    try:
        old = _attached(cgroup)
        if old is None:
            _bpf(_PROG_ATTACH, "=4I", cgroup, new, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
        else:
            try:
                flags = _ALLOW_MULTI | _REPLACE
                _bpf(_PROG_ATTACH, "=5I", cgroup, new, _ATTACH_CGROUP_DEVICE, flags, old)
            finally:
                os.close(old)
    finally:
        os.close(new)


def _load(program: bytes) -> int:
    """Return a descriptor of a program that the kernel has verified."""
    code, license = bytearray(program), bytearray(b"Apache-2.0\0")
    addresses = (address(code), address(license))
    for _ in range(5):
        try:
            # type, number of instructions, their address, license, log level, log size, log,
            # kernel version, flags, name
            return _bpf(
                _PROG_LOAD,
                "=IIQQIIQII16s",
                _TYPE_CGROUP_DEVICE,
                len(program) // 8,
                *addresses,
                *(0, 0, 0, 0, 0),
                _NAME,
            )
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            # The verifier was interrupted by a signal.
            interrupted = error
    raise interrupted


def _attached(cgroup: int) -> int | None:
    """Return a descriptor of the program that naja attached to a cgroup, None where there is none."""
    identifiers = bytearray(64 * 4)
    attr = _attr("=4IQI", cgroup, _ATTACH_CGROUP_DEVICE, 0, 0, address(identifiers), 64)
    syscall(_SYS_BPF, _PROG_QUERY, attr, _ATTR_SIZE)
    (count,) = struct.unpack_from("=I", attr, 24)
    for identifier in struct.unpack_from(f"={count}I", identifiers):
        program = _bpf(_PROG_GET_FD_BY_ID, "=I", identifier)
        if _name(program) == _NAME:
            return program
        os.close(program)
    return None


def _name(program: int) -> bytes:
    information = bytearray(256)
    _bpf(_OBJ_GET_INFO_BY_FD, "=IIQ", program, 256, address(information))
    return bytes(information[64:80]).rstrip(b"\0")


def _attr(layout: str, *values: Any) -> bytearray:
    """Return a ``union bpf_attr`` that starts with these values."""
    return bytearray(struct.pack(layout, *values).ljust(_ATTR_SIZE, b"\0"))


def _bpf(command: int, layout: str, *values: Any) -> int:
    return syscall(_SYS_BPF, command, _attr(layout, *values), _ATTR_SIZE)
