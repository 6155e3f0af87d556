"""Mounts on the real kernel: operations are applied in a forked child with its own mount namespace."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from naja.errors import NajaError
from tests.support.child import in_child
from tests.support.rooting import OUTSIDE, Root, mounts_inside, private_host

if TYPE_CHECKING:
    from pathlib import Path

    from naja.operations.base import Context


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "bundle")


def table(_: Context) -> dict[str, tuple[str, list[str]]]:
    return {point: (kind, sorted(words)) for point, (kind, words) in mounts_inside().items()}


def options_of(found: dict[str, tuple[str, list[str]]], point: str) -> set[str]:
    return set(found[point][1])


def test_kernel_file_systems_and_their_attributes(root: Root) -> None:
    root.usual_mounts().mount("/sys", "sysfs", "ro", "nosuid", "nodev", "noexec")
    root.mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=64k")
    root.mount("/dev/mqueue", "mqueue", "nosuid")
    root.mount("/tmp", "tmpfs", "noatime", "nodiratime", "nosymfollow")
    root.mount("/data", "tmpfs", "strictatime", "ro")
    found = root.set_up(table)
    assert {point: kind for point, (kind, _) in found.items() if point != "/"} == {
        "/proc": "proc",
        "/dev": "tmpfs",
        "/dev/pts": "devpts",
        "/dev/shm": "tmpfs",
        "/dev/mqueue": "mqueue",
        "/sys": "sysfs",
        "/tmp": "tmpfs",
        "/data": "tmpfs",
    }
    assert {"ro", "nosuid", "nodev", "noexec"} <= options_of(found, "/sys")
    assert {"rw", "noatime", "nodiratime", "nosymfollow"} <= options_of(found, "/tmp")
    assert "ro" in options_of(found, "/data")
    assert not {"relatime", "noatime"} & options_of(found, "/data")


def test_a_wrong_option_is_named(root: Root) -> None:
    root.usual_mounts().mount("/data", "tmpfs", "nosuid", "sizee=64m")
    with pytest.raises(NajaError) as caught:
        root.set_up(table)
    assert caught.value.origin == "/mounts/3/options/1"
    assert "sizee" in str(caught.value)


def test_an_unknown_file_system_is_named(root: Root) -> None:
    with pytest.raises(NajaError, match="knows no file system 'nofs'") as caught:
        root.mount("/data", "nofs").set_up(table)
    assert caught.value.origin == "/mounts/0"


def test_a_missing_source_is_named(root: Root) -> None:
    with pytest.raises(NajaError, match="/nowhere") as caught:
        root.mount("/data", "bind", source="/nowhere").set_up(table)
    assert caught.value.origin == "/mounts/0"


def test_mount_points_are_made(root: Root, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")

    def probe(_: Context) -> tuple[str, bool]:
        with open("/deep/down/here/file") as file:
            return file.read(), os.path.ismount("/new/directory")

    root.mount("/new/directory", "tmpfs").mount("/deep/down/here/file", "bind", source=str(tmp_path / "file"))
    assert root.set_up(probe) == ("hello", True)
    assert stat.S_ISREG((root.path / "deep/down/here/file").stat().st_mode)


@pytest.mark.parametrize("user", [False, True])
def test_a_file_on_a_directory_and_the_reverse_are_explained(root: Root, tmp_path: Path, user: bool) -> None:
    (tmp_path / "file").write_text("hello")
    (root.path / "etc/file").write_text("hello")
    root.give_away()
    # Docker knows either by these words.
    with pytest.raises(NajaError, match="the source is not a directory, and /data is one"):
        root.mount("/data", "bind", source=str(tmp_path / "file")).set_up(table, user=user)
    for kind, source in (("bind", str(tmp_path)), ("tmpfs", "tmpfs")):
        root.config["mounts"] = []
        explained = "open the mount point /etc/file: Not a directory .* it is not a directory, and what is"
        with pytest.raises(NajaError, match=explained):
            root.mount("/etc/file", kind, source=source).set_up(table)
        root.config["mounts"] = []
        with pytest.raises(NajaError, match="something on the way is not a directory"):
            root.mount("/etc/file/below", kind, source=source).set_up(table)


def test_a_relative_destination_starts_at_the_root(root: Root) -> None:
    assert "/data" in root.usual_mounts().mount("data", "tmpfs").set_up(table)


def nested_source(tmp_path: Path) -> str:
    """Make a directory with a tmpfs mounted below it, in the mount namespace of the caller."""
    from naja.linux import mounts as kernel
    from naja.operations.filesystem import new_mount

    private_host()
    below = tmp_path / "source" / "below"
    below.mkdir(parents=True)
    place = os.open(below, os.O_PATH)
    kernel.move_mount(new_mount("tmpfs", "tmpfs", [], kernel.MOUNT_ATTR_NODEV, ""), place)
    return str(tmp_path / "source")


@pytest.mark.parametrize(
    ("options", "top", "below"),
    [
        (["bind", "ro"], {"ro"}, None),
        (["rbind", "ro"], {"ro"}, {"rw", "nodev"}),
        (["rbind", "rro"], {"ro"}, {"ro", "nodev"}),
        (["rbind", "rro", "rw"], {"rw"}, {"ro", "nodev"}),
        (["rbind", "rnosuid", "rdev", "noexec"], {"nosuid", "noexec"}, {"nosuid"}),
        (["rbind", "rnoatime"], {"noatime"}, {"noatime"}),
    ],
)
def test_attributes_of_binds(
    root: Root, tmp_path: Path, options: list[str], top: set[str], below: set[str] | None
) -> None:
    def work() -> Any:
        source = nested_source(tmp_path)
        return root.usual_mounts().mount("/data", "none", *options, source=source).set_up(table)

    found = in_child(work)
    assert top <= options_of(found, "/data")
    assert ("/data/below" in found) == (below is not None)
    if below is not None:
        assert below <= options_of(found, "/data/below")
        assert ("rdev" in options) != ("nodev" in options_of(found, "/data/below"))


@pytest.mark.parametrize("options", [("rprivate",), ("ro",), ("ro", "nodev")])
def test_a_bind_keeps_its_sources_flags_where_none_is_named(
    root: Root, tmp_path: Path, options: tuple[str, ...]
) -> None:
    def work() -> Any:
        source = nested_source(tmp_path) + "/below"
        return root.usual_mounts().mount("/data", "bind", *options, source=source).set_up(table)

    assert ("nodev" in options_of(in_child(work), "/data")) == (options != ("ro",))


def test_a_bind_on_a_kernel_that_does_not_know_all_flags(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux 5.12 cannot change nosymfollow in this way."""
    from naja.linux import mounts as kernel

    change = kernel.mount_setattr

    def older(mount: int, *, clear: int = 0, **others: Any) -> None:
        if clear & kernel.MOUNT_ATTR_NOSYMFOLLOW:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        change(mount, clear=clear, **others)

    def work() -> Any:
        source = nested_source(tmp_path) + "/below"
        return root.usual_mounts().mount("/data", "bind", "ro", source=source).set_up(table)

    monkeypatch.setattr(kernel, "mount_setattr", older)
    found = options_of(in_child(work), "/data")
    assert "ro" in found
    assert "nodev" not in found


@pytest.mark.parametrize("propagation", ["shared", "rshared", "slave", "private", "unbindable"])
def test_propagation_of_a_mount(root: Root, propagation: str) -> None:
    def probe(_: Context) -> str:
        with open("/proc/self/mountinfo") as file:
            (line,) = [line for line in file if line.split(" ")[4] == "/data"]
        return line

    line = root.usual_mounts().mount("/data", "tmpfs", propagation).set_up(probe)
    assert ("shared:" in line) == ("shared" in propagation)
    assert ("unbindable" in line) == (propagation == "unbindable")


def test_remount_changes_attributes_and_options(root: Root) -> None:
    root.usual_mounts().mount("/data", "tmpfs", "size=64k").mount(
        "/data", "tmpfs", "remount", "ro", "size=128k"
    )

    def probe(_: Context) -> tuple[bool, int]:
        status = os.statvfs("/data")
        return bool(status.f_flag & os.ST_RDONLY), status.f_blocks * status.f_frsize

    assert root.set_up(probe) == (True, 128 * 1024)


def test_a_tmpfs_keeps_the_mode_of_what_it_covers(root: Root) -> None:
    (root.path / "data").chmod(0o2750)

    def probe(_: Context) -> list[int]:
        return [stat.S_IMODE(os.stat(path).st_mode) for path in ("/data", "/fresh", "/set")]

    root.mount("/data", "tmpfs").mount("/fresh", "tmpfs").mount("/set", "tmpfs", "mode=0700")
    for _ in ("at the first start", "at the second"):
        assert root.set_up(probe) == [0o2750, 0o1777, 0o700]


def test_options_in_one_word(root: Root) -> None:
    """As runc and crun take them, which hand the whole word to mount(2)."""
    root.mount("/one", "tmpfs", "size=64k,mode=700,uid=5")

    def probe(_: Context) -> tuple[int, int, int]:
        found = os.stat("/one")
        return stat.S_IMODE(found.st_mode), found.st_uid, os.statvfs("/one").f_blocks * 4096

    assert root.set_up(probe) == (0o700, 5, 65536)


def test_tmpcopyup_fills_the_tmpfs(root: Root) -> None:
    data = root.path / "data"
    (data / "sub").mkdir()
    (data / "sub" / "file").write_text("content")
    (data / "link").symlink_to("/etc/nowhere")
    os.mkfifo(data / "fifo")
    os.chown(data / "sub" / "file", 12, 34)
    (data / "sub" / "file").chmod(0o4711)
    os.utime(data / "sub" / "file", (5, 7))
    data.chmod(0o711)

    def probe(_: Context) -> Any:
        status = os.stat("/data/sub/file")
        with open("/data/sub/file") as file:
            text = file.read()
        return (
            text,
            (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime),
            os.readlink("/data/link"),
            stat.S_ISFIFO(os.stat("/data/fifo").st_mode),
            stat.S_IMODE(os.stat("/data").st_mode),
            bool(os.statvfs("/data").f_flag & os.ST_RDONLY),
        )

    found = root.mount("/data", "tmpfs", "tmpcopyup", "ro").set_up(probe)
    assert found == ("content", (12, 34, 0o4711, 7.0), "/etc/nowhere", True, 0o711, True)


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), (0o711, 12, 34)),
        (("mode=1777",), (0o1777, 12, 34)),
        (("uid=5",), (0o711, 5, 34)),
        (("gid=6", "mode=700"), (0o700, 12, 6)),
        (("mode=2750,uid=5,gid=6",), (0o2750, 5, 6)),
    ],
)
def test_tmpcopyup_with_an_owner_and_a_mode(
    root: Root, options: tuple[str, ...], expected: tuple[int, int, int], user: bool
) -> None:
    """What the options do not say is as the image has it."""
    data = root.path / "data"
    (data / "file").write_text("content")
    root.give_away()
    base = OUTSIDE if user else 0
    os.chown(data, base + 12, base + 34)
    data.chmod(0o711)

    def probe(_: Context) -> tuple[int, int, int]:
        status = os.stat("/data")
        assert os.path.exists("/data/file")
        return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid

    root.mount("/data", "tmpfs", "tmpcopyup", *options)
    assert root.set_up(probe, user=user) == expected


@pytest.mark.parametrize("options", [("tmpcopyup",), ()])
def test_a_tmpfs_that_the_image_has_no_directory_for(root: Root, options: tuple[str, ...]) -> None:
    """It is everybody's, at the second start as well; the directories that lead there are not."""

    def probe(_: Context) -> list[int]:
        return [stat.S_IMODE(os.stat(path).st_mode) for path in ("/made", "/made/here", "/made/other")]

    root.mount("/made/here", "tmpfs", *options).mount("/made/other", "tmpfs", "mode=750", *options)
    for _ in ("at the first start", "at the second"):
        assert root.set_up(probe) == [0o755, 0o1777, 0o750]


def test_overlay_with_options_that_fsconfig_finds_too_long(root: Root, tmp_path: Path) -> None:
    lowers = [tmp_path / ("l" * 100) / str(number) for number in range(4)]
    for number, lower in enumerate(lowers):
        lower.mkdir(parents=True)
        (lower / f"file{number}").write_text("x")
    option = "lowerdir=" + ":".join(str(lower) for lower in lowers)
    assert len(option) > 255

    def probe(context: Context) -> Any:
        return sorted(os.listdir("/data")), table(context)["/data"][1]

    root.usual_mounts().mount("/data", "overlay", option, "nodev", "ro", "dirsync")
    names, words = root.set_up(probe)
    assert names == ["file0", "file1", "file2", "file3"]
    assert {"nodev", "ro"} <= set(words)


def test_options_that_even_mount_finds_too_long(root: Root) -> None:
    with pytest.raises(NajaError, match="E2BIG") as caught:
        root.mount("/data", "overlay", "lowerdir=" + "/x" * 4096).set_up(table)
    assert caught.value.origin == "/mounts/0"


def test_symlinks_as_sources(root: Root, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/somewhere")

    def probe(_: Context) -> Any:
        return os.readlink("/copy"), os.readlink("/bound/link"), os.path.lexists("/data/link")

    root.mount("/copy", "bind", "copy-symlink", source=str(tmp_path / "link"))
    root.mount("/data", "bind", "rbind", "copy-symlink", source=str(tmp_path))
    (root.path / "bound").mkdir()
    (root.path / "bound" / "link").symlink_to("elsewhere")
    root.mount("/bound/link", "bind", "src-nofollow", "dest-nofollow", source=str(tmp_path / "link"))
    assert root.set_up(probe) == ("/etc/somewhere", "/etc/somewhere", True)


def test_lxcfs_covers_a_file_of_proc(root: Root, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("mine")
    root.usual_mounts().mount("/proc/meminfo", "bind", source=str(tmp_path / "meminfo"))

    def probe(_: Context) -> str:
        with open("/proc/meminfo") as file:
            return file.read()

    assert root.set_up(probe) == "mine"


def test_idmapped_mount(root: Root, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    os.chown(source / "file", 5, 6)
    mappings = {
        "uidMappings": [{"containerID": 0, "hostID": 3000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 4000, "size": 10}],
    }
    root.mount("/data", "bind", "ro", source=str(source), **mappings)
    root.mount("/same", "bind", "ridmap", source=str(source), **mappings)

    def probe(_: Context) -> list[int]:
        status = os.stat("/data/file")
        return [
            status.st_uid,
            status.st_gid,
            os.stat("/same/file").st_uid,
            os.statvfs("/data").f_flag & os.ST_RDONLY,
        ]

    assert root.set_up(probe) == [3005, 4006, 3005, os.ST_RDONLY]


def test_idmapped_to_the_containers_user_namespace(root: Root, tmp_path: Path) -> None:
    root.give_away()
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("x")
    os.chown(source / "file", 5, 6)

    def probe(_: Context) -> list[int]:
        status = os.stat("/data/file")
        return [status.st_uid, status.st_gid]

    assert root.mount("/data", "bind", "idmap", source=str(source)).set_up(probe, user=True) == [5, 6]


def test_in_a_user_namespace(root: Root, tmp_path: Path) -> None:
    """Devices are bound, procfs and sysfs are the namespace's own, sources need not be reachable."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "file").write_text("reached")
    root.give_away()
    root.usual_mounts().mount("/sys", "sysfs", "ro").mount("/data", "bind", source=str(secret / "file"))
    (root.path / "data").rmdir()

    def probe(_: Context) -> Any:
        with open("/data") as file:
            text = file.read()
        found = mounts_inside()
        return text, found["/proc"][0], found["/sys"][0], found["/dev/null"][0], os.stat("/dev/null").st_rdev

    text, proc, sysfs, null, device = root.set_up(probe, user=True)
    assert (text, proc, sysfs) == ("reached", "proc", "sysfs")
    assert null != "tmpfs"
    assert device == os.makedev(1, 3)


def test_sysfs_of_the_host_where_none_may_be_mounted(root: Root) -> None:
    """Without a network namespace of its own; all of it is read-only then (CVE-2023-25809)."""
    root.give_away()
    root.usual_mounts().mount("/sys", "sysfs", "ro", "nosuid")
    found = root.set_up(table, user=True, network=False)
    below = {point: words for point, (_, words) in found.items() if point.startswith("/sys")}
    assert len(below) > 1
    assert all("ro" in words for words in below.values()), below


def test_devices_and_links(root: Root) -> None:
    root.usual_mounts()
    root.config["linux"]["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/sub/pipe", "type": "p", "fileMode": 0o600},
    ]

    def probe(_: Context) -> Any:
        null, mine, pipe = (os.stat(path) for path in ("/dev/null", "/dev/mine", "/dev/sub/pipe"))
        links = {name: os.readlink(f"/dev/{name}") for name in ("fd", "stdin", "stdout", "stderr", "ptmx")}
        return (
            (null.st_mode, null.st_rdev),
            (mine.st_mode, mine.st_rdev, mine.st_uid, mine.st_gid),
            pipe.st_mode,
            links,
            os.umask(0o22),
        )

    null, mine, pipe, links, _ = root.set_up(probe)
    assert null == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert mine == (stat.S_IFCHR | 0o640, os.makedev(1, 5), 3, 4)
    assert pipe == stat.S_IFIFO | 0o600
    assert links == {
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
        "ptmx": "pts/ptmx",
    }


def test_a_device_may_be_there_already_if_it_is_the_right_one(root: Root) -> None:
    os.mknod(root.path / "dev" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert root.set_up(lambda _: os.stat("/dev/null").st_rdev) == os.makedev(1, 3)


def test_a_device_that_is_something_else_is_refused(root: Root) -> None:
    (root.path / "dev" / "null").write_text("not a device")
    with pytest.raises(NajaError, match="something else is there"):
        root.set_up(table)


def test_the_working_directory_is_made(root: Root) -> None:
    root.config["process"]["cwd"] = "/work/../work/deep"
    root.config["root"]["readonly"] = True
    assert root.set_up(lambda _: os.path.isdir("/work/deep"))


def test_read_only_root(root: Root) -> None:
    root.config["root"]["readonly"] = True
    root.usual_mounts()

    def probe(_: Context) -> list[bool]:
        return [bool(os.statvfs(path).f_flag & os.ST_RDONLY) for path in ("/", "/dev", "/proc")]

    assert root.set_up(probe) == [True, False, False]


@pytest.mark.parametrize("no_pivot", [False, True])
def test_nothing_of_the_host_is_left(root: Root, no_pivot: bool) -> None:
    root.usual_mounts()

    def probe(_: Context) -> Any:
        return sorted(os.listdir("/")), os.getcwd(), sorted(mounts_inside())

    names, cwd, found = root.set_up(probe, no_pivot=no_pivot)
    assert names == ["data", "dev", "etc", "proc", "sys", "tmp"]
    assert cwd == "/"
    assert found == ["/", "/dev", "/dev/pts", "/proc"]


def test_masks_and_read_only_paths(root: Root) -> None:
    root.usual_mounts()
    (root.path / "data" / "file").write_text("secret")
    (root.path / "etc" / "file").write_text("secret")
    root.config["linux"].update(
        maskedPaths=["/data", "/etc/file", "/proc/keys", "/tmp", "/none", "/etc/file/none"],
        readonlyPaths=["/proc/sys", "/dev", "/none"],
    )

    def probe(_: Context) -> Any:
        def readonly(path: str) -> bool:
            return bool(os.statvfs(path).f_flag & os.ST_RDONLY)

        nulls = [os.stat(path).st_rdev for path in ("/etc/file", "/proc/keys")]
        paths = ("/data", "/tmp", "/proc/sys", "/dev", "/dev/pts", "/proc", "/")
        return (
            nulls,
            os.listdir("/data"),
            [readonly(path) for path in paths],
            os.stat("/data").st_dev,
            os.stat("/tmp").st_dev,
        )

    nulls, listing, readonly, data, tmp = root.set_up(probe)
    assert nulls == [os.makedev(1, 3)] * 2
    assert listing == []
    assert readonly == [True] * 5 + [False] * 2
    assert data == tmp, "one tmpfs serves all masks"


def test_root_propagation(root: Root) -> None:
    for value, mark in (("shared", "shared:"), ("unbindable", "unbindable"), ("private", ""), ("slave", "")):
        root.config["linux"]["rootfsPropagation"] = value
        root.config["mounts"] = []
        root.usual_mounts()

        def probe(_: Context) -> str:
            with open("/proc/self/mountinfo") as file:
                return next(line for line in file if line.split(" ")[4] == "/")

        line = root.set_up(probe)
        assert mark in line
        assert ("shared:" in line) == (value == "shared")


def test_shared_propagation_reaches_the_host_by_volumes_only(root: Root, tmp_path: Path) -> None:
    """With a shared root a volume propagates both ways, what is mounted elsewhere stays inside."""
    from naja.linux import mounts as kernel
    from naja.operations.filesystem import new_mount

    volume = tmp_path / "volume"
    volume.mkdir()
    root.config["linux"]["rootfsPropagation"] = "rshared"
    root.usual_mounts().mount("/data", "bind", "rbind", "rshared", source=str(volume))

    def probe(_: Context) -> bool:
        place = os.open("/data/inner", os.O_PATH)
        kernel.move_mount(new_mount("tmpfs", "tmpfs", [], 0, ""), place)
        return True

    def work() -> Any:
        private_host()
        # A mount of its own: that of the root file system is made private.
        kernel.move_mount(new_mount("tmpfs", "tmpfs", [], 0, ""), os.open(volume, os.O_PATH))
        (volume / "inner").mkdir()
        kernel.set_propagation("/", kernel.MS_SHARED | kernel.MS_REC)
        before = set(mounts_inside())
        root.set_up(probe)
        return sorted(set(mounts_inside()) - before), sorted(before - set(mounts_inside()))

    assert in_child(work) == ([str(volume / "inner")], [])


def test_a_cgroup_mount_of_version_1(root: Root) -> None:
    if not os.path.isdir("/sys/fs/cgroup/pids"):
        pytest.skip("needs control groups of version 1")
    host: dict[str, Any] = {
        "cgroup_mounts": {"pids": "/sys/fs/cgroup/pids", "memory": "/sys/fs/cgroup/memory"},
        "cgroup_paths": {"pids": "", "memory": ""},
    }
    root.usual_mounts().mount("/sys", "sysfs").mount("/sys/fs/cgroup", "cgroup", "ro", "nosuid")
    found = root.set_up(table, **host)
    below = {point: value for point, value in found.items() if point.startswith("/sys/fs/cgroup")}
    assert sorted(below) == ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"]
    assert all("ro" in words for _, words in below.values())


def test_mounts_below_a_read_only_cgroup_mount_of_version_1(root: Root) -> None:
    """It is read-only when all is mounted, for the mount points are made on it."""
    root.usual_mounts().mount("/sys", "sysfs").mount("/sys/fs/cgroup", "cgroup", "ro")
    root.mount("/sys/fs/cgroup/extra/deep", "tmpfs")
    found = root.set_up(table, cgroup_mounts={"": "/sys/fs/cgroup"})
    assert "/sys/fs/cgroup/extra/deep" in found
    assert "ro" in options_of(found, "/sys/fs/cgroup")


def test_a_cgroup_that_could_not_be_made_is_not_shown(root: Root) -> None:
    """Without root (CVE-2023-25809): rather nothing than the cgroups of others."""
    host: dict[str, Any] = {
        "cgroup_mounts": {"pids": "/sys/fs/cgroup/pids"},
        "cgroup_paths": {"pids": "/never/made"},
        "rootless": True,
    }
    root.usual_mounts().mount("/sys/fs/cgroup", "cgroup", "ro")
    found = root.set_up(table, **host)
    assert [point for point in found if point.startswith("/sys")] == ["/sys/fs/cgroup"]
    assert "ro" in options_of(found, "/sys/fs/cgroup")


def test_modes_do_not_depend_on_the_callers_umask(root: Root) -> None:
    def work() -> Any:
        os.umask(0o077)
        root.usual_mounts().mount("/made/here", "tmpfs")
        return root.set_up(lambda _: [stat.S_IMODE(os.stat(path).st_mode) for path in ("/made", "/dev/null")])

    assert in_child(work) == [0o755, 0o666]
