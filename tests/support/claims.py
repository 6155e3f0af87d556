"""What `naja doctor` claims of a host, each with a container that needs the thing."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from tests.support.namespaces import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

    Edit = Callable[[Bundle, dict[str, Any]], object]


def makes(kind: str) -> Edit:
    return lambda bundle, finding: namespaces(bundle, **{kind: ""})


def limits(**resources: Any) -> Edit:
    return lambda bundle, finding: bundle.linux.setdefault("resources", {}).update(resources)


def has_range(bundle: Bundle, finding: dict[str, Any]) -> None:
    """Map what the finding names: the caller, and its range."""
    if not finding["works"]:
        finding = {"detail": f"{os.geteuid() or 65534}+1, 100000+1000"}
    inside, entries = 0, []
    for part in finding["detail"].split(", "):
        first, _, size = part.partition("+")
        entries.append({"containerID": inside, "hostID": int(first), "size": int(size)})
        inside += int(size)
    namespaces(bundle, user="")
    # What belongs to nobody inside can still be read.
    bundle.linux.update(uidMappings=entries, gidMappings=entries)


def of_a_disk() -> dict[str, Any] | None:
    """Return a limit of some disk of this machine, which is not used."""
    for name in sorted(os.listdir("/sys/block")):
        with open(f"/sys/block/{name}/dev") as file:
            major, minor = map(int, file.read().split(":"))
        return {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 1 << 30}]}
    return None


def page_size() -> str:
    with contextlib.suppress(OSError):
        for name in os.listdir("/sys/kernel/mm/hugepages"):
            size = int(name.removeprefix("hugepages-").removesuffix("kB"))
            return f"{size >> 10}MB"
    return "2MB"


def raises_limit(bundle: Bundle, finding: dict[str, Any]) -> None:
    hard = int(finding["needed"].rpartition(" ")[2].rstrip(")"))
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": hard + 1}]


def lowers_score(bundle: Bundle, finding: dict[str, Any]) -> None:
    bundle.process["oomScoreAdj"] = int(finding["needed"].rpartition(" ")[2]) - 1


def has_device(bundle: Bundle, finding: dict[str, Any]) -> None:
    bundle.linux["devices"] = [{"type": "c", "path": "/dev/zwei", "major": 1, "minor": 3}]


def puts(pointer: str, value: Any) -> Edit:
    def edit(bundle: Bundle, finding: dict[str, Any]) -> None:
        *way, last = pointer.split("/")
        at: Any = bundle.config
        for name in way:
            at = at.setdefault(name, {})
        at[last] = value

    return edit


def overlaid(bundle: Bundle, finding: dict[str, Any]) -> None:
    bundle.mount("/overlay", "overlay", "overlay", f"lowerdir={bundle.rootfs}/bin:{bundle.rootfs}/etc")


_NO_LIMIT = {"defaultAction": "SCMP_ACT_ALLOW"}

#: What needs the thing, by the finding's key. A bundle without any of it needs "mount-calls" and "pidfd".
NEEDS: dict[str, Edit] = {
    "mount-calls": lambda bundle, finding: None,
    "pidfd": lambda bundle, finding: None,
    "namespace-user": lambda bundle, finding: has_own(bundle),
    **{
        f"namespace-{kind}": makes(kind)
        for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup", "time")
    },
    "ids": has_range,
    "cgroup-made": lambda bundle, finding: bundle.linux.update(cgroupsPath=f"/{bundle.id}"),
    "controller-memory": limits(memory={"limit": 1 << 28}),
    "controller-cpu": limits(cpu={"shares": 512}),
    "controller-cpuset": limits(cpu={"cpus": "0"}),
    "controller-pids": limits(pids={"limit": 100}),
    "controller-devices": limits(devices=[{"allow": False, "access": "rwm"}]),
    "controller-hugetlb": limits(hugepageLimits=[{"pageSize": page_size(), "limit": 0}]),
    "controller-net_cls": limits(network={"classID": 1048577}),
    "controller-net_prio": limits(network={"priorities": [{"name": "lo", "priority": 5}]}),
    "apparmor": puts("process/apparmorProfile", "unconfined"),
    "selinux": puts("process/selinuxLabel", "system_u:system_r:container_t:s0"),
    "landlock": puts(
        "annotations", {"naja.landlock": '{"paths": {"/bin": "rx", "/dev": "rw", "/etc": "r"}}'}
    ),
    "libseccomp": puts("linux/seccomp", _NO_LIMIT),
    "seccomp": puts("linux/seccomp", _NO_LIMIT),
    "overlay": overlaid,
    "device-nodes": has_device,
    "rlimit-raised": raises_limit,
    "oom-score-lowered": lowers_score,
    "intel-rdt": puts("linux/intelRdt", {"closID": "naja-doctor", "schemata": ["MB:0=100"]}),
}
if _LIMIT := of_a_disk():
    NEEDS["controller-io"] = limits(blockIO=_LIMIT)

#: Why no container shows it.
NOT_RUN = {
    "cgroups": "a description: the others are about what they can do",
    "controller-rdma": "a limit takes such a device",
    "clone-into-cgroup": "naja does without where it is not there",
    "systemd": "tried in tests/vm, and in test_systemd_that_is_not_there",
    "seccomp-notify": "it takes an agent: test_seccomp",
    "keyring": "naja warns, and goes on",
    "realtime": "it depends on the container's own cgroup: test_properties_process",
    "criu": "tried in test_checkpoints",
    "start": "it is about time only",
}


def has_own(bundle: Bundle) -> None:
    """Give the container a user namespace that has one user, who calls naja."""
    namespaces(bundle, user="")
    owner = os.stat(bundle.path).st_uid
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": owner, "size": 1}]


def examined(runtime: Runtime, *words: str, **options: Any) -> dict[str, Any]:
    """Return what `naja doctor --json` says, whose status has to agree."""
    done = runtime.run("doctor", "--json", *words, check=False, timeout=120, **options)
    assert done.stdout, str(done)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.status == (0 if found.get("bundle", {"runs": True})["runs"] else 1), str(done)
    return found


def wrong(
    runtime: Runtime,
    make: Callable[[], Bundle],
    *,
    verdicts: bool = True,
    leave_out: tuple[str, ...] = (),
    **options: Any,
) -> list[str]:
    """Return the claims that do not agree with what happens.

    ``make`` makes a bundle; where that alone does not run here, which doctor has to know, none does that
    needs more. With ``verdicts`` doctor is asked about each bundle, else about those that do not run.
    """
    claims = {finding["key"]: finding for finding in examined(runtime, **options)["findings"]}
    found, base = _tried(runtime, make(), verdicts=True, **options)
    for key, finding in claims.items():
        if key.startswith("idmap-") or key in NOT_RUN or key in leave_out:
            continue
        bundle = make()
        NEEDS[key](bundle, finding)
        more, runs = _tried(runtime, bundle, verdicts=verdicts, **options)
        found += more
        if runs is not (finding["works"] and base):
            found.append(f"{key}: {finding}: it {'runs' if runs else 'does not run'}")
    return found


def _tried(runtime: Runtime, bundle: Bundle, *, verdicts: bool, **options: Any) -> tuple[list[str], bool]:
    """Run a bundle; return where doctor's verdict is another, and whether it runs."""
    bundle.save()
    done = runtime.run("run", "--bundle", bundle.path, bundle.id, check=False, timeout=120, **options)
    runs = done.status == 0
    if runs and not verdicts:
        return [], runs
    found = examined(runtime, bundle.path, **options)["bundle"]
    return [] if found["runs"] is runs else [f"doctor BUNDLE: {found}: {done.status} {done.stderr}"], runs
