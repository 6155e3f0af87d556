"""A hundred bad configs: each is refused in one line that names the place, and leaves nothing behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


class Missing:
    """Stands for "take the property away"."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()

#: JSON pointer → values that it must not have. "-" as the last word appends to a list.
MUTATIONS: dict[str, list[Any]] = {
    "/ociVersion": [MISSING, 1, "", "banana", "9.0.0", "0.9"],
    "/process/args": ["true", [1], [], MISSING],
    "/process/cwd": [MISSING, "relative/path", 5, ""],
    "/process/env": ["A=1", [1]],
    "/process/terminal": ["yes", 1],
    "/process/user": ["root", []],
    "/process/user/uid": [-1, "0", 4294967296, 1.5],
    "/process/user/gid": [-1, "0"],
    "/process/user/umask": [-1, "022"],
    "/process/user/additionalGids": [[-1], ["wheel"], 5],
    "/process/consoleSize": [{"height": 1}, {"height": -1, "width": 1}],
    "/process/capabilities/bounding": ["CAP_KILL", [1]],
    "/process/rlimits/0/type": ["RLIMIT_NO_SUCH", MISSING],
    "/process/rlimits/0/soft": [-1, "1024", MISSING],
    "/process/noNewPrivileges": ["true", 0],
    "/process/oomScoreAdj": ["low", 1.5],
    "/process/scheduler": [{"policy": "SCHED_BANANA"}, {}],
    "/process/ioPriority": [{"class": "IOPRIO_CLASS_BANANA"}, {"class": 1}],
    "/root": ["rootfs", []],
    "/root/path": [MISSING, 7],
    "/root/readonly": ["yes"],
    "/hostname": [5, []],
    "/mounts": [{}, "proc"],
    "/mounts/0": ["proc", None],
    "/mounts/0/destination": [MISSING, 5],
    "/mounts/0/type": [5],
    "/mounts/0/options": ["ro", [5]],
    "/mounts/0/uidMappings": [[{"containerID": 0}], "0"],
    "/hooks": [[], "hook"],
    "/hooks/prestart": [{}, ["hook"]],
    "/hooks/createRuntime": [[{}], [{"path": "relative"}], [{"path": "/bin/true", "timeout": 0}]],
    "/hooks/poststop": [[{"path": 5}], [{"path": "/bin/true", "timeout": -1}]],
    "/annotations": [[], {"key": 5}],
    "/linux/namespaces/0/type": ["banana", MISSING, 5],
    "/linux/namespaces/0/path": [5],
    "/linux/namespaces/-": [{"type": "pid"}, "pid"],
    "/linux/uidMappings": [
        {},
        [{"containerID": 0, "hostID": 0}],
        [{"containerID": -1, "hostID": 0, "size": 1}],
    ],
    "/linux/gidMappings": [[{"containerID": 0, "hostID": 0, "size": "1"}]],
    "/linux/devices": [{}, [{"path": "/dev/x"}], [{"path": "/dev/x", "type": "z"}]],
    "/linux/cgroupsPath": [5, []],
    "/linux/rootfsPropagation": ["banana", 5],
    "/linux/sysctl": [[], {"net.ipv4.ip_forward": 1}],
    "/linux/maskedPaths": ["/proc/kcore", [5]],
    "/linux/readonlyPaths": ["/proc/sys", [None]],
    "/linux/mountLabel": [5],
    "/linux/personality": [{"domain": "BANANA"}, {}],
    "/linux/resources": [[], "none"],
    "/linux/resources/devices": [{}, [{"access": "rwm"}], [{"allow": True, "access": "q"}]],
    "/linux/resources/memory": [[], {"limit": "64m"}, {"swappiness": -1}],
    "/linux/resources/cpu": [{"shares": -1}, {"quota": "50%"}, {"cpus": 0}],
    "/linux/resources/pids": [{"limit": "many"}],
    "/linux/resources/blockIO": [{"weight": "heavy"}, {"weight": -1}],
    "/linux/resources/hugepageLimits": [{}, [{"pageSize": "2MB"}], [{"pageSize": 2, "limit": 1}]],
    "/linux/seccomp": [
        {},
        {"defaultAction": "SCMP_ACT_BANANA"},
        {"syscalls": []},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": []}]},
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"]}]},
    ],
    "/linux/intelRdt": [{"closID": 5}],
}

CASES = [(pointer, value) for pointer, values in MUTATIONS.items() for value in values]


def mutate(config: dict[str, Any], pointer: str, value: Any) -> None:
    """Set the value at a JSON pointer (RFC 6901), making the objects on the way, or take it away."""
    *way, last = pointer.split("/")[1:]
    place: Any = config
    for word in way:
        place = place[int(word)] if isinstance(place, list) else place.setdefault(word, {})
    if isinstance(place, list):
        if last == "-":
            place.append(value)
        else:
            place[int(last)] = value
    elif value is MISSING:
        place.pop(last, None)
    else:
        place[last] = value


def names(line: str, pointer: str) -> bool:
    """True where the line names the place, or its parent and the property."""
    parent, _, last = pointer.rpartition("/")
    return pointer in line or (parent in line and (last in line or last == "-"))


def test_there_are_a_hundred() -> None:
    assert len(CASES) >= 100


@pytest.mark.parametrize(("pointer", "value"), CASES, ids=repr)
def test_refused(naja: Runtime, bundle: Bundle, pointer: str, value: Any) -> None:
    mutate(bundle.config, pointer, value)
    bundle.save()
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1, f"it ran: {result}"
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert names(lines[0], pointer), lines[0]
    assert naja.ids() == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"a": 1,}', b"\xff\xfe{}", b'{"ociVersion": "1.0.2"} x', b"NaN"]
)
def test_what_is_no_json_object(naja: Runtime, bundle: Bundle, content: bytes) -> None:
    with open(os.path.join(bundle.path, "config.json"), "wb") as file:
        file.write(content)
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "config.json" in result.stderr
    assert naja.ids() == []


def test_deeply_nested_json(naja: Runtime, bundle: Bundle) -> None:
    with open(os.path.join(bundle.path, "config.json"), "w") as file:
        file.write('{"a":' * 100_000)
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_no_config(naja: Runtime, bundle: Bundle) -> None:
    os.unlink(os.path.join(bundle.path, "config.json"))
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1
    assert "config.json" in result.stderr


def test_no_root_file_system(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["path"] = "no-such-directory"
    bundle.save()
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1
    assert "no-such-directory" in result.stderr
    assert naja.ids() == []


#: What the kernel refuses, late, after much was made: all of it must be undone. Pointer → value.
LATE = {
    "/mounts/-": {"destination": "/data", "type": "no-such-fs", "source": "none"},
    "/mounts/0/options": ["no-such-option=1"],
    "/linux/sysctl": {"kernel.no_such_key": "1"},
    "/linux/namespaces/-": {"type": "cgroup", "path": "/no/such/namespace"},
    "/process/cwd": "/etc/passwd",
    "/linux/devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o1000000}],
}


@pytest.mark.parametrize("pointer", LATE)
def test_late_failures_leave_nothing(naja: Runtime, bundle: Bundle, pointer: str) -> None:
    mutate(bundle.config, pointer, LATE[pointer])
    bundle.save()
    result = naja.run_attached(bundle, check=False)
    assert result.status != 0
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert naja.ids() == []
