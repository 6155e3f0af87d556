"""Properties of config.json that make the root file system, each seen from inside a container."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.seen import refused, shown

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.2.1", "1.3.0", "1.99.0+later"])
def test_oci_version(naja: Runtime, bundle: Bundle, version: str) -> None:
    bundle.config["ociVersion"] = version
    assert shown(naja, bundle, "echo runs") == "runs"


@pytest.mark.parametrize("version", ["2.0.0", "1.3", "one"])
def test_oci_version_that_is_not_known(naja: Runtime, bundle: Bundle, version: str) -> None:
    bundle.config["ociVersion"] = version
    assert "/ociVersion" in refused(naja, bundle)


def test_root_path(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/mark", "this root")
    assert shown(naja, bundle, "cat /mark") == "this root"
    bundle.config["root"]["path"] = bundle.rootfs
    assert shown(naja, bundle, "cat /mark") == "this root"
    bundle.config["root"]["path"] = "nowhere"
    assert "/root/path" in refused(naja, bundle)


def test_root_readonly(naja: Runtime, bundle: Bundle) -> None:
    bundle.config["root"]["readonly"] = True
    assert "Read-only file system" in shown(naja, bundle, "touch /x 2>&1; touch /dev/shm/x")
    bundle.config["root"]["readonly"] = False
    assert shown(naja, bundle, "touch /x && ls /x") == "/x"


def test_mounts_in_their_order(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/outer", "tmpfs", "tmpfs").mount("/outer/inner", "tmpfs", "tmpfs")
    assert shown(naja, bundle, "grep -c ' /outer/inner ' /proc/mounts") == "1"


def test_mounts_destination(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/absolute/path", "tmpfs", "tmpfs").mount("relative/path", "tmpfs", "tmpfs")
    script = "grep -c -e ' /absolute/path ' -e ' /relative/path ' /proc/mounts"
    assert shown(naja, bundle, script) == "2"


def test_mounts_type_and_source(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "some-name")
    assert shown(naja, bundle, "grep ' /mnt ' /proc/mounts").startswith("some-name /mnt tmpfs rw")


def test_mounts_source_of_a_bind(naja: Runtime, bundle: Bundle) -> None:
    os.mkdir(os.path.join(bundle.path, "data"))
    with open(os.path.join(bundle.path, "data/file"), "w") as file:
        file.write("in the bundle")
    bundle.mount("/relative", "bind", "data", "bind")
    bundle.mount("/file", "", os.path.join(bundle.path, "data/file"), "bind")
    assert shown(naja, bundle, "cat /relative/file; echo; cat /file").split("\n") == ["in the bundle"] * 2


#: A mount option, and how the kernel shows it in /proc/self/mountinfo.
ATTRIBUTES = {
    "ro": "ro",
    "rw": "rw",
    "nosuid": "nosuid",
    "nodev": "nodev",
    "noexec": "noexec",
    "nosymfollow": "nosymfollow",
    "noatime": "noatime",
    "nodiratime": "nodiratime",
    "relatime": "relatime",
    "sync": "sync",
    "dirsync": "dirsync",
    "lazytime": "lazytime",
    "size=1m": "size=1024k",
    "mode=1700": "mode=1700",
}


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_mounts_options(naja: Runtime, bundle: Bundle, option: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", option)
    line = shown(naja, bundle, "grep ' /mnt ' /proc/self/mountinfo").replace(" ", ",")
    assert f",{ATTRIBUTES[option]}," in line + ","


#: An option, and the one that takes it back; named in this order nothing is left of the first.
OPPOSITES = [
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("nosymfollow", "symfollow"),
    ("nodiratime", "diratime"),
    ("noatime", "atime"),
    ("sync", "async"),
    ("lazytime", "nolazytime"),
]


@pytest.mark.parametrize(("option", "opposite"), OPPOSITES)
def test_mounts_options_that_take_others_back(
    naja: Runtime, bundle: Bundle, option: str, opposite: str
) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", option, opposite)
    words = shown(naja, bundle, "grep ' /mnt ' /proc/self/mountinfo").replace(" ", ",").split(",")
    assert option not in words


#: Words that change nothing which could be seen on a tmpfs.
UNSEEN = ["defaults", "loud", "silent", "iversion", "noiversion", "norelatime", "nostrictatime", "nomand"]


@pytest.mark.parametrize("option", UNSEEN)
def test_mounts_options_that_are_accepted(naja: Runtime, bundle: Bundle, option: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", option, "size=1m")
    assert "size=1024k" in shown(naja, bundle, "grep ' /mnt ' /proc/self/mountinfo")


@pytest.mark.parametrize("option", ["rro", "rnosuid", "rnodev", "rnoexec", "rnosymfollow", "rnoatime"])
def test_mounts_options_that_are_recursive(
    naja: Runtime, bundle: Bundle, option: str, tmp_path: os.PathLike[str]
) -> None:
    source = os.path.join(tmp_path, "source")
    os.makedirs(os.path.join(source, "below"))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", os.path.join(source, "below")], check=True)
    try:
        bundle.mount("/plain", "bind", source, "rbind")
        bundle.mount("/tree", "bind", source, "rbind", option)
        table = shown(naja, bundle, "cat /proc/self/mountinfo").splitlines()
    finally:
        subprocess.run(["umount", os.path.join(source, "below")], check=True)
    words = {line.split()[4]: line.split()[5].split(",") for line in table}
    assert option[1:] in words["/tree"]
    assert option[1:] in words["/tree/below"]
    assert option[1:] not in words["/plain/below"]


@pytest.mark.parametrize(
    ("propagation", "mark"),
    [("shared", "shared:"), ("rshared", "shared:"), ("private", " - "), ("unbindable", "unbindable")],
)
def test_mounts_options_of_propagation(naja: Runtime, bundle: Bundle, propagation: str, mark: str) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", propagation)
    assert mark in shown(naja, bundle, "grep ' /mnt ' /proc/self/mountinfo")


def test_mounts_option_tmpcopyup(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/filled/file", "content", mode=0o640)
    bundle.mount("/filled", "tmpfs", "tmpfs", "tmpcopyup")
    script = "cat /filled/file; stat -c ' %a' /filled/file; echo more > /filled/file"
    assert shown(naja, bundle, script) == "content 640"
    with open(os.path.join(bundle.rootfs, "filled/file")) as file:
        assert file.read() == "content"


def test_mounts_option_that_nobody_knows(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/mnt", "tmpfs", "tmpfs", "nosuid", "sizee=64m")
    text = refused(naja, bundle)
    assert "sizee" in text
    assert f"/mounts/{len(bundle.config['mounts']) - 1}/options/1" in text


def test_mounts_id_mappings(naja: Runtime, bundle: Bundle) -> None:
    source = os.path.join(bundle.path, "owned")
    os.mkdir(source)
    for owner in (0, 5):
        path = os.path.join(source, str(owner))
        with open(path, "w"):
            os.chown(path, owner, owner)
    mapping = [{"containerID": 0, "hostID": 1000, "size": 5}, {"containerID": 5, "hostID": 7000, "size": 1}]
    bundle.mount("/mapped", "bind", source, "bind")
    bundle.config["mounts"][-1].update(uidMappings=mapping, gidMappings=mapping)
    script = "stat -c '%u:%g' /mapped/0 /mapped/5"
    done = naja.run_attached(bundle.shell(script), check=False)
    if "idmap" in done.stderr and "EINVAL" in done.stderr:
        pytest.skip("the file system of the test's directory cannot be idmapped")
    assert done.stdout.split() == ["1000:1000", "7000:7000"], done


def test_mounts_option_idmap_without_mappings(naja: Runtime, bundle: Bundle) -> None:
    """Nothing to map by is an error (config.md, Linux mount options)."""
    bundle.mount("/mapped", "bind", "rootfs", "bind", "idmap")
    assert "/mounts/" in refused(naja, bundle)


DEVICES: list[tuple[dict[str, Any], str]] = [
    ({"type": "c", "path": "/dev/a", "major": 1, "minor": 3}, "character special file 1:3 666 0:0"),
    (
        {"type": "u", "path": "/dev/a", "major": 1, "minor": 5, "fileMode": 0o640},
        "character special file 1:5 640 0:0",
    ),
    (
        {"type": "b", "path": "/some/where", "major": 7, "minor": 0, "fileMode": 0o600, "uid": 5, "gid": 6},
        "block special file 7:0 600 5:6",
    ),
    ({"type": "p", "path": "/run/pipe", "fileMode": 0o622, "gid": 7}, "fifo 0:0 622 0:7"),
]


@pytest.mark.parametrize(("device", "expected"), DEVICES)
def test_linux_devices(naja: Runtime, bundle: Bundle, device: dict[str, Any], expected: str) -> None:
    bundle.linux["devices"] = [device]
    script = f"stat -c '%F %t:%T %a %u:%g' {device['path']}"
    assert shown(naja, bundle, script) == expected


def test_devices_that_every_container_has(naja: Runtime, bundle: Bundle) -> None:
    """config-linux.md, Default Devices."""
    script = (
        "cd /dev; stat -c '%n %t:%T' null zero full random urandom tty; for i in fd stdin ptmx; do "
        'echo "$i $(readlink $i)"; done; head -c 3 zero | wc -c'
    )
    assert shown(naja, bundle, script).splitlines() == [
        *("null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0"),
        *("fd /proc/self/fd", "stdin /proc/self/fd/0", "ptmx pts/ptmx", "3"),
    ]


def test_a_ptmx_among_the_devices(naja: Runtime, bundle: Bundle) -> None:
    """It stands for the container's /dev/pts/ptmx all the same (config-linux.md, Default Devices)."""
    bundle.linux["devices"] = [{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]
    assert shown(naja, bundle, "readlink /dev/ptmx") == "pts/ptmx"


def test_file_systems_that_every_container_has(naja: Runtime, bundle: Bundle) -> None:
    """config-linux.md, Default Filesystems: where the config asks for them they are there."""
    places = ("/proc", "/sys", "/dev/pts", "/dev/shm")
    script = "; ".join(f"grep -o ' {place} [a-z]* ' /proc/mounts" for place in places)
    assert shown(naja, bundle, script).split() == [
        *("/proc", "proc", "/sys", "sysfs", "/dev/pts", "devpts", "/dev/shm", "tmpfs"),
    ]


@pytest.mark.parametrize(
    ("value", "marks"),
    [
        *[("private", ("-",)), ("rprivate", ("-",)), ("shared", ("shared:",)), ("rshared", ("shared:",))],
        *[("unbindable", ("unbindable",)), ("runbindable", ("unbindable",))],
        *[("slave", ("-", "master:")), ("rslave", ("-", "master:"))],
    ],
)
def test_linux_rootfs_propagation(naja: Runtime, bundle: Bundle, value: str, marks: tuple[str, ...]) -> None:
    bundle.linux["rootfsPropagation"] = value
    fields = shown(naja, bundle, "grep ' / / \\| / rw' /proc/self/mountinfo | head -n 1").split()
    assert fields[6].startswith(marks)


def test_linux_rootfs_propagation_that_is_none(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["rootfsPropagation"] = "public"
    assert "/linux/rootfsPropagation" in refused(naja, bundle)


def test_linux_masked_paths(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/secret/file", "x")
    bundle.write("/a-file", "x")
    bundle.linux["maskedPaths"] = ["/secret", "/a-file", "/not-there"]
    assert shown(naja, bundle, "ls /secret | wc -l; cat /a-file | wc -c; ls /not-there 2>&1").split("\n") == [
        *("0", "0", "ls: /not-there: No such file or directory"),
    ]


def test_linux_readonly_paths(naja: Runtime, bundle: Bundle) -> None:
    bundle.write("/settings/file", "x")
    bundle.linux["readonlyPaths"] = ["/settings", "/proc/sys", "/not-there"]
    text = shown(naja, bundle, "touch /settings/file 2>&1; echo x 2>&1 > /proc/sys/kernel/domainname")
    assert text.count("Read-only file system") == 2


def test_linux_mount_label(naja: Runtime, bundle: Bundle) -> None:
    if os.path.exists("/sys/fs/selinux/enforce"):
        pytest.skip("this kernel has SELinux: a label is set")
    bundle.linux["mountLabel"] = "system_u:object_r:container_file_t:s0"
    done = naja.run_attached(bundle.args("/bin/true"))
    assert "warning: SELinux is not active" in done.stderr
    assert "/linux/mountLabel" in done.stderr


@pytest.mark.parametrize("platform", ["solaris", "windows", "vm", "zos", "freebsd"])
def test_other_platforms(naja: Runtime, bundle: Bundle, platform: str) -> None:
    """Sections of other platforms are checked for their form, and concern no container on Linux."""
    content: dict[str, Any] = {
        "windows": {"layerFolders": ["C:\\layer"]},
        "vm": {"kernel": {"path": "/k"}},
    }
    bundle.config[platform] = content.get(platform, {})
    assert shown(naja, bundle, "echo runs") == "runs"
    bundle.config[platform] = 7
    assert f"/{platform}" in refused(naja, bundle)
