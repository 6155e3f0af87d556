"""Operations on cgroups: make them, hand controllers down, enter them. Nearly all are the runtime's.

cgroups(7); the kernel's admin-guide/cgroup-v1 and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import errno
import os
import time

from ..errors import NajaError, Unsupported
from ..linux.cgroupfs import DENIED, GONE, cgroup_of, move, read, type_of, write
from .base import Context, Operation
from .ownership import CLAIM, MADE, adopted, claim, is_own, made, release, skipped

#: Controllers of v2 that work for whole processes only; the others may be used in threaded cgroups.
_DOMAIN_CONTROLLERS = ("memory", "io", "hugetlb", "rdma", "misc")

#: What tells whether a cgroup is frozen, and which signals are pending in the process that opens it.
_TELLING, _STATUS = ("/freezer.state", "/cgroup.events"), "/proc/self/status"

#: SIGTERM, SIGINT, SIGHUP, SIGQUIT.
_ENDING = (15, 2, 1, 3)

#: The type of a cgroup below a threaded one that is not yet threaded itself.
_INVALID = "domain invalid"

#: Followed by its directory, the name of the descriptor by which the init enters a cgroup.
_DOOR = "door "


class MakeCgroup(Operation):
    """Make a cgroup, or adopt one that is there and empty; nobody else gets it before it is released."""

    __slots__ = ("directory", "inhabited", "optional")

    def __init__(self, directory: str, *, optional: bool, origin: str = "") -> None:
        self.directory = directory
        #: True where systemd may have made it, with the container's process in it.
        self.inhabited = False
        #: True where a caller without privileges may go on without this cgroup: nobody named it.
        self.optional = optional
        self.origin = origin

    def describe(self) -> str:
        return f"make cgroup {self.directory}"

    def apply(self, context: Context) -> None:
        inhabitant = (context.values["stage"] or context.values["init"]) if self.inhabited else 0
        attribute, word = context.values["cgroup mark"]
        try:
            descriptor, how = claim(self.directory, (attribute, word), inhabitant=inhabitant)
        except OSError as error:
            if not (self.optional and error.errno in DENIED):
                raise
            skipped(context).append(self.directory)
            return
        context.descriptors[CLAIM + self.directory] = descriptor
        listed = made(context) if how == MADE else adopted(context)
        listed.append(self.directory)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_cgroup(self.directory, error)


class EnableControllers(Operation):
    """Hand the controllers of a v2 tree down to a cgroup (cgroup-v2, Controlling Controllers).

    All that there are, for the container may want to use them for cgroups of its own; only those in
    ``needed`` have to be there.
    """

    __slots__ = ("mount", "needed", "path")

    def __init__(self, mount: str, path: str, needed: list[tuple[str, str]]) -> None:
        self.mount = mount
        self.path = path
        #: (controller, origin) of each that a limit is to be set with.
        self.needed = needed
        self.origin = needed[0][1] if needed else ""

    def describe(self) -> str:
        names = ", ".join(sorted({name for name, _ in self.needed}))
        asked = f", {names} at least" if names else ""
        return f"enable the controllers of {self.mount} down to {self.path}{asked}"

    def apply(self, context: Context) -> None:
        directory = self.mount + self.path
        if directory in skipped(context):
            self._require(
                [], "without privileges no cgroup could be made: have systemd make it (--systemd-cgroup)"
            )
            return
        parent, reason = self.mount, ""
        for part in self.path.strip("/").split("/"):
            reason = _enable(parent, {name for name, _ in self.needed}) or reason
            parent += f"/{part}"
            self._check_type(parent)
        self._require(read(f"{directory}/cgroup.controllers").split(), reason)

    def _require(self, available: list[str], reason: str) -> None:
        for name, origin in self.needed:
            if name not in available:
                raise Unsupported(
                    f"cgroup controller {name} is not available in {self.mount + self.path}",
                    why=reason,
                    origin=origin,
                )

    def _check_type(self, directory: str) -> None:
        """Deal with a cgroup that is threaded, or must become so (cgroup-v2, Threads)."""
        kind = read(f"{directory}/cgroup.type")
        if kind == "domain":
            return
        for name, origin in self.needed:
            if name in _DOMAIN_CONTROLLERS:
                raise Unsupported(
                    f"cgroup controller {name} cannot be used in {directory}",
                    why=f'the cgroup is of type "{kind}"',
                    origin=origin,
                )
        if kind == _INVALID:
            write(f"{directory}/cgroup.type", "threaded")


def _enable(directory: str, needed: set[str]) -> str:
    """Enable all controllers that a cgroup has for its children; only ``needed`` where that has a price.

    Returns why some could not be, "" where all were: whether that matters is seen at the leaf.
    """
    available = set(read(f"{directory}/cgroup.controllers").split())
    missing = available - set(read(f"{directory}/cgroup.subtree_control").split())
    if missing and _would_become_threaded(directory):
        missing &= needed
    reason = ""
    # Those of whole processes first: where they are refused, the others are not worth that price.
    for name in sorted(missing, key=lambda name: (name not in _DOMAIN_CONTROLLERS, name)):
        try:
            write(f"{directory}/cgroup.subtree_control", f"+{name}")
        except OSError as error:
            reason = f"{name} cannot be enabled in {directory}: {error.strerror}"
            if error.errno == errno.EBUSY:
                return f"{reason}; a cgroup with processes of its own has no controllers for its children"
    return reason


def _would_become_threaded(directory: str) -> bool:
    """Say whether a controller for its children makes a cgroup the root of a threaded domain.

    It does where there are processes in it, as is the rule for whoever calls naja in a cgroup namespace of
    his own. Then all cgroups below, others' too, can but be threaded or invalid (cgroup-v2, Threads).
    """
    try:
        return read(f"{directory}/cgroup.type") == "domain" and bool(read(f"{directory}/cgroup.procs"))
    except FileNotFoundError:
        return False  # The root of all is exempt.


class SettleType(Operation):
    """Make a cgroup of a v2 tree threaded where those above it are: nobody can enter it otherwise.

    For a tree whose controllers are not asked for; else EnableControllers does it.
    """

    __slots__ = ("mount", "path")

    def __init__(self, mount: str, path: str) -> None:
        self.mount = mount
        self.path = path
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"make cgroup {self.mount + self.path} threaded where those above it are"

    def apply(self, context: Context) -> None:
        directory = self.mount + self.path
        if directory in skipped(context) or read(f"{directory}/cgroup.type") != _INVALID:
            return
        directory = self.mount
        for part in self.path.strip("/").split("/"):
            directory += f"/{part}"
            if read(f"{directory}/cgroup.type") == _INVALID:
                write(f"{directory}/cgroup.type", "threaded")


class InheritCpuset(Operation):
    """Give a v1 cpuset, and those above it, their parent's CPUs and memory nodes where they have none.

    A new cpuset is empty, and nobody can enter an empty one (cpuset(7)).
    """

    __slots__ = ("mount", "path")

    def __init__(self, mount: str, path: str) -> None:
        self.mount = mount
        self.path = path
        self.origin = ""

    def describe(self) -> str:
        return f"inherit cpuset.cpus and cpuset.mems from {self.mount} down to {self.path}"

    def apply(self, context: Context) -> None:
        if self.mount + self.path in skipped(context):
            return
        for file in ("cpuset.cpus", "cpuset.mems"):
            self._inherit(file)

    def _inherit(self, file: str) -> None:
        # From the leaf up to the first cpuset that has a value, and down again.
        directory = self.mount + self.path
        empty = []
        while not (value := read(f"{directory}/{file}")) and directory != self.mount:
            empty.append(directory)
            directory = os.path.dirname(directory)
        for directory in reversed(empty):
            write(f"{directory}/{file}", value)


class DelegateCgroup(Operation):
    """Give a v2 cgroup to the container's user (config-linux.md, Cgroup ownership)."""

    __slots__ = ("directory", "uid")

    def __init__(self, directory: str, uid: int, *, origin: str) -> None:
        self.directory = directory
        self.uid = uid
        self.origin = origin

    def describe(self) -> str:
        return f"give cgroup {self.directory} to uid {self.uid}"

    def apply(self, context: Context) -> None:
        if self.directory in skipped(context):
            return
        try:
            files = read("/sys/kernel/cgroup/delegate").split()
        except FileNotFoundError:
            files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
        os.chown(os.fsencode(self.directory), self.uid, -1)
        for file in files:
            try:
                os.chown(os.fsencode(f"{self.directory}/{file}"), self.uid, -1)
            except FileNotFoundError:
                # The kernel lists the files of all controllers; this cgroup need not have each.
                continue


class EnterCgroup(Operation):
    """Move the container's process into its cgroups."""

    __slots__ = ("beside", "directories", "optional")

    def __init__(self, directories: list[str], *, optional: bool, beside: int | str = 0) -> None:
        self.directories = directories
        #: True where a caller without privileges may stay where it is.
        self.optional = optional
        #: A process of the container, by what stands for it below /proc, whose cgroup serves where the
        #: named one takes nobody, or is the container's no more.
        self.beside = beside
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"enter cgroup {', '.join(self.directories)}"

    def apply(self, context: Context) -> None:
        left_out = skipped(context)
        for directory in self.directories:
            if directory in left_out or directory in _entered(context):
                continue
            try:
                self._enter(directory, context)
            except OSError as error:
                if self.optional and error.errno in DENIED:
                    left_out.append(directory)
                    continue
                raise NajaError.from_os_error(
                    f"move process {context.pid} into cgroup {directory}",
                    error,
                    why=_explain(error) or type_of(directory),
                ) from None
        release(context)

    def _enter(self, directory: str, context: Context) -> None:
        unit = os.path.basename(directory)
        try:
            if self.beside and not is_own(directory, context.values["cgroup mark"]):
                raise OSError(errno.ENOENT, "it is not the container's any more")
            move(directory, context.pid)
        except OSError as error:
            if self.beside and error.errno in (errno.EBUSY, *GONE):
                self._enter_beside(directory, context.pid, error)
            elif error.errno in DENIED and unit.endswith(".scope"):
                # From one unit of a user to another only the user's systemd may move a process.
                from ..systemd.bus import attach

                attach(unit, context.pid)
            else:
                raise

    def _enter_beside(self, directory: str, pid: int, refused: OSError) -> None:
        """Enter the cgroup that the container's process has moved to: to one below its own, as a rule."""
        try:
            move(cgroup_of(self.beside, directory), pid)
        except OSError:
            raise refused from None


class AwaitThaw(Operation):
    """Wait while the container's cgroup is frozen, which one above it can be: who enters goes no further.

    The runtime waits here, for it can be interrupted; of an init in there v1 could not even be rid.
    """

    __slots__ = ("alone", "files")

    def __init__(self, files: list[str], *, alone: bool = False) -> None:
        #: What tells the state: freezer.state, cgroup.events.
        self.files = files
        #: Whether the init enters by itself, and looks once more when it does.
        self.alone = alone
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"wait while cgroup {' or '.join(map(os.path.dirname, self.files))} is frozen"

    def apply(self, context: Context) -> None:
        for file in self.files:
            while _is_frozen(file):
                if number := context.interrupted():
                    raise _interrupted(os.path.dirname(file), number)
                time.sleep(0.02)
        for file in (*self.files, _STATUS) if self.alone else ():
            context.descriptors[file] = os.open(os.fsencode(file), os.O_RDONLY | os.O_CLOEXEC)
            context.handover.append(file)


def _interrupted(directory: str, number: int) -> NajaError:
    return NajaError(f"wait for the thaw of cgroup {directory}", why=f"ended by signal {number}")


def _is_frozen(file: str) -> bool:
    try:
        return _tells_of_frozen(read(file))
    except OSError as error:
        if error.errno not in GONE:
            raise
        return False


def _tells_of_frozen(text: str) -> bool:
    return text.startswith(("FREEZING", "FROZEN")) or "frozen 1" in text


def _await_thaw_alone(context: Context) -> None:
    """Wait as AwaitThaw does, in the init: the runtime may stand still, and a signal be pending there."""
    status = context.descriptors.pop(_STATUS, -1)
    for file in [name for name in context.descriptors if name.endswith(_TELLING)]:
        descriptor = context.take(file)
        while _tells_of_frozen(os.pread(descriptor, 4096, 0).decode()):
            if number := _pending(os.pread(status, 4096, 0)):
                raise _interrupted(os.path.dirname(file), number)
            time.sleep(0.02)
        os.close(descriptor)
    if status >= 0:
        os.close(status)


def _pending(status: bytes) -> int:
    """Return the number of a signal that asks a process for its end, or 0 (proc_pid_status(5))."""
    fields = dict(line.split(b":\t", 1) for line in status.splitlines() if line.startswith((b"S", b"s")))
    pending = int(fields[b"ShdPnd"], 16) & ~int(fields[b"SigIgn"], 16)
    return next((number for number in _ENDING if pending >> (number - 1) & 1), 0)


class OpenCgroups(Operation):
    """Open the doors by which the init will enter its cgroups, while it sees the host's files.

    It does not enter at once: what it takes to make the container shall not be charged to it.
    """

    __slots__ = ("directories",)

    def __init__(self, directories: list[str]) -> None:
        self.directories = directories
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"open the doors of cgroup {', '.join(self.directories)}"

    def apply(self, context: Context) -> None:
        for directory in self.directories:
            door = _open_own_door(directory)
            if door < 0:
                door = _open_door(f"{directory}/cgroup.procs")
            context.descriptors[_DOOR + directory] = door


class OfferCgroups(Operation):
    """Open the doors of v1 cgroups for the init, who enters by itself (the runtime's EnterOpenCgroups).

    A process that moves itself, its only thread, by the file ``tasks`` waits for nobody; for one that moves
    another the kernel waits for up to 16 ms (startup/warmup.py). All else is left to EnterCgroup: v2, what is
    the container's no more, and where that is frozen all: the init would not come to the end of its turn.
    """

    __slots__ = ("beside", "directories", "freezer")

    def __init__(self, directories: list[str], *, freezer: str, beside: int | str = 0) -> None:
        self.directories = directories
        #: What tells whether they are frozen, "" where nothing does.
        self.freezer = freezer
        self.beside = beside
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        return f"open the doors of cgroup {', '.join(self.directories)} for the init, where that is v1's"

    def apply(self, context: Context) -> None:
        if self.freezer and _is_frozen(self.freezer):
            return
        for directory in self.directories:
            if directory in skipped(context) or (
                self.beside and not is_own(directory, context.values["cgroup mark"])
            ):
                continue
            door = _open_own_door(directory)
            if door >= 0:
                context.descriptors[_DOOR + directory] = door
                context.handover.append(_DOOR + directory)


def _open_own_door(directory: str) -> int:
    """Open the file by which a process of one thread moves itself into a v1 cgroup; -1 where it cannot."""
    try:
        return _open_door(f"{directory}/tasks")
    except OSError:
        return -1


def _open_door(file: str) -> int:
    return os.open(os.fsencode(file), os.O_WRONLY | os.O_CLOEXEC)


class EnterOpenCgroups(Operation):
    """Move the init, which does this itself, into the cgroups whose doors are open.

    ``alone`` where nobody sees to the others afterwards.
    """

    __slots__ = ("alone", "directories")

    def __init__(self, directories: list[str], *, alone: bool) -> None:
        self.directories = directories
        self.alone = alone
        self.origin = "/linux/cgroupsPath"

    def describe(self) -> str:
        which = "" if self.alone else ", as far as the doors are open"
        return f"enter cgroup {', '.join(self.directories)}{which}"

    def apply(self, context: Context) -> None:
        _await_thaw_alone(context)
        for directory in self.directories:
            if self.alone or _DOOR + directory in context.descriptors:
                self._enter(directory, context)

    def _enter(self, directory: str, context: Context) -> None:
        door = context.take(_DOOR + directory)
        try:
            os.write(door, b"0")
            _entered(context).append(directory)
        except OSError as error:
            if self.alone:
                raise NajaError.from_os_error(
                    f"enter cgroup {directory}", error, why=_explain(error)
                ) from None
            # EnterCgroup finds out why.
        finally:
            os.close(door)


def _entered(context: Context) -> list[str]:
    """Return the list of cgroups that the init has entered by itself, to read or extend."""
    listed: list[str] = context.values.setdefault("cgroups entered", [])
    return listed


def _explain(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "its cpuset has no CPUs or no memory nodes"
    if error.errno == errno.EBUSY:
        return "it has children with controllers, so it takes no processes of its own"
    return ""
