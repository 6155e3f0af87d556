"""Who does what in a plan: which containers need the runtime, or a stage, beside the init."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from naja.operations.base import INIT, RUNTIME, STAGE
from naja.operations.cgroup import EnterCgroup, EnterOpenCgroups, OfferCgroups, OpenCgroups
from naja.operations.execution import Execute
from naja.operations.namespaces import GiveBirth, Unshare
from naja.operations.rootfs import PivotRoot
from naja.plan import Plan, Request
from naja.plan.creation import compile_plan
from naja.plan.execution import compile_exec
from tests.support.bundle import DEFAULT_CONFIG

_NOTIFY = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "listenerPath": "/run/agent",
    "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
}
_HOOK = {"path": "/bin/true"}


def plan(*, config: dict[str, Any] | None = None, **changes: Any) -> Plan:
    document = copy.deepcopy(DEFAULT_CONFIG)
    for key, value in (config or {}).items():
        section = document[key] if key in ("linux", "process") else document
        section.update(value if key in ("linux", "process") else {key: value})
    options: dict[str, Any] = {
        "id": "c",
        "bundle": "/bundle",
        "gate": False,
        "detached": False,
        "rootless": False,
        "cgroup_mounts": {"devices": "/cgroup/devices"},
        "cgroup_paths": {"devices": "/c"},
        **changes,
    }
    return compile_plan(Request(document, **options))


def actors(plan: Plan) -> list[str]:
    return [phase.actor for phase in plan.phases]


def namespaces(*kinds: str, **paths: str) -> dict[str, Any]:
    entries = [{"type": kind} for kind in kinds] + [{"type": k, "path": p} for k, p in paths.items()]
    return {"linux": {"namespaces": entries}}


def test_an_init_that_needs_nobody() -> None:
    compiled = plan()
    assert compiled.unattended
    assert actors(compiled) == [RUNTIME, STAGE, INIT, INIT]
    assert isinstance(compiled.birth, GiveBirth)
    assert isinstance(compiled.phases[-1].operations[-1], Execute)
    assert compiled.phases[-1].executes


@pytest.mark.parametrize(
    "changes",
    [
        {"gate": True},
        {"rootless": True},
        {"systemd_cgroup": True, "cgroup_paths": {"devices": "/system.slice/naja-c.scope"}},
        {"config": {"process": {"terminal": True}}},
        {"config": {"process": {"terminal": True}}, "console_socket": "/run/console"},
        {"config": {"hooks": {"createRuntime": [_HOOK]}}},
        {"config": {"hooks": {"startContainer": [_HOOK]}}},
        {"config": {"linux": {"netDevices": {"eth0": {}}}}},
        {"config": {"linux": {"seccomp": _NOTIFY}}},
        {"config": namespaces("mount", "uts", pid="/proc/1/ns/pid")},
    ],
    ids=lambda changes: ",".join([*changes, *changes.get("config", ())]),
)
def test_an_init_that_needs_the_runtime(changes: dict[str, Any]) -> None:
    compiled = plan(**changes)
    assert not compiled.unattended
    between = compiled.phases[actors(compiled).index(STAGE) :]
    assert any(phase.actor == RUNTIME or phase.waits for phase in between) or not compiled.birth


def test_it_enters_its_cgroups_by_doors_that_were_opened_in_time() -> None:
    """Before it leaves the host's file system they are opened; it enters when all but itself is made."""
    operations = [operation for phase in plan().phases for operation in phase.operations]
    kinds = [type(operation) for operation in operations]
    assert kinds.index(OpenCgroups) < kinds.index(Unshare)
    assert kinds.index(PivotRoot) < kinds.index(EnterOpenCgroups)
    assert EnterCgroup not in kinds


def test_an_init_with_a_gate_enters_v1_cgroups_itself_and_the_runtime_sees_to_the_others() -> None:
    compiled = plan(gate=True)
    found = {type(operation): phase.actor for phase in compiled.phases for operation in phase.operations}
    order = [kind for kind in found if kind in (OfferCgroups, EnterOpenCgroups, EnterCgroup)]
    assert order == [OfferCgroups, EnterOpenCgroups, EnterCgroup]
    assert [found[kind] for kind in order] == [RUNTIME, INIT, RUNTIME]


@pytest.mark.parametrize(
    "changes",
    [
        {"rootless": True},
        {"systemd_cgroup": True, "cgroup_paths": {"devices": "/system.slice/naja-c.scope"}},
        {"cgroup_kind": "v2", "cgroup_mounts": {"": "/cgroup"}, "cgroup_paths": {"": "/c"}},
        {"config": namespaces("pid", "mount", "uts", "cgroup")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_where_the_runtime_moves_the_init(changes: dict[str, Any]) -> None:
    compiled = plan(gate=True, **changes)
    kinds = [type(operation) for phase in compiled.phases for operation in phase.operations]
    assert EnterCgroup in kinds
    assert not {OfferCgroups, EnterOpenCgroups}.intersection(kinds)


def test_it_enters_before_it_makes_a_cgroup_namespace() -> None:
    compiled = plan(config=namespaces("pid", "mount", "uts", "cgroup"))
    operations = [operation for phase in compiled.phases for operation in phase.operations]
    enters = next(i for i, operation in enumerate(operations) if isinstance(operation, EnterOpenCgroups))
    unshares = operations.index(Unshare(["cgroup"]))
    assert enters < unshares
    assert compiled.unattended


@pytest.mark.parametrize(
    ("kinds", "passes"),
    [(["pid", "mount"], True), ([], True), (["user", "pid", "mount"], False), (["time"], False)],
)
def test_whose_memory_the_stage_of_exec_may_share(kinds: list[str], passes: bool) -> None:
    """A memory has one user namespace that it belongs to, and a page that tells the time of one."""
    request = Request(copy.deepcopy(DEFAULT_CONFIG), id="c", bundle="/bundle")
    compiled = compile_exec(request, 1, kinds, {"args": ["true"], "cwd": "/"})
    assert compiled.passes == passes
    assert [phase.actor for phase in compiled.phases].count(STAGE) == 1
    assert not compiled.birth


def test_no_other_stage_shares_a_memory() -> None:
    assert not plan(config=namespaces("mount", "uts", "ipc", "network", pid="/proc/1/ns/pid")).passes
    assert not plan(gate=True).passes
