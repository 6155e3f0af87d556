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

import _signal
import fcntl
import os
import posix
import sys
from errno import EROFS

from ..errors import NajaError, unborn
from ..linux import mounts
from ..linux.files import OVERLAYFS_MAGIC, filesystem_magic

_MFD_EXEC = 0x10
_F_ADD_SEALS, _F_GET_SEALS = 1033, 1034
_ALL_SEALS = 0x1 | 0x2 | 0x4 | 0x8  # F_SEAL_SEAL, SHRINK, GROW, WRITE

#: The file that this process was started from.
_OWN = "/proc/self/exe"

#: An option of Python's that does nothing, but to tell that this has been done (sys._xoptions).
_DONE = "naja-sealed"

_SIGINT = 2


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
    # The mount is not closed: execve does that.
    return os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=mount)


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


def go_on_sealed() -> None:
    """See that this process, a command, runs from a sealed file: else it executes itself anew from one.

    It keeps its pid, words, environment and descriptors. To be called before anything was done that cannot be
    done twice. Raises NajaError.
    """
    if is_sealed():
        return
    what = "start the sealed interpreter"
    if was_executed():
        raise NajaError(what, why="what was started is not sealed")
    try:
        with open("/proc/self/cmdline", "rb", buffering=0) as file:
            first, *words = file.readall()[:-1].split(b"\0")
        _, interpreter = sealed_interpreter()
        # Ctrl-C while Python starts would end in a traceback; cli/main.py lets it through.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, (_SIGINT,))
        os.execve(f"/proc/self/fd/{interpreter}", [first, b"-X", _DONE.encode(), *words], dict(posix.environ))
    except OSError as error:
        raise NajaError.from_os_error(what, error, why=unborn(error)) from None


def was_executed() -> bool:
    """Tell whether this process has executed itself anew to be sealed."""
    # A Python that was half started has none.
    return _DONE in getattr(sys, "_xoptions", ())


def require_sealed() -> None:
    """Raise NajaError where this process does not run from a sealed file."""
    if not is_sealed():
        why = "this process could be overwritten by a container; the command naja cannot"
        raise NajaError("make a process in a container", why=why)
