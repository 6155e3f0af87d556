"""Configs as engines write them, for `naja audit`: by name, with how they are made."""

from __future__ import annotations

import copy
from typing import Any

from naja.audit import Report, audit
from naja.config.template import default_config
from naja.linux import capabilities
from naja.plan import Plan, Request
from naja.plan.creation import compile_plan

Config = dict[str, Any]

BUNDLE = "/srv/bundle"
#: What Docker and Podman give, and the kernel's calls that their profile allows, in short.
_DOCKER = (
    *(
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
    ),
    *("CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"),
    "CAP_SYS_CHROOT",
)
_PODMAN = tuple(name for name in _DOCKER if name not in ("CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"))
SECCOMP: Config = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 1,
    "flags": [],
    "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [
        {
            "names": ["read", "write", "openat", "execve", "mmap", "clone", "exit_group"],
            "action": "SCMP_ACT_ALLOW",
        },
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}],
        },
    ],
}
_DOCKER_SECCOMP: Config = {
    **{key: value for key, value in SECCOMP.items() if key != "flags"},
    "syscalls": [
        *SECCOMP["syscalls"],
        {"names": ["process_vm_readv", "process_vm_writev", "ptrace"], "action": "SCMP_ACT_ALLOW"},
    ],
}


def plain() -> Config:
    """The config that `naja spec` writes on a host of cgroup v1."""
    config = default_config()
    kinds = ("pid", "network", "ipc", "uts", "mount")
    config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    config["process"]["terminal"] = False
    return config


def docker() -> Config:
    """What Docker asks for by default."""
    config = plain()
    process, linux = config["process"], config["linux"]
    process["capabilities"] = {kind: [*_DOCKER] for kind in ("bounding", "effective", "permitted")}
    process["noNewPrivileges"] = False
    process["apparmorProfile"] = "docker-default"
    process["oomScoreAdj"] = 0
    process.pop("rlimits")
    config["root"]["readonly"] = False
    linux["seccomp"] = copy.deepcopy(_DOCKER_SECCOMP)
    linux["namespaces"].append({"type": "cgroup"})
    linux["maskedPaths"].append("/sys/devices/virtual/powercap")
    kept = "/var/lib/docker/containers/0a1b"
    for name in ("resolv.conf", "hostname", "hosts"):
        config["mounts"].append(bind(f"{kept}/{name}", f"/etc/{name}", "rbind", "rprivate"))
    return config


def privileged() -> Config:
    """Docker with --privileged."""
    config = docker()
    process, linux = config["process"], config["linux"]
    process["capabilities"] = {kind: [*capabilities.NAMES] for kind in ("bounding", "effective", "permitted")}
    process["apparmorProfile"] = "unconfined"
    del linux["seccomp"], linux["maskedPaths"], linux["readonlyPaths"]
    linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    for mount in config["mounts"]:
        if mount["destination"] in ("/sys", "/sys/fs/cgroup"):
            mount["options"] = [word for word in mount["options"] if word != "ro"]
    return config


def kubernetes_restricted() -> Config:
    """A pod of the profile "restricted", as containerd asks for it."""
    config = docker()
    process, linux = config["process"], config["linux"]
    process["user"] = {"uid": 1000, "gid": 1000}
    process["capabilities"] = {}
    process["noNewPrivileges"] = True
    process["apparmorProfile"] = "cri-containerd.apparmor.d"
    process["oomScoreAdj"] = 997
    linux["resources"].update(
        memory={"limit": 128 << 20}, pids={"limit": 1024}, cpu={"quota": 50000, "period": 100000}
    )
    linux["namespaces"] = [{"type": kind} for kind in ("pid", "mount", "cgroup")]
    for kind, name in (("network", "net"), ("ipc", "ipc"), ("uts", "uts")):
        linux["namespaces"].append({"type": kind, "path": f"/proc/4242/ns/{name}"})
    config.pop("hostname")
    config["mounts"] = [
        mount for mount in config["mounts"] if not mount.get("source", "").startswith("/var/lib/docker")
    ]
    pod = "/var/lib/kubelet/pods/77"
    quiet = ("rbind", "rprivate")
    config["mounts"] += [
        bind(f"{pod}/etc-hosts", "/etc/hosts", *quiet, "rw"),
        bind(f"{pod}/containers/c/1", "/dev/termination-log", *quiet, "rw"),
        bind(f"{pod}/volumes/token", "/var/run/secrets/kubernetes.io/serviceaccount", *quiet, "ro"),
    ]
    return config


def podman_rootless() -> Config:
    """What Podman asks for as a user, with its ranges of subordinate ids."""
    config = docker()
    process, linux = config["process"], config["linux"]
    process["capabilities"] = {kind: [*_PODMAN] for kind in ("bounding", "effective", "permitted")}
    process.pop("apparmorProfile")
    process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 1048576, "hard": 1048576}]
    linux["namespaces"].append({"type": "user"})
    ranges = [
        {"containerID": 0, "hostID": 1000, "size": 1},
        {"containerID": 1, "hostID": 100000, "size": 65536},
    ]
    linux.update(uidMappings=ranges, gidMappings=copy.deepcopy(ranges))
    linux["resources"] = {"pids": {"limit": 2048}}
    config["mounts"] = [
        mount for mount in config["mounts"] if not mount.get("source", "").startswith("/var/lib/docker")
    ]
    kept = "/run/user/1000/containers/overlay-containers/0a1b/userdata"
    for name in ("resolv.conf", "hosts"):
        config["mounts"].append(bind(f"{kept}/{name}", f"/etc/{name}", "bind", "rprivate"))
    return config


def host_network() -> Config:
    """Docker with --network host."""
    config = docker()
    remove_namespace(config, "network")
    return config


def docker_socket() -> Config:
    """Docker with -v /var/run/docker.sock:/var/run/docker.sock."""
    config = docker()
    config["mounts"].append(bind("/var/run/docker.sock", "/var/run/docker.sock", "rbind", "rprivate"))
    return config


def host_pid() -> Config:
    """Docker with --pid host."""
    config = docker()
    remove_namespace(config, "pid")
    return config


def all_devices() -> Config:
    """Docker with --device-cgroup-rule 'a *:* rwm'."""
    config = docker()
    config["linux"]["resources"]["devices"].append({"allow": True, "access": "rwm"})
    return config


def userns_root() -> Config:
    """Docker with userns-remap."""
    config = docker()
    linux = config["linux"]
    linux["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        linux[name] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    return config


def hardened() -> Config:
    """All that there is of walls."""
    config = userns_root()
    process, linux = config["process"], config["linux"]
    process["user"] = {"uid": 1000, "gid": 1000}
    process["capabilities"] = {}
    process["noNewPrivileges"] = True
    process["terminal"] = True
    process["apparmorProfile"] = "cage"
    config["root"]["readonly"] = True
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "bind"]
    linux["seccomp"] = copy.deepcopy(SECCOMP)
    linux["resources"].update(
        memory={"limit": 64 << 20}, pids={"limit": 64}, cpu={"quota": 50000, "period": 100000}
    )
    return config


def bind(source: str, destination: str, *options: str) -> Config:
    return {"destination": destination, "type": "bind", "source": source, "options": [*options]}


def remove_namespace(config: Config, kind: str) -> None:
    linux = config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != kind]


#: Maker by the name of the golden text.
ALL = {
    "default": plain,
    "docker-privileged": privileged,
    "kubernetes-restricted": kubernetes_restricted,
    "podman-rootless": podman_rootless,
    "host-network": host_network,
    "docker-socket": docker_socket,
    "host-pid": host_pid,
    "all-devices": all_devices,
    "userns-root": userns_root,
    "hardened": hardened,
}


def compiled(config: Config, **options: Any) -> Plan:
    """Return the plan of a config on a host of cgroup v2, whatever this one is."""
    v2 = {"cgroup_kind": "v2", "cgroup_mounts": {"": "/sys/fs/cgroup"}, "cgroup_paths": {"": "/c"}}
    chosen = {"id": "c", "bundle": BUNDLE, "detached": False, **v2, **options}
    return compile_plan(Request(config, **chosen))


def audited(config: Config, **options: Any) -> Report:
    """Return what is said of a config; as a user's where ``rootless``."""
    rootless = options.get("rootless", False)
    return audit(compiled(config, **options), config, BUNDLE, rootless=rootless)
