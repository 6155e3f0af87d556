"""Hooks that run inside are the image's programs: what they have, and what they never see."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
INSIDE = ("createContainer", "startContainer")
OUTSIDE = tuple(kind for kind in KINDS if kind not in INSIDE)

#: What a hook says of itself: its environment, its status, the descriptors that it was started with.
_PORTRAIT = "{ tr '\\0' '\\n' < /proc/self/environ; cat /proc/self/status; cat /proc/self/limits; }"

#: The pid and the session of the shell itself.
_WHO = "read pid name state parent group session rest < /proc/self/stat; echo $pid $session"


def add(bundle: Bundle, kind: str, script: str, **properties: Any) -> None:
    """Add a hook that runs a shell script; ``LOG`` in it is a file in the root file system."""
    log = "/log" if kind == "startContainer" else os.path.join(bundle.rootfs, "log")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script.replace("LOG", log)], **properties}
    bundle.config.setdefault("hooks", {}).setdefault(kind, []).append(hook)
    bundle.save()


def log(bundle: Bundle) -> str:
    with open(os.path.join(bundle.rootfs, "log")) as file:
        return file.read()


def deny(bundle: Bundle, *calls: str) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": list(calls), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}],
    }


@pytest.mark.parametrize("uid", [0, 1000])
@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_start_hook_is_under_the_filter(
    naja: Runtime, bundle: Bundle, verb: str, no_new_privileges: bool, uid: int
) -> None:
    os.chmod(os.path.join(bundle.rootfs, "tmp"), 0o1777)
    bundle.process.update(noNewPrivileges=no_new_privileges, user={"uid": uid, "gid": uid})
    deny(bundle, "mkdir", "mkdirat")
    add(
        bundle,
        "startContainer",
        "mkdir /tmp/made; grep -E 'Seccomp:|NoNewPrivs|CapEff' /proc/self/status >&2; false",
    )
    bundle.args("/bin/true")
    if verb == "run":
        refused = naja.run_attached(bundle, check=False)
    else:
        naja.create(bundle)
        refused = naja.start(bundle, check=False)
        naja.delete(bundle, "--force")
    assert not os.path.exists(os.path.join(bundle.rootfs, "tmp/made"))
    assert "Invalid cross-device link" in refused.stderr
    assert "Seccomp: 2" in refused.stderr
    assert f"NoNewPrivs: {no_new_privileges:d}" in refused.stderr
    assert ("CapEff: 0000000020000420" if uid == 0 else "CapEff: 0000000000000000") in refused.stderr


def test_a_start_hook_that_the_filter_kills(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }
    add(bundle, "startContainer", "exec mkdir /made")
    refused = naja.run_attached(bundle.args("/bin/true"), check=False)
    assert (refused.status, "hook /bin/sh was killed by signal 31" in refused.stderr) == (1, True)
    assert bundle.id not in naja.ids()


def test_a_start_hook_under_a_filter_that_denies_what_naja_would_like(naja: Runtime, bundle: Bundle) -> None:
    """What can be done before the filter is done then; for the rest there is another way."""
    deny(bundle, "memfd_create", "close_range", "openat2", "faccessat2", "pidfd_open")
    add(bundle, "startContainer", "ls /proc/self/fd > LOG")
    naja.run_attached(bundle.args("/bin/true"))
    # The shell has opened its output, and ls the directory.
    assert log(bundle).split() == ["0", "1", "2", "3"]


class Agent:
    """A supervisor for one container: answers each call that it is asked about by an errno."""

    def __init__(self, path: str) -> None:
        self.pids: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(path)
        self._socket.listen()
        self._socket.settimeout(20)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        import fcntl

        connection, _ = self._socket.accept()
        _, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 1)
        request, answer = 0xC0502100, 0xC0182101  # SECCOMP_IOCTL_NOTIF_RECV, _SEND
        while True:
            notification = bytearray(80)
            try:
                fcntl.ioctl(descriptors[0], request, notification)
                number, pid = struct.unpack_from("=QI", notification)
                self.pids.append(pid)
                fcntl.ioctl(descriptors[0], answer, struct.pack("=QqiI", number, 0, -errno.EMLINK, 0))
            except OSError:
                break
        os.close(descriptors[0])

    def close(self) -> None:
        self._thread.join(20)
        self._socket.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    started = Agent(str(tmp_path / "agent"))
    yield started
    started.close()


@pytest.mark.parametrize("gate", [False, True])
def test_the_agent_supervises_start_hooks_too(
    naja: Runtime, bundle: Bundle, agent: Agent, tmp_path: Path, gate: bool
) -> None:
    """By the one filter that the program will have: the agent gets one listener."""
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(tmp_path / "agent"),
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    }
    add(bundle, "startContainer", "mkdir /made 2> LOG; true")
    bundle.shell("mkdir /made-too 2> /said")
    if gate:
        naja.create(bundle)
        naja.start(bundle)
        naja.wait_for(bundle, "stopped")
    else:
        naja.run_attached(bundle, check=False)
    assert "Too many links" in log(bundle)
    with open(os.path.join(bundle.rootfs, "said")) as said:
        assert "Too many links" in said.read()
    agent.close()
    assert len(set(agent.pids)) == 2
    assert not os.path.exists(os.path.join(bundle.rootfs, "made"))


@pytest.mark.parametrize("kind", INSIDE)
@pytest.mark.parametrize("verb", ["create", "run"])
def test_environment_of_a_hook_inside(
    naja: Runtime, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: str, verb: str
) -> None:
    """Without one of its own it is the program's; never the caller's."""
    monkeypatch.setenv("NAJA_TEST_SECRET", "leaked")
    bundle.process["env"].append("FROM_CONFIG=yes")
    add(bundle, kind, f"{_PORTRAIT} > LOG")
    add(bundle, kind, f"{_PORTRAIT} >> LOG", env=["OWN=1"])
    if verb == "run":
        naja.run_attached(bundle)
    else:
        naja.create(bundle)
        naja.start(bundle)
        naja.delete(bundle, "--force")
    text = log(bundle)
    assert "NAJA_TEST_SECRET" not in text
    assert text.count("FROM_CONFIG=yes") == 1
    assert text.count("OWN=1") == 1
    assert text.count("PATH=") == 1
    assert (text.count("HOME=/root"), kind) in [(1, "startContainer"), (0, "createContainer")]


#: By these a program loads, reads or runs what they name.
_LEADING = [
    *("LD_PRELOAD=/proc/self/cwd/rootfs/evil.so", "LD_LIBRARY_PATH=rootfs", "LD_AUDIT=x", "GCONV_PATH=x"),
    *("GLIBC_TUNABLES=x", "BASH_ENV=x", "ENV=x", "BASH_FUNC_ls%%=() { evil; }", "PS4=$(evil)", "IFS=/"),
    *("PYTHONPATH=x", "PYTHONHOME=x", "PERL5OPT=-Mx", "RUBYOPT=-rx", "NODE_OPTIONS=-rx", "HOME=rootfs"),
    *("JAVA_TOOL_OPTIONS=x", "XTABLES_LIBDIR=rootfs", "OPENSSL_CONF=x", "XDG_CONFIG_HOME=x", "TZ=:/x"),
]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_hook_of_the_hosts_is_not_led_by_the_image(naja: Runtime, bundle: Bundle, verb: str) -> None:
    """No variable of an image's makes a program of the host's load or run anything of the image's."""
    bundle.write("/bin/helper", f"#!/bin/sh\ntouch {bundle.path}/run\n")
    bundle.process["env"] = [*_LEADING, "PATH=/proc/self/cwd/rootfs/bin", "FROM_CONFIG=yes"]
    add(
        bundle,
        "createContainer",
        "helper; tr '\\0' '\\n' < /proc/self/environ > LOG; cat /proc/self/maps >> LOG",
    )
    bundle.args("/bin/true")
    if verb == "run":
        naja.run_attached(bundle)
    else:
        naja.create(bundle)
        naja.delete(bundle, "--force")
    assert not os.path.exists(f"{bundle.path}/run")
    environment = log(bundle)
    assert "FROM_CONFIG=yes\n" in environment
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n" in environment
    for variable in _LEADING:
        assert variable.partition("=")[0] + "=" not in environment


@pytest.mark.parametrize("kind", OUTSIDE)
def test_environment_of_a_hook_outside(
    naja: Runtime, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Without one of its own it is the command's, as for runc and crun; but no descriptors are promised."""
    monkeypatch.setenv("NAJA_TEST_VARIABLE", "seen")
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "name")
    add(bundle, kind, f"{_PORTRAIT} > LOG")
    naja.run_attached(bundle.args("/bin/sleep", "0.2"))
    assert "NAJA_TEST_VARIABLE=seen" in log(bundle)
    assert "LISTEN_" not in log(bundle)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_has_nothing_that_is_nobodys(naja: Runtime, bundle: Bundle, kind: str) -> None:
    """No descriptors beside three, no ignored or blocked signal, a session of its own."""
    add(bundle, kind, f"exec > LOG; echo /proc/self/fd/*; cat /proc/self/status; {_WHO}")
    bundle.args("/bin/sleep", "0.2").save()
    argv = naja.command("run", "--bundle", bundle.path, "--preserve-fds", "1", bundle.id)
    # At 3 what the container is to have, at 9 what nobody has asked for.
    shell = ["bash", "-c", 'trap "" USR1 PIPE; exec "$@" 3</dev/null 9</dev/null', "bash", *argv]
    subprocess.run(shell, check=True, timeout=30, stdin=subprocess.DEVNULL)
    text = log(bundle)
    assert text.splitlines()[0].split() == [f"/proc/self/fd/{number}" for number in (0, 1, 2, 3)]
    assert "SigIgn:\t0000000000000000" in text
    assert "SigBlk:\t0000000000000000" in text
    words = text.splitlines()[-1].split()
    assert words[0] == words[1]


def test_limits_of_a_start_hook(naja: Runtime, bundle: Bundle) -> None:
    """They are the program's."""
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]
    add(bundle, "startContainer", "ulimit -Sn > LOG; ulimit -Hn >> LOG")
    naja.run_attached(bundle)
    assert log(bundle).split() == ["77", "99"]


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer", "startContainer"])
def test_a_timeout_ends_what_the_hook_started(naja: Runtime, bundle: Bundle, kind: str) -> None:
    # In the host's pid namespace nothing else would end it.
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "pid"]
    seconds = str(1_000_000 + os.getpid())
    add(bundle, kind, f"sleep {seconds} & sleep {seconds}", timeout=1)
    refused = naja.run_attached(bundle, check=False)
    assert "ran longer than its timeout of 1 s" in refused.stderr
    wait_until(lambda: not _processes_with(seconds.encode()), what="the end of the hook's children")


def test_a_hook_ends_with_a_command_that_is_interrupted(
    naja: Runtime, bundle: Bundle, tmp_path: Path
) -> None:
    add(bundle, "createRuntime", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    command = subprocess.Popen(
        # Where the tests run in the background it is ignored.
        ["env", "--default-signal=INT", *naja.command("create", "--bundle", bundle.path, bundle.id)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: os.path.exists(tmp_path / "pid") and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    command.send_signal(signal.SIGINT)
    assert command.wait(20) != 0
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"), what="the end of the hook")
    assert naja.ids() == []


def _processes_with(words: bytes) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if words in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


def _make_fifo(path: str) -> None:
    os.mkfifo(path, 0o777)


def _make_device(path: str) -> None:
    os.mknod(path, 0o020777, os.makedev(1, 3))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (_make_fifo, "Permission denied"),
        (_make_device, "Permission denied"),
        (os.mkdir, "Is a directory"),
        (lambda path: os.symlink("/proc/self/exe", path), "Too many levels of symbolic links"),
        (lambda path: os.symlink("/proc/self/fd/0", path), "Too many levels of symbolic links"),
        (lambda path: os.symlink("/proc/1/root/bin/true", path), "Too many levels of symbolic links"),
        (lambda path: os.symlink("/no/such/file", path), "No such file or directory"),
        (lambda path: os.symlink("hook", path), "Too many levels of symbolic links"),
    ],
    ids=["fifo", "device", "directory", "exe", "descriptor", "root", "dangling", "loop"],
)
def test_a_start_hook_that_the_image_has_replaced(naja: Runtime, bundle: Bundle, make: Any, why: str) -> None:
    make(os.path.join(bundle.rootfs, "hook"))
    bundle.config["hooks"] = {"startContainer": [{"path": "/hook"}]}
    naja.create(bundle.args("/bin/true"))
    refused = naja.start(bundle, check=False)
    assert refused.status == 1
    assert refused.stderr.count("\n") == 1
    assert "hook /hook" in refused.stderr and why in refused.stderr
    assert "/hooks/startContainer/0" in refused.stderr
    naja.delete(bundle, "--force")


def test_the_state_reaches_each_of_several_start_hooks(naja: Runtime, bundle: Bundle) -> None:
    for _ in range(3):
        add(bundle, "startContainer", "{ tr -d '\\n'; echo; } >> LOG")
    naja.run_attached(bundle)
    assert [json.loads(line)["id"] for line in log(bundle).splitlines()] == [bundle.id] * 3
