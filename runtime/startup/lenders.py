"""Where shims lend themselves to their program: what native/launcher.c and naja.shim.lending agree on."""

from __future__ import annotations

import os

from .precompiled import _HEAD, FILE

#: FNV-1a, 64 bits.
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def beginning() -> str:
    """Return what the paths of their sockets begin with: it is another one after each change of naja's code.

    "" where naja is not compiled ahead, and its code might be anything. A copy has the same as what it was
    made from: native/launcher.c may have been compiled for another place.
    """
    try:
        from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
    except ImportError:  # Python before 3.12
        from _sha256 import sha256  # type: ignore[import-not-found,no-redef,unused-ignore]

    try:
        file = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # The index is at the head: of each module when it was changed, and how long it is.
        state = sha256(os.pread(file, _HEAD, 0)).hexdigest()
    finally:
        os.close(file)
    return f"/run/containerd/s/naja-{state[:16]}-"


def place(containerd: str) -> str:
    """Return the path of the socket for the containerd that has an address, "" where there is none."""
    start = beginning()
    number = _OFFSET
    for byte in os.fsencode(containerd):
        number = (number ^ byte) * _PRIME & _MASK
    return start and f"{start}{number >> 1}"
