"""What a user without any privileges meets in the first minute: nothing is set, and nothing is known."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundle import copy_rootfs
from tests.support.command import runtime_command
from tests.support.rootless import let_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Nobody else's, that of a test beside this one included.
_USER = 700_000 + os.getpid()


class User:
    """A user with a bundle, and an environment in which nothing is set but PATH."""

    def __init__(self, bundle: str, id: str) -> None:
        self.bundle = bundle
        self.id = id

    def naja(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*runtime_command(), *words],
            env={"PATH": os.environ["PATH"], **environment},
            cwd=self.bundle,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            user=_USER,
            group=_USER,
            extra_groups=[],
        )

    def run(self, **environment: str) -> str:
        """Return what is said where a run fails, in one line."""
        done = self.naja("run", self.id, **environment)
        assert done.returncode == 1, done
        (line,) = done.stderr.splitlines()
        return line

    def spec(self, *words: str, change: Callable[[Any], None] = lambda config: None) -> None:
        """Write config.json, with a program that says who it is."""
        done = self.naja("spec", *words)
        assert (done.returncode, done.stderr) == (0, "")
        path = os.path.join(self.bundle, "config.json")
        with open(path) as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["/bin/id", "-u"])
        change(config)
        with open(path, "w") as file:
            json.dump(config, file)


@pytest.fixture
def user(tmp_path: Path, busybox_rootfs: str, tag: str) -> Iterator[User]:
    let_through(str(tmp_path))
    bundle = str(tmp_path / "bundle")
    os.mkdir(bundle)
    copy_rootfs(busybox_rootfs, f"{bundle}/rootfs")
    subprocess.run(["chown", "--recursive", f"{_USER}:{_USER}", bundle], check=True)
    yield User(bundle, tag)
    shutil.rmtree(f"/tmp/naja-{_USER}", ignore_errors=True)


def mapped(first: int, kinds: tuple[str, ...] = ("uid", "gid")) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        for kind in kinds:
            config["linux"][f"{kind}Mappings"] = [{"containerID": 0, "hostID": first, "size": 65536}]

    return change


def test_spec_and_run(user: User) -> None:
    """Two commands, and no variable."""
    user.spec()
    done = user.naja("run", user.id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
    status = os.stat(f"/tmp/naja-{_USER}")
    assert (status.st_uid, status.st_mode & 0o777) == (_USER, 0o700)
    assert os.listdir(f"/tmp/naja-{_USER}") == []


def test_a_state_root_that_another_has_made(user: User) -> None:
    user.spec()
    os.mkdir(f"/tmp/naja-{_USER}", 0o777)
    assert user.run() == (
        f"naja: /tmp/naja-{_USER} cannot be the state root: it belongs to user 0: "
        "set XDG_RUNTIME_DIR to a directory of your own, or say --root DIRECTORY"
    )


def test_a_config_without_a_user_namespace(user: User) -> None:
    user.spec("--rootless=false")
    assert user.run().endswith(
        "Operation not permitted (EPERM), asked for by config.json /linux/namespaces: "
        "without root it takes a user namespace: `naja spec --rootless` writes a config with one"
    )


def test_ids_that_nobody_has_given(user: User) -> None:
    user.spec(change=mapped(100_000))
    assert user.run() == (
        "naja: map uids 100000 to 165535 of the host without root, asked for by config.json "
        f"/linux/uidMappings/0: /etc/subuid gives {_USER} nothing: let root give some "
        f"(usermod --add-subuids 100000-165535 {_USER})"
    )


def test_group_ids_that_nobody_has_given(user: User) -> None:
    user.spec(change=mapped(100_000, ("gid",)))
    assert ", asked for by config.json /linux/gidMappings/0: /etc/subgid gives" in user.run()


def test_no_helper_to_map(user: User) -> None:
    user.spec(change=mapped(100_000))
    said = user.run(PATH="/no/such")
    assert "newuidmap is needed" in said
    assert said.endswith("asked for by config.json /linux/uidMappings: it comes with the package uidmap")


with open("/proc/filesystems") as _file:
    _known = set(_file.read().split())
#: A kind of file system that is root's alone.
DISK = next((kind for kind in ("ext4", "xfs", "btrfs", "squashfs", "debugfs") if kind in _known), "")


#: What a user may not have: pointer, value, and what is said of it.
DENIED: dict[str, tuple[Any, str]] = {
    "cgroupsPath": ("/naja-of-a-user", r"make cgroup .* is user 0's: leave out cgroupsPath and resources"),
    "resources": ({"memory": {"limit": 64 << 20}}, r"could (not )?be made: have systemd make it"),
    "mount": ((DISK, "/dev/vda"), r"EPERM.*: it takes root of the host: in a user namespace few kinds"),
    "bind": (
        ("bind", "closed/x"),
        r"EACCES.*: user \d+:\d+ may not search /.*/closed \(mode 0700, owner nobody, 65534:65534\)$",
    ),
    "ioPriority": ({"class": "IOPRIO_CLASS_RT", "priority": 0}, r"EPERM.*: this class takes CAP_SYS_NICE"),
    "scheduler": ({"policy": "SCHED_FIFO", "priority": 3}, r"EPERM.*: it takes CAP_SYS_NICE on the host"),
    "oomScoreAdj": (-5, r"EACCES.*: it is 0 now, and to lower it takes CAP_SYS_RESOURCE on the host"),
}


@pytest.mark.parametrize("name", DENIED)
def test_what_takes_root(user: User, name: str) -> None:
    value, said = DENIED[name]
    if name == "mount" and not DISK:
        pytest.skip("needs a kernel that knows a file system of disks")

    def change(config: Any) -> None:
        if name in ("mount", "bind"):
            kind, source = value
            if name == "bind":
                source = f"{os.path.dirname(user.bundle)}/{source}"
                os.mkdir(os.path.dirname(source), 0o700)
            mount = {"destination": "/data", "type": kind, "source": source}
            config["mounts"].append({**mount, "options": ["bind"]} if name == "bind" else mount)
        else:
            config["linux" if name in ("cgroupsPath", "resources") else "process"][name] = value

    user.spec(change=change)
    line = user.run()
    assert re.search(said, line), line


def test_a_root_file_system_that_he_may_not_enter(user: User) -> None:
    user.spec()
    os.chown(f"{user.bundle}/rootfs", 0, 0)
    os.chmod(f"{user.bundle}/rootfs", 0o700)
    assert user.run().endswith(
        ": user 0:0 may not search the root file system (mode 0700, owner nobody, 65534:65534)"
    )
    os.rename(f"{user.bundle}/rootfs/proc", f"{user.bundle}/rootfs/elsewhere")
    os.chmod(f"{user.bundle}/rootfs", 0o755)
    assert user.run().endswith(
        ": user 0:0 may not write to the root file system (mode 0755, owner nobody, 65534:65534)"
    )


def test_a_bundle_that_is_roots(user: User) -> None:
    os.chown(user.bundle, 0, 0)
    os.chmod(user.bundle, 0o755)
    done = user.naja("spec")
    assert done.stderr.endswith(
        f"user {_USER}:{_USER} may not write to {user.bundle} (mode 0755, owner 0:0)\n"
    )
    os.chmod(user.bundle, 0o711)
    with open(f"{user.bundle}/config.json", "w"):
        os.chmod(user.bundle, 0o700)
    done = user.naja("run", "--bundle", user.bundle, user.id)
    assert done.stderr.endswith(f"user {_USER}:{_USER} may not search {user.bundle} (mode 0700, owner 0:0)\n")


def test_root_gets_roots_form(tmp_path: Path) -> None:
    words = [*runtime_command(), "spec", "--bundle", str(tmp_path)]
    subprocess.run(words, check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} not in config["linux"]["namespaces"]
    (tmp_path / "config.json").unlink()
    subprocess.run([*words, "--rootless"], check=True)
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in config["linux"]["namespaces"]
