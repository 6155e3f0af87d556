"""Bundles with a busybox root file system, made from Debian's busybox-static."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from typing import Any

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

#: The config of a bundle before a test edits it: what `runc spec` writes, but a writable root.
DEFAULT_CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/true"],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
        "cwd": "/",
        "capabilities": {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "naja-test",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup",
            "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ],
    "linux": {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")],
        "maskedPaths": [
            "/proc/acpi",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/sys/firmware",
            "/proc/scsi",
        ],
        "readonlyPaths": [
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ],
    },
}


def make_rootfs(path: str) -> None:
    """Make a busybox root file system at ``path``, which must not exist. Needs busybox in PATH."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is not installed"
    for directory in ("bin", "dev", "etc", "proc", "root", "run", "sys", "tmp", "usr", "var"):
        os.makedirs(os.path.join(path, directory))
    os.chmod(os.path.join(path, "tmp"), 0o1777)
    shutil.copy2(busybox, os.path.join(path, "bin/busybox"))
    links: dict[str, str] = {}
    for applet in subprocess.check_output([busybox, "--list"], text=True).split():
        if applet != "busybox":
            link("busybox", os.path.join(path, "bin", applet), links)
    with open(os.path.join(path, "etc/passwd"), "w") as passwd:
        passwd.write("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
    with open(os.path.join(path, "etc/group"), "w") as group:
        group.write("root:x:0:\nuser:x:1000:\n")


def copy_rootfs(source: str, target: str) -> None:
    """Copy a tree of directories, files and links; their times and owners are nobody's concern.

    Links of a directory that say the same are one: ext4 is slow to find an inode where many were just freed.
    """
    os.mkdir(target)
    os.chmod(target, os.stat(source).st_mode & 0o7777)
    links: dict[str, str] = {}
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{target}/{entry.name}"
            if entry.is_symlink():
                link(os.readlink(entry.path), path, links)
            elif entry.is_dir():
                copy_rootfs(entry.path, path)
            else:
                shutil.copy(entry.path, path)


def link(text: str, path: str, known: dict[str, str]) -> None:
    """Make a symbolic link, another name of a known one where there is one that says the same."""
    if text in known:
        os.link(known[text], path, follow_symlinks=False)
    else:
        os.symlink(text, path)
        known[text] = path


class Bundle:
    """A bundle on disk and the ID that its container is to have; ``config`` is there to be edited."""

    def __init__(self, path: str, id: str, rootfs: str) -> None:
        """Make the bundle at ``path`` with a copy of the directory ``rootfs``."""
        self.path = path
        self.id = id
        self.rootfs = os.path.join(path, "rootfs")
        self.config = copy.deepcopy(DEFAULT_CONFIG)
        self.config["linux"]["cgroupsPath"] = f"/{id}"
        os.makedirs(path)
        copy_rootfs(rootfs, self.rootfs)
        self.save()

    @property
    def process(self) -> dict[str, Any]:
        process: dict[str, Any] = self.config["process"]
        return process

    @property
    def linux(self) -> dict[str, Any]:
        linux: dict[str, Any] = self.config["linux"]
        return linux

    def args(self, *words: str) -> Bundle:
        """Set the command of the container, write config.json, and return the bundle."""
        self.process["args"] = list(words)
        return self.save()

    def shell(self, script: str) -> Bundle:
        """Make the container run a shell script (``sh -c``), write config.json, and return the bundle."""
        return self.args("/bin/sh", "-c", script)

    def save(self) -> Bundle:
        """Write config.json and return the bundle."""
        with open(os.path.join(self.path, "config.json"), "w") as file:
            json.dump(self.config, file, indent=1)
        return self

    def mount(self, destination: str, kind: str, source: str, *options: str) -> Bundle:
        """Add a mount, write config.json, and return the bundle."""
        self.config.setdefault("mounts", []).append(
            {"destination": destination, "type": kind, "source": source, "options": list(options)}
        )
        return self.save()

    def write(self, path: str, content: str | bytes, mode: int = 0o755) -> str:
        """Write a file into the root file system; return its path on the host."""
        host = os.path.join(self.rootfs, path.lstrip("/"))
        os.makedirs(os.path.dirname(host), exist_ok=True)
        with open(host, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(host, mode)
        return host
