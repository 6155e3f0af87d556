"""Counts instructions: perf_event_open(2), where the processor, or the virtual machine, has a counter."""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import struct
from functools import cache

_CALL = {"x86_64": 298}.get(platform.machine(), 241)
_HARDWARE, _INSTRUCTIONS = 0, 1
#: Bits of struct perf_event_attr: off at first, children as well, neither kernel nor hypervisor.
_DISABLED, _INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 0, 1 << 1, 1 << 5, 1 << 6
_ENABLE, _DISABLE = 0x2400, 0x2401
_SIZE = 112


class Counter:
    """Counts what happens in this process and in children that it makes, while it is entered."""

    def __init__(self, kind: int, what: int) -> None:
        """Open the counter; ``value`` stays None where there is none."""
        self.value: int | None = None
        flags = _DISABLED | _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV
        attributes = struct.pack("IIQQQQQ", kind, _SIZE, what, 0, 0, 0, flags).ljust(_SIZE, b"\0")
        self._descriptor = ctypes.CDLL(None).syscall(_CALL, attributes, 0, -1, -1, 8)

    @classmethod
    def instructions(cls) -> Counter:
        """Return a counter of instructions in user mode."""
        return cls(_HARDWARE, _INSTRUCTIONS)

    def __enter__(self) -> None:
        if self._descriptor >= 0:
            fcntl.ioctl(self._descriptor, _ENABLE)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            fcntl.ioctl(self._descriptor, _DISABLE)
            self.value = struct.unpack("Q", os.read(self._descriptor, 8))[0]
            os.close(self._descriptor)


@cache
def counts_instructions() -> bool:
    """Tell whether this machine counts them; virtual machines often do not."""
    with (counter := Counter.instructions()):
        pass
    return counter.value is not None
