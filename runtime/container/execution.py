"""Adding a process to a running container: ``naja exec``."""

from __future__ import annotations

import os

from .. import cgroups
from ..errors import Aftermath, NajaError, WrongState
from ..linux import namespaces, process
from ..operations.base import RUNTIME, Context
from ..operations.stdio import TakeStreams
from ..plan import Request
from ..plan.execution import compile_exec
from ..process.launch import Launch, prepare
from .caller import check_pid_file, check_terminal, require_terminal, send_pidfd, write_pid_file

#: Engines look for these words.
_STOPPED = "cannot exec in a stopped container"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from ..cgroups import Manager
    from ..plan import Plan
    from .limiting import Limits

    class _Handle(Protocol):
        """What has to be known of a container (lifecycle.py) to add a process to it."""

        id: str
        root: str
        warn: Callable[[str], None]

        @property
        def config(self) -> dict[str, Any]: ...
        @property
        def record(self) -> dict[str, Any]: ...
        @property
        def cgroup(self) -> Manager: ...
        def status_once_made(self) -> str: ...
        def lasting(self, otherwise: str) -> AbstractContextManager[process.Held]: ...


def execute(
    container: _Handle,
    program: dict[str, Any],
    *,
    detach: bool = False,
    limits: dict[str, Any] | None = None,
    **options: Any,
) -> int:
    """Run ``program`` (the shape of config.json's /process) in a running container.

    ``limits`` are for it and its children, in the shape of /linux/resources: memory.limit, pids.limit,
    cpu.quota, cpu.period and cpu.cpus. ``options`` are those of ``add``. Returns the program's exit code,
    128 + N where signal N ended it; 0 at once with ``detach``. Raises NajaError.
    """
    from ..process.attached import Attached

    require_terminal(program.get("terminal", False), detach)
    limited = None
    if limits:
        from .limiting import Limits

        limited = Limits(limits)
    attached = None if detach else Attached()
    try:
        pid, console = add(container, program, detached=detach, limits=limited, **options)
        if attached is None:
            return 0
        if console >= 0:
            attached.relay(console)
        code = attached.wait(pid)
        if limited:
            limited.remove()
        return code
    finally:
        if attached:
            attached.close()


def add(
    container: _Handle,
    program: dict[str, Any],
    *,
    launch: Launch | None = None,
    console_socket: str = "",
    pid_file: str = "",
    pidfd_socket: str = "",
    detached: bool = True,
    takes_console: bool = False,
    preserve_fds: int = 0,
    cgroup: dict[str, str] | None = None,
    ignore_paused: bool = False,
    user: str = "",
    limits: Limits | None = None,
    prepared: Callable[[], None] | None = None,
    origin: str = "/process",
) -> tuple[int, int]:
    """Add a process to a running container; it is a child of this one, and runs ``program``.

    Where ``program`` names no capabilities, profile, label, OOM score or processors, it has the container's
    own: a process that is added shall not be freer than those that it comes to, nor outlive them.
    ``launch`` is a process that the caller has begun to make, with the same ``preserve_fds``.
    ``cgroup`` names cgroups below the container's own, by controller ("" for all). ``user`` is a user's name
    in the container that goes before the user of ``program`` (users.py). ``limits`` are those of a cgroup of
    its own below these. ``prepared`` is called when all is known and the stage waits: only then this
    process need have its standard streams. ``origin`` is the place of ``program``, for messages
    (``naja.errors.place``). Returns its pid, and the master of its terminal where the caller is to relay it,
    or takes it as it is (``takes_console``), else -1. Raises NajaError.
    """
    program = _completed(program, container.config.get("process") or {})
    check_terminal(program.get("terminal", False), console_socket, detached, taken=takes_console)
    check_pid_file(pid_file)
    context = Context(RUNTIME, container.warn)
    with launch or Launch(preserve_fds) as begun:
        _check_status(container.status_once_made(), ignore_paused, container.id)
        with container.lasting(_STOPPED) as held:
            if user:
                from .users import named

                program = named(program, user, held)
            if limits:
                cgroup = limits.place(container.cgroup, cgroup or {}, container.warn)
            try:
                request = _request(container, console_socket, detached, preserve_fds, cgroup or {})
                begun.begin(_compile(request, held, program, origin, follow=not cgroup, late=bool(prepared)))
                context.values["cgroup mark"] = container.cgroup.mark
                if prepared:
                    begun.prepare(context)
                    prepared()
                    # It was looked at, and is held: nothing else can have become of it.
                    _require_running(held)
                    _check_status(
                        "paused" if container.cgroup.paused() else "running", ignore_paused, container.id
                    )
                    TakeStreams.give(context)
                _add(context, held, begun)
                if limits:
                    limits.entered()
            except BaseException as error:
                if limits:
                    with Aftermath(error):
                        begun.abandon()
                    with Aftermath(error):
                        limits.remove()
                raise
        if pidfd_socket:
            send_pidfd(pidfd_socket, begun.init)
        if pid_file:
            write_pid_file(pid_file, begun.init)
    return begun.init, context.descriptors.pop("console", -1)


def rehearse(container: _Handle, program: dict[str, Any]) -> None:
    """Do what ``add`` does first, and touch nothing: what it takes is then at hand. Raises NajaError."""
    program = _completed(program, container.config.get("process") or {})
    _check_status(container.status_once_made(), False, container.id)
    context = Context(RUNTIME, container.warn)
    with container.lasting(_STOPPED) as held:
        request = _request(container, "", True, 0, {})
        plan = _compile(request, held, program, "/process", follow=True, late=True)
        context.values["cgroup mark"] = container.cgroup.mark
        try:
            prepare(plan, context)
        finally:
            for descriptor in context.descriptors.values():
                os.close(descriptor)


def _compile(
    request: Request, held: process.Held, program: dict[str, Any], origin: str, *, follow: bool, late: bool
) -> Plan:
    kinds = _foreign_namespaces(held, request)
    return compile_exec(request, held.pid, kinds, program, origin, place=held.name, follow=follow, late=late)


def _add(context: Context, held: process.Held, launch: Launch) -> None:
    """Run the plan that adds a process to the one that is held. Raises NajaError."""
    context.descriptors["container"] = os.dup(held.pidfd)
    context.handover.append("container")
    launch.run(context, ready=lambda: _require_running(held))


def _require_running(held: process.Held) -> None:
    """See that the cgroups just entered are the container's, not those of a later one. Raises NajaError."""
    if held.ending():
        raise WrongState(_STOPPED)


def _completed(program: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the program with what of the container's own process it does not name."""
    completed = dict(program)
    for name in ("capabilities", "apparmorProfile", "selinuxLabel", "oomScoreAdj", "execCPUAffinity"):
        # An empty label is none; of capabilities there may be none.
        if name in own and program.get(name, "") == "":
            completed[name] = own[name]
    return completed


def _check_status(status: str, ignore_paused: bool, id: str) -> None:
    """Refuse a container that nothing can be added to. Raises NajaError."""
    if status == "stopped":
        raise WrongState(_STOPPED, why=id)
    if status == "creating":
        raise WrongState("cannot exec in a container that is being created", why=id)
    if status == "paused" and not ignore_paused:
        raise WrongState("cannot exec in a paused container", why="--ignore-paused waits for its resume")


def _foreign_namespaces(held: process.Held, request: Request) -> list[str]:
    """Return the kinds of namespaces in which a process differs from the caller. Raises NajaError."""
    kinds = [kind for kind in namespaces.FLAGS if _is_foreign(held, namespaces.file_name(kind))]
    if not kinds and "" in request.namespaces().values():
        raise NajaError(f"join the namespaces of process {held.pid}", why="it has none of its own")
    return kinds


def _is_foreign(held: process.Held, name: str) -> bool:
    try:
        own = os.readlink(f"/proc/self/ns/{name}")
    except FileNotFoundError:
        return False  # A kernel without this kind.
    try:
        return os.readlink(f"ns/{name}", dir_fd=held.directory) != own
    except OSError as error:
        raise NajaError.from_os_error(f"read the namespaces of process {held.pid}", error) from None


def _request(
    container: _Handle, console_socket: str, detach: bool, preserve_fds: int, below: dict[str, str]
) -> Request:
    record = container.record
    manager = container.cgroup
    if below:
        manager.require_own()
    return Request(
        container.config,
        id=container.id,
        bundle=record["bundle"],
        rootless=record["rootless"],
        detached=detach,
        console_socket=console_socket,
        preserve_fds=preserve_fds,
        gate=False,
        cache=container.root,
        **cgroups.describe(manager, cgroups.detect(), below=below),
    )
