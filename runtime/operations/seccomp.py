"""Operations that build, announce and load the container's seccomp filter."""

from __future__ import annotations

import struct

from ..linux import seccomp
from .base import Context, Operation
from .terminal import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class CompileSeccomp(Operation):
    """Build the filter with libseccomp (config-linux.md, seccomp); done by the runtime."""

    __slots__ = ("cache", "profile")

    def __init__(self, profile: dict[str, Any], *, cache: str) -> None:
        self.origin = "/linux/seccomp"
        self.profile = profile
        #: Directory where filters are kept for the next container, "" for none.
        self.cache = cache

    def describe(self) -> str:
        calls = sum(len(rule["names"]) for rule in self.profile.get("syscalls") or ())
        return f"build a seccomp filter: {self.profile['defaultAction']}, rules for {calls} system calls"

    def apply(self, context: Context) -> None:
        # Not needed by the processes in the container, which import this module too.
        from ..linux.seccomp_filter import compile_filter, kept_filter

        if self.cache:
            context.values["seccomp"] = kept_filter(self.profile, self.cache)
        else:
            context.values["seccomp"] = compile_filter(self.profile)


class ConnectSeccompAgent(Operation):
    """Connect to the program that will supervise system calls, before the process may start.

    It gets the filter's descriptor and the container process state (runtime.md) from the process
    itself, which alone can tell that its filter is loaded.
    """

    __slots__ = ("path", "state")

    def __init__(self, path: str, state: dict[str, Any]) -> None:
        self.origin = "/linux/seccomp/listenerPath"
        self.path = path
        #: The container process state; the pids are known only when this runs.
        self.state = state

    def describe(self) -> str:
        return f"connect to the seccomp agent at {self.path}"

    def apply(self, context: Context) -> None:
        import _socket

        from ..config import json

        state = dict(self.state, pid=context.pid)
        state["state"] = dict(state["state"], pid=state["state"].get("pid") or context.pid)
        context.values["seccomp state"] = json.dumps(state).encode()
        agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connect(agent, self.path)
        except OSError:
            agent.close()
            raise
        context.descriptors["seccomp agent"] = agent.detach()
        context.handover.append("seccomp agent")


class LoadSeccomp(Operation):
    """Load the filter (seccomp(2)); from here on naja's own system calls pass through it."""

    __slots__ = ("flags", "listen")

    def __init__(self, flags: int, *, listen: bool) -> None:
        self.origin = "/linux/seccomp"
        self.flags = flags
        #: Some system calls are answered by a supervisor, who gets a descriptor for that.
        self.listen = listen

    def describe(self) -> str:
        return "load the seccomp filter" + (", send its listener to the agent" if self.listen else "")

    def apply(self, context: Context) -> None:
        program = context.values.pop("seccomp")
        context.values["filtered"] = True
        if not self.listen:
            seccomp.load(program, self.flags)
            return
        import _socket  # It is loaded, for the channel is a socket.

        # All is made ready first: nothing but sendmsg may stand between the filter and the agent.
        agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, context.take("seccomp agent"))
        state = context.values.pop("seccomp state")
        listener = seccomp.load(program, self.flags, listen=True)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("=i", listener))]
        agent.sendmsg([state], rights, _socket.MSG_NOSIGNAL)
        # Both descriptors are close-on-exec; a close(2) here might itself wait for the agent.
        agent.detach()
