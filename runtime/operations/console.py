"""Operations that give the container's process a terminal (config.md, Process: terminal)."""

from __future__ import annotations

import fcntl
import os
import stat
from struct import pack

from ..errors import NajaError
from ..linux import files, mounts
from .base import Context, Operation

# ioctl_tty(2)
_TIOCSCTTY, _TIOCSWINSZ, _TIOCSPTLCK, _TIOCGPTPEER = 0x540E, 0x5414, 0x40045431, 0x5441

#: Majors of the slaves of pseudo-terminals (devices.txt of the kernel).
_PTS_MAJORS = range(136, 144)


class OpenConsole(Operation):
    """Make a pseudo-terminal in the container's own devpts, and put it on /dev/console.

    Leaves the descriptors "tty" (the container's side) and "console" (the master, handed over).
    """

    __slots__ = ("mount", "size")

    def __init__(
        self, size: tuple[int, int] | None, *, mount: bool, origin: str = "/process/terminal"
    ) -> None:
        self.origin = origin
        #: (rows, columns); None to leave the size to whoever serves the terminal.
        self.size = size
        #: Whether it appears at /dev/console.
        self.mount = mount

    def describe(self) -> str:
        size = f" of {self.size[0]} rows and {self.size[1]} columns" if self.size else ""
        return f"open a terminal{size}" + (" and bind it on /dev/console" if self.mount else "")

    def apply(self, context: Context) -> None:
        root = context.descriptors["rootfs"]
        master = self._open_master(root, context.descriptors["proc"])
        fcntl.ioctl(master, _TIOCSPTLCK, pack("=i", 0))
        # Asked of the master, not opened by a name: a name could be anything (CVE-2025-52565).
        slave: int = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        status = os.fstat(slave)
        if not (stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTS_MAJORS):
            raise NajaError(self.describe(), why="the terminal is not a pseudo-terminal", origin=self.origin)
        if self.size:
            fcntl.ioctl(master, _TIOCSWINSZ, pack("=4H", *self.size, 0, 0))
        if self.mount:
            self._mount(root, slave)
        context.descriptors["tty"] = slave
        context.descriptors["console"] = master
        context.handover.append("console")

    def _open_master(self, root: int, proc: int) -> int:
        path = "/dev/pts/ptmx"
        try:
            found = files.open_in_root(root, path, os.O_PATH | os.O_NOFOLLOW)
            genuine = files.is_device(os.fstat(found), stat.S_IFCHR, 5, 2)
            if genuine and files.filesystem_magic(found) == files.DEVPTS_SUPER_MAGIC:
                return files.reopen(proc, found, os.O_RDWR | os.O_NOCTTY)
        except OSError as error:
            why = "a terminal needs a devpts on /dev/pts"
            raise NajaError.from_os_error(f"open {path}", error, why=why, origin=self.origin) from None
        os.close(found)
        raise NajaError(f"open {path}", why="it does not belong to a devpts", origin=self.origin)

    def _mount(self, root: int, slave: int) -> None:
        directory = files.mkdir_in_root(root, "/dev")
        try:
            os.mknod("console", stat.S_IFREG | 0o600, dir_fd=directory)
        except FileExistsError:
            pass
        # A link in the image must not decide where the terminal goes (CVE-2026-88264).
        resolve = files.RESOLVE_BENEATH | files.RESOLVE_NO_SYMLINKS
        try:
            target = files.openat2(directory, "console", os.O_PATH, resolve=resolve)
        except OSError as error:
            raise NajaError.from_os_error("open /dev/console", error, origin=self.origin) from None
        finally:
            os.close(directory)
        mount = mounts.open_tree(slave)
        mounts.move_mount(mount, target)
        os.close(mount)
        os.close(target)


class UseConsole(Operation):
    """Make the terminal standard input, output and error, and the session's controlling terminal."""

    __slots__ = ()

    def __init__(self, *, origin: str = "/process/terminal") -> None:
        self.origin = origin

    def describe(self) -> str:
        return "use the terminal as stdio and as the controlling terminal"

    def apply(self, context: Context) -> None:
        tty = context.take("tty")
        for fd in range(3):
            os.dup2(tty, fd)
        os.close(tty)
        fcntl.ioctl(0, _TIOCSCTTY, 0)
