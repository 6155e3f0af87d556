"""What the specification says MUST be, and no other test looks at; docs/musts.md says which does."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.namespaces import map_ids, namespaces
from tests.support.seen import refused, shown

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


def put(config: dict[str, Any], pointer: str, value: Any) -> None:
    """Set a value in a config; what is missing on the way is made."""
    *way, last = pointer.strip("/").split("/")
    place: Any = config
    for name in way:
        place = place.setdefault(name, {})
    place[last] = value


def test_unknown_properties_and_annotations_have_no_effect(naja: Runtime, bundle: Bundle) -> None:
    for pointer in ("/x-more", "/process/x-more", "/linux/x-more", "/linux/resources/x-more", "/root/x-more"):
        put(bundle.config, pointer, {"any": ["thing"]})
    put(bundle.config, "/annotations", {"org.opencontainers.x-more": "1", "com.example/any": ""})
    assert shown(naja, bundle, "echo runs") == "runs"


MAPPING = [{"containerID": 0, "hostID": 1000, "size": 1}]

#: A place in config.json, a value that must not be accepted there, and the place that is named.
WRONG: list[tuple[str, Any, str]] = [
    ("/ociVersion", "one", "/ociVersion"),
    ("/process/cwd", "relative", "/process/cwd"),
    ("/process/rlimits", [{"type": "RLIMIT_FUN", "soft": 1, "hard": 1}], "/process/rlimits/0/type"),
    ("/process/scheduler", {"policy": "SCHED_FUN"}, "/process/scheduler/policy"),
    ("/process/ioPriority", {"class": "IOPRIO_CLASS_FUN", "priority": 0}, "/process/ioPriority/class"),
    ("/process/user/uid", -1, "/process/user/uid"),
    ("/hooks/prestart", [{"path": "relative"}], "/hooks/prestart/0/path"),
    ("/hooks/poststop", [{"path": "/bin/true", "timeout": 0}], "/hooks/poststop/0/timeout"),
    ("/annotations", {"": "no name"}, "/annotations"),
    ("/annotations", {"name": 1}, "/annotations/name"),
    ("/mounts", [{"destination": "/m", "type": "tmpfs", "options": "ro"}], "/mounts/0/options"),
    (
        "/mounts",
        [{"destination": "/m", "source": "/tmp", "options": ["bind"], "uidMappings": MAPPING}],
        "/mounts/0",
    ),
    ("/linux/maskedPaths", ["relative"], "/linux/maskedPaths/0"),
    ("/linux/readonlyPaths", ["relative"], "/linux/readonlyPaths/0"),
    ("/linux/namespaces/0/path", "relative", "/linux/namespaces/0/path"),
    ("/linux/devices", [{"type": "q", "path": "/dev/x"}], "/linux/devices/0/type"),
    ("/linux/cgroupsPath", "/up/../and/away", "/linux/cgroupsPath"),
    (
        "/linux/resources/blockIO",
        {"weightDevice": [{"major": 8, "minor": 0}]},
        "/linux/resources/blockIO/weightDevice/0",
    ),
    ("/linux/resources/rdma", {"mlx5_1": {}}, "/linux/resources/rdma/mlx5_1"),
    ("/linux/resources/pids", {"limit": "many"}, "/linux/resources/pids/limit"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "/linux/seccomp"),
    ("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}, "/linux/seccomp"),
    (
        "/linux/seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]},
        "/linux/seccomp/syscalls/0/names",
    ),
    (
        "/linux/seccomp",
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_LOG", "errnoRet": 1}],
        },
        "/linux/seccomp/syscalls/0/errnoRet",
    ),
    ("/linux/intelRdt", {"memBwSchema": "L3:0=ff"}, "/linux/intelRdt/memBwSchema"),
    ("/linux/intelRdt", {"schemata": ["MB:0=10\nMB:1=20"]}, "/linux/intelRdt/schemata/0"),
    ("/linux/intelRdt", {"closID": ".."}, "/linux/intelRdt/closID"),
    ("/linux/memoryPolicy", {"mode": "MPOL_FUN"}, "/linux/memoryPolicy/mode"),
    ("/linux/personality", {"domain": "SOLARIS"}, "/linux/personality/domain"),
]


@pytest.mark.parametrize(("pointer", "value", "origin"), WRONG)
def test_wrong_values_are_refused(
    naja: Runtime, bundle: Bundle, pointer: str, value: Any, origin: str
) -> None:
    if pointer.startswith("/linux/namespaces/0"):
        bundle.linux["namespaces"][0]["path"] = value
    else:
        put(bundle.config, pointer, value)
    assert origin in refused(naja, bundle)
    assert naja.ids() == []


@pytest.mark.parametrize("name", ["root", "process", "linux"])
def test_sections_that_a_container_cannot_be_without(naja: Runtime, bundle: Bundle, name: str) -> None:
    del bundle.config[name]
    assert name in refused(naja, bundle)


@pytest.mark.parametrize("kind", ["plain", "user namespace", "hooks", "notify socket"])
def test_a_container_without_a_process(
    naja: Runtime, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It can be created; start needs one (config.md, Process; runtime.md, Start)."""
    seen = tmp_path / "seen"
    if kind == "user namespace":
        namespaces(bundle, user="")
        map_ids(bundle)
    elif kind == "hooks":
        hook = [{"path": "/bin/sh", "args": ["sh", "-c", f"echo >> {seen}"]}]
        bundle.config["hooks"] = dict.fromkeys(("prestart", "createRuntime"), hook)
    elif kind == "notify socket":
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody-listens"))
    del bundle.config["process"]
    naja.create(bundle.save())
    assert naja.status(bundle) == "created"
    assert kind != "hooks" or seen.read_text() == "\n\n"
    refused = naja.run("start", bundle.id, check=False)
    assert refused.status == 1
    assert refused.stderr == (
        "naja: cannot start a container without a process: its config.json names none\n"
    )
    assert naja.status(bundle) == "created"
    assert naja.exec(bundle, "/bin/echo", "added").stdout == "added\n"
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"args": ["/bin/pwd"], "cwd": "/tmp", "env": ["PATH=/bin"]}))
    assert naja.run("exec", "--process", str(process), bundle.id).stdout == "/tmp\n"
    with open(f"/proc/{naja.state(bundle)['pid']}/status") as file:
        assert "CapEff:\t0000000000000000\n" in file.read()
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")
    naja.delete(bundle)


def test_run_needs_a_process(naja: Runtime, bundle: Bundle) -> None:
    """Before anything is made, as ``plan --run`` tells, too."""
    del bundle.config["process"]
    assert "cannot run a container without a process" in refused(naja, bundle)
    assert naja.ids() == []
    naja.run("validate", bundle.path)
    naja.run("plan", bundle.path)
    assert naja.run("plan", "--run", bundle.path, check=False).status == 1


def test_console_size_without_a_terminal(naja: Runtime, bundle: Bundle) -> None:
    """It must be ignored (config.md, Process)."""
    bundle.process["consoleSize"] = {"height": 24, "width": 80}
    assert shown(naja, bundle, "echo runs") == "runs"


def test_later_changes_of_the_config_have_no_effect(naja: Runtime, bundle: Bundle) -> None:
    """Not on the program, and not on the hooks that are still to run (runtime.md, Lifecycle)."""
    left = os.path.join(bundle.path, "left-by-poststop")
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/touch", "args": ["touch", left]}]}
    naja.create(bundle.shell("echo first > /said"))
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/false"}]}
    bundle.shell("echo second > /said")
    naja.start(bundle)
    naja.wait_for(bundle, "stopped")
    with open(os.path.join(bundle.rootfs, "said")) as file:
        assert file.read() == "first\n"
    naja.delete(bundle)
    assert os.path.exists(left)


def test_nothing_runs_before_start(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.shell("touch /ran"))
    assert naja.status(bundle) == "created"
    assert not os.path.exists(os.path.join(bundle.rootfs, "ran"))


def test_the_state_is_that_of_the_specification(naja: Runtime, bundle: Bundle) -> None:
    naja.create(bundle.args("sleep", "1000"))
    state = naja.state(bundle)
    assert (state["ociVersion"], state["id"], state["bundle"]) == ("1.3.0", bundle.id, bundle.path) or (
        state["ociVersion"] == bundle.config["ociVersion"]
    )
    assert os.path.exists(f"/proc/{state['pid']}")
    assert state["status"] == "created"


def test_a_device_that_is_something_else_is_an_error(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/data", "bind", "rootfs", "bind")
    bundle.write("/node", "a plain file")
    bundle.linux["devices"] = [{"type": "c", "path": "/node", "major": 1, "minor": 3}]
    assert "/linux/devices/0" in refused(naja, bundle)


def test_an_error_leaves_nothing(naja: Runtime, bundle: Bundle) -> None:
    """The environment is as if nothing had been attempted (runtime.md, Errors); see the leak check too."""
    bundle.linux["sysctl"] = {"net.no.such.parameter": "1"}
    refused(naja, bundle)
    assert naja.ids() == []
    assert json.loads(naja.run("list", "--format", "json").stdout or "null") in ([], None)
