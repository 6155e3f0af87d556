"""What is there, as the caller sees it, for somebody who has to be told why something is not.

That is the container's user in its root, as a rule, and what is there may be a trap: nothing but a regular
file is opened, of it a page is read, a path is walked below a descriptor of the root, and of a directory a
few thousand names are looked at.
"""

from __future__ import annotations

import errno
import os
import posix
import stat

from ..errors import kind_of_file
from .files import PROC_SUPER_MAGIC, filesystem_magic, open_in_root
from .process import check_executable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

#: How much is read of a file, and how many names of a directory.
_PAGE, _MOST_NAMES = 4096, 4096
#: The longest of what others wrote that is repeated.
_LONGEST = 200
#: user_namespaces(7).
_OVERFLOW = 65534
#: statvfs(3).
_ST_NOEXEC = 8
#: What naja or an engine makes in a root file system without an image.
_MADE = {"dev", "proc", "sys", "etc", "run", "tmp"}


_MAGIC = "it is a link of procfs's, which are not followed, as they may lead out of the container"


class View:
    """The caller's root, or another directory in its place. Relative paths begin at the working directory."""

    def __init__(self, root: int = -1) -> None:
        """Look below the descriptor ``root``, which stays the caller's, where it is given."""
        self._given = root
        self._top = "/" if root < 0 else "the root file system"

    def __enter__(self) -> Self:
        if self._given < 0:
            self._root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            self._root = os.dup(self._given)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def open(self, path: str, flags: int = os.O_PATH) -> int:
        """Open a file; no magic link leads to it. Raises OSError."""
        return open_in_root(self._root, os.path.join(os.getcwd(), path), flags | os.O_CLOEXEC)

    def is_empty(self) -> bool:
        """Tell whether there is nothing in the root but mount points of file systems of the kernel."""
        return _MADE.issuperset(self.names("/"))

    def is_directory(self, path: str) -> bool:
        """Tell whether there is a directory."""
        try:
            os.close(self.open(path, os.O_PATH | os.O_DIRECTORY))
        except OSError:
            return False
        return True

    def names(self, directory: str) -> list[str]:
        """Return the first names in a directory, none where it cannot be read."""
        names: list[str] = []
        try:
            opened = self.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
        except OSError:
            return names
        try:
            with posix.scandir(opened) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) == _MOST_NAMES:
                        break
        except OSError:
            pass
        finally:
            os.close(opened)
        return names

    def head(self, path: str, status: os.stat_result) -> bytes | None:
        """Return the first page of a file, None where it may not be read, or is not that of ``status``."""
        try:
            file = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return None
        try:
            same = os.path.samestat(status, os.fstat(file))
            return os.pread(file, _PAGE, 0) if same and filesystem_magic(file) != PROC_SUPER_MAGIC else None
        except OSError:
            return None
        finally:
            os.close(file)

    def link(self, path: str) -> str:
        """Say where a symbolic link leads that leads nowhere, "" for all else."""
        try:
            file = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return ""
        try:
            target = os.fsdecode(os.readlink(b"", dir_fd=file))
        except OSError:
            return ""
        finally:
            os.close(file)
        return f"it is a symbolic link to {shown(target)}, where nothing is"

    def similar(self, path: str) -> str:
        """Return a path that differs in the case of its last name only, "" where there is none."""
        directory, name = os.path.split(path)
        for found in self.names(directory or "."):
            if found.lower() == name.lower() and found != name:
                return shown(os.path.join(directory, found))
        return ""

    def elsewhere(self, name: str, directories: Iterable[str]) -> str:
        """Return where in some directories there is a program of that name, "" where there is none."""
        for directory in directories:
            path = os.path.join(directory, name)
            try:
                file = self.open(path)
            except OSError:
                continue
            fits = not self.unfit(path, file)
            os.close(file)
            if fits:
                return shown(path)
        return ""

    def nearest(self, path: str) -> str:
        """Return the first part of a path that is not there, the directory above it being there."""
        parts = _steps(path)
        depth = len(parts)
        while depth > 1 and not self.is_directory(_path(parts[: depth - 1])):
            depth -= 1
        return _path(parts[:depth])

    def unfit(self, path: str, file: int) -> str:
        """Say why a file cannot be executed whatever is in it, "" where it can; ``file`` is it, opened."""
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return f"it is {kind_of_file(status.st_mode)}"
        try:
            check_executable(file)
        except PermissionError:
            if os.fstatvfs(file).f_flag & _ST_NOEXEC:
                return f"it lies in {shown(self._noexec(path))}, which is mounted noexec"
            if not status.st_mode & 0o111:
                return f"its mode is {stat.S_IMODE(status.st_mode):04o}, without x: chmod +x"
            return may_not("execute it", status)
        except OSError:
            pass  # The kernel, or a filter, does not answer.
        return ""

    def _noexec(self, path: str) -> str:
        """Return the highest directory above a file from which on all is noexec: the mount point."""
        parts = _steps(path)
        for depth in range(len(parts)):
            directory = self.open(_path(parts[:depth]))
            forbids = os.fstatvfs(directory).f_flag & _ST_NOEXEC
            os.close(directory)
            if forbids:
                return _path(parts[:depth])
        return path

    def obstacle(self, path: str, error: OSError) -> str:
        """Say which part of a path does not let the caller pass, "" where that is not seen."""
        parts = _steps(path)
        for depth in range(len(parts)):
            directory = _path(parts[:depth])
            try:
                opened = self.open(directory)
            except OSError:
                break
            status = os.fstat(opened)
            os.close(opened)
            if not stat.S_ISDIR(status.st_mode):
                return f"{shown(directory)} is {kind_of_file(status.st_mode)}"
            if error.errno == errno.EACCES and not self.is_directory(f"{directory}/."):
                return may_not(f"search {self._called(directory)}", status)
        if error.errno != errno.ELOOP:
            return ""
        return _MAGIC if self._in_procfs(path) else "there are too many symbolic links on the way"

    def unwritable(self, path: str) -> str:
        """Say that the caller may make nothing in the directory that a path lies in, "" where it may."""
        directory = os.path.dirname(self.nearest(path)) or "."
        try:
            opened = self.open(directory)
        except OSError:
            return ""
        try:
            if os.access(".", os.W_OK | os.X_OK, dir_fd=opened, effective_ids=True):
                return ""
            return may_not(f"write to {self._called(directory)}", os.fstat(opened))
        finally:
            os.close(opened)

    def _called(self, directory: str) -> str:
        return self._top if directory == "/" else shown(directory)

    def _in_procfs(self, path: str) -> bool:
        try:
            directory = self.open(os.path.dirname(path) or ".")
        except OSError:
            return False
        magic = filesystem_magic(directory)
        os.close(directory)
        return magic == PROC_SUPER_MAGIC


def may_not(what: str, status: os.stat_result) -> str:
    """Say that the caller has not the rights for something."""
    # 65534 is nobody, or whoever a user namespace does not know.
    nobody = "nobody, " if status.st_uid == _OVERFLOW else ""
    owner, mode = f"{nobody}{status.st_uid}:{status.st_gid}", stat.S_IMODE(status.st_mode)
    return f"user {os.geteuid()}:{os.getegid()} may not {what} (mode {mode:04o}, owner {owner})"


def shown(text: str) -> str:
    """Return what others wrote, as long as it may be in a message."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _steps(path: str) -> list[str]:
    return [step for step in os.path.join(os.getcwd(), path).split("/") if step not in ("", ".")]


def _path(steps: list[str]) -> str:
    return "/" + "/".join(steps)
