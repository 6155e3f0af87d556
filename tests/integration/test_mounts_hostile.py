"""Images and volumes that try to lead the runtime out of the root file system.

One test for each attack that other runtimes have fallen to; the numbers name the advisories.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError
from naja.linux import files, namespaces
from naja.linux import mounts as kernel
from naja.operations.filesystem import new_mount
from tests.support.child import in_child
from tests.support.rooting import Root, mounts_inside, private_host

if TYPE_CHECKING:
    from pathlib import Path

    from naja.operations.base import Context

NULL, ZERO = os.makedev(1, 3), os.makedev(1, 5)


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "bundle")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A directory of the host that an image names, and that has to stay empty."""
    path = tmp_path / "host"
    path.mkdir()
    return path


def replace_by_link(path: Path, target: str) -> None:
    path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)


def cover(context: Context, path: str) -> None:
    """Mount a tmpfs on a directory of the container, as a hook or a hostile volume could."""
    place = files.open_in_root(context.descriptors["rootfs"], path, os.O_PATH)
    kernel.move_mount(new_mount("tmpfs", "tmpfs", [], 0, ""), place)


@pytest.mark.parametrize("target", ["{host}/made", "../../../../../..{host}/made"])
def test_mount_points_behind_links_stay_inside(root: Root, host: Path, target: str) -> None:
    """CVE-2019-18837, CVE-2021-30465, CVE-2024-45310: neither the mount nor its mount point gets out."""
    replace_by_link(root.path / "data", target.format(host=host))
    root.mount("/data/directory", "tmpfs").mount("/data/file", "bind", source="/etc/hostname")
    found = root.usual_mounts().set_up(lambda _: sorted(mounts_inside()))
    assert f"{host}/made/directory" in found
    assert f"{host}/made/file" in found
    assert os.listdir(host) == []


def test_a_dangling_link_as_mount_point_of_a_file(root: Root, host: Path) -> None:
    """CVE-2024-45310: the file that a link names is not made on the host."""
    (root.path / "etc" / "resolv.conf").symlink_to(f"{host}/resolv.conf")
    root.mount("/etc/resolv.conf", "bind", source="/etc/hostname").set_up(lambda _: None)
    assert os.listdir(host) == []
    assert (root.path / str(host).lstrip("/") / "resolv.conf").exists()


def test_a_mount_point_that_is_swapped_all_the_time(root: Root, host: Path) -> None:
    """CVE-2021-30465: a shared volume in which another container swaps a directory and a link."""
    volume = root.path / "data"
    (volume / "real").mkdir()
    (volume / "link").symlink_to("../../../../../../.." + str(host))
    renameat2 = 316 if os.uname().machine == "x86_64" else 276
    exchange, names = 2, (os.fsencode(volume / "real"), os.fsencode(volume / "link"))

    def swap_until_killed() -> None:
        from naja.linux.libc import syscall

        while True:
            syscall(renameat2, files.AT_FDCWD, names[0], files.AT_FDCWD, names[1], exchange)

    def attempt() -> list[str]:
        private_host()
        rootfs = os.open(root.path, os.O_PATH)
        seen = []
        for _ in range(200):
            try:
                target = files.mkdir_in_root(rootfs, "/data/real/mount/point")
            except OSError as error:
                assert error.errno in (errno.EAGAIN, errno.ELOOP, errno.ENOENT, errno.EXDEV), error
                continue
            seen.append(os.readlink(f"/proc/self/fd/{target}"))
            os.close(target)
        return seen

    pid = os.fork()
    if pid == 0:
        try:
            swap_until_killed()
        finally:
            os._exit(1)
    try:
        seen = in_child(attempt)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    assert seen
    assert all(path.startswith(f"{root.path}/") for path in seen)
    assert os.listdir(host) == []


@pytest.mark.parametrize("kind", ["proc", "sysfs"])
def test_proc_and_sys_must_be_ordinary_directories(root: Root, kind: str) -> None:
    """CVE-2019-19921, CVE-2023-27561, CVE-2025-54867."""
    destination = {"proc": "/proc", "sysfs": "/sys"}[kind]
    replace_by_link(root.path / destination.lstrip("/"), "/data")
    with pytest.raises(NajaError, match="ordinary directory") as caught:
        root.mount(destination, kind).set_up(lambda _: None)
    assert caught.value.origin == "/mounts/0"


@pytest.mark.parametrize("destination", ["/data", "/data/attr", "/data/sys"])
def test_nothing_is_mounted_inside_proc_through_a_link(root: Root, destination: str) -> None:
    """CVE-2019-16884: a volume over /proc would swallow security labels."""
    replace_by_link(root.path / "data", "/proc/self")
    with pytest.raises(NajaError):
        root.usual_mounts().mount(destination, "tmpfs").set_up(lambda _: None)


def test_only_procfs_stands_in_for_procfs(root: Root, host: Path) -> None:
    """CVE-2019-16884: nor may a directory take the place of /proc."""
    with pytest.raises(NajaError, match="only procfs"):
        root.mount("/proc", "bind", source=str(host)).set_up(lambda _: None)
    root.config["mounts"] = []
    with pytest.raises(NajaError, match="only procfs"):
        root.mount("/proc", "bind", source="/proc/sys").set_up(lambda _: None)
    root.config["mounts"] = []
    assert root.mount("/proc", "bind", "rbind", source="/proc").set_up(lambda _: os.path.exists("/proc/self"))


def test_the_private_procfs_is_out_of_reach(root: Root) -> None:
    """CVE-2025-52881: labels and sysctls go through a procfs that nobody can mount over."""

    def probe(context: Context) -> Any:
        proc = context.descriptors["proc"]
        for path in ("self/attr/current", "sys/kernel/ostype"):
            descriptor = files.open_beneath(proc, path, os.O_PATH)
            assert files.filesystem_magic(descriptor) == files.PROC_SUPER_MAGIC
            os.close(descriptor)
        refused = []
        for path in ("self/root/etc", "../etc", "self/fd/0", "/etc"):
            try:
                files.open_beneath(proc, path, os.O_PATH)
            except OSError as error:
                refused.append(error.errno)
        return refused

    refused = root.usual_mounts().set_up(probe, between=lambda context: cover(context, "/proc/sys"))
    assert refused == [errno.ELOOP, errno.EXDEV, errno.ELOOP, errno.EXDEV]


def test_a_mount_on_the_way_is_noticed(root: Root) -> None:
    """CVE-2025-52881: where the visible procfs has to do, a lookup does not cross mounts."""

    def work() -> int:
        private_host()
        kernel.move_mount(new_mount("tmpfs", "tmpfs", [], 0, ""), os.open("/proc/sys", os.O_PATH))
        with pytest.raises(OSError) as caught:
            files.open_beneath(os.open("/proc", os.O_PATH), "sys/kernel", os.O_PATH)
        return caught.value.errno or 0

    assert in_child(work) == errno.EXDEV


def test_a_masked_procfs_serves_where_no_other_may_be_mounted(root: Root) -> None:
    """In a shared pid namespace, under a masked procfs: that is used, but nothing masked is opened."""
    root.give_away()

    def probe(context: Context) -> Any:
        proc = context.descriptors["proc"]
        os.close(files.open_beneath(proc, "self/oom_score_adj", os.O_RDWR))
        try:
            files.open_beneath(proc, "keys", os.O_PATH)
        except OSError as error:
            return error.errno, os.stat("/proc/keys").st_rdev

    def work() -> Any:
        private_host()
        kernel.move_mount(kernel.open_tree(files.AT_FDCWD, "/dev/null"), os.open("/proc/keys", os.O_PATH))
        return root.usual_mounts().set_up(probe, user=True, pids=False)

    assert in_child(work) == (errno.EXDEV, NULL)


@pytest.mark.parametrize("fake", ["link", "file", "zero", "none"])
def test_a_fake_null_device_is_no_mask(root: Root, fake: str) -> None:
    """CVE-2025-31133, CVE-2025-62161: the image's /dev/null decides nothing."""
    root.usual_mounts().mount("/dev", "bind", source="fake-dev")
    directory = root.bundle / "fake-dev"
    directory.mkdir()
    if fake == "link":
        (directory / "null").symlink_to("/proc/sys/kernel/core_pattern")
    elif fake == "file":
        (directory / "null").write_text("readable")
    elif fake == "zero":
        os.mknod(directory / "null", stat.S_IFCHR | 0o666, ZERO)
    (root.path / "etc" / "secret").write_text("secret")
    root.config["linux"]["maskedPaths"] = ["/proc/keys", "/etc/secret"]
    found = root.set_up(lambda _: [os.stat(path).st_rdev for path in ("/proc/keys", "/etc/secret")])
    assert found == [NULL, NULL]


def test_the_terminal_is_not_found_by_name(root: Root) -> None:
    """CVE-2025-52565: what the image has at /dev/pts/0 or /dev/console does not matter."""
    root.config["process"]["terminal"] = True
    root.usual_mounts()
    (root.path / "dev" / "console").write_text("image's")

    def probe(context: Context) -> Any:
        console, stdio = os.stat("/dev/console"), os.fstat(0)
        os.write(context.descriptors["console"], b"typed\n")
        return (
            stat.S_ISCHR(console.st_mode),
            console.st_rdev == stdio.st_rdev == os.fstat(1).st_rdev == os.fstat(2).st_rdev,
            os.ttyname(0),
            os.tcgetpgrp(0) == os.getpgrp(),
            os.read(0, 100),
            context.handover,
        )

    assert root.set_up(probe) == (True, True, "/dev/pts/0", True, b"typed\n", ["console"])


def test_a_console_that_is_a_link_is_refused(root: Root, host: Path) -> None:
    """CVE-2026-88264: neither followed nor made on the host."""
    root.config["process"]["terminal"] = True
    (root.path / "dev" / "console").symlink_to(f"../../..{host}/made")
    root.mount("/dev/pts", "devpts", "newinstance", "ptmxmode=0666")
    with pytest.raises(NajaError, match="/dev/console"):
        root.set_up(lambda _: None)
    assert os.listdir(host) == []


def test_a_ptmx_that_is_none_is_refused(root: Root) -> None:
    """CVE-2025-52565: the master comes from a devpts, or there is no terminal."""
    root.config["process"]["terminal"] = True
    (root.path / "dev" / "pts").mkdir()
    os.mknod(root.path / "dev" / "pts" / "ptmx", stat.S_IFCHR | 0o666, ZERO)
    with pytest.raises(NajaError, match="does not belong to a devpts"):
        root.set_up(lambda _: None)


def test_a_dev_that_is_a_link_stays_inside(root: Root, host: Path) -> None:
    """CVE-2026-41579, CVE-2026-47766: devices are made below the root, nothing is removed outside."""
    (host / "ptmx").write_text("the host's")
    replace_by_link(root.path / "dev", f"../../../../../..{host}")
    root.set_up(lambda _: None)
    assert os.listdir(host) == ["ptmx"]
    assert (host / "ptmx").read_text() == "the host's"
    inside = root.path / str(host).lstrip("/")
    assert stat.S_ISCHR((inside / "null").stat().st_mode)


@pytest.mark.parametrize("fake", ["link", "file"])
def test_stdio_is_never_exchanged_for_a_fake(root: Root, host: Path, fake: str) -> None:
    """CVE-2026-88265: only the null device takes the place of the null device."""
    (host / "file").write_text("the host's")
    root.mount("/dev", "tmpfs")

    def put_fake(context: Context) -> None:
        directory = files.open_in_root(context.descriptors["rootfs"], "/dev", os.O_PATH)
        os.unlink("null", dir_fd=directory)
        if fake == "link":
            os.symlink("/etc/file", "null", dir_fd=directory)
        else:
            os.mknod("null", stat.S_IFREG | 0o666, dir_fd=directory)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)

    (root.path / "etc" / "file").write_text("the image's")
    assert root.set_up(lambda _: os.fstat(0).st_rdev, between=put_fake) == NULL


def test_stdio_of_the_host_becomes_the_containers(root: Root) -> None:
    def use_null(_: Context) -> None:
        os.dup2(os.open("/dev/null", os.O_RDWR), 0)

    def probe(_: Context) -> bool:
        inside = os.stat("/dev/null")
        return (os.fstat(0).st_dev, os.fstat(0).st_ino) == (inside.st_dev, inside.st_ino)

    assert root.usual_mounts().set_up(probe, between=use_null)


def test_read_only_is_done_by_descriptors(root: Root) -> None:
    """CVE-2026-115521: the root is made read-only through its own descriptor, not through /proc/self/fd."""
    root.config["root"]["readonly"] = True
    root.usual_mounts()
    found = root.set_up(
        lambda _: bool(os.statvfs("/").f_flag & os.ST_RDONLY),
        between=lambda context: cover(context, "/proc"),
    )
    assert found


def test_a_read_only_bind_is_read_only_from_the_start(root: Root, host: Path) -> None:
    """At no moment can it be seen writable."""
    moments: list[bool] = []
    genuine = kernel.move_mount

    def watching(mount: int, target: int) -> None:
        moments.append(bool(os.fstatvfs(mount).f_flag & os.ST_RDONLY))
        genuine(mount, target)

    def run() -> Any:
        kernel.move_mount = watching  # In a child: gone with it.
        return root.mount("/data", "bind", "ro", source=str(host)).set_up(lambda _: moments)

    assert in_child(run) == [False, True], "the root, then the bind"


def test_locked_flags_stay(root: Root, host: Path) -> None:
    """What a user namespace inherited read-only cannot be made writable, nor other flags be cleared."""

    def readonly_source() -> None:
        private_host()
        mount = kernel.open_tree(files.AT_FDCWD, str(host))
        kernel.mount_setattr(mount, set=kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NODEV)
        kernel.move_mount(mount, os.open(host, os.O_PATH))

    def bind(*options: str) -> Any:
        def work() -> Any:
            readonly_source()
            root.config["mounts"] = []
            root.usual_mounts().mount("/data", "bind", *options, source=str(host))
            request: dict[str, Any] = {"rootless": True, "may_mount": False}
            return root.set_up(lambda _: sorted(mounts_inside()["/data"][1]), user=True, **request)

        return in_child(work)

    root.give_away()
    host.chmod(0o755)
    assert {"ro", "nodev", "nosuid"} <= set(bind("nosuid"))
    assert {"ro", "nodev"} <= set(bind("rw"))
    with pytest.raises(NajaError, match="locked"):
        bind("dev")


@pytest.mark.parametrize("separate", [False, True])
def test_mounts_do_not_leak_to_a_shared_host(root: Root, separate: bool) -> None:
    """runc #2404, #4417: with everything shared, as systemd has it, nothing appears or vanishes outside.

    With the bundle on the host's root file system, or on another.
    """

    def work(propagation: str, no_pivot: bool) -> Any:
        private_host()
        if separate:
            bundle = os.open(root.bundle, os.O_PATH)
            kernel.move_mount(kernel.open_tree(bundle), bundle)
        kernel.set_propagation("/", kernel.MS_SHARED | kernel.MS_REC)
        before = sorted(mounts_inside())
        root.config["mounts"] = []
        root.config["linux"]["rootfsPropagation"] = propagation
        root.usual_mounts().set_up(lambda _: None, no_pivot=no_pivot)
        return before == sorted(mounts_inside())

    for propagation in ("", "private", "slave", "shared", "rshared", "unbindable"):
        for no_pivot in (False, True):
            unchanged = in_child(functools.partial(work, propagation, no_pivot))
            assert unchanged, (propagation, no_pivot)


def test_without_pivot_no_other_proc_or_sys_is_left(root: Root) -> None:
    """runc #1962: whoever escapes the chroot finds nothing that shows the host's namespaces."""
    queues = root.bundle / "queues"
    queues.mkdir()
    old: list[int] = []

    def probe(context: Context) -> Any:
        # mountinfo tells what is below the caller's root: of the namespace's top first, then of the old root.
        namespaces.setns(os.open("/proc/self/ns/mnt", os.O_RDONLY), namespaces.CLONE_NEWNS)
        names = sorted(os.listdir("/"))
        os.fchdir(old[0])
        os.chroot(".")
        with open(files.open_beneath(context.descriptors["proc"], "self/mountinfo", os.O_RDONLY)) as file:
            return names, [line.partition(" - ")[2].split()[0] for line in file]

    def work() -> Any:
        private_host()
        kernel.move_mount(new_mount("mqueue", "mqueue", [], 0, ""), os.open(queues, os.O_PATH))
        old_root = lambda _: old.append(os.open("/", os.O_PATH))  # noqa: E731
        return root.usual_mounts().set_up(probe, between=old_root, no_pivot=True)

    names, kinds = in_child(work)
    assert names == ["data", "dev", "etc", "proc", "sys", "tmp"]
    assert kinds.count("proc") == 1
    assert not {"sysfs", "mqueue", "cgroup", "cgroup2"} & {*kinds}


def test_no_descriptor_is_inheritable(root: Root) -> None:
    """CVE-2024-21626: what naja opens is closed by exec; nothing of the old root is open."""
    root.usual_mounts().mount("/run", "tmpfs", "ro")
    root.config["linux"]["maskedPaths"] = ["/data"]

    def probe(context: Context) -> Any:
        named = {context.descriptors[name] for name in ("proc", "rootfs", "mask")}
        return [fd for fd in named if os.get_inheritable(fd)], sorted(context.descriptors)

    inheritable, names = root.set_up(probe)
    assert inheritable == []
    assert names == ["mask", "proc", "rootfs"]


def test_only_descriptors_with_a_name_stay_open(root: Root) -> None:
    root.usual_mounts().mount("/data", "bind", "ro", source="/etc").mount("/tmp", "tmpfs", "tmpcopyup")
    root.config["linux"].update(maskedPaths=["/etc"], readonlyPaths=["/proc/sys"])

    def run() -> Any:
        before = len(os.listdir("/proc/self/fd"))
        return before, root.set_up(
            lambda context: len(os.listdir("/proc/self/fd")) - len(context.descriptors)
        )

    before, after = in_child(run)
    # Two for the pipe of the child that the set-up ran in.
    assert after - 2 == before
