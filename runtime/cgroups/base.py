"""What the managers of all kinds of cgroups have in common."""

from __future__ import annotations

import os
import time

from ..errors import Aftermath, NajaError, Unsupported, WrongState
from ..linux.cgroupfs import DENIED, GONE, read, type_of
from ..operations import ownership
from .hierarchies import detect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..operations.base import Context, Operation
    from ..operations.ownership import Mark
    from .events import OomWatch

_SIGKILL = 9

#: How many descriptors it takes to end a container's processes.
_SPARE = 16

#: How long to wait for processes to freeze, or to be gone so that their cgroup can be removed.
_PATIENCE = 2.0

#: How long killed processes may take to end, in seconds; it is in the kernel's hands.
_PATIENCE_WITH_THE_KILLED = 10.0


class Manager:
    """A container's cgroups: first those that it is to have, then those that it has."""

    kind: str

    def __init__(self, record: dict[str, Any]) -> None:
        #: Where the container's cgroups are to be: directory by hierarchy name.
        self.places: dict[str, str] = dict(record["places"])
        #: The systemd unit that they belong to, "" where there is none.
        self.unit: str = record["unit"]
        self.rootless: bool = record["rootless"]
        #: The word that is on the container's cgroups; "" in a record of before there were any.
        self._word: str = record.get("word", "")
        self._made: list[str] = list(record["made"])
        self._adopted: list[str] = list(record["adopted"])
        self._resctrl: list[str] = list(record["resctrl"])
        self._invocation: str = record.get("invocation", "")
        self._context: Context | None = None
        self._found: dict[str, str] = {}

    def intend(self, identity: str = "") -> None:
        """Choose the word, just before the cgroups are made; it begins with the state directory's identity.

        In the record it tells which of them are the container's, also where nothing but the record of a
        killed ``create`` is left; its beginning tells that where even the record is lost.
        """
        self._word = identity + ownership.new_word()

    def follow(self, context: Context) -> None:
        """Learn from the context of the runtime's operations what cgroups they make, adopt, or do without."""
        context.values["cgroup mark"] = self.mark
        self._context = context

    def release(self) -> None:
        """Let others come to the cgroups: the container's process is in them, or never will be."""
        if self._context:
            ownership.release(self._context)

    @property
    def mark(self) -> Mark:
        """What is on the container's cgroups, and tells them from others (operations/ownership.py)."""
        return ownership.make_mark(self._word, rootless=self.rootless)

    @property
    def made(self) -> list[str]:
        """The directories that were made for the container, and end with it."""
        return ownership.made(self._context) if self._context else self._made

    @property
    def adopted(self) -> list[str]:
        """The directories that the container uses, but that were there before it."""
        return ownership.adopted(self._context) if self._context else self._adopted

    @property
    def invocation(self) -> str:
        """What tells the systemd unit from others of that name, once it was started."""
        return self._context.values.get("unit invocation", "") if self._context else self._invocation

    @property
    def resctrl(self) -> list[str]:
        """The groups of the resctrl file system that were made for the container, inner ones last."""
        return self._context.values.get("resctrl groups made", []) if self._context else self._resctrl

    @property
    def paths(self) -> dict[str, str]:
        """The container's cgroups, without those that others have by now: directory by hierarchy name."""
        if self._context:
            own = {*self.made, *self.adopted}.difference(ownership.skipped(self._context))
            return {name: path for name, path in self.places.items() if path in own}
        return {name: path for name in self.places if (path := self._path(name))}

    def _path(self, name: str) -> str:
        """Return the cgroup in one hierarchy, "" where it is not the container's; no other is looked at."""
        if self._context:
            return self.paths.get(name, "")
        if name not in self._found:
            path = self.places.get(name, "")
            self._found[name] = path if path and self._owns(path) else ""
        return self._found[name]

    def is_lacking(self) -> bool:
        """Tell whether the record does not lead to all cgroups: others have ended them, or it was spoiled."""
        named = {*self.places.values(), *self.made, *self.adopted}
        # Only without root's privileges may there be none at all.
        return len(self.paths) < len(named) or not (named or self.rootless)

    def require_own(self) -> None:
        """See that all of the container's cgroups are there, and still its own. Raises NajaError."""
        for name, place in self.places.items():
            if not self._path(name) or not os.path.isdir(place):
                why = "it is not the container's any more"
                raise NajaError(f"enter cgroup {place}", why=why, origin="/linux/cgroupsPath")

    def _owns(self, path: str) -> bool:
        return ownership.bears(path, self.mark, unmarked=self._is_listed(path))

    def _is_listed(self, path: str) -> bool:
        """Tell whether a cgroup is the container's where no mark says whose it is: not all can leave one."""
        if (self._word and not self.rootless) or not (path in self.made or path in self.adopted):
            return False
        # A record that was spoiled may name any.
        return detect().is_others(path)

    def _hold(self, path: str) -> tuple[int, str]:
        """Lock a cgroup as ``ownership.hold`` does; where the lock of its making is still held, with that."""
        if self._context and ownership.CLAIM + path in self._context.descriptors:
            claim = os.dup(self._context.descriptors[ownership.CLAIM + path])
            return claim, ownership.look(claim, self.mark)[0]
        return ownership.hold(path, self.mark, unmarked=self._is_listed(path))

    def _release_if_short(self) -> None:
        """Release the cgroups where their descriptors may be why there are too few for the way back.

        Else nobody gets between the end of the processes and that of the cgroups.
        """
        if self._context:
            spare: list[int] = []
            try:
                spare.extend(os.dup(0) for _ in range(_SPARE))
            except OSError:
                self.release()
            for descriptor in spare:
                os.close(descriptor)

    def record(self) -> dict[str, Any]:
        """Return plain data of which ``restore`` makes this manager again."""
        return {
            "kind": self.kind,
            # Before the first was made, whoever finds the record has to look at all of them.
            "places": self.paths if self._context else self.places,
            "word": self._word,
            "made": self.made,
            "adopted": self.adopted,
            "resctrl": self.resctrl,
            "unit": self.unit,
            "invocation": self.invocation,
            "rootless": self.rootless,
        }

    def exists(self) -> bool:
        """Say whether the container has a cgroup left."""
        return any(os.path.isdir(path) for path in self.paths.values())

    def processes(self, *, recursive: bool = True) -> list[int]:
        """Return the pids in the container's cgroup, and in those below it. Raises NajaError, OSError."""
        from . import tree

        directory = self._directory()
        return tree.processes(directory, recursive=recursive) if directory else []

    def inhabited(self) -> bool:
        """Say whether there may be processes in the container's cgroup, or below it. Raises OSError."""
        directory = self._directory()
        try:
            # Each cgroup below it is a link to it.
            return bool(directory) and (
                bool(read(f"{directory}/cgroup.procs")) or os.stat(os.fsencode(directory)).st_nlink > 2
            )
        except OSError as error:
            # A threaded cgroup of v2 does not tell.
            return error.errno not in GONE

    def _directory(self) -> str:
        """Return the directory to look for processes in, "" where the container has no cgroup."""
        raise NotImplementedError

    def apply(
        self,
        resources: dict[str, Any],
        warn: Callable[[str], None] = lambda _: None,
        configured: dict[str, Any] | None = None,
    ) -> None:
        """Set new limits; ``resources`` has the shape of /linux/resources, and holds only what changes.

        ``warn`` is told what is no error; ``configured`` is what the config asked for. Raises
        Unsupported and NajaError as the translation does, and where the kernel refuses a value; then the
        limits are as before.
        """
        from ..operations.base import RUNTIME, Context
        from ..operations.cgroup_limits import in_force

        context = Context(RUNTIME, warn)
        before: list[Operation] = []
        for operation in self._settings(self._complete(resources, configured or {})):
            try:
                before += in_force(operation)
                operation.apply(context)
            except (OSError, NajaError) as error:
                _restore(before, context)
                if isinstance(error, NajaError):
                    raise
                raise NajaError.from_os_error(operation.describe(), error, origin=operation.origin) from None

    def _complete(self, resources: dict[str, Any], configured: dict[str, Any]) -> dict[str, Any]:
        """Add to a change of limits the limits in force that its translation depends on."""
        del configured
        return resources

    def _settings(self, resources: dict[str, Any]) -> list[Operation]:
        """Return the operations that set these limits, and device rules where there are some."""
        raise NotImplementedError

    def statistics(self) -> dict[str, Any]:
        """Return what the container uses, in the form of runc's ``events --stats``. Raises OSError."""
        raise NotImplementedError

    def watch_oom(self) -> OomWatch:
        """Return something that tells when the container runs out of memory. Raises NajaError."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop all processes of the container. Raises NajaError where they do not stop in time."""
        if not self._can_freeze():
            raise NajaError("freeze the container", why="it has no cgroup that could do that")
        try:
            lock, _ = self._hold(self._directory())
            if lock < 0:
                raise WrongState("container not running", why="its cgroup is gone")
            try:
                self._freeze()  # No kill shall thaw it.
            finally:
                os.close(lock)
        except OSError as error:
            if error.errno in GONE:
                raise WrongState("container not running", why="its cgroup is gone") from None
            raise NajaError.from_os_error("freeze the container", error) from None

    def _freeze(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        attempt = 0
        while not self._try_freeze(attempt):
            attempt += 1
            if time.monotonic() > deadline:
                late = NajaError("freeze the container", why=f"not done within {_PATIENCE:g} seconds")
                with Aftermath(late):
                    self.thaw()
                raise late

    def thaw(self) -> None:
        """Let the processes go on; nothing where none can be frozen. Raises OSError."""
        if not self._can_freeze():
            return
        try:
            self._thaw()
        except OSError as error:
            if error.errno not in GONE:
                raise

    def frozen(self) -> bool:
        """Say whether the container is frozen. Raises OSError."""
        if not self._can_freeze():
            return False
        try:
            return self._frozen()
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False

    def paused(self) -> bool:
        """Say whether the container is frozen, and not for as long as a kill takes only. Raises OSError."""
        end = time.monotonic() + _PATIENCE
        while self.frozen():
            lock = ownership.share(self._directory())
            if lock >= 0 or time.monotonic() > end:
                try:
                    return self.frozen()  # Who kills has the lock for himself.
                finally:
                    if lock >= 0:
                        os.close(lock)
            time.sleep(0.002)
        return False

    def _frozen(self) -> bool:
        raise NotImplementedError

    def _can_freeze(self) -> bool:
        raise NotImplementedError

    def _try_freeze(self, attempt: int) -> bool:
        """Ask for a freeze and wait a little; return whether it is done."""
        raise NotImplementedError

    def _thaw(self) -> None:
        raise NotImplementedError

    def kill(self, signal: int) -> None:
        """Send a signal to all processes of the container, if there are any. Raises NajaError, OSError."""
        lock, _ = self._hold(self._directory()) if self.inhabited() else (-1, "")
        if lock < 0:
            return
        try:
            self._kill(signal)
        finally:
            os.close(lock)

    def _kill(self, signal: int) -> None:
        from . import tree

        # Frozen processes neither fork nor end, so nobody is missed.
        frozen = self.frozen()
        held = not frozen and self._try_to_freeze()
        try:
            tree.signal(self._directory(), signal)
        finally:
            if signal == _SIGKILL:
                self.thaw_all()
            elif held:
                self.thaw()

    def _try_to_freeze(self) -> bool:
        if not self._can_freeze():
            return False
        try:
            self._freeze()
        except (NajaError, OSError):
            # Some process is stuck in the kernel, or the files are read-only: those in sight have to do.
            return False
        return True

    def thaw_all(self) -> None:
        """Thaw whatever of the container is frozen, for it is to end. Raises OSError."""
        try:
            self._thaw_all()
        except OSError as error:
            # Whoever waits for the end tells what holds it up.
            if error.errno not in DENIED:
                raise

    def _thaw_all(self) -> None:
        self.thaw()

    def end(self) -> None:
        """Kill all processes of the container and wait for their end. Raises NajaError: who stays and why."""
        self._release_if_short()
        deadline = time.monotonic() + _PATIENCE_WITH_THE_KILLED
        delay = 0.001
        while self.inhabited() and (pids := self.processes()):
            if time.monotonic() > deadline:
                from .tree import named

                what = f"process {named(pids)} does not end, though it was killed"
                raise NajaError(what, why=self.what_holds())
            self.kill(_SIGKILL)
            self._free_the_killed()
            time.sleep(delay)
            delay = min(delay * 2, 0.1)

    def _free_the_killed(self) -> None:
        """Let processes that were killed end, where something that is not the container's holds them."""

    def what_holds(self) -> str:
        """Return what keeps the container frozen that is not its own, in words; "" where nothing does."""
        return ""

    def delete(self) -> None:
        """Remove the container's cgroups and all below them. Raises NajaError where they are in use."""
        for group in reversed(self.resctrl):
            _remove(group)
        for path in self.places.values():
            self._delete(path)

    def _delete(self, path: str) -> None:
        lock, how = self._hold(path)
        if lock < 0:
            ownership.remove_unfinished(path)
            return
        try:
            self._give_up(path, lock, how)
        finally:
            os.close(lock)

    def _give_up(self, path: str, lock: int, how: str) -> None:
        if how == ownership.ADOPTED or (not how and path in self.adopted):
            ownership.remove_mark(lock, self.mark)
        else:
            _remove(path)


def _remove(directory: str) -> None:
    try:
        os.rmdir(os.fsencode(directory))
    except OSError as error:
        if error.errno in GONE:
            return
        # In use, or there are others below it.
        from . import tree

        tree.remove(directory, _PATIENCE)


def _restore(before: list[Operation], context: Context) -> None:
    """Write back the limits that were in force before a change that failed."""
    for operation in reversed(before):
        try:
            operation.apply(context)
        except (OSError, NajaError) as error:
            context.warn(f"a limit is not as it was before: {error}")


def require(needed: list[tuple[str, str]], directory: str) -> None:
    """Raise Unsupported where a cgroup of a v2 tree has not the (controller, origin) that are needed."""
    available = read(f"{directory}/cgroup.controllers").split() if needed else []
    for controller, origin in needed:
        if controller not in available:
            what = f"cgroup controller {controller} is not available in {directory}"
            raise Unsupported(what, why=type_of(directory), origin=origin)
