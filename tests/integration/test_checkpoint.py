"""Checkpoint and restore: what works with CRIU, and what is said where something does not."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja import cgroups
from naja.container.lifecycle import Container
from naja.criu import mounts
from naja.errors import NajaError, Unsupported
from naja.plan import Request
from tests.support.criu import need_criu
from tests.support.terminal import ConsoleSocket, Screen
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

#: Emulated guests are slow, and CRIU starts many programs.
_PATIENCE = 120


@pytest.fixture
def criu() -> None:
    need_criu()


@pytest.fixture
def images(tmp_path: Path) -> str:
    return str(tmp_path / "images")


@pytest.fixture
def volume(tmp_path: Path, bundle: Bundle) -> Path:
    """A directory of the host that the container has as /vol."""
    path = tmp_path / "volume"
    path.mkdir()
    bundle.mount("/vol", "bind", str(path), "bind")
    return path


def checkpoint(naja: Runtime, bundle: Bundle, images: str, *flags: str, check: bool = True) -> Result:
    return naja.run("checkpoint", "--image-path", images, *flags, bundle.id, check=check, timeout=_PATIENCE)


def restore_detached(naja: Runtime, bundle: Bundle, images: str, *flags: str, id: str = "") -> Result:
    words = ("restore", "--detach", "--image-path", images, "--bundle", bundle.path, *flags)
    return naja.detached(*words, id or bundle.id, timeout=_PATIENCE)


def counting(bundle: Bundle) -> Bundle:
    """Let the container count in a variable of its shell, and write each number into its volume."""
    return bundle.shell(
        "n=0; while :; do n=$((n+1)); echo $n > /vol/new; mv /vol/new /vol/n; sleep 0.1; done"
    )


def number(volume: Path) -> int:
    file = volume / "n"
    return int(file.read_text()) if file.exists() else 0


def count_past(volume: Path, least: int) -> int:
    wait_until(lambda: number(volume) > least, timeout=30, what=f"a number above {least}")
    return number(volume)


def save_and_restore(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    """Let a container that counts be saved, and restored; it goes on where it was."""
    naja.run_detached(bundle)
    count_past(volume, 1)
    checkpoint(naja, bundle, images)
    saved = number(volume)
    restore_detached(naja, bundle, images)
    count_past(volume, saved)


@pytest.mark.usefixtures("criu")
def test_a_container_goes_on_where_it_was(
    naja: Runtime, bundle: Bundle, images: str, volume: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    bundle.mount("/secret", "bind", str(secret), "bind", "ro")
    naja.run_detached(counting(bundle))
    count_past(volume, 3)
    checkpoint(naja, bundle, images, "--work-path", str(tmp_path / "work"))
    assert bundle.id not in naja.ids()
    assert (tmp_path / "work/dump.log").exists()
    saved = number(volume)

    pid_file = tmp_path / "pid"
    restore_detached(naja, bundle, images, "--pid-file", str(pid_file))
    state = naja.state(bundle)
    assert state["status"] == "running"
    assert pid_file.read_text() == str(state["pid"])
    count_past(volume, saved)
    script = "touch /secret/x; cat /proc/keys; cat /proc/self/cgroup; ls /sys/firmware; hostname"
    result = naja.exec(bundle, "/bin/sh", "-c", script)
    assert "/secret/x: Read-only file system" in result.stderr
    mask = naja.exec(bundle, "/bin/grep", " /proc/keys ", "/proc/self/mountinfo").stdout.split()
    assert "ro" in mask[5].split(",")
    assert result.stdout.splitlines()[-1] == "naja-test"
    with open(f"/proc/{state['pid']}/cgroup") as file:
        assert all(bundle.id in line for line in file if "name=" not in line and line[:3] != "0::")


@pytest.mark.usefixtures("criu")
def test_left_running(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    checkpoint(naja, bundle, images, "--leave-running")
    assert naja.status(bundle) == "running"
    count_past(volume, number(volume) + 2)


@pytest.mark.usefixtures("criu")
def test_memory_first(naja: Runtime, bundle: Bundle, tmp_path: Path, volume: Path) -> None:
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    checkpoint(naja, bundle, str(tmp_path / "first"), "--pre-dump")
    assert naja.status(bundle) == "running"
    images = str(tmp_path / "second")
    os.mkdir(images)
    checkpoint(naja, bundle, images, "--parent-path", "../first")
    saved = number(volume)
    restore_detached(naja, bundle, images, "--parent-path", "../first")
    count_past(volume, saved)


@pytest.mark.usefixtures("criu")
def test_attached_with_new_pipes(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    """Output goes to whoever restores, who gets the exit code; then the container is gone."""
    bundle.shell("until test -e /vol/go; do sleep 0.1; done; echo out; echo err >&2; exit 7")
    reader, writer = os.pipe()
    argv = naja.command("run", "--detach", "--bundle", bundle.path, bundle.id)
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, check=True, timeout=60)
    os.close(writer)
    checkpoint(naja, bundle, images)
    os.close(reader)
    (volume / "go").touch()
    words = ("restore", "--image-path", images, "--bundle", bundle.path, bundle.id)
    result = naja.run(*words, check=False, timeout=_PATIENCE)
    # Both were one pipe, and are one again.
    assert (result.status, result.stdout, result.stderr) == (7, "out\nerr\n", ""), str(result)
    assert bundle.id not in naja.ids()


@pytest.mark.usefixtures("criu")
def test_terminal(naja: Runtime, bundle: Bundle, images: str, tmp_path: Path) -> None:
    bundle.process["terminal"] = True
    bundle.args("/bin/cat")
    with ConsoleSocket(str(tmp_path / "first")) as first:
        naja.run_detached(bundle, "--console-socket", first.path)
        screen = Screen(first.receive()[0])
    screen.send("before\n")
    screen.expect("before")
    checkpoint(naja, bundle, images)
    screen.close()
    with ConsoleSocket(str(tmp_path / "second")) as second:
        restore_detached(naja, bundle, images, "--console-socket", second.path)
        screen = Screen(second.receive()[0])
    screen.send("after\n")
    screen.expect("after\r\nafter")
    screen.close()


@pytest.mark.usefixtures("criu")
def test_hooks_see_the_new_namespaces(
    naja: Runtime, bundle: Bundle, images: str, volume: Path, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {seen}"]}
    bundle.config["hooks"] = {"createRuntime": [hook]}
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    checkpoint(naja, bundle, images)
    seen.unlink()
    restore_detached(naja, bundle, images)
    assert json.loads(seen.read_text())["pid"] == naja.state(bundle)["pid"]


@pytest.mark.usefixtures("criu")
def test_another_name_and_cgroup(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    checkpoint(naja, bundle, images)
    saved, other = number(volume), f"{bundle.id}b"
    bundle.linux["cgroupsPath"] = bundle.linux["cgroupsPath"].replace(bundle.id, other)
    restore_detached(naja, bundle.save(), images, id=other)
    try:
        count_past(volume, saved)
        pids = json.loads(naja.run("ps", "--format", "json", other).stdout)
        assert json.loads(naja.run("state", other).stdout)["pid"] in pids
        naja.run("pause", other)
        still = number(volume)
        naja.run("resume", other)
        count_past(volume, still)
    finally:
        naja.run("delete", "--force", other)


@pytest.mark.usefixtures("criu")
def test_in_a_user_namespace_on_a_readonly_root(
    naja: Runtime, bundle: Bundle, images: str, volume: Path
) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux["uidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]
    bundle.config["root"]["readonly"] = True
    save_and_restore(naja, counting(bundle), images, volume)
    script = "echo text > /dev/null; touch /x; readlink /proc/1/ns/user; readlink /proc/self/ns/user"
    result = naja.exec(bundle, "/bin/sh", "-c", script)
    assert "/x: Read-only file system" in result.stderr
    first, second = result.stdout.split()
    assert first == second != os.readlink("/proc/self/ns/user")


@pytest.mark.usefixtures("criu")
def test_paused_and_left_so(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    naja.run("pause", bundle.id)
    checkpoint(naja, bundle, images, "--leave-running")
    assert naja.status(bundle) == "paused"
    naja.run("resume", bundle.id)
    count_past(volume, number(volume))


@pytest.fixture
def network(tag: str) -> Iterator[str]:
    """A network namespace with a name, as engines make one for a pod."""
    subprocess.run(["ip", "netns", "add", tag], check=True)
    yield f"/run/netns/{tag}"
    subprocess.run(["ip", "netns", "delete", tag], check=True)


@pytest.mark.usefixtures("criu")
def test_network_of_a_pod(naja: Runtime, bundle: Bundle, images: str, volume: Path, network: str) -> None:
    for entry in bundle.linux["namespaces"]:
        if entry["type"] == "network":
            entry["path"] = network
    save_and_restore(naja, counting(bundle), images, volume)
    assert os.stat(f"/proc/{naja.state(bundle)['pid']}/ns/net").st_ino == os.stat(network).st_ino


@pytest.mark.usefixtures("criu")
def test_a_program_that_redirects_all_the_time(
    naja: Runtime, bundle: Bundle, images: str, volume: Path
) -> None:
    """Its stdout is the caller's file, but hardly ever at the moment at which somebody looks."""
    elsewhere = "{ n=0; while [ $n -lt 1000 ]; do n=$((n+1)); done; } > /vol/other"
    naja.run_detached(bundle.shell(f"echo > /vol/begun; while :; do {elsewhere}; done"))
    wait_until((volume / "begun").exists, timeout=30)
    checkpoint(naja, bundle, images)
    restore_detached(naja, bundle, images)
    assert naja.status(bundle) == "running"


@pytest.mark.usefixtures("criu")
def test_failed_restore_leaves_nothing(naja: Runtime, bundle: Bundle, images: str, volume: Path) -> None:
    naja.run_detached(counting(bundle))
    count_past(volume, 1)
    checkpoint(naja, bundle, images)
    os.unlink(os.path.join(images, "inventory.img"))
    words = ("restore", "--detach", "--image-path", images, "--bundle", bundle.path, bundle.id)
    result = naja.detached(*words, check=False, timeout=_PATIENCE)
    assert result.status == 1
    assert f"(log file {images}/restore.log)" in result.stderr
    assert bundle.id not in naja.ids()


def test_only_what_runs(naja: Runtime, bundle: Bundle, images: str) -> None:
    naja.create(bundle)
    result = checkpoint(naja, bundle, images, check=False)
    assert "Container cannot be checkpointed in created state" in result.stderr
    assert not os.path.exists(images)


def test_without_criu(naja: Runtime, bundle: Bundle, images: str, tmp_path: Path) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    words = ("checkpoint", "--image-path", images, bundle.id)
    result = naja.run(*words, check=False, env={"PATH": str(tmp_path)})
    assert result.stderr == ("naja: checkpoint and restore: CRIU is not installed: no program criu in PATH\n")
    assert naja.status(bundle) == "running"


def test_what_engines_ask(naja: Runtime) -> None:
    assert naja.run("checkpoint", "--help").status == 0
    assert "flag needs an argument" in naja.run("restore", "--lsm-mount-context", check=False).stderr


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--manage-cgroups-mode", "hard"), "invalid value for --manage-cgroups-mode: 'hard'"),
        (("--empty-ns", "user"), "invalid value for --empty-ns: 'user'"),
        (("--page-server", "localhost"), "invalid value for --page-server: 'localhost'"),
        (("--status-fd", "77"), "use descriptor 77 (--status-fd): Bad file descriptor (EBADF)"),
        (("--parent-path", "/images"), "--parent-path must be relative to --image-path: /images"),
    ],
)
def test_wrong_options(
    naja: Runtime, bundle: Bundle, images: str, flags: tuple[str, ...], complaint: str
) -> None:
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    assert complaint in checkpoint(naja, bundle, images, *flags, check=False).stderr


def test_restore_needs_images(naja: Runtime, bundle: Bundle, images: str) -> None:
    words = ("restore", "--image-path", images, "--bundle", bundle.path, bundle.id)
    result = naja.run(*words, check=False)
    assert result.status == 1
    if "CRIU" not in result.stderr:
        assert "descriptors.json: No such file or directory (ENOENT)" in result.stderr


@pytest.fixture
def saved(naja: Runtime, bundle: Bundle) -> Callable[[], list[str]]:
    """Run the container; return what CRIU would be told to leave out."""

    def run() -> list[str]:
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        container = Container.load(bundle.id, root=naja.root)
        arguments: dict[str, Any] = cgroups.describe(container.cgroup, cgroups.detect())
        request = Request(container.config, id=bundle.id, bundle=bundle.path, **arguments)
        return mounts.saved(container.pid, request)

    return run


@pytest.mark.parametrize("kind", ["root", "in turn"])
def test_mounts_that_depend_on_others_are_refused(
    bundle: Bundle, volume: Path, saved: Callable[[], list[str]], kind: str
) -> None:
    """Only who mounts one by one could make them."""
    mounted = bundle.config["mounts"]
    if kind == "root":
        mounted.insert(0, {"destination": "/", "type": "bind", "source": bundle.rootfs, "options": ["bind"]})
    else:
        bundle.mount("/again", "bind", f"{bundle.rootfs}/etc", "idmap=uids=0-1-1;gids=0-1-1")
    with pytest.raises(Unsupported, match="checkpoint the mount on") as caught:
        saved()
    assert caught.value.origin == f"/mounts/{0 if kind == 'root' else len(mounted) - 1}"


def test_mounts_are_found_where_the_kernel_has_them(
    bundle: Bundle, volume: Path, saved: Callable[[], list[str]]
) -> None:
    os.symlink("/real", os.path.join(bundle.rootfs, "vol"))
    entries = saved()
    assert "mnt[/real]:/vol" in entries
    assert "mnt[/proc/keys]:/dev/null" in entries
    assert not any("/sys/firmware" in entry or "/dev/shm" in entry for entry in entries)


def test_mount_point_that_criu_would_misread(
    bundle: Bundle, volume: Path, saved: Callable[[], list[str]]
) -> None:
    """An image that leads a mount to a place which ends another's name (CVE-2026-119101)."""
    os.symlink("/a]:b", os.path.join(bundle.rootfs, "vol"))
    with pytest.raises(NajaError, match=r"the mount /a\]:b"):
        saved()


def test_two_mounts_led_to_one_place(
    bundle: Bundle, volume: Path, tmp_path: Path, saved: Callable[[], list[str]]
) -> None:
    os.symlink("/vol", os.path.join(bundle.rootfs, "other"))
    bundle.mount("/other", "bind", str(tmp_path), "bind")
    with pytest.raises(NajaError, match="another mount covers it"):
        saved()
