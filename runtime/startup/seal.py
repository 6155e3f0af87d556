"""The sealed interpreter: what /proc/self/exe of a process inside a container may lead to.

This is safety, not speed: it costs 0.2 ms, and where native/launcher.c has not done it a second start
of Python.

A container that is told to exec /proc/self/exe holds a handle to the file that ran before it. Were
that the host's Python, the container could wait for naja to end and overwrite it (CVE-2019-5736).
So the process that enters runs from a copy that nobody can write: the interpreter seen through a
detached overlay without an upper layer (0.2 ms), or, where overlay cannot be mounted, a sealed
memfd.
"""

from __future__ import annotations

import _thread
import fcntl
import os
import sys
from errno import EROFS

from ..linux import mounts
from ..linux.files import OVERLAYFS_MAGIC, filesystem_magic
from . import precompiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.channel import Channel

_MFD_EXEC = 0x10
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, SHRINK, GROW, WRITE

#: The file that this process was started from.
_OWN = "/proc/self/exe"

_MAIN = """\
from naja.process.stage import main
main({fd}, {keep})
"""


def is_sealed() -> bool:
    """Tell whether this very process runs from a sealed file, as native/launcher.c starts it.

    What that file is decides; that it is another one than sys.executable says nothing. In doubt it is not.
    """
    try:
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_sealed_memory(own) or _is_detached_overlay(own)
    except OSError:
        return False
    finally:
        os.close(own)


def _is_sealed_memory(file: int) -> bool:
    try:
        return fcntl.fcntl(file, _F_GET_SEALS) & _ALL_SEALS == _ALL_SEALS
    except OSError:  # Only files in memory have seals.
        return False


def _is_detached_overlay(file: int) -> bool:
    """Tell whether a file is below a detached overlay without an upper layer, whose root is its directory."""
    name = os.readlink(_OWN)
    if filesystem_magic(file) != OVERLAYFS_MAGIC or name.count("/") != 1:
        return False
    try:
        if os.path.samestat(os.stat(name), os.fstat(file)):
            return False  # It can be reached, so it is not detached.
    except OSError:
        pass
    try:
        os.close(os.open(_OWN, os.O_WRONLY | os.O_CLOEXEC))
    except OSError as error:
        # Were only the mount read-only, the kernel would first say that the file is being executed.
        return error.errno == EROFS
    return False


def sealed_interpreter() -> tuple[str, int]:
    """Return the interpreter's real path, and a descriptor of a sealed view of it. Raises OSError."""
    path = os.path.realpath(sys.executable)
    try:
        return path, _through_overlay(path)
    except OSError:
        return path, _in_memory(path)


def _through_overlay(path: str) -> int:
    """Open the interpreter below a detached, read-only overlay (fsopen(2)); no copy is made."""
    directory, name = os.path.split(path)
    filesystem = mounts.fsopen("overlay")
    try:
        # A lower directory may not stand alone; the second is naja's own and holds nothing that matters.
        lower = os.path.dirname(os.path.abspath(__file__))
        escaped = [part.replace("\\", "\\\\").replace(":", "\\:") for part in (directory, lower)]
        mounts.fsconfig_string(filesystem, "lowerdir", ":".join(escaped))
        mounts.fsconfig_create(filesystem)
        mount = mounts.fsmount(filesystem, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NODEV)
    finally:
        os.close(filesystem)
    try:
        return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=mount)
    finally:
        # Whoever closes a detached mount waits for an RCU grace period; that need not be this thread.
        _thread.start_new_thread(os.close, (mount,))


def _in_memory(path: str) -> int:
    """Copy the interpreter into a memfd and seal it against every change (memfd_create(2))."""
    try:
        memory = os.memfd_create("naja", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | _MFD_EXEC)
    except OSError:  # MFD_EXEC came with Linux 6.3
        memory = os.memfd_create("naja", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        left = os.fstat(source).st_size
        while left > 0:
            left -= os.sendfile(memory, source, None, left) or left
        fcntl.fcntl(memory, _F_ADD_SEALS, _ALL_SEALS)
    except BaseException:
        os.close(memory)
        raise
    finally:
        os.close(source)
    return memory


def spawn_stage(keep: tuple[int, ...] = ()) -> tuple[int, Channel]:
    """Start the stage: a sealed Python that waits for a plan. Returns its pid and the channel to it.

    ``keep`` are descriptors that it inherits under their numbers. It boots while the caller goes on.
    Raises OSError.
    """
    from ..linux.channel import Channel

    path, interpreter = sealed_interpreter()
    ours, theirs = Channel.pair()
    # dup2 of a descriptor onto itself clears close-on-exec (posix_spawn(3)).
    actions = [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in (theirs.fileno(), *keep)]
    code = precompiled.boot() + _MAIN.format(fd=theirs.fileno(), keep=len(keep))
    try:
        pid = os.posix_spawn(
            f"/proc/self/fd/{interpreter}", [path, "-I", "-S", "-c", code], {}, file_actions=actions
        )
    except OSError:
        ours.close()
        raise
    finally:
        os.close(interpreter)
        theirs.close()
    return pid, ours
