"""What is kept on disk for each container: one directory, in it one record, and a lock on both.

The directory is ROOT/ID and the record ``state.json`` in it, replaced atomically. The lock is
flock(2) on the directory itself: the kernel drops it when its holder dies, however that happens.
Everything below ROOT is reached by descriptor and no symbolic link is followed.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from ..config import json
from ..errors import AlreadyExists, NajaError, NotFound
from ..linux import process
from ..linux.process import start_time
from .record import problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

__all__ = [
    "BrokenRecord",
    "NoContainer",
    "StateDirectory",
    "alive",
    "check_id",
    "default_root",
    "ids",
    "start_time",
    "status",
]

_RECORD, _NEW_RECORD = "state.json", "state.json.new"
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-")

#: How long a file that is not there yet is waited for, in seconds, while another command is at work.
_PATIENCE = 2.0
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NoContainer(NotFound):
    """There is no container of that ID; engines look for these words."""

    def __init__(self, id: str) -> None:
        super().__init__("container does not exist", why=id)


def default_root() -> str:
    """Return the state root where ``--root`` does not say: $XDG_RUNTIME_DIR/naja for users, else /run/naja.

    Root inside a user namespace counts as a user, as for runc, but where $USER says "root". Podman calls
    a runtime without $USER. For a user who has no such variable one is found. Raises NajaError.
    """
    runtime_directory = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime_directory and (os.geteuid() != 0 or _root_by_name_only()):
        return os.path.join(runtime_directory, "naja")
    if os.geteuid() != 0:
        from . import user_root

        return user_root.find()
    return "/run/naja"


def _root_by_name_only() -> bool:
    """Tell whether uid 0 is somebody else outside of this user namespace (user_namespaces(7))."""
    return os.environ.get("USER") != "root" and process.in_user_namespace()


def check_id(id: str) -> None:
    """Refuse what cannot name a container. Raises NajaError."""
    if not id or id in (".", "..") or not _ID_CHARACTERS.issuperset(id):
        raise NajaError(
            "invalid container ID format", why=f"{id!r}: letters, digits, _, +, . and - may be in it"
        )


def ids(root: str) -> list[str]:
    """Return the IDs of all containers kept below ``root``, sorted; none where it does not exist."""
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise NajaError.from_os_error(f"list the containers in {root}", error) from None
    return sorted(name for name in names if _ID_CHARACTERS.issuperset(name))


class BrokenRecord(NajaError):
    """A container's record tells nothing; ``delete --force`` does without (naja.container.remains)."""


class StateDirectory:
    """The directory of one container, held open. Make one with ``create`` or ``open``."""

    __slots__ = ("_content", "_descriptor", "_locked", "_record", "_root_descriptor", "id", "path", "root")

    def __init__(self, root: str, id: str, root_descriptor: int, descriptor: int) -> None:
        self.root = root
        self.id = id
        self.path = os.path.join(root, id)
        self._root_descriptor = root_descriptor
        self._descriptor = descriptor
        self._locked = False
        #: The record as last read, and what it says: verbs look again once they have the lock.
        self._content: bytes | None = None
        self._record: dict[str, Any] = {}

    @classmethod
    def create(cls, root: str, id: str) -> StateDirectory:
        """Make the directory of a new container, and the root above it where there is none.

        Raises NajaError: "container with given ID already exists", or a reason of the kernel's.
        """
        check_id(id)
        try:
            _make_root(root)
            root_descriptor = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
        except OSError as error:
            from ..linux import unexecutable

            why = unexecutable.unopened(root, error)
            raise NajaError.from_os_error(f"make the state root {root}", error, why=why) from None
        try:
            # 0711, as a container's own user may have to reach a socket in it.
            os.mkdir(id, 0o711, dir_fd=root_descriptor)
            os.chmod(id, 0o711, dir_fd=root_descriptor)  # whatever the umask is
            return cls(root, id, root_descriptor, os.open(id, _DIRECTORY, dir_fd=root_descriptor))
        except FileExistsError:
            os.close(root_descriptor)
            raise AlreadyExists("container with given ID already exists", why=id) from None
        except FileNotFoundError:
            os.close(root_descriptor)
            raise NoContainer(id) from None  # Another command has deleted it at once.
        except OSError as error:
            _remove_empty(id, root_descriptor)
            os.close(root_descriptor)
            raise NajaError.from_os_error(f"make the state directory {root}/{id}", error) from None

    @classmethod
    def open(cls, root: str, id: str) -> StateDirectory:
        """Open the directory of a container. Raises NoContainer."""
        check_id(id)
        root_descriptor = -1
        try:
            root_descriptor = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
            return cls(root, id, root_descriptor, os.open(id, _DIRECTORY, dir_fd=root_descriptor))
        except OSError as error:
            if root_descriptor >= 0:
                os.close(root_descriptor)
            if isinstance(error, FileNotFoundError):
                raise NoContainer(id) from None
            raise NajaError.from_os_error(f"open the state directory {root}/{id}", error) from None

    @classmethod
    def take_over(cls, root: str, id: str, descriptor: int) -> StateDirectory:
        """Take over a directory that is open, and locked by that. Raises NajaError."""
        check_id(id)
        try:
            os.set_inheritable(descriptor, False)
            taken = cls(root, id, os.open(root, _DIRECTORY & ~os.O_NOFOLLOW), descriptor)
        except OSError as error:
            raise NajaError.from_os_error(f"take over the state directory {root}/{id}", error) from None
        taken._locked = True
        return taken

    def lock(self, *, wait: bool = True) -> None:
        """Keep every other command off this container, until ``unlock``, ``close`` or death.

        Raises NoContainer where it was deleted meanwhile, and NajaError where, with ``wait`` false,
        another command holds the lock.
        """
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise NajaError("container is busy with another command", why=self.id) from None
        except OSError as error:
            raise NajaError.from_os_error(f"lock container {self.id}", error) from None
        self._locked = True
        if os.fstat(self._descriptor).st_nlink == 0:
            raise NoContainer(self.id)

    def claim(self) -> None:
        """Lock a directory that was just made. Raises NajaError where it was deleted, or made anew."""
        try:
            self.lock()
            taken = bool(os.listdir(self._descriptor))
        except OSError as error:
            _remove_empty(self.id, self._root_descriptor)
            raise NajaError.from_os_error(f"lock the state directory {self.path}", error) from None
        if taken:
            raise AlreadyExists("container with given ID already exists", why=self.id)

    def unlock(self) -> None:
        """Let the next command have the container."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._locked = False

    def write_file(self, name: str, content: bytes, *, replaces: bool = False) -> None:
        """Write a file beside the record, a new one in the place of whatever is there. Raises OSError.

        With ``replaces`` it will be renamed to another file. A file whose blocks are not chosen yet ext4 then
        writes out, and who removes it soon waits for that (ext4(5), auto_da_alloc).
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        except FileExistsError:
            os.unlink(name, dir_fd=self._descriptor)
            descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        with open(descriptor, "wb", buffering=0) as file:
            if replaces:
                _reserve(descriptor, len(content))
            while content:  # A disk that fills up takes a part of it first.
                content = content[file.write(content) :]

    def names(self) -> list[str]:
        """Return the names of all that is in the directory. Raises OSError."""
        return os.listdir(self._descriptor)

    def remove_file(self, name: str) -> None:
        """Remove a file beside the record. Raises OSError."""
        os.unlink(name, dir_fd=self._descriptor)

    def read_file(self, name: str) -> bytes:
        """Return the content of a file beside the record. Raises OSError, NajaError where it is no file."""
        return json.read(name, directory=self._descriptor, name=os.path.join(self.path, name))

    def read_kept(self, name: str) -> bytes | None:
        """Return the content of a file that every container has; None where its making was cut off.

        While another command makes the container, or removes it, what becomes of it is awaited. Raises
        OSError, and NoContainer where it is gone.
        """
        end = time.monotonic() + _PATIENCE
        at_work = True
        while True:
            try:
                return self.read_file(name)
            except FileNotFoundError:
                # What was seen before the file was looked for tells whether that was the last word.
                if not at_work or time.monotonic() > end:
                    return None
            time.sleep(0.001)
            at_work = self._is_at_work()
            if os.fstat(self._descriptor).st_nlink == 0:
                raise NoContainer(self.id) from None

    def _is_at_work(self) -> bool:
        """Tell whether another command holds the lock."""
        if self._locked:
            return False
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def listen(self, name: str) -> int:
        """Return a descriptor that listens on a new unix socket in the directory. Raises OSError."""
        import _socket  # Hundreds of constants, which most verbs do without.

        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        # Nobody else's from the beginning, and ours whatever the umask is.
        os.chmod(listener.fileno(), 0o600)
        # By descriptor, for the path of a socket may have 107 bytes only (unix(7)).
        listener.bind(f"/proc/self/fd/{self._descriptor}/{name}")
        os.chmod(name, 0o600, dir_fd=self._descriptor)
        listener.listen(8)
        return listener.detach()

    def connect(self, name: str) -> _socket.socket:
        """Return a connection to the unix socket ``name`` in the directory.

        Raises OSError, BlockingIOError where too many wait there to be let in.
        """
        import _socket

        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        connection.connect(f"/proc/self/fd/{self._descriptor}/{name}")
        connection.setblocking(True)
        return connection

    def listens(self, name: str) -> bool:
        """Tell whether somebody listens on the unix socket ``name`` in the directory."""
        try:
            self.connect(name).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # There are many who wait to be let in, or it cannot be told.
        return True

    def make_subdirectory(self, name: str) -> None:
        """Make a directory beside the record, that everyone may enter. Raises OSError."""
        os.mkdir(name, 0o755, dir_fd=self._descriptor)
        os.chmod(name, 0o755, dir_fd=self._descriptor)  # whatever the umask is

    def subdirectory(self, name: str) -> OpenDirectory:
        """Open a directory beside the record, for the time of a ``with``. Raises OSError."""
        return OpenDirectory(os.open(name, _DIRECTORY, dir_fd=self._descriptor))

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record; a reader sees the old one or the new one. Raises NajaError."""
        self.draft(record)
        self.commit()

    def draft(self, record: dict[str, Any]) -> bytes:
        """Write the record that ``commit`` makes the container's, and return its text. Raises NajaError."""
        content = json.dumps(record).encode()
        try:
            self.write_file(_NEW_RECORD, content, replaces=True)
        except OSError as error:
            self._discard_draft()
            raise self._cannot_write(error) from None
        return content

    def commit(self) -> None:
        """Make the last draft the record. Raises NajaError."""
        try:
            os.rename(_NEW_RECORD, _RECORD, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        except OSError as error:
            raise self._cannot_write(error) from None

    def _discard_draft(self) -> None:
        try:
            os.unlink(_NEW_RECORD, dir_fd=self._descriptor)
        except OSError:
            pass  # It is no record, whatever it holds.

    def has_draft(self) -> bool:
        """Tell whether there is a draft that is not the record: a command is at work, or was cut off."""
        try:
            os.stat(_NEW_RECORD, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _cannot_write(self, error: OSError) -> NajaError:
        return NajaError.from_os_error(f"write the state of container {self.id}", error)

    def read(self) -> dict[str, Any]:
        """Return the record; {} where a create was killed before it wrote one.

        Raises BrokenRecord where it is not what was written, NoContainer where it was deleted meanwhile,
        and NajaError.
        """
        what = f"the state of container {self.id}, {self.path}/{_RECORD}"
        try:
            content = self.read_kept(_RECORD)
        except OSError as error:
            raise NajaError.from_os_error(f"read {what}", error) from None
        except NoContainer:
            raise
        except NajaError as error:
            raise BrokenRecord(error.what, why=error.why) from None
        if content is None:
            return {}
        if content != self._content:
            self._content, self._record = content, self._checked(content, what)
        return dict(self._record)

    def _checked(self, content: bytes, what: str) -> dict[str, Any]:
        try:
            record = json.loads(content, what)
        except NajaError as error:
            raise BrokenRecord(error.what, why=error.why) from None
        if why := problem(record, self.id):
            raise BrokenRecord(what, why=why)
        return record  # type: ignore[no-any-return]

    def identity(self) -> str:
        """Return what no other state directory is called while this one is there."""
        status = os.fstat(self._descriptor)
        return f"{status.st_dev:x}.{status.st_ino:x}."

    def hand_over(self) -> int:
        """Give up the lock, and return the descriptor, for a process that is to know the directory again.

        As long as it is open no other directory has the same number.
        """
        self.unlock()
        return self._descriptor

    def remove(self) -> None:
        """Remove the directory with all that is in it; already gone is no error. Raises NajaError."""
        try:
            _empty(self._descriptor)
            if os.fstat(self._descriptor).st_nlink:  # Else one of that name is another container's.
                os.rmdir(self.id, dir_fd=self._root_descriptor)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise NajaError.from_os_error(f"remove the state directory {self.path}", error) from None

    def close(self) -> None:
        """Close the descriptors, and so give up the lock."""
        os.close(self._descriptor)
        os.close(self._root_descriptor)


def _reserve(descriptor: int, size: int) -> None:
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        pass  # A file system without it has no need of it, and a full one says so when it is written to.


class OpenDirectory:
    """A directory's descriptor, closed at the end of a ``with``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _make_root(root: str) -> None:
    """Make the state root; a user's is sticky, so that no one tidies it away (XDG base directories)."""
    if os.path.isdir(root):
        return
    os.makedirs(root, 0o700, exist_ok=True)
    if root.startswith(os.environ.get("XDG_RUNTIME_DIR") or "\0"):
        os.chmod(root, 0o1700)


def _remove_empty(id: str, root: int) -> None:
    """Remove a directory that could not be made use of, if it is there and nobody has put anything in it."""
    try:
        os.rmdir(id, dir_fd=root)
    except OSError:
        return  # What failed before is the error to tell.


def _empty(directory: int) -> None:
    """Remove all that is in an open directory, the record last: without it, the rest has no owner."""
    names = [name for name in os.listdir(directory) if name != _RECORD]
    for name in (*names, _RECORD):
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        except OSError:
            if not stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode):
                raise
            descriptor = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                _empty(descriptor)
            finally:
                os.close(descriptor)
            os.rmdir(name, dir_fd=directory)


def alive(pid: int, started: int) -> bool:
    """Tell whether the process that had this pid, and was started then, still runs."""
    return started != 0 and start_time(pid) == started


def status(record: dict[str, Any]) -> str:
    """Return "creating", "created", "running" or "stopped": the status last written, if its process lives.

    The record's ``pid`` and ``start_time`` name the container's process or, while that is not yet
    born, naja's own. Whether a running container is paused is known to its cgroup only.
    """
    if alive(record.get("pid", 0), record.get("start_time", 0)):
        return str(record["status"])
    return "stopped"
