"""From config.json to operations on the process: lists are compared, nothing is run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError, Unsupported
from naja.operations.base import Warn, thaw
from naja.operations.execution import Execute, FindProgram, ResetSignals, SealDescriptors
from naja.operations.identity import (
    ChangeUser,
    EnterDirectory,
    FindHome,
    GiveStdio,
    JoinSessionKeyring,
    RequireSecurityModule,
    SetExecLabel,
    SetExecProfile,
    SetUmask,
    home_of,
)
from naja.operations.kernel import (
    RaiseLoopback,
    RefuseHostNamespace,
    SetDomainname,
    SetHostname,
    SetPersonality,
    WriteSysctl,
)
from naja.operations.limits import (
    AdjustOomScore,
    RaiseLimit,
    SetAffinity,
    SetIoPriority,
    SetLimit,
    SetMemoryPolicy,
    SetScheduler,
)
from naja.operations.privileges import GiveUpAdmin, LimitBoundingSet, SetCapabilities, SetNoNewPrivileges
from naja.operations.seccomp import CompileSeccomp, ConnectSeccompAgent, LoadSeccomp
from naja.plan import Request, kernel
from naja.plan import process as plan

if TYPE_CHECKING:
    from naja.operations.base import Operation

PATH = "PATH=/usr/bin:/bin"


def process(**changes: Any) -> dict[str, Any]:
    return {"args": ["sh"], "cwd": "/", "env": [PATH, "HOME=/root"], **changes}


def request(
    document: dict[str, Any] | None = None, linux: dict[str, Any] | None = None, **more: Any
) -> Request:
    """Return a request; keywords that a Request takes go there, others into config.json."""
    options = {
        name: more.pop(name) for name in ("rootless", "preserve_fds", "environment", "gate") if name in more
    }
    config = {"ociVersion": "1.0.2", "process": document or process(), "linux": linux or {}, **more}
    return Request(config, id="c1", bundle="/b", no_new_keyring=True, **options)


def namespaces(*kinds: str, **paths: str) -> list[dict[str, str]]:
    return [{"type": kind} for kind in kinds] + [{"type": kind, "path": path} for kind, path in paths.items()]


def kinds(operations: list[Operation]) -> list[type[Operation]]:
    return [type(operation) for operation in operations]


# The whole


def test_the_least_process() -> None:
    wanted = request()
    assert plan.prepare(wanted) == plan.stage(wanted) == plan.created(wanted) == kernel.change(wanted) == []
    assert plan.identity(wanted) == [
        SetUmask(0o022, origin="/process/user"),
        EnterDirectory("/", as_user=False, origin="/process/cwd"),
        LimitBoundingSet([], origin="/process/capabilities"),
        GiveStdio(0, origin="/process/user/uid"),
        ChangeUser(0, 0, [], keep_groups=False, origin="/process/user"),
        EnterDirectory("/", as_user=True, origin="/process/cwd"),
        SetCapabilities([], [], [], [], keep_admin=False, origin="/process/capabilities"),
        FindProgram("sh", "/usr/bin:/bin", origin="/process/args/0"),
    ]
    assert plan.final(wanted) == [
        ResetSignals(),
        SealDescriptors(0),
        Execute(["sh"], {"PATH": "/usr/bin:/bin", "HOME": "/root"}, origin="/process/args/0"),
    ]


FULL = process(
    env=[PATH],
    user={"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o77},
    capabilities={
        "bounding": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"],
        "permitted": ["CAP_KILL"],
    },
    noNewPrivileges=True,
    oomScoreAdj=-5,
    apparmorProfile="confined",
    selinuxLabel="a:b:c",
    rlimits=[{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2}],
    scheduler={
        "policy": "SCHED_DEADLINE",
        "runtime": 1,
        "deadline": 2,
        "period": 3,
        "flags": ["SCHED_FLAG_RECLAIM"],
    },
    ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 4},
)
FULL_LINUX: dict[str, Any] = {
    "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    "personality": {"domain": "LINUX32"},
    "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0,2-3", "flags": ["MPOL_F_STATIC_NODES"]},
}


def test_everything_at_once() -> None:
    wanted = request(FULL, FULL_LINUX)
    scheduling: list[Operation] = [
        SetScheduler(
            *["SCHED_DEADLINE"], flags=2, runtime=1, deadline=2, period=3, origin="/process/scheduler"
        ),
        SetIoPriority("IOPRIO_CLASS_RT", 4, origin="/process/ioPriority"),
    ]
    assert plan.prepare(wanted) == [
        RequireSecurityModule("AppArmor", origin="/process/apparmorProfile"),
        RequireSecurityModule("SELinux", origin="/process/selinuxLabel"),
        CompileSeccomp(FULL_LINUX["seccomp"], cache=""),
    ]
    assert plan.stage(wanted) == [AdjustOomScore(-5, origin="/process/oomScoreAdj")]
    raised: list[Operation] = [RaiseLimit("RLIMIT_NOFILE", 2, origin="/process/rlimits/0")]
    assert plan.created(wanted) == raised + scheduling
    assert plan.created(request(FULL, FULL_LINUX, rootless=True)) == raised
    assert kinds(plan.identity(wanted)) == [
        *(SetMemoryPolicy, SetExecProfile, SetExecLabel, SetPersonality, SetUmask, FindHome),
        *(EnterDirectory, LimitBoundingSet, GiveStdio, ChangeUser, EnterDirectory, SetCapabilities),
        *(SetNoNewPrivileges, FindProgram),
    ]
    assert plan.identity(wanted)[0] == SetMemoryPolicy("MPOL_BIND", 1 << 15, [0, 2, 3])
    last = kinds(plan.final(wanted))
    assert last == [SetLimit, ResetSignals, SealDescriptors, LoadSeccomp, Execute]
    assert plan.final(request(FULL, FULL_LINUX, rootless=True))[:2] == scheduling


def test_every_operation_survives_the_channel_and_describes_itself() -> None:
    wanted = request(FULL, FULL_LINUX)
    for operation in plan.stage(wanted) + plan.created(wanted) + plan.identity(wanted) + plan.final(wanted):
        assert thaw(operation.freeze()) == operation
        assert operation.describe() and "\n" not in operation.describe()


def test_an_added_process_is_told_apart_by_its_origin() -> None:
    added = process(rlimits=[{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}], oomScoreAdj=1)
    wanted = request()
    operations = (
        plan.stage(wanted, added, "/added")
        + plan.created(wanted, added, "/added")
        + plan.identity(wanted, added, "/added")
        + plan.final(wanted, added, "/added")
    )
    assert all(operation.origin.startswith("/added") for operation in operations if operation.origin)


# Seccomp and privileges


@pytest.mark.parametrize(
    ("no_new_privileges", "effective", "kept"),
    [(False, [], True), (True, [], False), (False, ["CAP_SYS_ADMIN"], False)],
)
def test_when_admin_is_kept_for_the_filter(no_new_privileges: bool, effective: list[str], kept: bool) -> None:
    document = process(noNewPrivileges=no_new_privileges, capabilities={"effective": effective})
    wanted = request(document, {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW"}})
    (sets,) = [operation for operation in plan.identity(wanted) if isinstance(operation, SetCapabilities)]
    assert sets.keep_admin == kept
    assert (GiveUpAdmin in kinds(plan.final(wanted))) == kept


@pytest.mark.parametrize(
    ("profile", "flags"),
    [
        ({}, 4),
        ({"flags": []}, 0),
        ({"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]}, 3),
    ],
)
def test_seccomp_flags(profile: dict[str, Any], flags: int) -> None:
    wanted = request(
        process(noNewPrivileges=True), {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", **profile}}
    )
    assert LoadSeccomp(flags, listen=False) in plan.final(wanted)


def test_a_supervised_process_tells_its_agent_who_it_is() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/run/agent",
        "listenerMetadata": "m",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    }
    wanted = request(linux={"seccomp": profile}, annotations={"a": "b"})
    (agent,) = plan.created(wanted)
    assert isinstance(agent, ConnectSeccompAgent)
    assert agent.path == "/run/agent"
    assert agent.state["metadata"] == "m" and agent.state["fds"] == ["seccompFd"]
    assert agent.state["state"]["status"] == "creating" and agent.state["state"]["annotations"] == {"a": "b"}
    (added,) = plan.created(wanted, process(), container_pid=12)
    assert isinstance(added, ConnectSeccompAgent)
    assert (added.state["state"]["status"], added.state["state"]["pid"]) == ("running", 12)


# The kernel


def test_names_and_the_loopback_device() -> None:
    linux = {"namespaces": namespaces("mount", "network", "uts")}
    wanted = request(linux=linux, hostname="h", domainname="d")
    assert kernel.change(wanted) == [
        RaiseLoopback(origin="/linux/namespaces/1"),
        SetHostname("h"),
        SetDomainname("d"),
    ]


def test_a_joined_network_namespace_is_left_alone() -> None:
    assert kernel.change(request(linux={"namespaces": namespaces(network="/run/netns/x")})) == []


@pytest.mark.parametrize("name", ["hostname", "domainname"])
def test_a_name_without_a_namespace_is_the_hosts(name: str) -> None:
    with pytest.raises(NajaError, match=f"{name} needs a uts namespace, asked for by config.json /{name}"):
        kernel.change(request(hostname="x") if name == "hostname" else request(domainname="x"))


ALL = namespaces("ipc", "network", "uts", "user")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/conf/eno2.100/rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("net.ipv4.conf.eno2/100.rp_filter", "net/ipv4/conf/eno2.100/rp_filter"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced"),
        ("kernel/sem", "kernel/sem"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max"),
        ("kernel.domainname", "kernel/domainname"),
        ("user.max_user_namespaces", "user/max_user_namespaces"),
    ],
)
def test_sysctls(key: str, path: str) -> None:
    origin = "/linux/sysctl/" + key.replace("/", "~1")
    wanted = request(linux={"namespaces": ALL, "sysctl": {key: "1"}})
    assert kernel.change(wanted)[1:] == [WriteSysctl(key, path, "1", origin=origin)]


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("kernel.hostname", "what /hostname is for"),
        ("kernel.core_pattern", "it is the host's"),
        ("kernel.semaphores", "it is the host's"),
        ("vm.swappiness", "it is the host's"),
        ("kernel/core_pattern", "it is the host's"),
        ("nothing", "it is the host's"),
        ("", "it is the host's"),
        ("net.../x", "not a valid name"),
        ("net.//.//.kernel.core_pattern", "not a valid name"),
        ("net./../kernel/core_pattern", "not a valid name"),
        ("net/../kernel/core_pattern", "not a valid name"),
    ],
)
def test_sysctls_of_the_host_are_refused(key: str, why: str) -> None:
    with pytest.raises(NajaError, match=why) as refused:
        kernel.change(request(linux={"namespaces": ALL, "sysctl": {key: "1"}}))
    assert refused.value.origin.startswith("/linux/sysctl/")


@pytest.mark.parametrize(
    "key", ["net.ipv4.ip_forward", "kernel.sem", "fs.mqueue.x", "kernel.domainname", "user.x"]
)
def test_sysctls_without_their_namespace_are_refused(key: str) -> None:
    with pytest.raises(Unsupported, match=r"without a \w+ namespace it is the host's"):
        kernel.change(request(linux={"namespaces": namespaces("mount"), "sysctl": {key: "1"}}))


def test_joined_namespaces_that_change_must_not_be_the_hosts() -> None:
    linux = {
        "namespaces": namespaces(network="/n", uts="/u", ipc="/i"),
        "sysctl": {"net.x": "1", "net.y": "1"},
    }
    assert kernel.prepare(request(linux=linux, hostname="h")) == [
        RefuseHostNamespace("uts", "/u", origin="/hostname"),
        RefuseHostNamespace("network", "/n", origin="/linux/sysctl/net.x"),
    ]


# The process


def test_the_session_keyring() -> None:
    config = {"process": process(selinuxLabel="l")}
    assert plan.identity(Request(config, id="c1"))[0] == JoinSessionKeyring("_ses.c1", "l")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["A=1", "B=", "A=2", "C=x=y"], {"A": "2", "B": "", "C": "x=y"}),
        ([], {}),
        (["X=\udcff"], {"X": "\udcff"}),
    ],
)
def test_environment(entries: list[str], expected: dict[str, str]) -> None:
    document = process(env=entries)
    assert plan.environment_of(request(document), document, "/process") == expected


@pytest.mark.parametrize("entry", ["A", "", "=x", "A=\0"])
def test_environment_entries_that_are_none(entry: str) -> None:
    with pytest.raises(NajaError, match="is not NAME=VALUE") as refused:
        plan.identity(request(process(env=[PATH, entry])))
    assert refused.value.origin == "/process/env/1"


def test_socket_activation_and_preserved_descriptors() -> None:
    wanted = request(environment={"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "OTHER": "x"}, preserve_fds=3)
    *_, seal, execute = plan.final(wanted)
    assert seal == SealDescriptors(5)
    assert isinstance(execute, Execute)
    told = {"LISTEN_FDS": "2", "LISTEN_PID": "1", "LISTEN_FDNAMES": "a:b"}
    assert told.items() <= execute.environment.items()
    assert "OTHER" not in execute.environment
    with pytest.raises(NajaError, match="LISTEN_FDS=x"):
        plan.final(request(environment={"LISTEN_FDS": "x"}))


@pytest.mark.parametrize("kind", ["bounding", "effective", "permitted", "inheritable", "ambient"])
def test_an_unknown_capability(kind: str) -> None:
    document = process(capabilities={kind: ["CAP_KILL", "CAP_TEST"]})
    operations = plan.identity(request(document))
    assert Warn("unknown capabilities are left out: CAP_TEST", origin="/process/capabilities") in operations
    assert "CAP_TEST" not in repr([each for each in operations if type(each) is not Warn])


def test_groups_are_kept_on_request() -> None:
    (change,) = [
        operation
        for operation in plan.identity(request(annotations={"run.oci.keep_original_groups": "1"}))
        if isinstance(operation, ChangeUser)
    ]
    assert change.keep_groups


@pytest.mark.parametrize(
    ("document", "origin"),
    [
        (process(args=[]), "/process/args"),
        (process(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]), "/process/rlimits/0/type"),
        (process(scheduler={"policy": "SCHED_X"}), "/process/scheduler/policy"),
        (process(scheduler={"policy": "SCHED_ISO"}), "/process/scheduler"),
        (process(scheduler={"policy": "SCHED_RR", "flags": ["X"]}), "/process/scheduler/flags/0"),
        (process(ioPriority={"class": "X"}), "/process/ioPriority/class"),
    ],
)
def test_what_linux_has_not_is_refused(document: dict[str, Any], origin: str) -> None:
    with pytest.raises(NajaError) as refused:
        plan.identity(request(document))
        plan.created(request(document))
    assert refused.value.origin == origin


@pytest.mark.parametrize(
    ("linux", "origin"),
    [
        ({"personality": {"domain": "BSD"}}, "/linux/personality/domain"),
        ({"personality": {"domain": "LINUX", "flags": ["X"]}}, "/linux/personality/flags"),
        ({"memoryPolicy": {"mode": "MPOL_X"}}, "/linux/memoryPolicy/mode"),
        ({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "3-1"}}, "/linux/memoryPolicy/nodes"),
        ({"memoryPolicy": {"mode": "MPOL_BIND", "flags": ["X"]}}, "/linux/memoryPolicy/flags"),
    ],
)
def test_what_linux_has_not_for_the_container_is_refused(linux: dict[str, Any], origin: str) -> None:
    with pytest.raises(NajaError) as refused:
        plan.identity(request(linux=linux))
    assert refused.value.origin == origin


def test_processors_of_an_added_process() -> None:
    affinity = {"initial": "0-1", "final": "3"}
    assert plan.affinity(process(execCPUAffinity=affinity)) == (
        [SetAffinity([0, 1], origin="/process/execCPUAffinity/initial")],
        [SetAffinity([3], origin="/process/execCPUAffinity/final")],
    )
    assert plan.affinity(process()) == ([], [])


@pytest.mark.parametrize(
    ("text", "numbers"), [("", []), ("0", [0]), ("0-2, 5", [0, 1, 2, 5]), (" 7 ", [7]), ("1,1", [1, 1])]
)
def test_lists_of_numbers(text: str, numbers: list[int]) -> None:
    assert plan.id_list(text, "/x") == numbers


@pytest.mark.parametrize("text", ["-", "1-", "-1", "a", "1,,2", "2-1", "0-99999999999", ","])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(NajaError):
        plan.id_list(text, "/x")


@pytest.mark.parametrize(
    ("passwd", "home"),
    [
        (b"root:x:0:0:root:/root:/bin/sh\nu:x:7:8::/home/u:/bin/sh\n", "/home/u"),
        (b"u:x:7:8::/home/u", "/home/u"),
        (b"u:x:7:8:::\nv:x:7:8::/v:\n", "/v"),
        (b"u:x:07:8::/home/u:\nbroken\n\0\n", "/"),
        (b"", "/"),
        (b"\0" * 200000 + b"\nu:x:7:8::/late:\n", "/late"),
        (b"u:x:7:8::/\xff:", "/\udcff"),
        (b"u:x:7:8::/a\0b:\nv:x:7:8::/v:\n", "/v"),
    ],
)
def test_home_directories(passwd: bytes, home: str) -> None:
    assert home_of(io.BytesIO(passwd), 7) == home
