"""Properties of config.json about names, namespaces and the kernel, each seen from inside."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja.linux.namespaces import FLAGS, file_name
from tests.support.needs import need_command
from tests.support.rootless import let_through
from tests.support.seen import refused, shown
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

#: Inside 0 to 999 is outside 200000 to 200999, and inside 1000 is outside 300000.
RANGES = [
    {"containerID": 0, "hostID": 200000, "size": 1000},
    {"containerID": 1000, "hostID": 300000, "size": 1},
]


def namespace(bundle: Bundle, kind: str, path: str = "") -> None:
    """Have the bundle's container make or join a namespace of a kind."""
    entries = [entry for entry in bundle.linux["namespaces"] if entry["type"] != kind]
    bundle.linux["namespaces"] = [*entries, {"type": kind, **({"path": path} if path else {})}]


def user_namespace(bundle: Bundle) -> None:
    """Give the bundle's container a user namespace, and its root file system to its root."""
    namespace(bundle, "user")
    bundle.linux.update(uidMappings=RANGES, gidMappings=RANGES)
    subprocess.run(["chown", "-R", "-h", "200000:200000", bundle.rootfs], check=True)
    let_through(bundle.path)


def test_hostname(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["hostname"] = "a-name"
    assert shown(naja, bundle, "hostname; uname -n") == "a-name\na-name"


def test_domainname(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["domainname"] = "a-domain"
    assert shown(naja, bundle, "cat /proc/sys/kernel/domainname") == "a-domain"


@pytest.mark.parametrize("name", ["hostname", "domainname"])
def test_names_of_the_host_are_not_changed(naja: Runtime, bundle: Bundle, name: str) -> None:
    del bundle.config["hostname"]
    bundle.config[name] = "mine"
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "uts"]
    assert f"/{name}" in refused(naja, bundle)


def test_annotations(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["annotations"] = {"com.example.key": "a value", "empty": ""}
    naja.create(bundle.save())
    assert naja.state(bundle)["annotations"] == {"com.example.key": "a value", "empty": ""}
    naja.delete(bundle, "--force")
    bundle.config["annotations"] = {"": "no name"}
    assert "/annotations" in refused(naja, bundle)


@pytest.mark.parametrize("kind", sorted(FLAGS))
def test_linux_namespaces_type(naja: Runtime, bundle: Bundle, kind: str) -> None:
    """A new namespace of each kind; where none is named, the container is in the runtime's."""
    file = f"/proc/self/ns/{file_name(kind)}"
    if not os.path.exists(file):
        pytest.skip(f"this kernel has no {kind} namespaces")
    user_namespace(bundle) if kind == "user" else namespace(bundle, kind)
    assert shown(naja, bundle, f"readlink {file}") != os.readlink(file)
    if kind in ("uts", "network"):  # without these the config of the bundle makes no sense
        return
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != kind]
    bundle.linux.update(uidMappings=[], gidMappings=[])
    assert shown(naja, bundle, f"readlink {file}") == os.readlink(file)


@pytest.fixture
def elsewhere() -> Iterator[int]:
    """Return the pid of a process with namespaces of its own, but for mounts, pids and users."""
    need_command("unshare")
    process = subprocess.Popen(["unshare", "-n", "-i", "-u", "-C", "-T", "sleep", "1000"])
    own = os.readlink("/proc/self/ns/uts")
    wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/uts") != own, what="unshare")
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", ["network", "ipc", "uts", "cgroup", "time"])
def test_linux_namespaces_path(naja: Runtime, bundle: Bundle, elsewhere: int, kind: str) -> None:
    name = file_name(kind)
    namespace(bundle, kind, f"/proc/{elsewhere}/ns/{name}")
    assert shown(naja, bundle, f"readlink /proc/self/ns/{name}") == os.readlink(
        f"/proc/{elsewhere}/ns/{name}"
    )


def test_linux_namespaces_path_of_another_container(naja: Runtime, bundle: Bundle, tag: str) -> None:
    """Pid, user and mount namespaces are joined as well: those of a container that runs."""
    user_namespace(bundle)
    naja.run_detached(bundle.args("sleep", "1000"))
    first, pid = bundle.id, naja.state(bundle)["pid"]
    bundle.id = f"{tag}second"
    bundle.linux["cgroupsPath"] = f"/{bundle.id}"
    for kind in ("pid", "user"):
        namespace(bundle, kind, f"/proc/{pid}/ns/{kind}")
    bundle.linux.update(uidMappings=[], gidMappings=[])
    try:
        seen = shown(naja, bundle, "readlink /proc/self/ns/pid; readlink /proc/self/ns/user; ls -d /proc/1")
        expected = [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("pid", "user")]
        assert seen.splitlines() == [*expected, "/proc/1"]
    finally:
        naja.run("delete", "--force", first)


def test_linux_namespaces_that_are_wrong(naja: Runtime, bundle: Bundle) -> None:
    before = bundle.linux["namespaces"]
    bundle.linux["namespaces"] = [*before, before[0]]
    assert f"/linux/namespaces/{len(before)}" in refused(naja, bundle)
    bundle.linux["namespaces"] = [*before, {"type": "weather"}]
    assert f"/linux/namespaces/{len(before)}" in refused(naja, bundle)
    bundle.linux["namespaces"] = before
    namespace(bundle, "ipc", "/proc/self/ns/uts")
    text = refused(naja, bundle)
    assert "not a ipc namespace" in text or "ipc namespace" in text


def test_linux_mappings(naja: Runtime, bundle: Bundle) -> None:
    """Several ranges; files and processes are the mapped users'."""
    user_namespace(bundle)
    bundle.process["capabilities"] = {kind: ["CAP_CHOWN"] for kind in ("bounding", "permitted", "effective")}
    script = (
        "cat /proc/self/uid_map; cat /proc/self/gid_map; stat -c %u:%g /bin; touch /x; chown 1000:1000 /x"
    )
    lines = shown(naja, bundle, script).splitlines()
    expected = [["0", "200000", "1000"], ["1000", "300000", "1"]]
    assert [line.split() for line in lines[:4]] == expected * 2
    assert lines[4] == "0:0"
    found = os.stat(os.path.join(bundle.rootfs, "x"))
    assert (found.st_uid, found.st_gid) == (300000, 300000)


def test_linux_mappings_that_are_wrong(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["uidMappings"] = RANGES
    assert "/linux" in refused(naja, bundle)
    user_namespace(bundle)
    bundle.linux["uidMappings"] = [RANGES[0], RANGES[0]]
    assert "/linux/uidMappings" in refused(naja, bundle)


def test_devices_are_bound_in_a_user_namespace(naja: Runtime, bundle: Bundle) -> None:
    """Where none can be made, the host's are bound (config-linux.md, Default Devices)."""
    user_namespace(bundle)
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/kmsg", "major": 1, "minor": 11}]
    assert shown(naja, bundle, "stat -c %t:%T /dev/null /dev/kmsg; grep -c ' /dev/null ' /proc/mounts") == (
        "1:3\n1:b\n1"
    )


@pytest.mark.parametrize("user", [False, True])
def test_linux_time_offsets(naja: Runtime, bundle: Bundle, user: bool) -> None:
    if user:
        user_namespace(bundle)
    namespace(bundle, "time")
    bundle.linux["timeOffsets"] = {
        "boottime": {"secs": 86400 * 365, "nanosecs": 5},
        "monotonic": {"secs": 86400, "nanosecs": 500},
    }
    lines = shown(naja, bundle, "cat /proc/self/timens_offsets; cat /proc/uptime").splitlines()
    assert [line.split() for line in lines[:2]] == [
        ["monotonic", "86400", "500"],
        ["boottime", "31536000", "5"],
    ]
    assert float(lines[2].split()[0]) > 86400 * 365
    bundle.linux["namespaces"].pop()
    assert "/linux/timeOffsets" in refused(naja, bundle)


def test_linux_sysctl(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "kernel.msgmax": "4096",
        "kernel/shm_rmid_forced": "1",
        "net.ipv4.conf.lo.forwarding": "0",
    }
    script = "cd /proc/sys; cat net/ipv4/ip_forward kernel/msgmax kernel/shm_rmid_forced"
    assert shown(naja, bundle, script).split() == ["1", "4096", "1"]


@pytest.mark.parametrize("name", ["kernel.panic", "vm.swappiness", "net.no.such.thing", "fs.file-max"])
def test_linux_sysctl_of_the_host(naja: Runtime, bundle: Bundle, name: str) -> None:
    bundle.linux["sysctl"] = {name: "1"}
    assert f"/linux/sysctl/{name}" in refused(naja, bundle)


@pytest.mark.parametrize(("domain", "machine"), [("LINUX", "x86_64"), ("LINUX32", "i686")])
def test_linux_personality(naja: Runtime, bundle: Bundle, domain: str, machine: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("what LINUX32 is called is known for x86_64 only")
    bundle.linux["personality"] = {"domain": domain}
    assert shown(naja, bundle, "uname -m") == machine


def test_linux_personality_flags(naja: Runtime, bundle: Bundle) -> None:
    """None is defined so far, so any is an error (config-linux.md, Personality)."""
    bundle.linux["personality"] = {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}
    assert "/linux/personality/flags" in refused(naja, bundle)


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        ({"mode": "MPOL_DEFAULT"}, "default"),
        ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}, "interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "0"}, "prefer (many):0"),
        ({"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0"}, "weighted interleave:0"),
        ({"mode": "MPOL_LOCAL"}, "local"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, "bind=static:0"),
        ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "bind=relative:0"),
    ],
)
def test_linux_memory_policy(naja: Runtime, bundle: Bundle, policy: dict[str, Any], seen: str) -> None:
    if not os.path.exists("/proc/self/numa_maps"):
        pytest.skip("this kernel knows no memory nodes")
    bundle.linux["memoryPolicy"] = policy
    assert f" {seen} " in shown(naja, bundle, "cat /proc/self/numa_maps")


def test_linux_memory_policy_that_is_none(naja: Runtime, bundle: Bundle) -> None:
    for policy in (
        {"mode": "MPOL_FUN", "nodes": "0"},
        {"mode": "MPOL_BIND", "nodes": "zero"},
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_FUN"]},
    ):
        bundle.linux["memoryPolicy"] = policy
        assert "/linux/memoryPolicy" in refused(naja, bundle)


def filtered(**profile: Any) -> dict[str, Any]:
    """Return a seccomp profile that lets happen what it does not name."""
    return {"defaultAction": "SCMP_ACT_ALLOW", **profile}


def rule(name: str, action: str, **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": action, **more}


ACTIONS = [
    ("SCMP_ACT_ALLOW", 0, ""),
    ("SCMP_ACT_LOG", 0, ""),
    ("SCMP_ACT_ERRNO", 1, "Operation not permitted"),
    ("SCMP_ACT_TRACE", 1, "Function not implemented"),
    ("SCMP_ACT_TRAP", 159, ""),
    ("SCMP_ACT_KILL", 159, ""),
    ("SCMP_ACT_KILL_THREAD", 159, ""),
    ("SCMP_ACT_KILL_PROCESS", 159, ""),
]


@pytest.mark.parametrize(("action", "status", "said"), ACTIONS)
def test_linux_seccomp_syscalls_action(
    naja: Runtime, bundle: Bundle, action: str, status: int, said: str
) -> None:
    bundle.linux["seccomp"] = filtered(syscalls=[rule("mkdir", action), rule("mkdirat", action)])
    done = naja.run_attached(bundle.args("mkdir", "/made"), check=False)
    assert done.status == status
    assert said in done.stderr


def test_linux_seccomp_errno_ret(naja: Runtime, bundle: Bundle) -> None:
    names = ["mkdir", "mkdirat", "no_such_call"]
    bundle.linux["seccomp"] = filtered(
        syscalls=[{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]
    )
    assert "No space left on device" in shown(naja, bundle, "mkdir /made 2>&1")


def test_linux_seccomp_default_action(naja: Runtime, bundle: Bundle) -> None:
    """What the profile does not name gets the default, with its own error number."""
    with open("/proc/kallsyms") as file:
        everything = sorted(set(re.findall(r" __x64_sys_(\w+)", file.read())) - {"mkdir", "mkdirat"})
    if not everything:
        pytest.skip("the system calls of this kernel cannot be listed")
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 28,
        "syscalls": [{"names": everything, "action": "SCMP_ACT_ALLOW"}],
    }
    assert "No space left on device" in shown(naja, bundle, "mkdir /made 2>&1; ls /made")


OPERATORS = [
    ("SCMP_CMP_EQ", {"value": 0o700}, "0700", "0701"),
    ("SCMP_CMP_NE", {"value": 0o700}, "0701", "0700"),
    ("SCMP_CMP_LT", {"value": 0o700}, "0677", "0700"),
    ("SCMP_CMP_LE", {"value": 0o700}, "0700", "0701"),
    ("SCMP_CMP_GT", {"value": 0o700}, "0701", "0700"),
    ("SCMP_CMP_GE", {"value": 0o700}, "0700", "0677"),
    ("SCMP_CMP_MASKED_EQ", {"value": 0o111, "valueTwo": 0o010}, "0210", "0211"),
]


@pytest.mark.parametrize(("operator", "values", "denied", "allowed"), OPERATORS)
def test_linux_seccomp_syscalls_args(
    naja: Runtime, bundle: Bundle, operator: str, values: dict[str, int], denied: str, allowed: str
) -> None:
    arguments = [
        rule("mkdir", "SCMP_ACT_ERRNO", args=[{"index": 1, "op": operator, **values}]),
        rule("chmod", "SCMP_ACT_ERRNO", args=[{"index": 1, "op": operator, **values}]),
        rule("fchmodat", "SCMP_ACT_ERRNO", args=[{"index": 2, "op": operator, **values}]),
    ]
    bundle.linux["seccomp"] = filtered(syscalls=arguments)
    script = f"touch /x; chmod {denied} /x 2>&1; chmod {allowed} /x && echo allowed"
    assert shown(naja, bundle, script).splitlines() == ["chmod: /x: Operation not permitted", "allowed"]


def test_linux_seccomp_architectures(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["seccomp"] = filtered(
        architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        syscalls=[rule("mkdir", "SCMP_ACT_ERRNO"), rule("mkdirat", "SCMP_ACT_ERRNO")],
    )
    assert "not permitted" in shown(naja, bundle, "mkdir /made 2>&1")
    bundle.linux["seccomp"]["architectures"] = ["SCMP_ARCH_ABACUS"]
    assert "/linux/seccomp/architectures/0" in refused(naja, bundle)


def test_linux_seccomp_flags(naja: Runtime, bundle: Bundle) -> None:
    flags = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    bundle.linux["seccomp"] = filtered(flags=flags, syscalls=[rule("mkdir", "SCMP_ACT_ERRNO")])
    assert shown(naja, bundle, "grep Seccomp: /proc/self/status").split() == ["Seccomp:", "2"]
    bundle.linux["seccomp"]["flags"] = ["SECCOMP_FILTER_FLAG_FUN"]
    assert "/linux/seccomp/flags/0" in refused(naja, bundle)


def answer(listener: int, number: int) -> None:
    """Have the next call that a filter asks about fail with an errno, and go."""
    # struct seccomp_notif has 80 bytes, struct seccomp_notif_resp 24 (seccomp_unotify(2)).
    notification = bytearray(80)
    fcntl.ioctl(listener, 0xC0502100, notification)
    (identifier,) = struct.unpack_from("=Q", notification)
    fcntl.ioctl(listener, 0xC0182101, struct.pack("=QqiI", identifier, 0, -number, 0))
    os.close(listener)


def test_linux_seccomp_listener(naja: Runtime, bundle: Bundle, tmp_path: os.PathLike[str]) -> None:
    """One state on one connection, which is closed then (config-linux.md, Container process state)."""
    path = os.path.join(tmp_path, "agent")
    rules = [rule("mkdir", "SCMP_ACT_NOTIFY"), rule("mkdirat", "SCMP_ACT_NOTIFY")]
    bundle.linux["seccomp"] = filtered(syscalls=rules, listenerPath=path, listenerMetadata="some words")
    bundle.config["annotations"] = {"com.example.key": "value"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.bind(path)
        agent.listen()
        naja.run_detached(bundle.shell("mkdir /made 2> /said"))
        connection, _ = agent.accept()
    with connection:
        content, descriptors, _, _ = socket.recv_fds(connection, 65536, 8)
        assert connection.recv(1) == b""
    (listener,) = descriptors
    state = json.loads(content)
    assert (state["fds"], state["metadata"]) == (["seccompFd"], "some words")
    assert (state["state"]["id"], state["state"]["bundle"]) == (bundle.id, bundle.path)
    assert state["state"]["annotations"] == {"com.example.key": "value"}
    assert state["pid"] == state["state"]["pid"] == naja.state(bundle)["pid"]
    answer(listener, errno.EMLINK)
    naja.wait_for(bundle, "stopped")
    with open(os.path.join(bundle.rootfs, "said")) as file:
        assert "Too many links" in file.read()


@contextlib.contextmanager
def listening(bundle: Bundle, *rules: dict[str, Any], **profile: Any) -> Iterator[socket.socket]:
    """Be the seccomp agent of a bundle; accept and recv_fds wait for nobody."""
    path = os.path.join(bundle.path, "agent")
    notify = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}
    bundle.linux["seccomp"] = filtered(syscalls=[notify, *rules], listenerPath=path, **profile)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.bind(path)
        agent.listen()
        agent.setblocking(False)
        yield agent


def heard(connection: socket.socket) -> tuple[dict[str, Any], int]:
    """Return the state that has come, and the listener; raises BlockingIOError where there is none."""
    connection.setblocking(False)
    content, (listener,), _, _ = socket.recv_fds(connection, 65536, 8)
    return json.loads(content), listener


def test_linux_seccomp_listener_during_create(naja: Runtime, bundle: Bundle) -> None:
    """The agent has it when create returns, and supervises from the first call of the program on."""
    with listening(bundle) as agent:
        naja.create(bundle.shell("mkdir /made 2> /said"))
        state, listener = heard(agent.accept()[0])
    assert state["state"]["status"] == "creating"
    assert state["pid"] == state["state"]["pid"] == naja.state(bundle)["pid"]
    assert naja.status(bundle) == "created"
    naja.start(bundle)
    answer(listener, errno.EMLINK)
    naja.wait_for(bundle, "stopped")
    with open(os.path.join(bundle.rootfs, "said")) as file:
        assert "Too many links" in file.read()


def test_linux_seccomp_listener_where_the_gate_is_denied(naja: Runtime, bundle: Bundle) -> None:
    """A filter under which nobody could wait for the start is loaded then."""
    with listening(bundle, rule("accept4", "SCMP_ACT_ERRNO"), rule("poll", "SCMP_ACT_ERRNO")) as agent:
        naja.create(bundle.shell("mkdir /made 2> /said"))
        connection, _ = agent.accept()
        with pytest.raises(BlockingIOError):
            heard(connection)
        naja.start(bundle)
        state, listener = heard(connection)
    assert state["state"]["status"] == "creating"
    answer(listener, errno.EMLINK)
    naja.wait_for(bundle, "stopped")


def test_linux_seccomp_listener_of_exec(naja: Runtime, bundle: Bundle) -> None:
    """A process that is added has a listener of its own; its container is running."""
    with listening(bundle) as agent:
        naja.run_detached(bundle.args("sleep", "1000"))
        first, listener = heard(agent.accept()[0])
        os.close(listener)
        naja.exec(bundle, "true")
        added, listener = heard(agent.accept()[0])
        os.close(listener)
    assert (first["state"]["status"], added["state"]["status"]) == ("creating", "running")
    assert added["state"]["pid"] == first["pid"] != added["pid"]


def test_linux_seccomp_listener_that_nobody_hears(naja: Runtime, bundle: Bundle) -> None:
    rules = [rule("mkdir", "SCMP_ACT_NOTIFY")]
    bundle.linux["seccomp"] = filtered(syscalls=rules, listenerPath=os.path.join(bundle.path, "nobody"))
    assert "/linux/seccomp/listenerPath" in refused(naja, bundle)


def test_linux_intel_rdt_without_resctrl(naja: Runtime, bundle: Bundle) -> None:
    with open("/proc/filesystems") as file:
        if "resctrl" in file.read():
            pytest.skip("this kernel has resctrl: it is used, not missed")
    bundle.linux["intelRdt"] = {"closID": "a-class", "schemata": ["MB:0=50"]}
    text = refused(naja, bundle)
    assert "/linux/intelRdt" in text
    assert "resctrl" in text


def test_features(naja: Runtime) -> None:
    """What `naja features` prints is all that it prints (engines read stderr as well)."""
    done = naja.run("features")
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ociVersionMin"] == "1.0.0"
    assert "user" in document["linux"]["namespaces"]
