"""Operations that make or join namespaces, map ids, and give birth to the container's process."""

from __future__ import annotations

import errno
import os

from ..errors import NajaError, unborn
from ..linux import capabilities, namespaces, process
from .base import INIT, STAGE, Context, Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    #: (first id inside, first id outside, how many)
    Mapping = tuple[int, int, int]


_SIGKILL = 9


def refused(error: OSError) -> str:
    """Return what to do where a namespace, or a process in one, could not be made; "" where nothing is known.

    For whoever was refused (unshare(2), clone(2)).
    """
    if error.errno == errno.ENOSPC:
        return "raise the limit of namespaces (sysctl user.max_*_namespaces)"
    if error.errno == errno.EPERM and not capabilities.get()[0] & capabilities.SYS_ADMIN:
        return "without root it takes a user namespace: `naja spec --rootless` writes a config with one"
    return unborn(error)


class JoinNamespaces(Operation):
    """Join namespaces by path (config-linux.md, Namespaces).

    A user namespace among them is left to JoinUser: what is to be mounted with the host's rights comes
    in between.
    """

    __slots__ = ("paths",)

    def __init__(self, paths: list[tuple[str, str, str]], *, origin: str = "/linux/namespaces") -> None:
        #: (type, path, origin) of each, as the config orders them.
        self.paths = paths
        self.origin = origin

    def describe(self) -> str:
        joined = _listed(path for path in self.paths if path[0] != "user")
        user = _listed(path for path in self.paths if path[0] == "user")
        return " and ".join(filter(None, (user and f"open {user}", joined and f"join {joined}")))

    def apply(self, context: Context) -> None:
        # All are opened before the first is joined: afterwards the paths may mean something else.
        waiting = [(kind, path, origin, _open(kind, path, origin)) for kind, path, origin in self.paths]
        context.own_namespaces = [kind for kind, _, _, fd in waiting if _is_own(kind, fd)]
        # Mounts last, for the others need the host's /proc no more but lose its root with it. A
        # namespace that belongs to the host is joined with the host's privileges, one that belongs to
        # the user namespace with those gained by joining that: whoever is refused tries again after it.
        waiting.sort(key=lambda entry: entry[0] == "mount")
        again = any(kind == "user" for kind, _, _ in self.paths)
        for kind, path, origin, descriptor in waiting:
            if again and (kind in ("user", "mount") or not _try_join(kind, path, origin, descriptor)):
                context.descriptors[waits(kind)] = descriptor
            elif not again:
                _join(kind, path, origin, descriptor)


class JoinUser(Operation):
    """Join a user namespace by path, and with the rights that this gives what waits for them."""

    __slots__ = ("paths",)

    def __init__(self, paths: list[tuple[str, str, str]], *, origin: str = "/linux/namespaces") -> None:
        #: Those of JoinNamespaces, which opened them all.
        self.paths = paths
        self.origin = origin

    def describe(self) -> str:
        user = _listed(path for path in self.paths if path[0] == "user")
        return f"join {user}, and with its rights what the host's did not suffice for"

    def apply(self, context: Context) -> None:
        for kind, path, origin in sorted(self.paths, key=_user_first_mount_last):
            if waits(kind) in context.descriptors:
                _join(kind, path, origin, context.take(waits(kind)))
            if kind == "user":
                _become_root()


def waits(kind: str) -> str:
    """Return the name of the descriptor of a namespace that could not be joined yet."""
    return f"{kind} namespace"


def _user_first_mount_last(path: tuple[str, str, str]) -> tuple[bool, bool]:
    return path[0] == "mount", path[0] != "user"


def _listed(paths: Iterable[tuple[str, str, str]]) -> str:
    return ", ".join(f"{kind} namespace {path}" for kind, path, _ in paths)


def _is_own(kind: str, descriptor: int) -> bool:
    """Tell whether a namespace is the one that this process is in."""
    theirs, own = os.fstat(descriptor), os.stat(f"/proc/self/ns/{namespaces.file_name(kind)}")
    return (theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino)


def _open(kind: str, path: str, origin: str) -> int:
    try:
        # A FIFO would wait for somebody who writes.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise NajaError.from_os_error(f"open {kind} namespace {path}", error, origin=origin) from None


def _join(kind: str, path: str, origin: str, descriptor: int) -> None:
    try:
        namespaces.setns(descriptor, namespaces.FLAGS[kind])
    except OSError as error:
        why = f"this is not a {kind} namespace that can be joined" if error.errno == errno.EINVAL else ""
        raise NajaError.from_os_error(
            f"join {kind} namespace {path}", error, why=why, origin=origin
        ) from None
    os.close(descriptor)


def _try_join(kind: str, path: str, origin: str, descriptor: int) -> bool:
    try:
        namespaces.setns(descriptor, namespaces.FLAGS[kind])
    except PermissionError:
        return False
    except OSError:
        _join(kind, path, origin, descriptor)
    os.close(descriptor)
    return True


class JoinProcess(Operation):
    """Join the namespaces of a running container's process, through a pidfd (setns(2))."""

    __slots__ = ("kinds", "pid")

    def __init__(self, pid: int, kinds: list[str]) -> None:
        self.origin = ""
        self.pid = pid
        self.kinds = kinds

    def describe(self) -> str:
        return f"join the {', '.join(self.kinds) or 'no'} namespaces of process {self.pid}"

    def apply(self, context: Context) -> None:
        pidfd = context.take("container")
        if self.kinds:
            # All or none, and never another process's: of one that has ended there are none (ESRCH).
            namespaces.setns(pidfd, namespaces.flags(self.kinds))
        os.close(pidfd)
        if "user" in self.kinds:
            # Not the first ids: the /proc in sight is the container's.
            _try_zero(os.setresgid)
            _try_zero(os.setresuid)
            process.set_dumpable(False)


class UnshareUser(Operation):
    """Make a user namespace; the next phase of the runtime fills its id maps."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "make a new user namespace"

    def apply(self, context: Context) -> None:
        try:
            namespaces.unshare(namespaces.CLONE_NEWUSER)
        except OSError as error:
            raise NajaError.from_os_error(self.describe(), error, why=_no_user_namespace(error)) from None
        # The id maps belong to whoever may look into this process: an unprivileged runtime could not
        # write them while it is not dumpable. It shares nothing with the container yet.
        process.set_dumpable(True)


#: Settings of the host's that keep its users from making user namespaces: file, value, name.
_FORBIDDING = (
    ("user/max_user_namespaces", "0", "user.max_user_namespaces"),
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns"),
)


def _no_user_namespace(error: OSError) -> str:
    """Return why a user namespace could not be made, "" where nothing is known."""
    if error.errno not in (errno.EPERM, errno.ENOSPC, errno.EUSERS):
        return unborn(error)
    for file, value, name in _FORBIDDING:
        try:
            with open(f"/proc/sys/{file}", "rb") as setting:
                if setting.read().strip().decode() == value:
                    return f"the host's setting {name} = {value} forbids it to users"
        except OSError:
            continue  # This kernel has none.
    return "in a chroot nobody may" if error.errno == errno.EPERM else refused(error)


class MapIds(Operation):
    """Write uid_map and gid_map of the stage (user_namespaces(7)); done by the runtime."""

    __slots__ = ("gids", "rootless", "uids")

    def __init__(self, uids: list[Mapping], gids: list[Mapping], *, rootless: bool) -> None:
        self.origin = "/linux/uidMappings"
        self.uids = uids
        self.gids = gids
        self.rootless = rootless

    def describe(self) -> str:
        return f"map uids {_ranges(self.uids)} and gids {_ranges(self.gids)}"

    def apply(self, context: Context) -> None:
        pid = context.values["stage"]
        self._write(pid, "uid", self.uids, "/linux/uidMappings")
        self._write(pid, "gid", self.gids, "/linux/gidMappings")

    def _write(self, pid: int, kind: str, mappings: list[Mapping], origin: str) -> None:
        if not mappings:
            return
        own = os.geteuid() if kind == "uid" else os.getegid()
        single = len(mappings) == 1 and mappings[0][1:] == (own, 1)
        # Root of a user namespace may write all maps itself, of the IDs that are there.
        unprivileged = self.rootless and os.geteuid() != 0
        try:
            if unprivileged and not single:
                _run_helper(kind, pid, mappings)
                return
            if unprivileged and kind == "gid":
                # Without privileges a group may be mapped only once setgroups is given up.
                _write_file(f"/proc/{pid}/setgroups", b"deny")
            lines = "".join(f"{inside} {outside} {size}\n" for inside, outside, size in mappings)
            _write_file(f"/proc/{pid}/{kind}_map", lines.encode())
        except OSError as error:
            raise NajaError.from_os_error(
                f"write {kind}_map of process {pid}", error, origin=origin
            ) from None


def _ranges(mappings: list[Mapping]) -> str:
    return ", ".join(f"{inside}→{outside}+{size}" for inside, outside, size in mappings) or "none"


def _write_file(path: str, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def _run_helper(kind: str, pid: int, mappings: list[Mapping]) -> None:
    """Let the set-uid helper of shadow-utils write a map that needs /etc/sub{u,g}id (newuidmap(1))."""
    program = f"new{kind}map"
    arguments = [program, str(pid)]
    for mapping in mappings:
        arguments.extend(str(number) for number in mapping)
    path = os.environ.get("PATH", os.defpath)
    for directory in path.split(":"):
        candidate = f"{directory}/{program}"
        if directory and os.access(candidate, os.X_OK):
            code, said = _run(candidate, arguments)
            if code:
                from . import subordinate

                raise subordinate.refusal(kind, mappings, f"{said or 'exit code'} ({code})", candidate)
            return
    raise NajaError(
        f"{program} is needed to map these ids without root, and is not in PATH {path}",
        why="it comes with the package uidmap",
        origin=f"/linux/{kind}Mappings",
    )


def _run(program: str, arguments: list[str]) -> tuple[int, str]:
    """Run a program to its end. Returns its exit code, and what it said on stderr, on one line."""
    output = os.memfd_create("output")
    try:
        actions = [(os.POSIX_SPAWN_DUP2, output, 2)]
        child = os.posix_spawn(program, arguments, dict(os.environ), file_actions=actions)
        _, status = os.waitpid(child, 0)
        said = os.pread(output, 1024, 0).decode("utf-8", "replace")
    finally:
        os.close(output)
    return os.waitstatus_to_exitcode(status), " ".join(said.split())


class BecomeRoot(Operation):
    """Take uid and gid 0 of the new user namespace, or the first that it has."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "become root of the user namespace"

    def apply(self, context: Context) -> None:
        _become_root()


def _become_root() -> None:
    """Take the ids 0 of the user namespace, or its first ones: without any no file can be made."""
    for change, kind in ((os.setresgid, "gid"), (os.setresuid, "uid")):
        if not _try_zero(change):
            first = _first_id(kind)
            change(first, first, first)
    process.set_dumpable(False)


def _try_zero(change: Callable[[int, int, int], None]) -> bool:
    """Take an id 0; tell whether the user namespace maps one. The capabilities are there anyway."""
    try:
        change(0, 0, 0)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True


def _first_id(kind: str) -> int:
    with open(f"/proc/self/{kind}_map", "rb") as file:
        words = file.read().split()
    if not words:
        raise NajaError("become somebody in the user namespace", why=f"it maps no {kind}s")
    return int(words[0])


class Unshare(Operation):
    """Make new namespaces of all other kinds at once (unshare(2))."""

    __slots__ = ("kinds",)

    def __init__(self, kinds: list[str], *, origin: str = "/linux/namespaces") -> None:
        self.kinds = kinds
        self.origin = origin

    def describe(self) -> str:
        plural = "s" if len(self.kinds) > 1 else ""
        return f"make new {', '.join(self.kinds)} namespace{plural}"

    def apply(self, context: Context) -> None:
        try:
            namespaces.unshare(namespaces.flags(self.kinds))
        except OSError as error:
            raise NajaError.from_os_error(self.describe(), error, why=refused(error)) from error


class LeaveMountNamespace(Operation):
    """Build the root file system in a new mount namespace for a container that is to have none.

    So the host's mounts stay as they are; ReturnToMountNamespace is the way back.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = "/linux/namespaces"

    def describe(self) -> str:
        return "leave the host's mount namespace until the root file system is built"

    def apply(self, context: Context) -> None:
        context.descriptors["mounts"] = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        namespaces.unshare(namespaces.CLONE_NEWNS)


class OpenTimeOffsets(Operation):
    """Open the file that sets the clocks of a time namespace, while it is in reach.

    It is the host's root's, as this process is not dumpable: whoever is in a user namespace may not open it.
    """

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = "/linux/timeOffsets"

    def describe(self) -> str:
        return "open the time offsets of the namespaces to come"

    def apply(self, context: Context) -> None:
        # For a caller who is not root. There is nobody yet with whom any namespace is shared.
        process.set_dumpable(True)
        file = os.open("/proc/self/timens_offsets", os.O_WRONLY | os.O_CLOEXEC)
        process.set_dumpable(False)
        context.descriptors["time offsets"] = file


class SetTimeOffsets(Operation):
    """Set the clocks of a new time namespace, before anybody is in it (time_namespaces(7))."""

    __slots__ = ("offsets",)

    def __init__(self, offsets: dict[str, Any]) -> None:
        self.origin = "/linux/timeOffsets"
        self.offsets = offsets

    def describe(self) -> str:
        clocks = (f"{clock} {entry.get('secs', 0)} s" for clock, entry in self.offsets.items())
        return f"set the time namespace's offsets: {', '.join(clocks)}"

    def apply(self, context: Context) -> None:
        lines = [
            f"{clock} {entry.get('secs', 0)} {entry.get('nanosecs', 0)}\n"
            for clock, entry in self.offsets.items()
        ]
        file = context.take("time offsets")
        try:
            os.write(file, "".join(lines).encode())
        finally:
            os.close(file)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_time_offsets(error)


class GiveBirth(Operation):
    """Give birth to the init, a child of the runtime, where asked for in new namespaces (clone3(2))."""

    __slots__ = ("kinds",)

    def __init__(self, kinds: list[str] | None = None) -> None:
        self.origin = "/linux/namespaces" if kinds else ""
        #: Namespaces that begin with the init; the caller stays in its own.
        self.kinds = kinds or []

    def describe(self) -> str:
        where = f", in a new {', '.join(self.kinds)} namespace" if self.kinds else ""
        return f"give birth to the container's first process, as a child of the runtime{where}"

    def apply(self, context: Context) -> None:
        flags = self.flags()
        if context.actor == STAGE:
            flags |= process.CLONE_PARENT
        try:
            pid = process.clone3(flags)
        except OSError as error:
            raise NajaError.from_os_error(self.describe(), error, why=refused(error)) from error
        if pid:
            context.values["init"] = pid
        else:
            context.actor = INIT

    def flags(self) -> int:
        """Return the CLONE_NEW* flags."""
        return namespaces.flags(self.kinds)

    @staticmethod
    def begin_life() -> None:
        """Do what the init does first, once it is where it can say what fails. Raises OSError."""
        # Until it is all set up there is nobody else to end it.
        process.set_parent_death_signal(_SIGKILL)
        os.setsid()


class OutliveRuntime(Operation):
    """Let the init live on when the runtime has done its part and ends."""

    __slots__ = ()

    def __init__(self) -> None:
        self.origin = ""

    def describe(self) -> str:
        return "outlive the runtime"

    def apply(self, context: Context) -> None:
        process.set_parent_death_signal(0)
