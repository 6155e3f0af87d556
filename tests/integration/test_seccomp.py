"""Seccomp filters in the real kernel: loading, privileges, and the supervising agent."""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError
from naja.linux import capabilities
from naja.linux.seccomp_filter import compile_filter
from naja.operations.base import INIT, RUNTIME, Context, apply_all
from naja.operations.seccomp import LoadSeccomp
from naja.plan import Request
from naja.plan import process as plan
from tests.support.child import enter_root, in_child, init_context, output_of

if TYPE_CHECKING:
    from pathlib import Path

DENY_MKDIR = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}],
}


def load(profile: dict[str, Any], flags: int = 0) -> None:
    """Put the calling process under a profile; it must be privileged or have no_new_privs."""
    context = Context(INIT, print)
    context.values["seccomp"] = compile_filter(profile)
    apply_all([LoadSeccomp(flags, listen=False)], context)


def run(root: str, profile: dict[str, Any], args: list[str], **process: Any) -> tuple[int, str]:
    """Run a program as a container's process under a profile; return its exit status and output."""
    document = {"args": args, "cwd": "/", "env": ["PATH=/bin"], **process}
    config = {"ociVersion": "1.0.2", "process": document, "linux": {"seccomp": profile}}
    request = Request(config, id="test", bundle="/b")

    def work() -> None:
        outside = Context(RUNTIME, print)
        outside.pid = os.getpid()
        apply_all(plan.prepare(request), outside)
        apply_all(plan.created(request), outside)
        enter_root(root)
        context, _ = init_context()
        context.values = outside.values
        context.descriptors.update(outside.descriptors)
        apply_all(plan.identity(request), context)
        apply_all(plan.final(request), context)

    return output_of(work)


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_denied_call(busybox_rootfs: str, no_new_privileges: bool) -> None:
    script = "mkdir /tmp/x; grep -E 'Seccomp:|NoNew|Cap(Prm|Eff)' /proc/self/status"
    status, text = run(
        busybox_rootfs, DENY_MKDIR, ["sh", "-c", script], noNewPrivileges=no_new_privileges, user={"uid": 5}
    )
    assert status == 0
    assert "Invalid cross-device link" in text
    assert "Seccomp:\t2" in text
    assert f"NoNewPrivs:\t{int(no_new_privileges)}" in text
    assert text.count("\t" + "0" * 16) == 2


def test_the_kept_capability_is_gone_before_the_program_runs() -> None:
    def work() -> list[tuple[int, int, int]]:
        kill = ["CAP_KILL"]
        sets = {"bounding": kill, "effective": kill, "permitted": kill}
        document = {"args": ["/bin/true"], "cwd": "/", "capabilities": sets}
        request = Request(
            {"process": document, "linux": {"seccomp": DENY_MKDIR}}, id="x", no_new_keyring=True
        )
        context, _ = init_context()
        context.values["seccomp"] = compile_filter(DENY_MKDIR)
        apply_all(plan.identity(request), context)
        seen = [capabilities.get()]
        *rest, _execute = plan.final(request)
        apply_all(rest[-2:], context)
        return [*seen, capabilities.get()]

    kill, admin = capabilities.mask(["CAP_KILL"]), capabilities.SYS_ADMIN
    waiting, at_last = in_child(work)
    assert waiting == (kill | admin, kill | admin, 0)
    assert at_last == (kill, kill, 0)


def test_without_privilege_and_without_no_new_privs() -> None:
    def work() -> None:
        capabilities.set(0, 0, 0)
        load(DENY_MKDIR)

    with pytest.raises(NajaError, match=r"load the seccomp filter: .*EACCES.*/linux/seccomp"):
        in_child(work)


@pytest.mark.parametrize("flags", [1, 2, 4, 1 | 2 | 4])
def test_flags_of_the_kernel(flags: int) -> None:
    def work() -> int:
        load(DENY_MKDIR, flags)
        try:
            os.mkdir("/tmp/never")
        except OSError as error:
            return error.errno or 0
        return 0

    assert in_child(work) == errno.EXDEV


def test_a_killed_process(busybox_rootfs: str) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    assert run(busybox_rootfs, profile, ["mkdir", "/tmp/x"], noNewPrivileges=True)[0] == -31  # SIGSYS


def test_an_allow_list_like_dockers(busybox_rootfs: str) -> None:
    """The calls that naja itself makes under the filter are few enough for a real list."""
    names = ["arch_prctl", "brk", "capset", "close", "execve", "exit_group", "fstat", "getcwd", "getpid"]
    names += ["getrandom", "getuid", "ioctl", "mmap", "mprotect", "munmap", "newfstatat", "openat", "prctl"]
    names += ["prlimit64", "read", "readlink", "rseq", "rt_sigaction", "rt_sigprocmask", "set_robust_list"]
    names += ["set_tid_address", "stat", "uname", "write", "writev"]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }
    assert run(busybox_rootfs, profile, ["echo", "hello"]) == (0, "hello\n")


# The agent


class Agent(threading.Thread):
    """A seccomp agent for one process: it answers every notification with an errno."""

    def __init__(self, path: str, answer: int) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        self.state: dict[str, Any] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()

    def run(self) -> None:
        import fcntl

        connection, _ = self._listener.accept()
        content, ancillary, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
        self.state = json.loads(content)
        descriptors = array.array("i")
        descriptors.frombytes(ancillary[0][2])
        (listener,) = descriptors
        # struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24 (seccomp_unotify(2)).
        notification = bytearray(80)
        try:
            while True:
                notification[:] = bytes(80)
                fcntl.ioctl(listener, 0xC0502100, notification)
                (identifier,) = struct.unpack_from("=Q", notification)
                fcntl.ioctl(listener, 0xC0182101, struct.pack("=QqiI", identifier, 0, -self.answer, 0))
        except OSError:
            os.close(listener)


@pytest.mark.parametrize(
    "flags", [[], ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]]
)
def test_an_agent_answers(
    busybox_rootfs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    # Longer than a socket's address may be.
    directory = tmp_path / ("x" * 100)
    directory.mkdir()
    path = str(directory / "agent")
    monkeypatch.chdir(directory)
    agent = Agent("agent", errno.EMLINK)
    agent.start()
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": flags,
        "listenerPath": path,
        "listenerMetadata": "some words",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    }
    status, text = run(busybox_rootfs, profile, ["mkdir", "/tmp/x"], noNewPrivileges=True)
    assert (status, "Too many links" in text) == (1, True), text
    state = agent.state
    assert state["fds"] == ["seccompFd"]
    assert state["metadata"] == "some words"
    assert state["pid"] == state["state"]["pid"] > 0
    assert {key: state["state"][key] for key in ("id", "bundle", "ociVersion")} == {
        "id": "test",
        "bundle": "/b",
        "ociVersion": "1.0.2",
    }


def test_no_agent_is_there(busybox_rootfs: str, tmp_path: Path) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "agent"),
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    status, text = run(busybox_rootfs, profile, ["true"], noNewPrivileges=True)
    assert status == 99
    assert "connect to the seccomp agent" in text and "/linux/seccomp/listenerPath" in text
