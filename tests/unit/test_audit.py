"""What `naja audit` says of ten configs, of each single change, and how it counts.

After a change on purpose, ``python -m tests.unit.test_audit`` writes the golden texts anew.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from naja.audit import Report, comparison
from naja.audit.capabilities import CAPABILITIES
from naja.audit.exposure import Exposure, score, word
from naja.linux import capabilities
from tests.support import audited
from tests.support.audited import Config, bind, hardened, remove_namespace

_GOLDEN = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "audit")


def report(name: str) -> Report:
    return audited.audited(audited.ALL[name](), rootless=name == "podman-rootless")


@pytest.mark.parametrize("name", audited.ALL)
def test_golden_texts(name: str) -> None:
    with open(f"{_GOLDEN}/{name}", encoding="utf-8") as file:
        assert report(name).text() == file.read()


def test_the_order_of_the_ten() -> None:
    scores = {name: report(name).score for name in audited.ALL}
    assert scores["docker-privileged"] == max(scores.values())
    assert scores["hardened"] == min(scores.values())
    assert scores["hardened"] < scores["kubernetes-restricted"] < scores["default"]
    assert scores["userns-root"] < scores["host-network"] < scores["docker-socket"]
    words = {name: report(name).word for name in audited.ALL}
    assert words["hardened"] == "OK"
    assert words["docker-privileged"] == words["docker-socket"] == words["all-devices"] == "UNSAFE"


def edited(edit: Any, base: Any = hardened) -> Config:
    """Return a config, changed by a function, or by values at the places of a dict of pointers."""
    config: Config = base()
    if callable(edit):
        edit(config)
    else:
        for pointer, value in edit.items():
            put(config, pointer, value)
    return config


def put(config: Config, pointer: str, value: Any) -> None:
    *way, last = pointer[1:].split("/")
    at: Any = config
    for name in way:
        at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
    if value is None:
        del at[last]
    elif isinstance(at, list):
        at.append(value)
    else:
        at[last] = value


def without_user(config: Config) -> None:
    """Take the user namespace away, and let it be root of the host without any capability."""
    remove_namespace(config, "user")
    del config["linux"]["uidMappings"], config["linux"]["gidMappings"]
    config["process"]["user"] = {"uid": 0, "gid": 0}


def on_the_host(**changes: Any) -> Any:
    """Return an edit that takes the user namespace away, and something else besides."""

    def edit(config: Config) -> None:
        without_user(config)
        for pointer, value in changes["places"].items():
            put(config, pointer, value)

    return edit


def rights(*names: str, user: dict[str, Any] | None = None) -> Any:
    """Return an edit that gives capabilities over the host."""

    def edit(config: Config) -> None:
        without_user(config)
        config["process"]["capabilities"] = {
            kind: [*names] for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
        }

    return edit


def both(*edits: Any) -> Any:
    def edit(config: Config) -> None:
        for one in edits:
            if callable(one):
                one(config)
            else:
                for pointer, value in one.items():
                    put(config, pointer, value)

    return edit


def shared(kind: str) -> Any:
    def edit(config: Config) -> None:
        remove_namespace(config, kind)
        if kind == "uts":
            del config["hostname"]

    return edit


def joined(config: Config) -> None:
    remove_namespace(config, "network")
    config["linux"]["namespaces"].append({"type": "network", "path": "/run/netns/other"})


def not_masked(config: Config) -> None:
    config["linux"]["maskedPaths"].remove("/proc/keys")


def not_readonly(path: str) -> Any:
    def edit(config: Config) -> None:
        without_user(config)
        config["linux"]["readonlyPaths"].remove(path)

    return edit


def writable(destination: str) -> Any:
    def edit(config: Config) -> None:
        without_user(config)
        mount = next(mount for mount in config["mounts"] if mount["destination"] == destination)
        mount["options"].remove("ro")

    return edit


#: What options of the command open.
BY_THE_COMMAND = {"no-pivot", "callers-keyring", "callers-descriptors"}
QUIET = ("nosuid", "nodev", "noexec", "rprivate")
NODE = {"type": "b", "path": "/dev/disk", "major": 8, "minor": 0}
ALLOW = {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "rw"}
DENIED = "/linux/resources/devices/0"

#: What one change of the hardened config opens, and nothing else: keys of exposures by the change. Whoever
#: takes the user namespace away opens the first of all.
ROOT = "root-is-root"
CHANGES: list[tuple[Any, set[str]]] = [
    (without_user, {ROOT}),
    (both(without_user, {"/process/user/uid": 1000, "/process/user/gid": 1000}), {"no-user-namespace"}),
    (both(without_user, {"/process/user/uid": 1000}), {"no-user-namespace", "group-root"}),
    ({"/linux/uidMappings": [{"containerID": 0, "hostID": 0, "size": 65536}]}, {"maps-host-root"}),
    *((shared(kind), {f"host-{kind}"}) for kind in ("pid", "network", "ipc", "uts", "cgroup")),
    (shared("mount"), {"host-mount"}),
    (joined, {"joined-namespace"}),
    ({"/root/readonly": False}, {"root-writable"}),
    ({"/root/path": "/"}, {"root-is-the-hosts"}),
    ({"/linux/rootfsPropagation": "shared"}, {"root-shared"}),
    ({"/mounts/-": bind("/srv/data", "/data", *QUIET)}, {"host-path-written"}),
    ({"/mounts/-": bind("/etc", "/host", "rbind", "rro", *QUIET)}, {"host-path-read"}),
    (
        {"/mounts/-": bind("/srv/data", "/data", "rbind", "ro", *QUIET)},
        {"host-path-read", "bind-below-written"},
    ),
    ({"/mounts/-": bind("/srv/data", "/data", "bind", "ro", "rprivate")}, {"host-path-read", "bind-flags"}),
    (
        {
            "/mounts/-": bind("/srv/data", "/data", *QUIET[:3], "rshared"),
            "/linux/rootfsPropagation": "shared",
        },
        {"host-path-written", "bind-shared", "root-shared"},
    ),
    (
        {"/mounts/-": bind("/srv/data", "/data", *QUIET[:3]), "/linux/rootfsPropagation": "private"},
        {"host-path-written"},
    ),
    ({"/mounts/-": bind("/srv/data", "/data", *QUIET[:3])}, {"host-path-written", "bind-slave"}),
    ({"/mounts/-": bind("/srv/data", "/data", *QUIET[:3], "rslave")}, {"host-path-written", "bind-slave"}),
    ({"/mounts/-": bind("/run/containerd/containerd.sock", "/s", *QUIET)}, {"host-socket"}),
    ({"/mounts/-": {"destination": "/disk", "type": "ext4", "source": "/dev/sdz9"}}, {"host-disk"}),
    (rights("CAP_KILL"), {ROOT, "CAP_KILL"}),
    (
        both(
            rights("CAP_SYSLOG"),
            {"/process/user/uid": 1000, "/process/user/gid": 1000, "/process/noNewPrivileges": False},
            {"/process/capabilities/ambient": []},
        ),
        {"no-user-namespace", "bounding-set", "new-privileges"},
    ),
    (both(without_user, {"/linux/devices": [NODE]}), {ROOT, "device-node"}),
    (both(without_user, {"/linux/resources/devices/-": ALLOW}), {ROOT, "device-allowed"}),
    (
        both(without_user, {"/linux/resources/devices/-": {"allow": True, "access": "rwm"}}),
        {ROOT, "devices-all"},
    ),
    ({"/linux/seccomp": None}, {"no-seccomp"}),
    ({"/linux/seccomp/syscalls/-": {"names": ["bpf"], "action": "SCMP_ACT_ALLOW"}}, {"seccomp-allows"}),
    ({"/linux/seccomp/flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}, {"seccomp-speculation"}),
    ({"/process/noNewPrivileges": False}, {"new-privileges"}),
    ({"/annotations/run.oci.keep_original_groups": "1"}, {"callers-groups", "annotation"}),
    ({"/annotations/org.systemd.property.MemoryMax": "1"}, {"annotation"}),
    ({"/process/apparmorProfile": "unconfined"}, {"no-security-module"}),
    ({"/process/apparmorProfile": None}, {"no-security-module"}),
    (
        {
            "/process/apparmorProfile": None,
            "/annotations/naja.landlock": '{"paths": {"/bin": "rx"}}',
        },
        set(),
    ),
    ({"/process/terminal": False}, {"callers-streams"}),
    ({"/linux/personality": {"domain": "LINUX32"}}, {"personality"}),
    ({"/process/oomScoreAdj": -500}, {"oom-spared"}),
    ({"/process/scheduler": {"policy": "SCHED_FIFO", "priority": 5}}, {"scheduler"}),
    ({"/process/scheduler": {"policy": "SCHED_OTHER", "nice": -5}}, {"scheduler"}),
    ({"/process/ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 0}}, {"io-priority"}),
    ({"/process/rlimits": [{"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 99}]}, {"rlimit"}),
    (not_masked, {"unmasked"}),
    *(
        (not_readonly(path), {ROOT, "proc-written-" + path.rpartition("/")[2]})
        for path in ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
    ),
    (writable("/sys"), {ROOT, "sys-written"}),
    (writable("/sys/fs/cgroup"), {ROOT, "cgroups-written"}),
    ({"/linux/sysctl": {"net.ipv4.ip_forward": "1"}}, {"sysctl"}),
    ({"/linux/resources/memory": None}, {"no-limit-memory"}),
    ({"/linux/resources/memory/limit": -1}, {"no-limit-memory"}),
    ({"/linux/resources/pids": None}, {"no-limit-pids"}),
    ({"/linux/resources/cpu": None}, {"no-limit-cpu"}),
    ({"/hooks/createRuntime": [{"path": "/usr/bin/hook"}]}, {"hook"}),
    ({"/hooks/poststop": [{"path": f"{audited.BUNDLE}/rootfs/hook"}]}, {"hook-of-the-image"}),
    ({"/hooks/startContainer": [{"path": "/usr/bin/hook"}]}, set()),
    ({"/linux/netDevices": {"eth7": {}}}, {"network-device"}),
    ({"/linux/intelRdt": {"closID": "gold"}}, {"intel-rdt"}),
    (
        both(rights("CAP_MKNOD"), {"/linux/resources/devices/-": {"allow": True, "access": "rwm"}}),
        {ROOT, "CAP_MKNOD", "devices-all", "disks-by-mknod"},
    ),
    (
        both(rights("CAP_SYS_PTRACE"), shared("pid")),
        {ROOT, "CAP_SYS_PTRACE", "host-pid", "ptrace-of-the-host"},
    ),
    (
        both(rights("CAP_NET_ADMIN"), shared("network")),
        {ROOT, "CAP_NET_ADMIN", "host-network", "network-of-the-host"},
    ),
    (
        both(rights("CAP_DAC_READ_SEARCH"), {"/linux/seccomp": None}),
        {ROOT, "CAP_DAC_READ_SEARCH", "no-seccomp", "files-by-handle"},
    ),
    (
        both(rights("CAP_SYS_ADMIN"), {"/linux/seccomp": None}),
        {ROOT, "CAP_SYS_ADMIN", "no-seccomp", "mounts-anew"},
    ),
    (
        both(rights("CAP_SYS_ADMIN"), {"/linux/rootfsPropagation": "shared"}),
        {ROOT, "CAP_SYS_ADMIN", "root-shared", "mounts-on-the-host"},
    ),
    (
        both(rights("CAP_SYS_ADMIN", "CAP_SYS_CHROOT"), shared("mount")),
        {ROOT, "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "host-mount", "leaves-its-root"},
    ),
]


@pytest.mark.parametrize(
    ("edit", "keys"), CHANGES, ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else ""
)
def test_what_one_change_opens(edit: Any, keys: set[str]) -> None:
    found = audited.audited(edited(edit))
    assert {one.key for one in found.exposures} == keys
    assert all(one.what and one.fix for one in found.exposures)


def test_options_of_the_command_count() -> None:
    options = {"no_pivot": True, "no_new_keyring": True, "preserve_fds": 2}
    found = audited.audited(hardened(), **options)
    assert {one.key for one in found.exposures} == BY_THE_COMMAND


@pytest.mark.parametrize("name", capabilities.NAMES)
def test_every_capability(name: str) -> None:
    weight, _, what = CAPABILITIES[name]
    held = {one.key: one for one in audited.audited(edited(rights(name))).exposures}
    assert held[name].weight == weight
    assert what in held[name].what
    inside = audited.audited(edited({"/process/capabilities/ambient": [name]}))
    assert inside.score < 1


def test_capabilities_are_those_after_execve() -> None:
    """Root gets its bounding set, unless it has no_new_privs; others what is ambient."""
    config = edited(without_user)
    config["process"]["capabilities"] = {"bounding": ["CAP_SYS_TIME"], "ambient": []}
    assert "CAP_SYS_TIME" not in {one.key for one in audited.audited(config).exposures}
    config["process"]["noNewPrivileges"] = False
    assert "CAP_SYS_TIME" in {one.key for one in audited.audited(config).exposures}
    config["process"]["user"] = {"uid": 5, "gid": 5}
    assert "CAP_SYS_TIME" not in {one.key for one in audited.audited(config).exposures}
    config["process"]["capabilities"] = {
        kind: ["CAP_SYS_TIME"] for kind in ("bounding", "effective", "permitted")
    }
    assert "bounding-set" in {one.key for one in audited.audited(config).exposures}


def test_a_device_that_is_denied_again_is_none() -> None:
    config = edited(without_user)
    config["linux"]["resources"]["devices"] += [ALLOW, {**ALLOW, "allow": False}]
    assert "device-allowed" not in {one.key for one in audited.audited(config).exposures}


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_both_kinds_of_cgroups_say_the_same(version: str) -> None:
    kinds = {
        "cgroup_kind": version,
        "cgroup_mounts": {name: f"/cgroup/{name}" for name in ("memory", "pids", "cpu", "devices")},
        "cgroup_paths": dict.fromkeys(("memory", "pids", "cpu", "devices"), "/c"),
    }
    options: dict[str, Any] = kinds if version == "v1" else {}
    for name in ("hardened", "docker-privileged", "all-devices"):
        assert audited.audited(audited.ALL[name](), **options).text() == report(name).text()


def test_the_score() -> None:
    def weighing(*weights: float) -> float:
        return score(Exposure("k", weight, "", "w", "f") for weight in weights)

    assert weighing() == 0.0
    assert weighing(10.0, 3.0) == 10.0
    assert weighing(5.0, 5.0) == 7.5
    assert weighing(2.0, 0.5, 0.5) == 2.8
    assert [word(at) for at in (0.0, 2.4, 2.5, 4.9, 5.0, 7.4, 7.5, 10.0)] == [
        *("OK", "OK", "MEDIUM", "MEDIUM", "EXPOSED", "EXPOSED", "UNSAFE", "UNSAFE")
    ]


def test_nothing_lowers_the_score() -> None:
    base = audited.audited(hardened()).score
    for edit, _ in CHANGES:
        assert audited.audited(edited(edit)).score >= base


def test_comparison() -> None:
    old, new = audited.audited(hardened()), audited.audited(edited({"/process/noNewPrivileges": False}))
    closed, opened = comparison.compare(old, new)
    assert (closed, [one.key for one in opened]) == ([], ["new-privileges"])
    text = comparison.text(old, new).splitlines()
    assert text[0].startswith("+  0.70  set-uid programs")
    assert text[-1] == "score 0.0 OK → 0.7 OK"
    assert comparison.text(new, old).startswith("-  0.70  ")


def test_a_path_by_another_name() -> None:
    for source in ("/var/run/docker.sock", "/run/docker.sock", "/run/../run/docker.sock"):
        config = edited({"/mounts/-": bind(source, "/s", *QUIET)})
        assert [one.key for one in audited.audited(config).exposures] == ["host-socket"], source


def test_where_a_link_leads(tmp_path: Any) -> None:
    (tmp_path / "link").symlink_to("/etc")
    config = edited({"/mounts/-": bind(f"{tmp_path}/link", "/data", *QUIET)})
    assert "the host's configuration" in audited.audited(config).exposures[0].what


def test_every_exposure_of_the_page() -> None:
    """docs/audit.md tells of every key, and of none that is not there."""
    with open(os.path.join(os.path.dirname(_GOLDEN), "../../docs/audit.md"), encoding="utf-8") as file:
        rows = [line.split("`")[1] for line in file if line.startswith("| `")]
    keys = set().union(*(keys for _, keys in CHANGES)) - {*capabilities.NAMES}
    keys |= {*BY_THE_COMMAND, "oom-killer-off"}
    assert sorted(rows) == sorted(keys)


if __name__ == "__main__":
    os.makedirs(_GOLDEN, exist_ok=True)
    for name in audited.ALL:
        with open(f"{_GOLDEN}/{name}", "w", encoding="utf-8") as file:
            file.write(report(name).text())
