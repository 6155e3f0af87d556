"""From /linux/seccomp to operations: what is built by the runtime and loaded by the process."""

from __future__ import annotations

from ..errors import NajaError, Unsupported
from ..linux.seccomp import FLAGS
from ..operations.seccomp import CompileSeccomp, ConnectSeccompAgent, LoadSeccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..operations.base import Operation
    from .request import Request

_NOTIFY = "SCMP_ACT_NOTIFY"
_WAIT_KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"

#: What an init calls that is under its filter when it is told to go to the gate, and waits there.
_AT_THE_GATE = {
    *("accept4", "close", "listen", "poll", "ppoll", "read", "recvfrom", "recvmsg", "rt_sigaction"),
    *("sendmsg", "write"),
}


def profile(request: Request) -> dict[str, Any] | None:
    """Return the profile, None where the container runs without a filter."""
    found: dict[str, Any] | None = (request.config.get("linux") or {}).get("seccomp")
    return found


def prepare(request: Request) -> list[Operation]:
    """Return what the runtime does before the process is born. Raises NajaError."""
    wanted = profile(request)
    if wanted is None:
        return []
    _check_notify(wanted)
    return [CompileSeccomp(wanted, cache=request.cache)]


def _check_notify(wanted: dict[str, Any]) -> None:
    """Refuse supervision that nobody could begin. Raises NajaError."""
    if wanted["defaultAction"] == _NOTIFY:
        raise Unsupported(f"{_NOTIFY} as the default action", origin="/linux/seccomp/defaultAction")
    for index, rule in enumerate(wanted.get("syscalls") or ()):
        if rule["action"] == _NOTIFY and "sendmsg" in rule["names"]:
            why = "the listener itself is sent with it"
            raise Unsupported(f"{_NOTIFY} for sendmsg", why=why, origin=f"/linux/seccomp/syscalls/{index}")
    if _listens(wanted) and not wanted.get("listenerPath"):
        raise NajaError(f"{_NOTIFY} needs a listenerPath", origin="/linux/seccomp")
    if not _listens(wanted) and _WAIT_KILLABLE in (wanted.get("flags") or ()):
        raise NajaError(f"{_WAIT_KILLABLE} needs a rule with {_NOTIFY}", origin="/linux/seccomp/flags")


def connect(request: Request, container_pid: int = 0) -> list[Operation]:
    """Return what the runtime does once the process is set up: find its supervisor, if it has one.

    ``container_pid`` is the pid of the container where the process is added to it by exec.
    """
    wanted = profile(request)
    if wanted is None or not _listens(wanted):
        return []
    config = request.config
    state: dict[str, Any] = {
        "ociVersion": config["ociVersion"],
        "id": request.id,
        "status": "running" if container_pid else "creating",
        "pid": container_pid,
        "bundle": request.bundle,
    }
    if config.get("annotations"):
        state["annotations"] = config["annotations"]
    process_state = {"ociVersion": config["ociVersion"], "fds": ["seccompFd"], "pid": 0, "state": state}
    if wanted.get("listenerMetadata"):
        process_state["metadata"] = wanted["listenerMetadata"]
    return [ConnectSeccompAgent(wanted["listenerPath"], process_state)]


def waits_under_filter(request: Request) -> bool:
    """Tell whether the filter is loaded before the gate: its agent is to hear of the container at once.

    Only where it lets the init wait there; else the agent has to wait for the start as well.
    """
    wanted = profile(request)
    return wanted is not None and _listens(wanted) and _allowed(wanted) >= _AT_THE_GATE


def _allowed(wanted: dict[str, Any]) -> set[str]:
    """Return which of the gate's calls a profile allows, with whatever arguments."""
    free = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG")
    allowed = _AT_THE_GATE.copy() if wanted["defaultAction"] in free else set()
    rules = wanted.get("syscalls") or ()
    for rule in rules:
        if rule["action"] in free and not rule.get("args"):
            allowed.update(rule["names"])
    for rule in rules:
        if rule["action"] not in free:
            allowed.difference_update(rule["names"])
    return allowed


def load(request: Request) -> list[Operation]:
    """Return what the process does to itself, shortly before it becomes the program."""
    wanted = profile(request)
    return [] if wanted is None else [LoadSeccomp(_flags(wanted), listen=_listens(wanted))]


def _listens(wanted: dict[str, Any]) -> bool:
    return any(rule["action"] == _NOTIFY and rule["names"] for rule in wanted.get("syscalls") or ())


def _flags(wanted: dict[str, Any]) -> int:
    names = wanted.get("flags")
    if names is None:
        # As runc does. Else kernels before 5.16 would slow down every program under a filter.
        return FLAGS["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    flags = 0
    for index, name in enumerate(names):
        if name not in FLAGS:
            raise Unsupported(f"{name!r} is not a seccomp flag", origin=f"/linux/seccomp/flags/{index}")
        flags |= FLAGS[name]
    return flags
