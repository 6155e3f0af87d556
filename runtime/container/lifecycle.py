"""The life cycle of a container (runtime.md): create, start, state, kill, delete, and what is in between.

With running.py and listing.py this is naja's Python API. A ``Container`` is a handle on what is kept
under a state root; several processes may hold handles on the same one, and a lock keeps their commands
apart.

What only some verbs need (all of the plan, for one) is loaded by these: it would double the time
that the others take.
"""

from __future__ import annotations

import os
import sys
import time
from errno import ENOENT

from .. import cgroups, config
from ..config import json
from ..errors import Aftermath, ChannelClosed, NajaError, WrongState, one_line
from ..linux import process
from . import state
from .record import TRAITS, config_problem, document, has_own_pids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

    from ..cgroups import Manager
    from ..linux.channel import Channel
    from ..operations.tracing import Event
    from ..process.launch import Launch
    from ..systemd.notify import Notifications

_SIGKILL = 9

#: Engines look for these words.
_NOT_RUNNING = "container not running"

#: How long a process may take to end that was killed, or gave up, in seconds; it is in the kernel's hands.
_PATIENCE = 10.0

#: How long it takes as a rule.
_AT_ONCE = 0.5

#: How long a command waits for a container that another one is making, in seconds: its hook may be asking.
_PATIENCE_IN_CREATION = 2.0


def say(text: str) -> None:
    """Where warnings go if the caller of the API does not say."""
    sys.stderr.write(f"naja: warning: {one_line(text)}\n")


class _CutOff(WrongState):
    """The making of a container was cut off before there was a config."""


class Container:
    """A container that exists. Make one with ``create``, find one with ``load``."""

    def __init__(
        self,
        directory: state.StateDirectory,
        record: dict[str, Any],
        warn: Callable[[str], None] = say,
        config: dict[str, Any] | None = None,
    ) -> None:
        self._directory = directory
        self._record = record
        #: The config.json, once it was read: it never changes.
        self._config = config
        self.id = directory.id
        #: The state root.
        self.root = directory.root
        #: Called with one line for what is worth saying but no error.
        self.warn = warn
        #: Told what the process still does for ``start``, where it was made to tell (--debug).
        self.debug: Callable[[str], None] | None = None

    @classmethod
    def create(
        cls,
        id: str,
        bundle: str = ".",
        *,
        root: str | None = None,
        warn: Callable[[str], None] = say,
        launch: Launch | None = None,
        **options: Any,
    ) -> Self:
        """Make the container that a bundle describes; its process waits for ``start``.

        ``launch`` is a process that the caller has begun to make, with the same ``preserve_fds``.
        ``options`` are those of ``naja.container.creation.Creation``: console_socket, pid_file,
        pidfd_socket, no_pivot, no_new_keyring, preserve_fds, systemd_cgroup, rootless. Raises
        NajaError; then nothing of the container is left.
        """
        from ..process.launch import Launch

        state.check_id(id)
        root = root or state.default_root()
        with launch or Launch(options.get("preserve_fds", 0), activated=True) as begun:
            from .creation import Creation

            creation = Creation(id, bundle, root=root, warn=warn, gate=True, **options)
            creation.make(begun)
        creation.directory.unlock()
        return cls(creation.directory, creation.record, warn, creation.config)

    @classmethod
    def load(cls, id: str, *, root: str | None = None, warn: Callable[[str], None] = say) -> Self:
        """Find a container. Raises NajaError: "container does not exist"."""
        directory = state.StateDirectory.open(root or state.default_root(), id)
        return cls(directory, directory.read(), warn)

    @classmethod
    def open(cls, id: str, *, root: str | None = None, warn: Callable[[str], None] = say) -> Self:
        """Find a container as ``load`` does, without a look at its record, which may be broken."""
        return cls(state.StateDirectory.open(root or state.default_root(), id), {}, warn)

    @classmethod
    def take_over(cls, id: str, directory: int, *, root: str | None, warn: Callable[[str], None]) -> Self:
        """Return a container whose directory is open, and locked. Raises NajaError."""
        taken = state.StateDirectory.take_over(root or state.default_root(), id, directory)
        return cls(taken, taken.read(), warn)

    @property
    def record(self) -> dict[str, Any]:
        """What is kept on disk, as last read."""
        return self._record

    @property
    def directory(self) -> state.StateDirectory:
        """What holds the record and the lock."""
        return self._directory

    @property
    def cgroup(self) -> Manager:
        """The manager of the container's cgroups."""
        return cgroups.restore(self._record["cgroup"])

    @property
    def config(self) -> dict[str, Any]:
        """The config.json that the container was made from."""
        if self._config is None:
            what = f"the config of container {self.id}, {self._directory.path}/config.json"
            try:
                text = self._directory.read_kept("config.json")
            except OSError as error:
                raise NajaError.from_os_error(f"read {what}", error) from None
            if text is None:
                if self.status() == "stopped":
                    raise _CutOff(_NOT_RUNNING, why=f"the making of {self.id} was cut off")
                raise NajaError(f"read {what}", errno=ENOENT)
            found = json.loads(text, what)
            if why := config_problem(found):
                raise NajaError(what, why=why)
            self._config = found
        return self._config

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the config, from the record where there are few."""
        if "annotations" in self._record.get("traits", ()):
            return self.config.get("annotations") or {}
        return dict(self._record["annotations"])

    def _may_have(self, trait: str) -> bool:
        """Tell whether the config has to be read for one of record.TRAITS: a large one takes its time."""
        return trait in self._record.get("traits", TRAITS)

    @property
    def pid(self) -> int:
        """The pid of the container's process, 0 where it has ended."""
        return int(self._record["pid"]) if self.status() != "stopped" else 0

    def status(self) -> str:
        """Return "creating", "created", "running", "paused" or "stopped"."""
        self._record = self._directory.read()
        status = state.status(self._record)
        if status == "created" and self._directory.has_draft() and not self._directory.listens("gate"):
            status = "running"  # A start was cut off after it had opened the gate.
        if status in ("created", "running") and self.cgroup.paused():
            return "paused"
        return status

    def is_busy(self) -> bool:
        """Tell whether another command has the container's lock. Raises NoContainer."""
        try:
            self._directory.lock(wait=False)
        except state.NoContainer:
            raise
        except NajaError:
            return True
        self._directory.unlock()
        return False

    def hold(self) -> process.Held | None:
        """Return the container's process as the record that was last read names it; None where it has ended.

        Whoever acts on what ``status`` said holds the process that this was about. Raises OSError.
        """
        return process.Held.find(self._record.get("pid", 0), self._record.get("start_time", 0))

    def lasting(self, otherwise: str) -> Lasting:
        """Return a context with the process held, in which what fails because it ends says ``otherwise``."""
        return Lasting(self, WrongState(otherwise, why=self.id))

    def status_once_made(self) -> str:
        """Return the status; a container that is being made gets a little time to be there.

        Till then the record names naja itself, which is outside of all its namespaces.
        """
        end = time.monotonic() + _PATIENCE_IN_CREATION
        while (status := self.status()) == "creating" and time.monotonic() < end:
            time.sleep(0.005)
        return status

    def state(self) -> dict[str, Any]:
        """Return the state document (runtime.md, State), with what runc adds to it."""
        status = self.status()
        record = self._record
        if not record:
            raise NajaError("container has no state: its create was cut off", why=self.id)
        return document(record, status, self.annotations)

    def start(self) -> None:
        """Let the created process run the program, and run the poststart hooks. Raises NajaError."""
        self._directory.lock()
        try:
            status = self.status()
            if status != "created":
                raise WrongState(_WHY_NOT_STARTED.get(status, f"cannot start a container that is {status}"))
            if self._may_have("no process") and not self.config.get("process"):
                raise NajaError(
                    "cannot start a container without a process", why="its config.json names none"
                )
            notifications = self._notifications()
            # Nothing may run that is not recorded: what is left to do afterwards needs no room on a disk.
            self._record["status"] = "running"
            self._directory.draft(self._record)
            self._open_gate()
            self._commit_start()
            self.run_poststart_hooks()
        finally:
            self._directory.unlock()
        if notifications:
            self.wait_until_ready(notifications)

    def _commit_start(self) -> None:
        try:
            self._directory.commit()
        except NajaError as error:
            self.warn(f"{error}: {self.id} is running all the same")

    def hear(self, connection: int) -> None:
        """Go on with a ``start`` that the launcher has begun (naja.container.steps): the gate is open.

        ``connection`` is what it opened that with, and the lock is held. Raises NajaError.
        """
        from ..linux.channel import Channel

        held = self.hold()
        try:
            self._hear_until_exec(Channel.from_descriptor(connection), held)
        finally:
            if held:
                held.close()
        self._commit_start()

    def _notifications(self) -> Notifications | None:
        """Return what the container will say to $NOTIFY_SOCKET, where it was created for that."""
        host = os.environ.get("NOTIFY_SOCKET", "")
        if not (host and self._record["notify"]):
            return None
        from ..systemd import notify

        return notify.listen(host, self._directory.subdirectory, self.warn)

    def wait_until_ready(self, notifications: Notifications) -> None:
        """Pass on what the container says to $NOTIFY_SOCKET until it is ready, or has ended."""
        held = self.hold()
        if held:
            with held:
                notifications.wait_until_ready(held.pid, held.pidfd)
        else:
            notifications.drain(self._record["pid"])
        notifications.close()

    def _open_gate(self) -> None:
        """Have the init become the program. Raises NajaError; where it could not, it has ended by then."""
        from ..linux.channel import Channel
        from ..operations.gate import open_gate

        held = self.hold()
        if held is None:
            raise WrongState(_WHY_NOT_STARTED["stopped"])
        with held:
            try:
                channel = Channel(open_gate(lambda: self._directory.connect("gate")))
                self._hear_until_exec(channel, held)
            except OSError as error:
                if held.ending():
                    raise WrongState(_WHY_NOT_STARTED["stopped"]) from None
                raise NajaError.from_os_error(f"start container {self.id}", error) from None

    def _hear_until_exec(self, channel: Channel, held: process.Held | None) -> None:
        from ..process.dialogue import explain, receive

        def tell(actor: str, event: Event) -> None:
            if self.debug:
                from ..operations.tracing import words

                self.debug(f"{actor}[{self._record['pid']}]: {words(event)}")

        try:
            while True:
                message, _ = receive(channel)
                explain(message, self.warn, tell)
        except ChannelClosed:
            return  # execve has closed it.
        except NajaError:
            # Engines look at the process next, and would leave what still runs.
            if held:
                held.wait_for_end(_PATIENCE)
            raise
        finally:
            channel.close()

    def run_poststart_hooks(self) -> None:
        """Run the poststart hooks, where there are some; the container ends with one that fails.

        Raises NajaError.
        """
        entries = self._may_have("poststart") and (self.config.get("hooks") or {}).get("poststart")
        if not entries:
            return
        try:
            from .. import hooks

            document = json.dumps(self._hook_state("running"))
            hooks.run_hooks("poststart", entries, document, self._record["bundle"])
        except NajaError as error:
            # Since 1.3 of the specification a failure stops the container.
            with Aftermath(error):
                self._end()
            raise

    def _hook_state(self, status: str) -> dict[str, Any]:
        annotations = self.annotations
        return {
            **{name: self._record[name] for name in ("ociVersion", "id", "bundle")},
            **({"annotations": annotations} if annotations else {}),
            "status": status,
            "pid": 0 if status == "stopped" else self._record["pid"],
        }

    def kill(self, signal: int, all: bool = False) -> None:
        """Send a signal to the container's process, or with ``all`` to every process in its cgroup, if any.

        Raises NajaError: "container not running" (not so with ``all`` where it has ended).
        """
        status = self.status_once_made()
        if status == "creating":
            raise WrongState(_NOT_RUNNING, why=f"{self.id} is being created")
        # Asked before the signal: whoever waits for the container may remove it at once.
        shares_pids = signal == _SIGKILL and not all and self._shares_pids()
        if all and (status == "stopped" or self.cgroup.exists()):
            self._signal_all(signal)
        elif shares_pids:
            self._kill_with_others()
        elif not self._signal(signal) and not all:  # "all" here: no cgroup knows the others.
            raise WrongState(_NOT_RUNNING, why=self.id)
        if signal == _SIGKILL:
            self.cgroup.thaw_all()

    def _kill_with_others(self) -> None:
        """Kill all of a container without a pid namespace, whose others outlive the first process.

        Raises NajaError where nobody is left of it.
        """
        others = self.cgroup.inhabited()
        if not self._signal(_SIGKILL) and not others:
            raise WrongState(_NOT_RUNNING, why=self.id)
        self._signal_all(_SIGKILL)

    def _shares_pids(self) -> bool:
        return self._may_have("shared pids") and not has_own_pids(self.config)

    def _signal(self, signal: int) -> bool:
        """Signal the container's process, not one that got its pid; False where it is gone."""
        held = self.hold()
        if held is None:
            return False
        with held:
            return held.signal(signal)

    def _signal_all(self, signal: int) -> None:
        """Signal every process in the cgroups, which may go meanwhile, and all of these with them."""
        try:
            self.cgroup.kill(signal)
        except (OSError, NajaError):
            if self.cgroup.exists():
                raise

    def _end(self) -> None:
        """Kill whatever of the container runs, and wait until its process is gone. Raises NajaError."""
        manager = self.cgroup
        held = self.hold()
        if held:
            with held:
                if held.pid != os.getpid() and held.signal(_SIGKILL):
                    manager.thaw_all()
                    self._await_end(held, manager)
        manager.end()

    def _await_end(self, held: process.Held, manager: Manager) -> None:
        if held.wait_for_end(_AT_ONCE):
            return
        # Something holds it, or others that it waits for: what that is, the manager can tell.
        manager.end()
        if not held.wait_for_end(_PATIENCE):
            raise NajaError(f"process {held.pid} of container {self.id} does not end, though it was killed")

    def delete(self, force: bool = False) -> None:
        """Remove what is left of a stopped container. Raises NajaError.

        With ``force`` it is ended first, and may be gone: another command may have deleted it.
        """
        try:
            self._directory.lock()
        except state.NoContainer:
            if force:
                return
            raise
        try:
            status = self.status()
        except state.BrokenRecord:
            if not force:
                raise
            status = "unknown"
        if status not in ("stopped", "created") and not force:
            raise WrongState(f"cannot delete container {self.id} that is not stopped: {status}")
        if status == "unknown" or not self._record:
            from . import remains

            remains.remove(self._directory, self.warn)
            return
        if status != "stopped":
            self._end()
        self._destroy()

    def _destroy(self) -> None:
        manager = self.cgroup
        lacking = manager.is_lacking()
        manager.end()
        manager.delete()
        if lacking:
            from . import remains

            remains.end_cgroups(self._directory)
        document = self._config_of_hooks()
        self._directory.remove()
        if document:
            from .creation import run_poststop

            run_poststop(document, self._hook_state("stopped"), self.warn)

    def _config_of_hooks(self) -> dict[str, Any]:
        """Return the config where it names poststop hooks, else {}; warn where that cannot be told."""
        if not self._may_have("poststop"):
            return {}
        try:
            document = self.config
            if not (document.get("hooks") or {}).get("poststop"):
                return {}
            config.check(document)
        except _CutOff:
            return {}  # Before any hook.
        except NajaError as error:
            if error.errno != ENOENT:
                self.warn(f"no poststop hook of {self.id} is run: {error}")
            return {}
        return document

    def processes(self) -> list[int]:
        """Return the pids of all processes in the container, as the host sees them. Raises NajaError."""
        manager = self.cgroup
        if not manager.exists() and self.status() != "stopped":
            raise NajaError(
                f"list the processes of container {self.id}", why="it has no cgroup that knows them"
            )
        return manager.processes()

    def pause(self) -> None:
        """Freeze all processes of the container. Raises NajaError where it is not running."""
        self._directory.lock()
        try:
            status = self.status()
            if status not in ("running", "created"):
                raise WrongState(_NOT_RUNNING, why=f"{self.id} is {status}")
            with self.lasting(_NOT_RUNNING):
                self.cgroup.freeze()
        finally:
            self._directory.unlock()

    def resume(self) -> None:
        """Thaw the container. Raises NajaError: "container not paused"."""
        self._directory.lock()
        try:
            self.status()  # The cgroups of a container that was being made were not yet known.
            if not self.cgroup.paused():
                raise WrongState("container not paused", why=self.id)
            self.cgroup.thaw()
            if self.cgroup.frozen():
                raise NajaError(f"container {self.id} is still paused", why=self.cgroup.what_holds())
        finally:
            self._directory.unlock()

    def update(self, resources: dict[str, Any]) -> None:
        """Change the limits; ``resources`` has the shape of /linux/resources. Raises NajaError."""
        self._directory.lock()
        try:
            if self.status() == "stopped":
                raise WrongState(_NOT_RUNNING, why=self.id)
            with self.lasting(_NOT_RUNNING):
                self.cgroup.apply(resources, self.warn, self.config["linux"].get("resources") or {})
        finally:
            self._directory.unlock()

    def exec(self, program: dict[str, Any], **options: Any) -> int:
        """Run another program in the container; see ``naja.container.execution.execute``."""
        from .execution import execute

        return execute(self, program, **options)

    def mount(self, source: str, destination: str, **options: Any) -> None:
        """Mount something in the container while it is there; see ``naja.container.mounting.mount``."""
        from .mounting import mount

        mount(self, source, destination, **options)

    def unmount(self, destination: str) -> None:
        """Take away what ``mount`` has put there; see ``naja.container.mounting.unmount``."""
        from .mounting import unmount

        unmount(self, destination)

    def statistics(self) -> dict[str, Any]:
        """Return what the cgroups have counted, in the shape of runc's ``events --stats``.

        Raises NajaError, OSError.
        """
        with self.lasting(_NOT_RUNNING):
            return self.cgroup.statistics()


class Lasting:
    """The process of a container, held while something is done that it has to last for.

    The words that are said where it does not are those that engines know, whatever it was that failed.
    """

    def __init__(self, container: Container, otherwise: NajaError) -> None:
        self._container = container
        self._otherwise = otherwise

    def __enter__(self) -> process.Held:
        held = self._container.hold()
        if held is None:
            raise self._otherwise
        self._held = held
        return held

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        with self._held as held:
            if isinstance(error, OSError | NajaError) and held.ending():
                raise self._otherwise from None


_WHY_NOT_STARTED = {
    "stopped": "cannot start a container that has stopped",
    "running": "cannot start an already running container",
    "paused": "cannot start a container in the paused state",
}
