"""What an interpreter does before it is dumped (``tell``), and in each process (``wake``).

``naja.startup.dump`` makes the dump, native/dump.c says how it goes on.
"""

from __future__ import annotations

import _signal
import _thread
import gc
import os
import posix

from ..linux import process


def tell() -> None:
    """Tell on stdout where memory lies that is not dumped, and the thread that is not.

    The environment is forgotten.
    """
    posix.environ.clear()
    # A process shall not use again, here and there, what Python keeps of objects that were freed.
    gc.collect()
    # What lives now lives for ever: nobody need look at it again, which would make copies of its pages.
    gc.freeze()
    file = posix.open("/proc/self/maps", posix.O_RDONLY | posix.O_CLOEXEC)
    text = b"%x\n" % _thread.get_ident()
    while part := posix.read(file, 1 << 16):
        text += part
    posix.close(file)
    low, high = next(line for line in text.splitlines() if b" r-xp " in line).split()[0].split(b"-")
    process.text = int(low, 16), int(high, 16) - int(low, 16)
    posix.write(1, text + b"\0")


def wake(variables: list[bytes], ignored: int) -> None:
    """Take over what a process has of its own: the environment, and the signals (a bit each) it ignores."""
    for variable in variables:
        name, equals, value = variable.partition(b"=")
        if equals:
            posix.environ.setdefault(name, value)
    os.read_environment()  # type: ignore[attr-defined]
    for number in range(1, _signal.NSIG):
        handler = _signal.SIG_IGN if ignored >> number - 1 & 1 else _signal.SIG_DFL
        if _signal.getsignal(number) not in (handler, None):
            _signal.signal(number, handler)
    if not ignored >> _signal.SIGINT - 1 & 1:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
