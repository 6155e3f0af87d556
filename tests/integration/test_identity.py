"""Who the container's process is: operations applied in forked children on the real kernel."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import resource
import signal
import stat
import termios
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError, Unsupported
from naja.linux import capabilities, namespaces, process
from naja.operations.base import INIT, RUNTIME, STAGE, Context, apply_all
from naja.operations.execution import FindProgram, ResetSignals, SealDescriptors
from naja.operations.identity import (
    ChangeUser,
    EnterDirectory,
    GiveStdio,
    JoinSessionKeyring,
    RequireSecurityModule,
    SetUmask,
)
from naja.operations.kernel import RaiseLoopback, RefuseHostNamespace, SetPersonality, WriteSysctl
from naja.operations.limits import (
    AdjustOomScore,
    RaiseLimit,
    SetAffinity,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetScheduler,
)
from naja.operations.namespaces import MapIds
from naja.operations.privileges import LimitBoundingSet, SetCapabilities, SetNoNewPrivileges
from naja.plan import Request
from naja.plan import process as plan
from tests.support.child import apply, enter_root, in_child, init_context, output_of
from tests.support.rooting import become_user

if TYPE_CHECKING:
    from pathlib import Path

    from naja.operations.base import Operation
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

PATH = "PATH=/usr/local/bin:/bin"


def run(root: str, changes: dict[str, Any], **config: Any) -> str:
    """Apply the whole identity of a process, and its end in execve; return what it printed."""
    document: dict[str, Any] = {"args": ["/bin/true"], "cwd": "/", "env": [PATH], **changes}
    request = Request({"ociVersion": "1.0.2", "process": document, **config}, id="test")

    def work() -> None:
        enter_root(root)
        context, _ = init_context()
        outside = Context(RUNTIME, print)
        outside.pid = os.getpid()
        apply_all(plan.prepare(request), outside)
        context.values = outside.values
        apply_all(plan.identity(request), context)
        apply_all([op for op in plan.created(request) if not isinstance(op, RaiseLimit)], outside)
        apply_all(plan.final(request), context)

    status, text = output_of(work)
    assert status == 0, text
    return text


def status_lines(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


# The whole


def test_root_without_capabilities(busybox_rootfs: str) -> None:
    lines = status_lines(run(busybox_rootfs, {"args": ["cat", "/proc/self/status"], "noNewPrivileges": True}))
    assert lines["Uid"] == "0\t0\t0\t0"
    assert {lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert lines["NoNewPrivs"] == "1"
    assert lines["SigIgn"] == lines["SigBlk"] == "0" * 16


def test_a_user_with_all_five_sets(busybox_rootfs: str) -> None:
    kill, chown = ["CAP_KILL"], ["CAP_CHOWN"]
    sets = {
        "bounding": kill + chown,
        "effective": kill,
        "permitted": kill,
        "inheritable": kill,
        "ambient": kill,
    }
    user = {"uid": 1000, "gid": 1001, "additionalGids": [5, 20], "umask": 0o077}
    text = run(busybox_rootfs, {"args": ["cat", "/proc/self/status"], "user": user, "capabilities": sets})
    lines = status_lines(text)
    assert lines["Uid"] == "1000\t1000\t1000\t1000"
    assert lines["Gid"] == "1001\t1001\t1001\t1001"
    assert lines["Groups"].split() == ["5", "20"]
    assert lines["Umask"] == "0077"
    bits = f"{capabilities.mask(kill):016x}"
    assert [lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [bits] * 4
    assert lines["CapBnd"] == f"{capabilities.mask(kill + chown):016x}"


@pytest.mark.parametrize(
    ("uid", "environment", "home"),
    [
        (1000, [PATH], "/tmp"),
        (0, [PATH, "HOME="], "/root"),
        (77, [PATH], "/"),
        (0, [PATH, "HOME=/x", "HOME=/y"], "/y"),
    ],
)
def test_home(busybox_rootfs: str, uid: int, environment: list[str], home: str) -> None:
    text = run(busybox_rootfs, {"args": ["env"], "user": {"uid": uid, "gid": 0}, "env": environment})
    assert f"HOME={home}\n" in text
    assert text.count("HOME=") == 1


def test_bytes_that_are_not_utf8_reach_the_program(busybox_rootfs: str) -> None:
    strange = os.fsdecode(b"\xff\xfe")
    arguments = ["/bin/sh", "-c", 'printf %s "$1$X" | od -An -tx1', "sh", strange]
    assert run(busybox_rootfs, {"args": arguments, "env": [PATH, f"X={strange}"]}).split() == [
        *("ff", "fe", "ff", "fe")
    ]


def test_working_directory_and_rlimits(busybox_rootfs: str) -> None:
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 12},
        {"type": "RLIMIT_AS", "soft": 8 << 20, "hard": 8 << 20},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
    ]
    words = ["/bin/sh", "-c", "pwd; ulimit -Sn; ulimit -Hn; ulimit -Sc"]
    assert run(busybox_rootfs, {"args": words, "cwd": "/var", "rlimits": limits}).split() == [
        *("/var", "10", "12", "0")
    ]


def test_scheduling(busybox_rootfs: str) -> None:
    text = run(
        busybox_rootfs,
        {
            "args": ["cat", "/proc/self/stat"],
            "scheduler": {"policy": "SCHED_BATCH", "nice": 7},
            "ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
        },
    )
    fields = text.rsplit(")", 1)[1].split()
    assert (fields[19 - 3], fields[41 - 3]) == ("7", "3")


def test_nothing_of_naja_is_inherited(busybox_rootfs: str) -> None:
    assert run(busybox_rootfs, {"args": ["ls", "/proc/self/fd"]}).split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize("permitted", [True, False])
def test_ambient_capabilities_that_are_not_inheritable(permitted: bool) -> None:
    """Every default config of before 2022 has them, so they are warned of for other reasons only."""

    def work() -> tuple[list[str], int]:
        kill = ["CAP_KILL"]
        held = kill if permitted else []
        operation = SetCapabilities(held, held, [], kill, keep_admin=False, origin="/process/capabilities")
        _, warnings = apply([operation])
        return warnings, process.prctl(47, 1, capabilities.NUMBERS["CAP_KILL"])  # PR_CAP_AMBIENT_IS_SET

    warnings, ambient = in_child(work)
    assert ambient == 0
    expected = (
        [] if permitted else ["ambient capabilities that cannot be granted here are left out: CAP_KILL"]
    )
    assert warnings == expected


@pytest.mark.parametrize("number", [0, 20, 40])
def test_a_capability_that_cannot_be_dropped_is_an_error(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EINVAL does not tell that the kernel knows no more capabilities."""
    genuine = process.prctl

    def refusing(option: int, value: int, second: int = 0) -> int:
        if option == 24 and value == number:  # PR_CAPBSET_DROP
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return genuine(option, value, second)

    monkeypatch.setattr(capabilities, "prctl", refusing)
    # What the caller itself lacks cannot be dropped.
    monkeypatch.setattr(capabilities, "bounding_set", lambda _: (1 << 41) - 1, raising=False)
    with pytest.raises(NajaError, match="Invalid argument"):
        in_child(lambda: apply([LimitBoundingSet([], origin="/process/capabilities")])[1])


def test_missing_capabilities_are_left_out() -> None:
    """The specification: what cannot be granted is warned of and no error."""

    def work() -> tuple[list[str], int, int]:
        _, warnings = apply(
            [
                LimitBoundingSet(["CAP_KILL"], origin=""),
                LimitBoundingSet(["CAP_KILL", "CAP_CHOWN"], origin=""),
                SetCapabilities(["CAP_KILL"], ["CAP_KILL"], [], [], keep_admin=False, origin=""),
                SetCapabilities(
                    ["CAP_CHOWN"], ["CAP_KILL", "CAP_CHOWN"], [], [], keep_admin=False, origin=""
                ),
            ]
        )
        effective, permitted, _ = capabilities.get()
        return warnings, effective, permitted

    warnings, effective, permitted = in_child(work)
    assert warnings == ["bounding capabilities that cannot be granted here are left out: CAP_CHOWN"]
    assert (effective, permitted) == (0, capabilities.mask(["CAP_KILL"]))


# The user


def test_a_user_that_the_namespace_does_not_map() -> None:
    def work() -> None:
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        with open("/proc/self/setgroups", "w") as file:
            file.write("deny")
        with open("/proc/self/uid_map", "w") as file:
            file.write("0 0 1")
        apply_all([ChangeUser(5, 0, [], keep_groups=True, origin="/process/user")], Context(INIT, print))

    with pytest.raises(NajaError, match=r"become user 5.*EINVAL.*/process/user.*does not map"):
        in_child(work)


@pytest.mark.parametrize(
    ("groups", "missing"), [([], ""), ([0], ""), ([5, 0, 5], "5"), ([7, 65534, 5], "5, 7")]
)
def test_groups_in_a_namespace_that_denies_setgroups(groups: list[int], missing: str) -> None:
    """Those that the process has anyway are there; of the others it is told."""

    def work() -> tuple[int, list[str]]:
        os.setgroups([20])  # Seen from inside, one that has no name there: 65534.
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        for name, content in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(content)
        # It may not mount a procfs without a pid namespace of its own.
        warnings: list[str] = []
        context = Context(INIT, warnings.append)
        context.descriptors["proc"] = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
        apply_all([ChangeUser(0, 0, groups, keep_groups=False, origin="/process/user")], context)
        return os.getuid(), warnings

    uid, warnings = in_child(work)
    assert uid == 0
    if missing:
        (warning,) = warnings
        assert f"left out: {missing}, asked for by config.json /process/user/additionalGids" in warning
    else:
        assert warnings == []


def test_the_process_stays_opaque_when_the_user_changes() -> None:
    def work() -> int:
        process.set_dumpable(True)
        apply([ChangeUser(1000, 1000, [], keep_groups=False, origin="")])
        return process.prctl(3, 0)  # PR_GET_DUMPABLE

    assert in_child(work) == 0


def test_stdio_is_given_to_the_user_but_dev_null_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def work() -> tuple[int, int]:
        out = os.open(target, os.O_WRONLY | os.O_CREAT)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(null, 2)
        apply([GiveStdio(1234, origin="")])
        return os.fstat(0).st_uid, os.fstat(1).st_uid

    assert in_child(work) == (os.stat("/dev/null").st_uid, 1234)


@pytest.mark.parametrize(
    ("flags", "owner"), [(os.O_RDONLY, 0), (os.O_WRONLY, 1234), (os.O_RDWR, 1234), (os.O_APPEND | 1, 1234)]
)
def test_stdio_is_given_to_the_user_but_no_file_that_is_read(tmp_path: Path, flags: int, owner: int) -> None:
    """Its owner could open it again to write: it is the host's, and was only to be read."""
    (tmp_path / "file").touch()

    def work() -> tuple[int, int]:
        os.dup2(os.open(tmp_path / "file", flags), 0)
        reader, _writer = os.pipe()
        os.dup2(reader, 1)
        apply([GiveStdio(1234, origin="")])
        return os.fstat(0).st_uid, os.fstat(1).st_uid

    assert in_child(work) == (owner, 1234)


@pytest.mark.parametrize("way", ["run", "exec"])
def test_a_file_as_standard_input_is_not_changed(
    naja: Runtime, bundle: Bundle, tmp_path: Path, way: str
) -> None:
    (tmp_path / "input").write_text("of the host\n")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    script = "cat; echo changed > /proc/self/fd/0"
    if way == "exec":
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
    with open(tmp_path / "input") as file:
        if way == "exec":
            done = naja.exec(bundle, "/bin/sh", "-c", script, check=False, stdin=file)
        else:
            done = naja.run_attached(bundle.shell(script), check=False, stdin=file)
    assert done.stdout == "of the host\n"
    assert "Permission denied" in done.stderr
    assert (tmp_path / "input").read_text() == "of the host\n"
    assert (tmp_path / "input").stat().st_uid == 0


@pytest.mark.parametrize("number", [(1, 5), (1, 7), (5, 0)])
def test_stdio_is_given_to_the_user_but_no_device_is(tmp_path: Path, number: tuple[int, int]) -> None:
    """But for terminals, and /dev/tty is only a way to one: a node that was handed over is the host's."""
    node = str(tmp_path / "node")
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(*number))
    if os.statvfs(node).f_flag & os.ST_NODEV:
        pytest.skip(f"needs a {tmp_path} on which device nodes can be used")

    def work() -> tuple[int, int]:
        os.setsid()
        _master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)  # /dev/tty leads to it.
        os.dup2(os.open(node, os.O_RDONLY), 0)
        os.dup2(slave, 1)
        apply([GiveStdio(1234, origin="")])
        return os.fstat(0).st_uid, os.fstat(1).st_uid

    assert in_child(work) == (0, 1234)


# The working directory


def test_a_directory_through_a_magic_link_is_refused(busybox_rootfs: str) -> None:
    """CVE-2024-21626: a descriptor of the host's as working directory."""

    def work() -> None:
        outside = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        enter_root(busybox_rootfs)
        path = f"/proc/self/fd/{outside}"
        apply([EnterDirectory(path, as_user=False, origin="/process/cwd")])

    with pytest.raises(NajaError, match=r"ELOOP.*/process/cwd"):
        in_child(work)


def test_a_directory_outside_of_the_root_is_detected(busybox_rootfs: str) -> None:
    def work() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNS)
        outside = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        enter_root(busybox_rootfs)
        os.fchdir(outside)
        apply([EnterDirectory("/", as_user=True, origin="/process/cwd")])

    with pytest.raises(NajaError, match="outside of the container"):
        in_child(work)


def test_a_directory_that_only_root_may_enter(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)

    def work() -> str:
        path = str(private)
        user = ChangeUser(1000, 1000, [], keep_groups=False, origin="")
        none = SetCapabilities([], [], [], [], keep_admin=False, origin="")
        first, second = (EnterDirectory(path, as_user=late, origin="") for late in (False, True))
        apply([first, user, none, second])
        return os.getcwd()

    assert in_child(work) == str(private)


def test_a_missing_directory(busybox_rootfs: str) -> None:
    def work() -> None:
        enter_root(busybox_rootfs)
        apply([EnterDirectory("/nowhere", as_user=False, origin="/process/cwd")])

    with pytest.raises(
        NajaError, match=r"enter /nowhere: .*\(ENOENT\), asked for by config.json /process/cwd"
    ):
        in_child(work)


# The program


def find(root: str, name: str, search: str = "/bin", uid: int = 0) -> str:
    def work() -> str:
        enter_root(root)
        operations: list[Operation] = []
        if uid:
            operations.append(ChangeUser(uid, uid, [], keep_groups=False, origin=""))
            operations.append(SetCapabilities([], [], [], [], keep_admin=False, origin=""))
        context, _ = apply([*operations, FindProgram(name, search, origin="/process/args/0")])
        path: str = context.values["program"]
        return path

    found: str = in_child(work)
    return found


def test_programs_are_found(busybox_rootfs: str) -> None:
    assert find(busybox_rootfs, "sh", "/usr/bin:/bin:/sbin") == "/bin/sh"
    assert find(busybox_rootfs, "bin/sh") == "bin/sh"
    assert find(busybox_rootfs, "/bin/../bin/ls") == "/bin/../bin/ls"


@pytest.mark.parametrize(
    ("name", "search", "message"),
    [
        ("x", "/bin", 'exec: "x": executable file not found in $PATH'),
        ("sh", "", 'exec: "sh": executable file not found in $PATH'),
        ("", "/bin", 'exec: "": executable file not found in $PATH'),
        ("/etc", "", 'exec: "/etc": is a directory: permission denied'),
        ("/etc/passwd", "", 'exec: "/etc/passwd": permission denied'),
        ("/no/such", "", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/etc/passwd/x", "", 'exec: "/etc/passwd/x": not a directory'),
        ("sh", "bin", 'exec: "sh": cannot run executable found relative to current directory'),
        ("/proc/self/exe", "", 'exec: "/proc/self/exe": too many levels of symbolic links'),
    ],
)
def test_programs_are_not_found(busybox_rootfs: str, name: str, search: str, message: str) -> None:
    with pytest.raises(NajaError) as refused:
        find(busybox_rootfs, name, search)
    assert refused.value.what == message
    assert refused.value.origin == "/process/args/0"


def test_a_program_that_the_user_may_not_execute(busybox_rootfs: str) -> None:
    tool = os.path.join(busybox_rootfs, "tmp", "only-root")
    with open(tool, "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(tool, 0o700)
    assert find(busybox_rootfs, "/tmp/only-root") == "/tmp/only-root"
    with pytest.raises(NajaError, match="permission denied"):
        find(busybox_rootfs, "/tmp/only-root", uid=1000)


def test_a_program_without_its_interpreter(busybox_rootfs: str) -> None:
    tool = os.path.join(busybox_rootfs, "tmp", "orphan")
    with open(tool, "w") as file:
        file.write("#!/no/such/interpreter\n")
    os.chmod(tool, 0o755)
    with pytest.raises(AssertionError, match="exec /tmp/orphan: No such file or directory"):
        run(busybox_rootfs, {"args": ["/tmp/orphan"]})


# Limits and the kernel


def test_a_limit_that_cannot_be_raised_names_itself() -> None:
    if capabilities.get()[0] >> capabilities.NUMBERS["CAP_SYS_RESOURCE"] & 1:
        pytest.skip("root may raise limits here")

    def work() -> None:
        resource.prlimit(0, resource.RLIMIT_NPROC, (10, 10))
        apply([SetLimit("RLIMIT_NPROC", 20, 20, origin="/process/rlimits/3")])

    with pytest.raises(NajaError, match=r"set RLIMIT_NPROC to 20: .*EPERM.*/process/rlimits/3.*limit is 10"):
        in_child(work)


def test_all_sixteen_limits() -> None:
    def work() -> list[tuple[int, int]]:
        from naja.linux.scheduling import RLIMITS

        current = [resource.prlimit(0, number) for number in RLIMITS.values()]
        for name, number in RLIMITS.items():
            soft, hard = (value & 2**64 - 1 for value in resource.prlimit(0, number))
            apply_all([SetLimit(name, soft, hard, origin="")], Context(INIT, print))
        assert current == [resource.prlimit(0, number) for number in RLIMITS.values()]
        return current

    assert len(in_child(work)) == 16


def test_a_soft_limit_above_the_hard_one() -> None:
    def work() -> None:
        apply([SetLimit("RLIMIT_NOFILE", 20, 10, origin="/process/rlimits/0")])

    with pytest.raises(NajaError, match=r"EINVAL.*soft limit exceeds"):
        in_child(work)


def test_raising_leaves_a_higher_limit_alone() -> None:
    def work() -> tuple[int, int]:
        context = Context(RUNTIME, print)
        context.pid = os.getpid()
        resource.prlimit(0, resource.RLIMIT_NOFILE, (50, 100))
        apply_all([RaiseLimit("RLIMIT_NOFILE", 60, origin="")], context)
        return resource.prlimit(0, resource.RLIMIT_NOFILE)

    assert in_child(work) == (50, 100)


def test_oom_score() -> None:
    def work() -> tuple[str, int]:
        process.set_dumpable(False)
        apply_all([AdjustOomScore(321, origin="")], Context(STAGE, print))
        with open("/proc/self/oom_score_adj") as file:
            return file.read().strip(), process.prctl(3, 0)

    assert in_child(work) == ("321", 0)


@pytest.mark.parametrize("policy", ["SCHED_OTHER", "SCHED_BATCH", "SCHED_IDLE", "SCHED_FIFO", "SCHED_RR"])
def test_policies(policy: str) -> None:
    def work() -> int:
        priority = 5 if policy in ("SCHED_FIFO", "SCHED_RR") else 0
        apply([SetScheduler(policy, priority=priority, origin="")])
        return os.sched_getscheduler(0)

    assert in_child(work) == getattr(os, policy)


def test_deadline_policy() -> None:
    def work() -> int:
        apply(
            [SetScheduler("SCHED_DEADLINE", runtime=10**6, deadline=10**7, period=10**7, flags=1, origin="")]
        )
        return os.sched_getscheduler(0) & ~0x40000000  # SCHED_RESET_ON_FORK

    try:
        assert in_child(work) == 6
    except NajaError as error:
        assert "SCHED_DEADLINE" in error.what
        pytest.skip(f"the kernel admits no deadline task here: {error}")


def test_memory_policy_io_priority_and_affinity() -> None:
    def work() -> tuple[bool, set[int]]:
        apply(
            [
                SetMemoryPolicy("MPOL_BIND", 1 << 15, [0]),
                SetIoPriority("IOPRIO_CLASS_BE", 6, origin=""),
                SetAffinity([0], origin=""),
            ]
        )
        with open("/proc/self/numa_maps") as file:
            bound = "bind=static:0" in file.read()
        return bound, os.sched_getaffinity(0)

    assert in_child(work) == (True, {0})


def test_personality() -> None:
    def work() -> str:
        apply([SetPersonality("LINUX32", 8)])
        return os.uname().machine

    assert in_child(work) in ("i686", "armv8l", "ppcle", "s390")


def test_loopback_and_sysctl_of_a_new_network_namespace() -> None:
    def work() -> tuple[str, str]:
        namespaces.unshare(namespaces.CLONE_NEWNET | namespaces.CLONE_NEWNS)
        path = "net/ipv4/ip_unprivileged_port_start"
        apply([RaiseLoopback(origin=""), WriteSysctl("x", path, "79", origin="")])
        with open(f"/proc/sys/{path}") as file:
            port = file.read().strip()
        with open("/proc/net/if_inet6") as file:
            return port, file.read().split()[-1]

    assert in_child(work) == ("79", "lo")


def test_an_unknown_sysctl() -> None:
    def work() -> None:
        apply([WriteSysctl("net.no.such", "net/no/such", "1", origin="/linux/sysctl/net.no.such")])

    with pytest.raises(NajaError, match=r"set sysctl net.no.such to 1: .*ENOENT.*/linux/sysctl/net.no.such"):
        in_child(work)


def test_the_hosts_namespace_is_refused() -> None:
    with pytest.raises(NajaError, match=r"host's network namespace.*/linux/sysctl/net.x.*leads there"):
        apply_all(
            [RefuseHostNamespace("network", f"/proc/{os.getpid()}/ns/net", origin="/linux/sysctl/net.x")],
            Context(RUNTIME, print),
        )


def test_a_session_keyring_of_its_own() -> None:
    def work() -> str:
        apply([JoinSessionKeyring("_ses.naja-test", "")])
        with open("/proc/keys") as file:
            return file.read()

    assert "_ses.naja-test" in in_child(work)


@pytest.mark.parametrize("module", ["AppArmor", "SELinux"])
def test_a_security_module_that_is_not_there(module: str) -> None:
    if os.path.exists("/sys/fs/selinux/enforce") or os.path.exists("/sys/module/apparmor"):
        pytest.skip("this kernel has one")
    with pytest.raises(Unsupported, match=f"{module} is not active.*/process/x"):
        apply_all([RequireSecurityModule(module, origin="/process/x")], Context(RUNTIME, print))


# What is inherited


def test_signals_are_reset() -> None:
    def work() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, print)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGRTMIN])
        apply([ResetSignals()])
        os.execv("/bin/cat", ["cat", "/proc/self/status"])

    status, text = output_of(work)
    lines = status_lines(text)
    assert status == 0
    assert lines["SigIgn"] == lines["SigBlk"] == lines["SigCgt"] == "0" * 16


def test_preserved_descriptors(busybox_rootfs: str) -> None:
    def work() -> None:
        enter_root(busybox_rootfs)
        for number in (3, 4, 5):
            os.dup2(1, number)
        apply_all([SealDescriptors(2)], Context(INIT, print))
        os.execv("/bin/ls", ["ls", "/proc/self/fd"])

    # What ls itself opens comes next to what it inherited.
    assert output_of(work) == (0, "\n".join("012345") + "\n")


def test_a_missing_preserved_descriptor() -> None:
    def work() -> None:
        apply_all([SealDescriptors(900)], Context(INIT, print))

    with pytest.raises(NajaError, match=r"pass on descriptor \d+: .*EBADF.*did not open it"):
        in_child(work)


def test_umask_and_no_new_privileges() -> None:
    def work() -> tuple[int, int]:
        apply([SetUmask(0o027, origin=""), SetNoNewPrivileges(origin="")])
        return os.umask(0), process.prctl(39, 0)  # PR_GET_NO_NEW_PRIVS

    assert in_child(work) == (0o027, 1)


def test_root_of_a_user_namespace_maps_ids_itself() -> None:
    """As below rootless Podman with ``--userns=keep-id``; newuidmap(1) knows the host's IDs only."""
    mappings = [(0, 1, 1000), (1000, 0, 1), (1001, 1001, 100)]

    def work() -> list[str]:
        become_user()
        reader, writer = os.pipe()
        stage = os.fork()
        if stage == 0:
            os.close(reader)
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            process.set_dumpable(True)
            os.write(writer, b".")
            signal.pause()
        try:
            os.read(reader, 1)
            context = Context(RUNTIME, print)
            context.values["stage"] = stage
            MapIds(mappings, mappings, rootless=True).apply(context)
            maps = []
            for kind in ("uid", "gid"):
                with open(f"/proc/{stage}/{kind}_map") as file:
                    maps.append(" ".join(file.read().split()))
            return maps
        finally:
            os.kill(stage, signal.SIGKILL)
            os.waitpid(stage, 0)

    assert in_child(work) == ["0 1 1000 1000 0 1 1001 1001 100"] * 2
