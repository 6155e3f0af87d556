"""naja mount and naja umount: what comes into a running container, where it ends up, and what goes again."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from naja.container.lifecycle import Container
from naja.errors import NajaError
from naja.linux import files
from naja.linux.libc import syscall
from tests.support.command import Runtime
from tests.support.namespaces import OUTSIDE, map_ids
from tests.support.needs import requires_command
from tests.support.rootless import AS_NOBODY, NOBODY, nobodys_bundle, nobodys_runtime
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory of the host with a file in it."""
    path = tmp_path / "volume"
    path.mkdir()
    (path / "file").write_text("of the host\n")
    return path


@pytest.fixture
def deep_volume(volume: Path) -> Iterator[Path]:
    """The same with a tmpfs below it."""
    below = volume / "below"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    (below / "deep").write_text("deep\n")
    yield volume
    subprocess.run(["umount", below], check=True)


def running(naja: Runtime, bundle: Bundle, script: str = "exec sleep 1000") -> Bundle:
    naja.run_detached(bundle.shell(script))
    return bundle


def inside(naja: Runtime, bundle: Bundle, script: str) -> str:
    return naja.exec(bundle, "/bin/sh", "-c", f"({script}) 2>&1", check=False).stdout.strip()


def mounts_of(naja: Runtime, bundle: Bundle) -> dict[str, str]:
    """Return the mount points of a container with their lines of mountinfo."""
    with open(f"/proc/{naja.state(bundle)['pid']}/mountinfo") as file:
        return {line.split()[4]: line for line in file}


def notes(naja: Runtime, bundle: Bundle) -> list[str]:
    return [name for name in os.listdir(f"{naja.root}/{bundle.id}") if name.startswith("mount-")]


def test_a_directory_comes_and_goes(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    before = mounts_of(naja, bundle)
    naja.run("mount", bundle.id, str(volume), "/new/place")
    assert inside(naja, bundle, "cat /new/place/file; echo more > /new/place/more") == "of the host"
    assert (volume / "more").read_text() == "more\n"
    assert "shared:" not in mounts_of(naja, bundle)["/new/place"]
    naja.run("umount", bundle.id, "/new/place")
    assert inside(naja, bundle, "ls /new/place") == ""
    assert mounts_of(naja, bundle) == before
    assert notes(naja, bundle) == []


def test_a_file_over_a_file(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    naja.run("mount", bundle.id, "file", "/etc/passwd", cwd=volume)
    assert inside(naja, bundle, "cat /etc/passwd") == "of the host"
    refused = naja.run("mount", bundle.id, str(volume / "file"), "/etc", check=False)
    assert "the source is not a directory, and /etc is one" in refused.stderr
    naja.run("umount", bundle.id, "/etc/passwd")
    assert inside(naja, bundle, "head -c 4 /etc/passwd") == "root"


def test_options(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    naja.run("mount", "-o", "ro,nosuid", "--option=nodev,noexec", bundle.id, str(volume), "/data")
    flags = mounts_of(naja, bundle)["/data"].split()[5].split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= {*flags}
    assert "Read-only file system" in inside(naja, bundle, "echo x > /data/x")
    wrong = naja.run("mount", "-o", "remount", bundle.id, str(volume), "/data", check=False)
    assert wrong.stderr.strip().endswith("asked for by --option: it is for config.json")


@pytest.mark.parametrize(
    ("options", "below", "writable"), [("ro", "", ""), ("rbind,ro", "deep", "yes"), ("rbind,rro", "deep", "")]
)
def test_what_is_mounted_below(
    naja: Runtime, bundle: Bundle, deep_volume: Path, options: str, below: str, writable: str
) -> None:
    running(naja, bundle)
    naja.run("mount", "-o", options, bundle.id, str(deep_volume), "/data")
    assert inside(naja, bundle, "ls /data/below") == below
    assert inside(naja, bundle, "touch /data/below/x && echo yes").endswith("yes") is bool(writable)
    assert "Read-only" in inside(naja, bundle, "touch /data/x")
    naja.run("umount", bundle.id, "/data")
    assert not [place for place in mounts_of(naja, bundle) if place.startswith("/data")]


def test_a_new_file_system(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/full/file", "below")
    running(naja, bundle)
    naja.run("mount", "--type=tmpfs", "-o", "size=1m,mode=700", bundle.id, "scratch", "/scratch")
    naja.run("mount", "--type=tmpfs", "-o", "ro,tmpcopyup", bundle.id, "tmpfs", "/full")
    naja.run("mount", "--type=ramfs", bundle.id, "ramfs", "/ram")
    assert inside(naja, bundle, "stat -c %a /scratch; cat /full/file; touch /full/x; touch /ram/x") == (
        "700\nbelowtouch: /full/x: Read-only file system"
    )
    assert "- ramfs ramfs" in mounts_of(naja, bundle)["/ram"]
    assert " scratch " in mounts_of(naja, bundle)["/scratch"]
    for place in ("/scratch", "/full", "/ram"):
        naja.run("umount", bundle.id, place)


@pytest.mark.parametrize("kind", ["proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2", "nosuchfs"])
def test_file_systems_that_are_refused(naja: Runtime, bundle: Bundle, kind: str) -> None:
    running(naja, bundle)
    result = naja.run("mount", "--type", kind, bundle.id, kind, "/x", check=False)
    assert result.status == 1
    assert kind in result.stderr
    assert "config.json, " not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not os.path.exists(f"{bundle.rootfs}/x")


def test_a_container_of_another_user_namespace(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    """Its root cannot reach the source, owns what is made for it, and sees its ids where they are mapped."""
    map_ids(bundle)
    bundle.linux["namespaces"].append({"type": "user"})
    os.chmod(volume.parent, 0o711)
    volume.chmod(0o700)
    running(naja, bundle)
    naja.run("mount", bundle.id, str(volume), "/plain")
    naja.run("mount", "-o", "idmap", bundle.id, str(volume), "/mapped")
    naja.run("mount", "-t", "tmpfs", bundle.id, "tmpfs", "/scratch")
    assert inside(naja, bundle, "stat -c %u /plain /mapped /scratch; cat /plain/file") == (
        "65534\n0\n0\ncat: can't open '/plain/file': Permission denied"
    )
    assert inside(naja, bundle, "cat /mapped/file; touch /mapped/new /scratch/new") == "of the host"
    assert os.stat(volume / "new").st_uid == 0
    assert os.stat(f"{bundle.rootfs}/plain").st_uid == OUTSIDE
    for place in ("/plain", "/mapped", "/scratch"):
        naja.run("umount", bundle.id, place)


def test_ids_without_a_user_namespace(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    result = naja.run("mount", "-o", "idmap", bundle.id, str(volume), "/x", check=False)
    assert "maps ids" in result.stderr
    naja.run("mount", "-o", "idmap=uids=0-1000-1;gids=0-1000-1", bundle.id, str(volume), "/x")
    assert inside(naja, bundle, "stat -c %u /x") == "1000"


def test_below_a_read_only_root(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    bundle.config["root"]["readonly"] = True
    running(naja, bundle)
    naja.run("mount", bundle.id, str(volume), "/var")
    assert inside(naja, bundle, "cat /var/file") == "of the host"
    result = naja.run("mount", bundle.id, str(volume), "/missing", check=False)
    assert "open the mount point /missing: Read-only file system (EROFS): its mount point is missing" in (
        result.stderr
    )
    assert len(notes(naja, bundle)) == 1


@pytest.mark.parametrize("target", ["{host}", "../../../../../../../..{host}", "/proc/1/root{host}"])
def test_links_of_the_image_stay_inside(naja: Runtime, bundle: Bundle, volume: Path, target: str) -> None:
    host = volume.parent / "host"
    host.mkdir()
    os.symlink(target.format(host=host), f"{bundle.rootfs}/link")
    running(naja, bundle)
    result = naja.run("mount", bundle.id, str(volume), "/link/made", check=False)
    if "proc" in target:
        assert result.status == 1  # A magic link is no way.
    else:
        assert result.status == 0
        assert inside(naja, bundle, f"cat {host}/made/file") == "of the host"
        naja.run("umount", bundle.id, "/link/made")
    assert os.listdir(host) == []


def test_a_mount_point_that_is_swapped_all_the_time(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    """A directory and a link to one of the host's change places: either way it is inside."""
    host = volume.parent / "host"
    host.mkdir()
    shared = f"{bundle.rootfs}/shared"
    os.mkdir(shared)
    os.mkdir(f"{shared}/real")
    os.symlink(f"../../../../../../../..{host}", f"{shared}/link")
    running(naja, bundle)
    renameat2, exchange = (316 if os.uname().machine == "x86_64" else 276), 2
    names = (os.fsencode(f"{shared}/real"), os.fsencode(f"{shared}/link"))
    pid = os.fork()
    if pid == 0:
        try:
            while True:
                syscall(renameat2, files.AT_FDCWD, names[0], files.AT_FDCWD, names[1], exchange)
        finally:
            os._exit(1)
    try:
        done = [
            naja.run("mount", bundle.id, str(volume), f"/shared/real/{number}", check=False).status
            for number in range(20)
        ]
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert 0 in done
    assert os.listdir(host) == []
    with open("/proc/self/mountinfo") as file:
        assert str(host) not in file.read()


@requires_command("busybox")
def test_after_pivot_root_inside(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    """The root is the one that the container's process has by now."""
    for sets in bundle.process["capabilities"].values():
        sets.append("CAP_SYS_ADMIN")
    running(
        naja,
        bundle,
        """
        mount -t tmpfs tmpfs /tmp && cd /tmp && mkdir old bin proc && cp /bin/busybox bin/busybox
        mount -t proc proc proc && pivot_root . old && cd / && touch /pivoted && exec /bin/busybox sleep 1000
        """,
    )
    root = f"/proc/{naja.state(bundle)['pid']}/root"
    wait_until(lambda: os.path.exists(f"{root}/pivoted"), timeout=30, what="pivot_root inside")
    naja.run("mount", bundle.id, str(volume), "/data")
    with open(f"{root}/data/file") as file:
        assert file.read() == "of the host\n"
    assert not os.path.exists(f"{bundle.rootfs}/data")
    naja.run("umount", bundle.id, "/data")


def test_a_root_that_is_a_directory_of_the_host(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    """A container that was given such a descriptor makes it its root: nothing is mounted on the host."""
    host = volume.parent / "host"
    host.mkdir()
    subprocess.run(["cp", f"{bundle.rootfs}/bin/busybox", host], check=True)
    for sets in bundle.process["capabilities"].values():
        sets.append("CAP_SYS_CHROOT")
    bundle.shell("cd /proc/self/fd/3 && exec chroot . /busybox sleep 1000")
    with_directory = ["/bin/sh", "-c", 'exec 3< "$0"; exec "$@"', str(host), *naja.argv]
    Runtime(naja.root, with_directory).run_detached(bundle, "--preserve-fds=1")
    wait_until(lambda: "sleep" in _command(naja, bundle), timeout=30, what="chroot inside")
    result = naja.run("mount", bundle.id, str(volume), "/data", check=False)
    assert "meanwhile" in result.stderr
    with open("/proc/self/mountinfo") as file:
        assert str(host) not in file.read()


def _command(naja: Runtime, bundle: Bundle) -> str:
    with open(f"/proc/{naja.state(bundle)['pid']}/cmdline", "rb") as file:
        return file.read().replace(b"\0", b" ").decode().partition(" ")[2]


def test_nothing_inside_proc(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    os.symlink("/proc", f"{bundle.rootfs}/link")
    running(naja, bundle)
    for place in ("/proc/sys", "/proc", "/link/sys", "/"):
        result = naja.run("mount", bundle.id, str(volume), place, check=False)
        assert result.status == 1, place
        assert "Traceback" not in result.stderr


def test_whatever_its_status(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    naja.create(bundle.args("/bin/sleep", "1000"))
    naja.run("mount", bundle.id, str(volume), "/first")
    naja.start(bundle)
    naja.run("pause", bundle.id)
    naja.run("mount", bundle.id, str(volume), "/second")
    naja.run("resume", bundle.id)
    assert inside(naja, bundle, "cat /first/file /second/file") == "of the host\nof the host"
    naja.kill(bundle)
    naja.wait_for(bundle, "stopped")
    for words in (("mount", bundle.id, str(volume), "/x"), ("umount", bundle.id, "/first")):
        assert "container not running" in naja.run(*words, check=False).stderr
    naja.delete(bundle)


def test_without_a_mount_namespace(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    bundle.linux["namespaces"] = [e for e in bundle.linux["namespaces"] if e["type"] != "mount"]
    running(naja, bundle)
    result = naja.run("mount", bundle.id, str(volume), "/x", check=False)
    assert "it has no mount namespace of its own" in result.stderr


def test_only_what_mount_has_made_goes(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    naja.run("mount", bundle.id, str(volume), "/dev/shm")
    naja.run("mount", bundle.id, str(volume), "/dev/shm")
    for place, why in {
        "/dev/shm/file": "nothing is mounted there",
        "/etc": "nothing is mounted there",
        "/proc": "not mounted by naja mount",
        "/proc/keys": "not mounted by naja mount",
        "/nowhere": "No such file",
    }.items():
        assert why in naja.run("umount", bundle.id, place, check=False).stderr, place
    naja.run("umount", bundle.id, "/dev/shm")
    assert inside(naja, bundle, "ls /dev/shm") == "file"
    naja.run("umount", bundle.id, "/dev/shm")
    assert inside(naja, bundle, "ls /dev/shm") == ""
    assert "not mounted by naja mount" in naja.run("umount", bundle.id, "/dev/shm", check=False).stderr


def test_a_mount_that_cannot_be_noted_goes_again(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    running(naja, bundle)
    before = mounts_of(naja, bundle)
    container = Container.load(bundle.id, root=naja.root)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    directory = container.directory

    class Full:
        def __getattr__(self, name: str) -> object:
            return fail if name == "write_file" else getattr(directory, name)

    container._directory = Full()  # type: ignore[assignment]
    with pytest.raises(NajaError, match="No space left"):
        container.mount(str(volume), "/x")
    assert mounts_of(naja, bundle) == before


def test_without_root(tmp_path: Path, naja: Runtime, busybox_rootfs: str, tag: str) -> None:
    """A user mounts what is the user's, and what is mounted below it comes along or it is refused."""
    bundle = nobodys_bundle(str(tmp_path), tag, busybox_rootfs)
    runtime = nobodys_runtime(naja, str(tmp_path))
    volume = tmp_path / "own"
    volume.mkdir()
    (volume / "file").write_text("nobody's\n")
    for path in (volume, volume / "file"):
        os.chown(path, NOBODY, NOBODY)
    runtime.detached("run", "-d", "--bundle", bundle.shell("exec sleep 1000").path, bundle.id, **AS_NOBODY)
    try:
        runtime.run("mount", bundle.id, str(volume), "/data", **AS_NOBODY)
        runtime.run("mount", "-t", "tmpfs", bundle.id, "tmpfs", "/scratch", **AS_NOBODY)
        script = "cat /data/file; touch /data/x /scratch/x"
        assert runtime.run("exec", bundle.id, "sh", "-c", script, **AS_NOBODY).stdout == "nobody's\n"
        assert os.stat(volume / "x").st_uid == NOBODY
        refused = runtime.run("mount", "-o", "idmap", bundle.id, str(volume), "/y", check=False, **AS_NOBODY)
        assert "only root may" in refused.stderr
        for place in ("/data", "/scratch"):
            runtime.run("umount", bundle.id, place, **AS_NOBODY)
    finally:
        runtime.run("delete", "--force", bundle.id, **AS_NOBODY)
