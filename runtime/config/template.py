"""What ``naja spec`` writes: a config.json to start from.

The plain and the rootless one say what ``runc spec`` says, so that what is known of those holds.
The one for ``--host`` needs no image: its root is empty but for directories and links, and the
host's own programs are mounted on them, read-only.
"""

from __future__ import annotations

import os

from ..errors import NajaError
from . import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Config = dict[str, Any]

_VERSION = "1.3.0"
_MIB = 1 << 20
_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

#: Directories of the host that programs need. Where one is a link, as /bin is on most
#: distributions, the container gets the same link.
_HOST_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt")
_WRITABLE = ("tmp", "run", "var", "root", "home")
#: What is below /etc and none of the container's business.
_SECRETS = (
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers", "/etc/sudoers.d"),
    *(
        "/etc/ssh",
        "/etc/ssl/private",
        "/etc/krb5.keytab",
        "/etc/machine-id",
        "/etc/docker",
        "/etc/kubernetes",
    ),
)

_TOUR = r"""
if test -t 1; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
show() { printf '\n%s\n' "$bold$1$plain"; }
show 'Who am I?';           id; hostname
show 'What runs here?';     ps -eo pid,user,comm 2>/dev/null || ls -d /proc/[0-9]*
show 'Namespaces';          ls -l /proc/self/ns | sed -n 's/.* \([a-z_]*\) -> \(.*\)/\1 \2/p'
show 'Network interfaces';  sed -n '3,$s/:.*//p' /proc/net/dev
show 'Capabilities';        grep -E '^(Cap(Prm|Bnd)|NoNewPrivs|Seccomp):' /proc/self/status
show 'Limits';              ulimit -n; cat /proc/self/cgroup; cd /sys/fs/cgroup
                            for file in memory.max memory/memory.limit_in_bytes pids.max pids/pids.max; do
                                test -e "$file" && echo "$file: $(cat "$file")"
                            done
show 'May I write?';        touch /usr/x 2>&1; touch /tmp/x && echo 'to /tmp: yes'
"""


def default_config() -> Config:
    """Return the config of a container with namespaces of its own, for a root file system in rootfs/."""
    return {
        "ociVersion": _VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: [*_CAPABILITIES] for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "naja",
        "mounts": _mounts(),
        "linux": {
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": name} for name in _namespaces()],
            "maskedPaths": [
                *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
                *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware"),
                *("/proc/scsi", "/sys/devices/virtual/tpm"),
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


def _mounts() -> list[Config]:
    quiet = ["nosuid", "noexec", "nodev"]
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    shm = [*quiet, "mode=1777", "size=65536k"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts),
        _mount("/dev/shm", "tmpfs", "shm", shm),
        _mount("/dev/mqueue", "mqueue", "mqueue", quiet),
        _mount("/sys", "sysfs", "sysfs", [*quiet, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*quiet, "relatime", "ro"]),
    ]


def _mount(destination: str, type: str, source: str, options: list[str]) -> Config:
    return {"destination": destination, "type": type, "source": source, "options": options}


def _namespaces() -> list[str]:
    names = ["pid", "network", "ipc", "uts", "mount"]
    # On cgroup v2 the container sees a tree of its own, and needs the namespace to see it rightly.
    return [*names, "cgroup"] if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else names


def rootless_config(config: Config) -> Config:
    """Change a config so that the calling user can run it without privileges; returns it."""
    linux = config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
    # A user has no say over cgroups, and no group 5 (tty) in a namespace with one id.
    linux.pop("resources", None)
    for mount in config["mounts"]:
        options = [option for option in mount.get("options", ()) if not option.startswith(("gid=", "uid="))]
        if mount["destination"] == "/sys":
            # A new sysfs needs a network namespace that the user owns.
            mount.update(type="none", source="/sys")
            options = ["rbind", *options]
        if options:
            mount["options"] = options
    return config


def host_config(args: list[str], bundle: str) -> Config:
    """Return a config for ``args`` (a tour of the container where empty) with the host's programs.

    Makes the bundle's rootfs/ with the directories and links that it needs. Raises OSError.
    """
    config = default_config()
    config["process"].update(terminal=os.isatty(0), args=args or ["/bin/sh", "-c", _TOUR])
    config["root"]["readonly"] = False
    secrets = [path for path in _SECRETS if os.path.exists(path)]
    config["linux"]["maskedPaths"] += secrets
    config["linux"]["resources"].update(memory={"limit": 256 * _MIB}, pids={"limit": 64})
    make_host_root(bundle)
    for name in _HOST_PROGRAMS:
        if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}"):
            options = ["rbind", "rro", "nosuid", "nodev", "rprivate"]
            config["mounts"].append(_mount(f"/{name}", "none", f"/{name}", options))
    for name in _WRITABLE:
        options = ["nosuid", "nodev", "mode=1777" if name == "tmp" else "mode=755", "size=65536k"]
        config["mounts"].append(_mount(f"/{name}", "tmpfs", "tmpfs", options))
    return config


def make_host_root(bundle: str) -> None:
    """Make the bundle's rootfs/, with the links that lead to the host's programs. Raises OSError."""
    root = os.path.join(bundle, "rootfs")
    os.makedirs(root, exist_ok=True)
    for name in _HOST_PROGRAMS:
        if os.path.islink(f"/{name}"):
            _link(os.readlink(f"/{name}"), f"{root}/{name}")


def _link(target: str, path: str) -> None:
    """Make a symbolic link, or leave it as an earlier call has made it. Raises OSError."""
    try:
        os.symlink(target, path)
    except FileExistsError:
        if not os.path.islink(path) or os.readlink(path) != target:
            raise


def write_spec(bundle: str, *, rootless: bool, host: bool, args: list[str]) -> None:
    """Write <bundle>/config.json, for ``naja spec``. Raises NajaError, also where there is one."""
    path = os.path.join(bundle, "config.json")
    if os.path.lexists(path):
        raise NajaError(f"{path} exists already", why="remove it first")
    try:
        config = host_config(args, bundle) if host else default_config()
        if rootless:
            config = rootless_config(config)
        with open(path, "x", encoding="ascii") as file:
            file.write(json.dumps(config, indent=4) + "\n")
    except OSError as error:
        from ..linux import unexecutable

        why = unexecutable.unopened(path, error)
        raise NajaError.from_os_error(f"write {path}", error, why=why) from None
