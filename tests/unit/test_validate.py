"""Every way to spoil a good config: refused, in one line, that names the place."""

from __future__ import annotations

import copy
import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naja import config as configs
from naja.config import json, nulls, spelling, template
from naja.config.explain import Problem
from naja.errors import NajaError
from tests.support.schemas import Maker

if TYPE_CHECKING:
    from pathlib import Path

with open(os.path.join(os.path.dirname(__file__), "../data/full.json"), "rb") as _file:
    FULL = json.loads(_file.read())

#: Where a mutation takes something away.
GONE = object()

NETLESS = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user", "cgroup", "time")]
RANGE = {"containerID": 0, "hostID": 100000, "size": 10}

#: What to change where; the place that the error must name; words of the reason.
MUTATIONS: list[tuple[str, Any, str, str]] = [
    # The form, as the schema has it.
    ("/ociVersion", GONE, "", "'ociVersion' is missing"),
    ("/ociVersion", 1, "/ociVersion", "expected a string, found 1"),
    ("/root/path", GONE, "/root", "'path' is missing"),
    ("/root/readonly", "yes", "/root/readonly", 'expected true or false, found "yes"'),
    ("/process/cwd", GONE, "/process", "'cwd' is missing"),
    ("/process/args", "sh", "/process/args", 'expected an array, found "sh"'),
    ("/process/args/1", 5, "/process/args/1", "expected a string, found 5"),
    ("/process/terminal", 1, "/process/terminal", "expected true or false"),
    ("/process/user", [], "/process/user", "expected an object, found an empty array"),
    ("/process/user/uid", -1, "/process/user/uid", "expected an integer from 0 to 4294967295, found -1"),
    ("/process/user/uid", 2**32, "/process/user/uid", "expected an integer from 0"),
    ("/process/user/uid", 1.0, "/process/user/uid", "expected an integer, found 1.0"),
    ("/process/user/uid", True, "/process/user/uid", "expected an integer, found true"),
    ("/process/user/umask", 0o1000, "/process/user/umask", "from 0 to 511"),
    ("/process/user/additionalGids/1", "x", "/process/user/additionalGids/1", "expected an integer"),
    ("/process/capabilities/bounding", "CAP_KILL", "/process/capabilities/bounding", "expected an array"),
    ("/process/rlimits/0/type", "RLIMIT_NOFILES", "/process/rlimits/0/type", "did you mean 'RLIMIT_NOFILE'?"),
    ("/process/rlimits/0/hard", GONE, "/process/rlimits/0", "'hard' is missing"),
    ("/process/rlimits/0/soft", -1, "/process/rlimits/0/soft", "found -1"),
    ("/process/oomScoreAdj", 1001, "/process/oomScoreAdj", "from -1000 to 1000"),
    ("/process/ioPriority/class", "IOPRIO_CLASS_NONE", "/process/ioPriority/class", "expected one of"),
    ("/process/ioPriority/priority", 8, "/process/ioPriority/priority", "from 0 to 7"),
    ("/process/scheduler/policy", "SCHED_FIFFO", "/process/scheduler/policy", "did you mean 'SCHED_FIFO'?"),
    ("/process/scheduler/flags/0", "X", "/process/scheduler/flags/0", "expected one of"),
    ("/process/scheduler/nice", 20, "/process/scheduler/nice", "from -20 to 19"),
    ("/process/execCPUAffinity/initial", "a", "/process/execCPUAffinity/initial", "expected text like"),
    ("/process/consoleSize/width", GONE, "/process/consoleSize", "'width' is missing"),
    ("/mounts", {}, "/mounts", "expected an array, found an empty object"),
    ("/mounts/1/destination", GONE, "/mounts/1", "'destination' is missing"),
    ("/mounts/1/options/1", None, "/mounts/1/options/1", "expected a string, found null"),
    ("/mounts/3/uidMappings/0/size", GONE, "/mounts/3/uidMappings/0", "'size' is missing"),
    ("/hooks/poststop/0/path", GONE, "/hooks/poststop/0", "'path' is missing"),
    ("/hooks/createRuntime/0/timeout", 0, "/hooks/createRuntime/0/timeout", "expected at least 1"),
    ("/annotations/org.example.colour", 3, "/annotations/org.example.colour", "expected a string, found 3"),
    ("/annotations/a~1b", 3, "/annotations/a~1b", "expected a string"),
    ("/linux/namespaces/0/type", "net", "/linux/namespaces/0/type", "expected one of"),
    ("/linux/namespaces/0/type", GONE, "/linux/namespaces/0", "'type' is missing"),
    ("/linux/devices/0/type", "x", "/linux/devices/0/type", "expected one of"),
    ("/linux/devices/0/fileMode", 65536, "/linux/devices/0/fileMode", "from 0 to 65535"),
    ("/linux/rootfsPropagation", "slaves", "/linux/rootfsPropagation", "did you mean 'slave'?"),
    ("/linux/resources/memory/limit", 2**63, "/linux/resources/memory/limit", "expected an integer from"),
    ("/linux/resources/memory/swappiness", 101, "/linux/resources/memory/swappiness", "from 0 to 100"),
    ("/linux/resources/cpu/shares", -1, "/linux/resources/cpu/shares", "from 0 to 18446744073709551615"),
    ("/linux/resources/devices/0/allow", GONE, "/linux/resources/devices/0", "'allow' is missing"),
    (
        "/linux/resources/hugepageLimits/0/pageSize",
        "2M",
        "/linux/resources/hugepageLimits/0/pageSize",
        "text like",
    ),
    ("/linux/resources/unified/memory.high", 5, "/linux/resources/unified/memory.high", "expected a string"),
    ("/linux/seccomp/defaultAction", GONE, "/linux/seccomp", "'defaultAction' is missing"),
    ("/linux/seccomp/defaultAction", "ALLOW", "/linux/seccomp/defaultAction", "expected one of"),
    ("/linux/seccomp/syscalls/0/names", [], "/linux/seccomp/syscalls/0/names", "at least one item"),
    ("/linux/seccomp/syscalls/2/args/0/op", "EQ", "/linux/seccomp/syscalls/2/args/0/op", "expected one of"),
    ("/linux/seccomp/syscalls/2/args/0/index", 6, "/linux/seccomp/syscalls/2/args/0/index", "from 0 to 5"),
    ("/linux/seccomp/flags/0", "LOG", "/linux/seccomp/flags/0", "expected one of"),
    ("/linux/seccomp/architectures/0", "x86_64", "/linux/seccomp/architectures/0", "expected one of"),
    ("/linux/memoryPolicy/mode", "MPOL_BINDS", "/linux/memoryPolicy/mode", "did you mean 'MPOL_BIND'?"),
    ("/linux/personality/domain", "BSD", "/linux/personality/domain", "expected one of"),
    ("/linux/intelRdt/memBwSchema", "L3:0=1", "/linux/intelRdt/memBwSchema", "expected text like"),
    ("/windows", {}, "/windows", "'layerFolders' is missing"),
    ("/vm", {"kernel": {"path": 1}}, "/vm/kernel/path", "expected a string"),
    # The version, and what must be there.
    ("/ociVersion", "1.3", "/ociVersion", "is not a version"),
    ("/ociVersion", "1.03.0", "/ociVersion", "is not a version"),
    ("/ociVersion", "1.3.0-", "/ociVersion", "is not a version"),
    ("/ociVersion", "2.0.0", "/ociVersion", "newer than 1.x"),
    ("/root", GONE, "", "'root' is missing"),
    ("/linux", GONE, "", "'linux' is missing"),
    ("/root/path", "", "/root/path", "is empty"),
    ("/annotations", {"": "x"}, "/annotations/", "is empty"),
    # Text.
    ("/process/args/1", "a\0b", "/process/args/1", "NUL"),
    ("/process/cwd", "/\ud800", "/process/cwd", "surrogate"),
    ("/annotations", {"a\0": "x"}, "/annotations/a", "NUL"),
    # The process.
    ("/process/args", GONE, "/process/args", "names no program"),
    ("/process/args", [], "/process/args", "names no program"),
    ("/process/args/0", "", "/process/args/0", 'exec: "": executable file not found in $PATH'),
    ("/process/cwd", "tmp", "/process/cwd", "must be an absolute path, not 'tmp'"),
    ("/process/cwd", "", "/process/cwd", "must be an absolute path"),
    ("/process/env/0", "PATH", "/process/env/0", "must be NAME=value, not 'PATH'"),
    ("/process/env/1", "=x", "/process/env/1", "must be NAME=value"),
    ("/process/user/uid", 2**32 - 1, "/process/user/uid", "nobody's id"),
    ("/process/user/additionalGids/0", 2**32 - 1, "/process/user/additionalGids/0", "nobody's id"),
    ("/process/user/additionalGids", list(range(65537)), "/process/user/additionalGids", "at most 65536"),
    ("/process/user/uid", 20, "/process/user/uid", "20 is not in /linux/uidMappings"),
    ("/process/user/gid", 65536, "/process/user/gid", "65536 is not in /linux/gidMappings"),
    ("/process/rlimits/1/type", "RLIMIT_NOFILE", "/process/rlimits/1/type", "is set twice"),
    ("/process/rlimits/0/soft", 1025, "/process/rlimits/0/soft", "1025 is above the hard limit, 1024"),
    ("/process/scheduler/priority", 0, "/process/scheduler/priority", "from 1 to 99"),
    (
        "/process/scheduler/policy",
        "SCHED_OTHER",
        "/process/scheduler/priority",
        "SCHED_FIFO and SCHED_RR only",
    ),
    ("/process/scheduler/runtime", 5000, "/process/scheduler/runtime", "SCHED_DEADLINE only"),
    ("/process/scheduler", {"policy": "SCHED_DEADLINE"}, "/process/scheduler", "runtime <= deadline"),
    ("/process/execCPUAffinity/final", "3-1", "/process/execCPUAffinity/final", "list of CPUs"),
    ("/process/consoleSize/height", 65536, "/process/consoleSize/height", "at most 65535"),
    ("/process/selinuxLabel", "container_t", "/process/selinuxLabel", "user:role:type"),
    ("/process/apparmorProfile", "a\nb", "/process/apparmorProfile", "line break"),
    # Mounts and hooks.
    ("/mounts/1/destination", "", "/mounts/1/destination", "is empty"),
    ("/mounts/2/source", GONE, "/mounts/2", "needs a source"),
    ("/mounts/0/type", GONE, "/mounts/0", "neither a type nor the option bind"),
    ("/mounts/3/options", ["idmap"], "/mounts/3", "only a bind mount can be idmapped"),
    ("/mounts/3/gidMappings", GONE, "/mounts/3", "both uidMappings and gidMappings"),
    ("/mounts/3/uidMappings/0/size", 0, "/mounts/3/uidMappings/0/size", "is 0"),
    ("/hooks/poststart/0/path", "true", "/hooks/poststart/0/path", "must be an absolute path"),
    ("/hooks/createRuntime/0/env/0", "A", "/hooks/createRuntime/0/env/0", "NAME=value"),
    # Namespaces and what lives in them.
    ("/linux/namespaces/0/type", "ipc", "/linux/namespaces/2/type", "the ipc namespace is named twice"),
    ("/linux/namespaces/1/path", "netns/x", "/linux/namespaces/1/path", "must be an absolute path"),
    ("/linux/namespaces/3", {"type": "pid"}, "/linux/namespaces/3/type", "named twice"),
    ("/linux/namespaces/3", GONE, "/hostname", "needs a uts namespace"),
    ("/hostname", "x" * 65, "/hostname", "longer than 64"),
    ("/linux/namespaces/4", GONE, "/linux/namespaces", "a user namespace needs a mount namespace"),
    ("/linux/namespaces/5", GONE, "/mounts/4", "neither here nor of a user namespace"),
    ("/linux/namespaces/7", GONE, "/linux/timeOffsets", "needs a new time namespace"),
    ("/linux/namespaces/7/path", "/proc/1/ns/time", "/linux/timeOffsets", "needs a new time namespace"),
    ("/linux/namespaces", NETLESS, "/linux/netDevices", "needs a network namespace"),
    ("/linux/maskedPaths/0", "proc", "/linux/maskedPaths/0", "must be an absolute path"),
    ("/linux/readonlyPaths/0", "proc", "/linux/readonlyPaths/0", "must be an absolute path"),
    ("/linux/gidMappings", GONE, "/linux", "'gidMappings' is missing"),
    ("/linux/uidMappings/1", {**RANGE, "containerID": 9}, "/linux/uidMappings/1/containerID", "overlaps"),
    (
        "/linux/uidMappings/1/hostID",
        100009,
        "/linux/uidMappings/1/hostID",
        "overlaps that of /linux/uidMappings/0",
    ),
    ("/linux/uidMappings/1/hostID", 2**32 - 10, "/linux/uidMappings/1/hostID", "beyond the last id"),
    (
        "/linux/uidMappings",
        [{**RANGE, "hostID": 10 * n, "containerID": 10 * n} for n in range(341)],
        "/linux/uidMappings",
        "341 ranges",
    ),
    (
        "/linux/timeOffsets/monotonic/nanosecs",
        10**9,
        "/linux/timeOffsets/monotonic/nanosecs",
        "a second or more",
    ),
    ("/linux/netDevices/eth0/name", "a/b", "/linux/netDevices/eth0/name", "cannot be the name"),
    ("/linux/netDevices/eth0/name", "eth1", "/linux/netDevices/eth1/name", "another network device"),
    ("/linux/netDevices", {"x" * 16: {"name": "y"}}, "/linux/netDevices/" + "x" * 16, "cannot be the name"),
    ("/linux/timeOffsets/realtime", {"secs": 1}, "/linux/timeOffsets/realtime", "is no clock"),
    ("/linux/resources/cpu/burst", 50001, "/linux/resources/cpu/burst", "50001 is above the quota, 50000"),
    (
        "/linux/resources/blockIO/throttleReadBpsDevice/0/rate",
        GONE,
        "/linux/resources/blockIO/throttleReadBpsDevice/0",
        "'rate' is missing",
    ),
    ("/linux/sysctl/kernel.hostname", "x", "/linux/sysctl/kernel.hostname", "/hostname"),
    ("/linux/sysctl/vm.swappiness", "1", "/linux/sysctl/vm.swappiness", "would change the host"),
    ("/linux/sysctl/net..x", "1", "/linux/sysctl/net..x", "not the name of a kernel parameter"),
    ("/linux/sysctl/net~1..~1vm~1x", "1", "/linux/sysctl/net~1..~1vm~1x", "not the name"),
    # Devices, the cgroup, seccomp, the rest.
    ("/linux/devices/0/path", "fuse", "/linux/devices/0/path", "must be an absolute path"),
    ("/linux/devices/0/major", GONE, "/linux/devices/0", "'major' is missing"),
    ("/linux/devices/0/major", 4096, "/linux/devices/0/major", "from 0 to 4095"),
    ("/linux/devices/0/minor", -1, "/linux/devices/0/minor", "from 0 to 1048575"),
    ("/linux/cgroupsPath", "/a/../b", "/linux/cgroupsPath", "must not go up"),
    ("/linux/resources/devices/0/access", GONE, "/linux/resources/devices/0", "'access' must be made of"),
    ("/linux/resources/devices/0/access", "rx", "/linux/resources/devices/0/access", "r, w and m"),
    ("/linux/resources/devices/1/type", "p", "/linux/resources/devices/1/type", "a, b or c"),
    ("/linux/resources/devices/1/major", -2, "/linux/resources/devices/1/major", "-1 for any"),
    ("/linux/resources/memory/limit", -2, "/linux/resources/memory/limit", "-1 for no limit"),
    ("/linux/resources/memory/limit", GONE, "/linux/resources/memory/swap", "memory is not"),
    ("/linux/resources/memory/swap", 1024, "/linux/resources/memory/swap", "memory alone has 536870912"),
    ("/linux/resources/cpu/cpus", "0-", "/linux/resources/cpu/cpus", "must be a list"),
    ("/linux/resources/cpu/cpus", "0:1/2", "/linux/resources/cpu/cpus", "must be a list"),
    ("/linux/resources/cpu/cpus", "0-7:1", "/linux/resources/cpu/cpus", "must be a list"),
    ("/linux/resources/cpu/mems", "x", "/linux/resources/cpu/mems", "must be a list"),
    ("/linux/resources/cpu/idle", 2, "/linux/resources/cpu/idle", "must be 0 or 1"),
    ("/linux/resources/blockIO/weight", 9, "/linux/resources/blockIO/weight", "from 10 to 1000"),
    (
        "/linux/resources/blockIO/weightDevice/0/weight",
        GONE,
        "/linux/resources/blockIO/weightDevice/0",
        "neither",
    ),
    (
        "/linux/resources/blockIO/throttleReadBpsDevice/0/major",
        -1,
        "/linux/resources/blockIO/throttleReadBpsDevice/0/major",
        "from 0 to 4095",
    ),
    (
        "/linux/resources/network/priorities/0/name",
        "",
        "/linux/resources/network/priorities/0/name",
        "not a network",
    ),
    ("/linux/resources/rdma/mlx5_1", {}, "/linux/resources/rdma/mlx5_1", "neither hcaHandles"),
    (
        "/linux/resources/unified",
        {"../x.y": ""},
        "/linux/resources/unified/..~1x.y",
        "not a file of a controller",
    ),
    (
        "/linux/resources/unified",
        {"memory": ""},
        "/linux/resources/unified/memory",
        "not a file of a controller",
    ),
    (
        "/linux/seccomp/defaultAction",
        "SCMP_ACT_ALLOW",
        "/linux/seccomp/defaultErrnoRet",
        "does not return an errno",
    ),
    ("/linux/seccomp/defaultErrnoRet", 4096, "/linux/seccomp/defaultErrnoRet", "too large"),
    (
        "/linux/seccomp/syscalls/0/errnoRet",
        1,
        "/linux/seccomp/syscalls/0/errnoRet",
        "does not return an errno",
    ),
    ("/linux/seccomp/syscalls/0/action", "SCMP_ACT_NOTIFY", "/linux/seccomp/syscalls/0/action", "for write"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_NOTIFY"},
        "/linux/seccomp/defaultAction",
        "before it starts",
    ),
    ("/linux/seccomp/listenerPath", GONE, "/linux/seccomp", "'listenerPath' is missing"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "x"},
        "/linux/seccomp/listenerMetadata",
        "needs a listenerPath",
    ),
    ("/linux/intelRdt/closID", "a\nb", "/linux/intelRdt/closID", "cannot be the name of a directory"),
    ("/linux/intelRdt/closID", "..", "/linux/intelRdt/closID", "cannot be the name of a directory"),
    ("/linux/intelRdt/closID", "a/b", "/linux/intelRdt/closID", "cannot be the name of a directory"),
    ("/linux/memoryPolicy/mode", GONE, "/linux/memoryPolicy", "'mode' is missing"),
    ("/linux/memoryPolicy/nodes", "0-", "/linux/memoryPolicy/nodes", "must be a list of nodes"),
    ("/linux/memoryPolicy/nodes", "", "/linux/memoryPolicy", "'nodes' is missing"),
    ("/linux/memoryPolicy/mode", "MPOL_LOCAL", "/linux/memoryPolicy/nodes", "names no nodes"),
    (
        "/linux/memoryPolicy/flags",
        ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"],
        "/linux/memoryPolicy/flags",
        "exclude each other",
    ),
    ("/linux/personality", {}, "/linux/personality", "'domain' is missing"),
    (
        "/linux/personality",
        {"domain": "LINUX", "flags": ["X"]},
        "/linux/personality/flags/0",
        "no flag is defined",
    ),
    ("/linux/mountLabel", 'a"b', "/linux/mountLabel", "quotation mark"),
]


def mutated(place: str, value: Any) -> Any:
    config = copy.deepcopy(FULL)
    *steps, last = (step.replace("~1", "/").replace("~0", "~") for step in place.split("/")[1:])
    parent = config
    for step in steps:
        parent = parent[int(step)] if isinstance(parent, list) else parent[step]
    key: Any = int(last) if isinstance(parent, list) else last
    if value is GONE:
        del parent[key]
    else:
        parent[key] = value
    return config


def test_the_full_config_is_good() -> None:
    configs.check(FULL)
    assert configs.problems(FULL) == []


def test_there_are_many() -> None:
    assert len(MUTATIONS) > 150


@pytest.mark.parametrize(("place", "value", "origin", "words"), MUTATIONS)
def test_refused_in_one_line(place: str, value: Any, origin: str, words: str) -> None:
    config = mutated(place, value)
    with pytest.raises(configs.Invalid) as caught:
        configs.check(config)
    assert caught.value.origin == origin
    assert words in caught.value.why
    line = str(caught.value)
    assert line.startswith(f"config.json {origin or '/'}: ")
    assert "\n" not in line
    assert len(line) < 500


@pytest.mark.parametrize(("place", "value", "origin", "words"), MUTATIONS)
def test_listed_among_the_problems(place: str, value: Any, origin: str, words: str) -> None:
    found = configs.problems(mutated(place, value))
    assert any(problem.origin == origin and words in problem.why for problem in found)


def test_a_name_with_a_line_break_takes_one_line() -> None:
    with pytest.raises(configs.Invalid) as caught:
        configs.check(mutated("/linux/sysctl", {"vm.\n\udcff": ""}))
    assert str(caught.value).startswith("config.json /linux/sysctl/vm.\\n\\udcff: does not belong")


def test_all_problems_are_listed() -> None:
    found = configs.problems(mutated("/linux/namespaces", [{"type": "mount"}]))
    assert [problem.origin for problem in found] == [
        *("/mounts/4", "/hostname", "/domainname", "/linux/uidMappings", "/linux/gidMappings"),
        *("/linux/timeOffsets", "/linux/netDevices", "/linux/sysctl/net.ipv4.ip_forward"),
        *("/linux/sysctl/net~1ipv4~1conf~1eth0.1~1rp_filter", "/linux/sysctl/kernel.sem"),
    ]


def test_errors_of_form_hide_none_of_content() -> None:
    config = mutated("/process/cwd", "relative")
    config["hostname"] = 5
    config["process"]["rlimits"].insert(0, {"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1})
    config["process"]["rlimits"].append({"type": "RLIMIT_NPROC", "soft": 2, "hard": 1})
    config["mounts"].insert(0, "no object")
    config["mounts"].insert(2, {"destination": "/x", "options": [7]})
    config["linux"]["sysctl"]["vm.swappiness"] = "1"
    last = len(config["process"]["rlimits"]) - 1
    assert sorted(problem.origin for problem in configs.problems(config)) == sorted(
        [
            *("/hostname", "/process/rlimits/0/type", "/mounts/0", "/mounts/2/options/0"),
            *("/process/cwd", f"/process/rlimits/{last}/soft", "/mounts/2", "/linux/sysctl/vm.swappiness"),
        ]
    )


@pytest.mark.parametrize(
    ("place", "value", "form"),
    [
        ("/ociVersion", GONE, ""),
        ("/ociVersion", 1, "/ociVersion"),
        ("/process", 5, "/process"),
        ("/process/cwd", GONE, "/process"),
        ("/process/args", "sh", "/process/args"),
        ("/process/args", [1], "/process/args/0"),
        ("/root", [], "/root"),
        ("/root", {}, "/root"),
        ("/linux/uidMappings", "x", "/linux/uidMappings"),
        ("/linux/uidMappings", [{"containerID": 0}], "/linux/uidMappings/0"),
        ("/linux/namespaces", [{"type": "nope"}], "/linux/namespaces/0/type"),
        ("/linux/seccomp/defaultAction", GONE, "/linux/seccomp"),
        ("/linux/seccomp/defaultAction", "NOPE", "/linux/seccomp/defaultAction"),
    ],
)
def test_an_error_of_form_makes_none_of_content(place: str, value: Any, form: str) -> None:
    """What is left out for it is not told to be missing, and what is wrong elsewhere is told."""
    config = mutated(place, value)
    config["hooks"]["poststop"] = [{"path": "relative"}]
    found = {problem.origin for problem in configs.problems(config)}
    assert found == {form, "/hooks/poststop/0/path"}


@pytest.mark.parametrize("value", [[], 5, None])
def test_what_is_no_config_at_all(value: Any) -> None:
    assert [problem.origin for problem in configs.problems(value)] == [""]


OPTIONAL = [
    *("/process/terminal", "/process/capabilities", "/process/capabilities/ambient", "/process/env"),
    *("/hostname", "/mounts", "/mounts/0/options", "/hooks", "/hooks/prestart", "/annotations"),
    *("/process/user", "/process/rlimits", "/linux/resources", "/linux/resources/memory/reservation"),
    *("/linux/seccomp", "/linux/seccomp/syscalls", "/linux/maskedPaths", "/linux/cgroupsPath"),
    *("/linux/resources/devices/0/major", "/annotations/org.example.colour", "/linux/sysctl/kernel.sem"),
]


@pytest.mark.parametrize("place", OPTIONAL)
def test_a_null_is_an_optional_property_that_is_absent(place: str) -> None:
    config, without = mutated(place, None), mutated(place, None)
    assert nulls.drop(without)
    assert place not in [pointer for *_, pointer in nulls.find(without)]
    assert configs.problems(config) == configs.problems(without)
    assert Problem(place, "is null, which is taken to be absent") in spelling.suspects(config)
    assert configs.check(config)
    assert config == without
    assert not configs.check(config)


@pytest.mark.parametrize(
    ("place", "origin", "words"),
    [
        ("/ociVersion", "", "'ociVersion' is missing"),
        ("/process/cwd", "/process", "'cwd' is missing"),
        ("/process/args/0", "/process/args/0", "expected a string, found null"),
        ("/mounts/0", "/mounts/0", "expected an object, found null"),
        ("/linux/namespaces/0/type", "/linux/namespaces/0", "'type' is missing"),
        ("/root", "", "'root' is missing"),
    ],
)
def test_a_null_that_cannot_be_absent(place: str, origin: str, words: str) -> None:
    with pytest.raises(configs.Invalid) as caught:
        configs.check(mutated(place, None))
    assert caught.value.origin == origin
    assert words in caught.value.why
    assert any(p.origin == origin and words in p.why for p in configs.problems(mutated(place, None)))


def test_nulls_of_a_process_and_of_limits() -> None:
    process = {"cwd": "/", "args": ["x"], "user": None, "capabilities": {"bounding": None}}
    configs.check_process(process)
    assert process == {"cwd": "/", "args": ["x"], "capabilities": {}}
    resources = {"memory": None, "pids": {"limit": None}}
    configs.check_resources(resources)
    assert resources == {"pids": {}}


def test_a_misspelled_name_is_pointed_out() -> None:
    found = configs.problems({"ociVersoin": "1.3.0"})
    assert [problem.why for problem in found] == ["'ociVersion' is missing (is 'ociVersoin' misspelled?)"]


def test_every_missing_name_is_told() -> None:
    found = configs.problems(mutated("/process/rlimits/0", {"type": "RLIMIT_CORE"}))
    assert [problem.why for problem in found] == ["'soft' is missing", "'hard' is missing"]


def test_suspects() -> None:
    config = mutated("/process/capabilites", {})
    config["mounts"][0]["sources"] = config["linux"]["seccomp"]["comment"] = ""
    config["annotations"]["annotation"] = ""
    assert configs.problems(config) == []
    assert list(map(str, spelling.suspects(config))) == [
        "/process/capabilites: is unknown, and ignored (did you mean 'capabilities'?)",
        "/mounts/0/sources: is unknown, and ignored (did you mean 'source'?)",
    ]


def test_unknown_capabilities_are_suspects() -> None:
    config = mutated(
        "/process/capabilities", {"bounding": ["CAP_KILL", "CAP_CHOWM"], "ambient": ["CAP_NOPE"]}
    )
    assert configs.problems(config) == []
    assert list(map(str, spelling.suspects(config))) == [
        "/process/capabilities/bounding/1: expected a capability of Linux, found 'CAP_CHOWM' "
        "(did you mean 'CAP_CHOWN'?): it is left out",
        "/process/capabilities/ambient/0: expected a capability of Linux, found 'CAP_NOPE': it is left out",
    ]
    for wrong in (5, {"bounding": 5}, {"bounding": [5]}):
        assert spelling.suspects(mutated("/process/capabilities", wrong)) == []


GOOD: list[tuple[str, Any]] = [
    ("/ociVersion", "1.0.0-rc5"),
    ("/ociVersion", "1.0.2-dev+build.7"),
    ("/ociVersion", "1.9.0"),
    ("/ociVersion", "0.6.0"),
    ("/someNewProperty", {"x": [None]}),
    ("/linux/someNewProperty", 1),
    ("/hooks/someNewHook", 1),
    ("/process/user", GONE),
    ("/process/capabilities/bounding", ["CAP_UNHEARD_OF"]),
    ("/process/execCPUAffinity/initial", ""),
    ("/process/scheduler", {"policy": "SCHED_DEADLINE", "runtime": 1, "deadline": 2}),
    ("/mounts/0/options", []),
    ("/linux/namespaces/5/path", "/proc/1/ns/user"),
    ("/linux/rootfsPropagation", ""),
    ("/linux/resources/pids/limit", 0),
    ("/linux/resources/cpu/cpus", "0-15:2/4, 20"),
    ("/linux/resources/memory", {"limit": -1, "swap": -1}),
    ("/linux/resources/blockIO/weight", 0),
    ("/linux/intelRdt/closID", "/"),
    ("/linux/memoryPolicy", {"mode": "MPOL_PREFERRED"}),
    ("/linux/sysctl/net~1ipv4~1conf~1a.b~1x", "1"),
    ("/linux/sysctl/fs.mqueue.msg_max", "1"),
    ("/linux/sysctl/user.max_user_namespaces", "0"),
    ("/linux/intelRdt/l3CacheSchema", "L3:0=f\nMB:0=1"),
    ("/linux/resources/cpu", {"quota": -1, "burst": 5}),
    ("/linux/gidMappings", [{"containerID": 0, "hostID": 0, "size": 2**32 - 1}]),
    ("/windows", {"layerFolders": ["x"]}),
    ("/process/args/1", "\udcff"),
]


@pytest.mark.parametrize(("place", "value"), GOOD)
def test_accepted(place: str, value: Any) -> None:
    configs.check(mutated(place, value))


@pytest.mark.parametrize("name", ["kernel.domainname", "kernel/domainname"])
def test_a_domain_name_is_given_once(name: str) -> None:
    config = mutated(f"/linux/sysctl/{name.replace('/', '~1')}", "x")
    with pytest.raises(configs.Invalid, match="is set by /domainname already"):
        configs.check(config)
    del config["domainname"]
    configs.check(config)


def test_a_process_alone() -> None:
    configs.check_process({"cwd": "/", "args": ["sh"]})
    with pytest.raises(configs.Invalid, match=r"process.json /cwd: must be an absolute path"):
        configs.check_process({"cwd": "x", "args": ["sh"]})
    with pytest.raises(configs.Invalid, match=r"process.json /: 'cwd' is missing"):
        configs.check_process({})
    with pytest.raises(configs.Invalid, match=r"^--process p /cwd: must be an absolute path"):
        configs.check_process({"cwd": "x", "args": ["sh"]}, "--process p")
    with pytest.raises(configs.Invalid, match=r"process.json /args/1: holds a character \(NUL"):
        configs.check_process({"cwd": "/", "args": ["sh", "a\0b"]})


def test_resources_alone() -> None:
    configs.check_resources({"memory": {"swap": 5}})
    with pytest.raises(configs.Invalid, match=r"resources /cpu/idle: must be 0 or 1"):
        configs.check_resources({"cpu": {"idle": 7}})


def test_checking_is_fast() -> None:
    """An engine's config has a filter with hundreds of names; 2 ms is the most that checking may take."""
    config = copy.deepcopy(FULL)
    names = [f"call{number}" for number in range(450)]
    config["linux"]["seccomp"]["syscalls"] += [{"names": names, "action": "SCMP_ACT_ALLOW"}] * 2
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        configs.check(config)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.002


class TestBundle:
    """What is read from a directory."""

    def bundle(self, path: Path, text: str) -> str:
        (path / "rootfs").mkdir()
        (path / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        return str(path)

    def test_read(self, tmp_path: Path) -> None:
        text = json.dumps(template.default_config())
        config, content = configs.read(self.bundle(tmp_path, text))
        assert config == template.default_config()
        assert content == text.encode()

    def test_no_config(self, tmp_path: Path) -> None:
        with pytest.raises(NajaError, match=r"config\.json not found"):
            configs.load(str(tmp_path))

    def test_no_json(self, tmp_path: Path) -> None:
        with pytest.raises(NajaError, match=r"config\.json: line 1, column 2: "):
            configs.load(self.bundle(tmp_path, "{"))

    def test_no_object(self, tmp_path: Path) -> None:
        with pytest.raises(NajaError, match="holds no JSON object"):
            configs.load(self.bundle(tmp_path, "[]"))

    def test_a_path_that_is_not_utf8(self, tmp_path: Path) -> None:
        config = template.default_config()
        config["process"]["cwd"] = "/\udcff"
        text = json.dumps(config).replace("\\udcff", "\udcff")
        assert configs.read(self.bundle(tmp_path, text))[0]["process"]["cwd"] == "/\udcff"

    @pytest.mark.parametrize(
        ("root", "words"), [("none", "No such file"), ("config.json", "not a dir"), ("/", "own")]
    )
    def test_root(self, tmp_path: Path, root: str, words: str) -> None:
        config = {**template.default_config(), "root": {"path": root}}
        bundle = self.bundle(tmp_path, json.dumps(config))
        with pytest.raises(configs.Invalid, match=words) as caught:
            configs.read(bundle)
        assert caught.value.origin == "/root/path"
        assert [problem.origin for problem in configs.problems(config, bundle)] == ["/root/path"]


@given(st.integers(0, 2**64))
@settings(max_examples=300, deadline=None)
def test_any_config_is_accepted_or_refused_in_one_line(seed: int) -> None:
    """Whatever the form allows, the rules can read; and they agree with the list of all problems."""
    maker = Maker(random.Random(seed))
    config = maker.valid("config")
    for _ in range(3):
        found = configs.problems(config)
        try:
            configs.check(config)
        except configs.Invalid as invalid:
            assert "\n" not in str(invalid)
            assert any(problem.origin == invalid.origin for problem in found)
        else:
            assert found == []
        config = maker.spoil(config)
