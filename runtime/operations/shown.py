"""Whose namespace a procfs, a sysfs or an mqueue file system shows that is mounted somewhere.

One that was mounted in another namespace stays in sight when this process, or who started it, has left that.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import stat
from struct import pack

from ..linux import files, libc

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
#: ioctl(2) of netdevice(7)
_SIOCGIFHWADDR = 0x8927
#: How often interfaces are looked at that come or go meanwhile.
_LOOKS = 3


def is_own(kind: str, mount: int) -> bool:
    """Tell whether a file system shows this process's own namespace; in doubt it does not."""
    try:
        return _TESTS[kind](mount)
    except OSError:
        return False


def _shows_our_pids(proc: int) -> bool:
    """Tell whether a procfs knows no other pid of this process than its own."""
    with open(files.open_beneath(proc, "self/status", os.O_RDONLY), "rb") as file:
        return any(line.startswith(b"NSpid:") and len(line.split()) == 2 for line in file)


def _shows_our_interfaces(sysfs: int) -> bool:
    """Tell whether a sysfs has the interfaces that are here, by their names and addresses."""
    directory = files.open_beneath(sysfs, "class/net", _DIRECTORY)
    try:
        return any(_interfaces_in(directory) == _interfaces_here() for _ in range(_LOOKS))
    finally:
        os.close(directory)


def _interfaces_in(directory: int) -> dict[str, bytes]:
    found = {}
    for name in os.listdir(directory):
        # Beside them lies a file of the bonding driver's.
        if stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            with open(os.open(f"{name}/address", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
                address = bytes.fromhex(file.read().decode().strip().replace(":", ""))
            # Of a tunnel it is shorter, or there is none.
            found[name] = address[:6].ljust(6, b"\0")
    return found


def _interfaces_here() -> dict[str, bytes]:
    asked = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        names = [name for _, name in _socket.if_nameindex()]
        # struct ifreq: a name, a family, an address as long as the kind of interface has it.
        return {
            name: fcntl.ioctl(asked.fileno(), _SIOCGIFHWADDR, pack("=16s24x", os.fsencode(name)))[18:24]
            for name in names
        }
    finally:
        asked.close()


def _shows_our_queues(mqueue: int) -> bool:
    """Tell whether a queue that is made here is in the same file system."""
    name = b"/naja-" + os.urandom(8).hex().encode()
    queue = libc.call(libc.function("mq_open"), name, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600, None)
    try:
        return os.fstat(queue).st_dev == os.fstat(mqueue).st_dev
    finally:
        os.close(queue)
        libc.call(libc.function("mq_unlink"), name)


_TESTS = {"proc": _shows_our_pids, "sysfs": _shows_our_interfaces, "mqueue": _shows_our_queues}
