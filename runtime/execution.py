"""Adding a process to a running container: ``naja exec``."""

from __future__ import annotations

import os

from runtime import cgroups
from runtime.creation import check_pid_file, check_terminal, send_pidfd, write_pid_file
from runtime.errors import NajaError
from runtime.linux import namespaces, process
from runtime.operations.base import RUNTIME, Context
from runtime.plan import Request, compile_exec
from runtime.process.launch import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from runtime.container import Container


def execute(
    container: Container,
    program: dict[str, Any],
    *,
    launch: Launch | None = None,
    console_socket: str = "",
    pid_file: str = "",
    pidfd_socket: str = "",
    detach: bool = False,
    preserve_fds: int = 0,
    cgroup: dict[str, str] | None = None,
    ignore_paused: bool = False,
    origin: str = "/process",
) -> int:
    """Run ``program`` (the shape of config.json's /process) in a running container.

    Where ``program`` names no capabilities, profile, label or OOM score, it has the container's own: a
    process that is added shall not be freer than those that it comes to, nor outlive them.
    ``launch`` is a process that the caller has begun to make, with the same ``preserve_fds``.
    ``cgroup`` names cgroups below the container's own, by controller ("" for all). ``origin`` is the
    place of ``program``, for messages (``runtime.errors.place``). Returns the program's exit code, 128 + N
    where signal N ended it; 0 at once with ``detach``. Raises NajaError.
    """
    from runtime.process.attached import Attached

    program = _completed(program, container.config["process"])
    check_terminal(program.get("terminal", False), console_socket, detach)
    check_pid_file(pid_file)
    attached = None if detach else Attached()
    try:
        with launch or Launch(preserve_fds) as begun:
            pidfd = _open_process(container, ignore_paused)
            request = _request(container, console_socket, detach, preserve_fds, cgroup or {})
            plan = compile_exec(request, container.pid, _foreign_namespaces(container.pid), program, origin)
            context = Context(RUNTIME, container.warn)
            context.descriptors["container"] = pidfd
            context.handover.append("container")
            begun.begin(plan)
            begun.run(context)
            if pidfd_socket:
                send_pidfd(pidfd_socket, begun.init)
            if pid_file:
                write_pid_file(pid_file, begun.init)
        if attached is None:
            return 0
        if "console" in context.descriptors:
            attached.relay(context.take("console"))
        return attached.wait(begun.init)
    finally:
        if attached:
            attached.close()


def _completed(program: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the program with what of the container's own process it does not name."""
    completed = dict(program)
    for name in ("capabilities", "apparmorProfile", "selinuxLabel", "oomScoreAdj"):
        # An empty label is none; of capabilities there may be none.
        if name in own and program.get(name, "") == "":
            completed[name] = own[name]
    return completed


def _open_process(container: Container, ignore_paused: bool) -> int:
    """Return a pidfd of the container's process. Raises NajaError where nothing can be added to it."""
    status = container.status_once_made()
    if status == "stopped":
        raise NajaError("cannot exec in a stopped container", why=container.id)
    if status == "creating":
        raise NajaError("cannot exec in a container that is being created", why=container.id)
    if status == "paused" and not ignore_paused:
        raise NajaError("cannot exec in a paused container", why="--ignore-paused waits for its resume")
    try:
        pidfd = process.pidfd_open(container.pid)
    except (ProcessLookupError, ValueError):
        raise NajaError("cannot exec in a stopped container", why=container.id) from None
    if not container.pid:  # It ended, and the pid may be another's: asked again after opening.
        raise NajaError("cannot exec in a stopped container", why=container.id)
    return pidfd


def _foreign_namespaces(pid: int) -> list[str]:
    """Return the kinds of namespaces in which a process differs from the caller."""
    kinds = []
    for kind in namespaces.FLAGS:
        name = namespaces.file_name(kind)
        try:
            theirs = os.readlink(f"/proc/{pid}/ns/{name}")
        except FileNotFoundError:
            continue  # A kernel without this kind.
        except OSError as error:
            raise NajaError.from_os_error(f"read the namespaces of process {pid}", error) from None
        if theirs != os.readlink(f"/proc/self/ns/{name}"):
            kinds.append(kind)
    return kinds


def _request(
    container: Container, console_socket: str, detach: bool, preserve_fds: int, below: dict[str, str]
) -> Request:
    record = container.record
    manager = container.cgroup
    return Request(
        container.config,
        id=container.id,
        bundle=record["bundle"],
        rootless=record["rootless"],
        detached=detach,
        console_socket=console_socket,
        preserve_fds=preserve_fds,
        gate=False,
        environment=dict(os.environ),
        cache=container.root,
        **cgroups.describe(manager, cgroups.detect(), below=below),
    )
