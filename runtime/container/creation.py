"""Making a container: from a bundle to a process that waits at the start gate, or runs."""

from __future__ import annotations

import _signal
import _thread
import os
import stat
import time

from .. import cgroups, config
from ..config import json
from ..errors import Aftermath, NajaError
from ..linux import capabilities, files, namespaces, process
from ..linux.mounts import mount_id
from ..operations.base import RUNTIME, Context
from ..operations.identity import has_selinux
from ..plan import Request
from ..plan.creation import compile_plan, hook_state
from ..startup.facts import FILE
from . import state
from .caller import check_pid_file, check_terminal, require_terminal, send_pidfd, write_pid_file
from .record import traits
from .shortcuts import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..cgroups import Hierarchies, Manager
    from ..plan import Plan
    from ..process.launch import Launch
    from ..systemd.notify import Notifications


#: How long a brief program is waited for before the record tells of it, in seconds.
_MOMENT = 0.002


class Creation:
    """A container in the making. ``make`` makes it, or leaves nothing of it behind.

    Afterwards ``config`` is its config.json; ``directory`` holds its record, locked; ``init`` is the pid of
    its process, a child of this one; ``console`` the master of its terminal where the caller is to
    relay it, or takes it as it is (``takes_console``), else -1.
    """

    def __init__(
        self,
        id: str,
        bundle: str,
        *,
        root: str,
        warn: Callable[[str], None],
        gate: bool,
        systemd_cgroup: bool = False,
        rootless: bool | None = None,
        console_socket: str = "",
        pid_file: str = "",
        pidfd_socket: str = "",
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        detached: bool = True,
        takes_console: bool = False,
        brief: bool = False,
        interrupted: Callable[[], int] | None = None,
    ) -> None:
        state.check_id(id)
        self.id = id
        # A link to it may lead elsewhere tomorrow, and the state and the hooks speak of this one.
        self.bundle = os.path.realpath(bundle)
        self.root = os.path.abspath(root)
        self.warn = warn
        self.pid_file = pid_file
        self.pidfd_socket = pidfd_socket
        self.console = -1
        self.init = 0
        #: What the container says to $NOTIFY_SOCKET, where it starts at once.
        self.notifications: Notifications | None = None
        self._created = now()
        self._notify = os.environ.get("NOTIFY_SOCKET", "")
        self._gate = gate
        self._interrupted = interrupted
        self._systemd = systemd_cgroup
        self._rootless = is_rootless() if rootless is None else rootless
        self._terminal = (console_socket, detached)
        self._takes_console = takes_console
        self._no_pivot = no_pivot
        self._no_new_keyring = no_new_keyring
        self._preserve_fds = preserve_fds
        self._brief = brief
        self._may_be_over = False
        #: Whether the program has ended before anybody was told (``brief``); ``take_back`` is to follow.
        self.over = False

    def make(self, launch: Launch) -> None:
        """Make the container. Raises NajaError; then nothing of it is left."""
        check_pid_file(self.pid_file)
        process.require_proc()
        hierarchies = cgroups.detect()
        self.config, content = config.read(self.bundle)
        plan = self._compile(hierarchies, launch.activation)
        self._require_terminal()
        launch.begin(plan, announces=bool(self.pid_file or self.pidfd_socket))
        signals = process.EndingSignals()
        handlers: dict[int, Any] = {}
        try:
            self.directory = state.StateDirectory.create(self.root, self.id)
            self.directory.claim()
            handlers = {} if self._interrupted else _catch_signals()
        except BaseException:
            signals.come()
            raise
        try:
            signals.come()
            self._manager.intend(self.directory.identity())
            self._begin_record(content, "notify" if self._notify else "")
            self._run(launch)
        except BaseException as error:
            with Aftermath(error):
                launch.abandon()
            with Aftermath(error):
                if isinstance(error, NajaError):
                    self._mention_memory(error)
                self.take_back()
            with Aftermath(error):
                launch.abandon()  # Who was frozen ends by now.
            raise
        finally:
            for number, handler in handlers.items():
                _signal.signal(number, handler)

    def plan(self, document: dict[str, Any] | None = None) -> Plan:
        """Return what ``make`` would run; with a config, checked, that of this instead of the bundle's.

        Touches nothing. Raises NajaError.
        """
        self.config = config.read(self.bundle)[0] if document is None else document
        from ..process.launch import activation

        return self._compile(cgroups.detect(), activation())

    @property
    def _process(self) -> dict[str, Any]:
        """What the config says of the process, {} where it names none."""
        return self.config.get("process") or {}

    def _require_terminal(self) -> None:
        _, detached = self._terminal
        require_terminal(self._process.get("terminal", False), detached)

    def _compile(self, hierarchies: Hierarchies, activation: dict[str, str] | None = None) -> Plan:
        console_socket, detached = self._terminal
        if not (self._gate or self._process):
            raise NajaError("cannot run a container without a process", why="config.json names none")
        terminal = self._process.get("terminal", False)
        check_terminal(terminal, console_socket, detached, taken=self._takes_console)
        linux = self.config["linux"]
        wanted = self.config
        if self._notify:
            from ..systemd import notify

            wanted = notify.expose(wanted, os.path.join(self.root, self.id, notify.DIRECTORY))
        self._manager: Manager = cgroups.manager(
            linux.get("cgroupsPath", ""),
            self.id,
            systemd=self._systemd,
            rootless=self._rootless,
            hierarchies=hierarchies,
        )
        self._request = Request(
            wanted,
            id=self.id,
            bundle=self.bundle,
            rootless=self._rootless,
            may_mount=not self._rootless or may_mount(),
            detached=detached,
            console_socket=console_socket,
            no_pivot=self._no_pivot,
            no_new_keyring=self._no_new_keyring,
            preserve_fds=self._preserve_fds,
            systemd_cgroup=self._systemd,
            gate=self._gate,
            selinux=has_selinux(),
            environment=activation,
            cache=self.root,
            **cgroups.describe(self._manager, hierarchies),
        )
        return compile_plan(self._request)

    def _begin_record(self, content: bytes, subdirectory: str) -> None:
        """Write what is kept of the container from now on. Raises NajaError."""
        #: Whether there is nothing in the state directory but what each has.
        self._simple = not subdirectory
        try:
            if subdirectory:
                self.directory.make_subdirectory(subdirectory)
            # In this order: whoever finds a record finds the config too.
            self.directory.write_file("config.json", content)
        except OSError as error:
            raise self._cannot_keep(error) from None
        self.directory.write(self._make_record("creating", os.getpid()))

    def _cannot_keep(self, error: OSError) -> NajaError:
        return NajaError.from_os_error(f"write the state of container {self.id}", error)

    def _run(self, launch: Launch) -> None:
        context = Context(RUNTIME, self.warn)
        if self._interrupted:
            context.interrupted = self._interrupted
        self._manager.follow(context)
        if self._gate:
            try:
                context.descriptors["gate"] = self.directory.listen("gate")
            except OSError as error:
                raise self._cannot_keep(error) from None
            context.handover.append("gate")
        if self._notify and not self._gate:
            from ..systemd import notify

            self.notifications = notify.listen(self._notify, self.directory.subdirectory, self.warn)
        self._may_be_over = self._brief and launch.shares_memory and not self.config.get("hooks")
        launch.run(context, born=self._born, meanwhile=self._draft, ready=self._ready)
        if not self.over:
            self._manager.release()
        self.console = context.descriptors.pop("console", -1)

    def _born(self, pid: int) -> None:
        self.init = pid
        if self.config.get("hooks"):
            # They may ask for the state, and expect the pid in it.
            self.directory.write(self._make_record("creating", pid))

    def _draft(self) -> None:
        """Write what the record is going to be; the init is at work, so this takes no time of its own."""
        self.record = self._make_record("created" if self._gate else "running", self.init)
        self._keep()

    def _keep(self) -> None:
        """Write the draft of the record, and the facts for later verbs. Raises NajaError."""
        content = self.directory.draft(self.record)
        if not (self._gate or self._terminal[1]):
            return  # It ends with this command.
        if known := facts(self.record, content, simple=self._simple, gate=self._gate):
            try:
                self.directory.write_file(FILE, known)
            except OSError as error:
                raise self._cannot_keep(error) from None

    def _ready(self) -> None:
        """The container is created, or about to run: say so to whoever asked for it."""
        if self._may_be_over and process.ends_within(self.init, _MOMENT):
            self.over = True
            return
        drafted, self.record = self.record, {**self.record, "cgroup": self._manager.record()}
        if drafted != self.record:
            self._keep()
        self.directory.commit()
        if self.pidfd_socket:
            send_pidfd(self.pidfd_socket, self.init)
        if self.pid_file:
            write_pid_file(self.pid_file, self.init)

    def _make_record(self, status: str, pid: int) -> dict[str, Any]:
        found = traits(self.config)
        return {
            "ociVersion": self.config["ociVersion"],
            "id": self.id,
            "status": status,
            "pid": pid,
            "start_time": state.start_time(pid),
            "bundle": self.bundle,
            "rootfs": os.path.join(self.bundle, self.config["root"]["path"]),
            "created": self._created,
            "owner": os.geteuid(),
            "annotations": {} if "annotations" in found else self.config.get("annotations") or {},
            "traits": found,
            "rootless": self._rootless,
            "notify": bool(self._notify),
            "stdio": [""] * 3 if self._process.get("terminal") else callers_stdio(),
            "cgroup": self._manager.record(),
        }

    def _mention_memory(self, error: NajaError) -> None:
        """Name the memory limit where it was reached: no memory, E2BIG or a killed process do not tell."""
        resources = self.config["linux"].get("resources") or {}
        limit = (resources.get("memory") or {}).get("limit", 0)
        if limit <= 0:
            return
        try:
            reached = self._manager.statistics()["memory"]["usage"]["failcnt"]
        except (OSError, KeyError):
            return  # It was not yet set.
        if reached:
            hint = f"the memory limit, {limit} bytes, was reached"
            error.why = f"{error.why}: {hint}" if error.why else hint

    def take_back(self) -> None:
        """Take back all that was done, however far that was. Raises NajaError."""
        try:
            self._manager.end()
            self._manager.delete()
        finally:
            self._manager.release()
        if self.init:
            run_poststop(self.config, hook_state(self._request, "poststop"), self.warn)
        self.directory.remove()
        self.directory.close()


def _catch_signals() -> dict[int, Any]:
    """Let signals that ask for the end interrupt us, as Ctrl-C does. Return the handlers that they had."""
    handlers = {}
    for number in process.ENDING:
        # Not where the caller ignores it, or another thread would have to do it.
        if _signal.getsignal(number) == _signal.SIG_DFL and _is_first_thread():
            handlers[number] = _signal.signal(number, _interrupt)
    return handlers


def _is_first_thread() -> bool:
    return _thread.get_native_id() == os.getpid()


def _interrupt(number: int, _frame: object) -> None:
    _signal.signal(number, _signal.SIG_DFL)  # Who cannot wait for the undo says it twice.
    raise KeyboardInterrupt(number)


def callers_stdio() -> list[str]:
    """Return which of stdin, stdout and stderr are the caller's own: "pipe:[INODE]", "file[MOUNT:INODE]".

    By these names CRIU is told of what it can neither save nor find in the container; others are "".
    """
    return [_name_of_stream(number) for number in range(3)]


def _name_of_stream(number: int) -> str:
    try:
        status = os.fstat(number)
    except OSError:
        return ""  # Closed.
    if stat.S_ISFIFO(status.st_mode) and files.filesystem_magic(number) == files.PIPEFS_MAGIC:
        return f"pipe:[{status.st_ino}]"
    # A FIFO that has a name is one of the host's files, too.
    is_file = stat.S_ISREG(status.st_mode) or stat.S_ISFIFO(status.st_mode)
    return f"file[{mount_id(number):x}:{status.st_ino:x}]" if is_file else ""


def is_rootless() -> bool:
    """Tell whether the caller lacks root's privileges on the host: another user, or a user namespace."""
    return os.geteuid() != 0 or process.in_user_namespace()


def may_mount() -> bool:
    """Tell whether the caller may mount where it is: below rootless Podman it may, another user not."""
    effective, _, _ = capabilities.get()
    return bool(effective & capabilities.SYS_ADMIN) and namespaces.is_owned("mount")


def run_poststop(
    document: dict[str, Any], state_document: dict[str, Any], warn: Callable[[str], None]
) -> None:
    """Run the poststop hooks; a failure is a warning, and the others run all the same (config.md)."""
    from .. import hooks

    text = json.dumps({**state_document, "pid": 0})
    for index, hook in enumerate((document.get("hooks") or {}).get("poststop") or ()):
        try:
            origin = f"/hooks/poststop/{index}"
            hooks.run_hook(hook, hooks.Streams.open(text), state_document["bundle"], origin=origin)
        except NajaError as error:
            warn(str(error))


def now() -> str:
    """Return the time in UTC as RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{nanoseconds:09}Z"
