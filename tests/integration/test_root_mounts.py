"""What may stand in for the root file system: a bind of the host's root, and a mount on /."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.namespaces import OUTSIDE, map_ids, namespaces
from tests.support.seen import refused, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.fixture
def other(busybox_bundle: Callable[[], Bundle]) -> str:
    """Another root file system, known by a file of its own."""
    other = busybox_bundle()
    other.write("/other", "other")
    return other.rootfs


def put_on_root(bundle: Bundle, kind: str, source: str, *options: str) -> None:
    bundle.mount("/", kind, source, *options)
    bundle.config["mounts"].insert(0, bundle.config["mounts"].pop())


LOOK = """
    cat /other; echo
    grep -c . /dev/null; ls -d /dev/pts /proc/self
    touch /made 2>&1 && echo writable
"""
SEEN = ["other", "0", "/dev/pts", "/proc/self"]
READ_ONLY, WRITABLE = ["touch: /made: Read-only file system"], ["writable"]


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
@pytest.mark.parametrize("propagation", ["", "rshared", "rprivate"])
@pytest.mark.parametrize(("options", "end"), [(["ro"], READ_ONLY), (["rro"], READ_ONLY), ([], WRITABLE)])
def test_a_bind_on_the_root(
    naja: Runtime,
    bundle: Bundle,
    other: str,
    options: list[str],
    end: list[str],
    propagation: str,
    flags: list[str],
) -> None:
    """Mount points are made in it as in every other root, also where it is to be read-only."""
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    put_on_root(bundle, "bind", other, "rbind", *options)
    bundle.mount("/new/place", "tmpfs", "tmpfs")
    result = naja.run_attached(bundle.shell(LOOK + "\ntouch /new/place/file; true"), *flags)
    assert result.stdout.splitlines() == SEEN + end
    assert os.path.isdir(f"{other}/new/place")
    assert not os.path.exists(f"{bundle.rootfs}/new")
    with open("/proc/self/mountinfo") as table:
        assert bundle.path not in table.read()


@pytest.mark.parametrize(("options", "end"), [(["ro"], READ_ONLY), ([], WRITABLE)])
@pytest.mark.parametrize("long", [False, True])
def test_an_overlay_on_the_root(
    naja: Runtime,
    bundle: Bundle,
    other: str,
    tmp_path: Path,
    options: list[str],
    end: list[str],
    long: bool,
) -> None:
    """The long options are mount(2)'s."""
    directories = {name: tmp_path / ("l" * 250 * long + name) for name in ("upper", "work")}
    for directory in directories.values():
        directory.mkdir()
    words = [f"lowerdir={other}", *(f"{name}dir={path}" for name, path in directories.items())]
    put_on_root(bundle, "overlay", "overlay", *words, *options)
    assert shown(naja, bundle, LOOK).splitlines() == SEEN + end
    assert not os.path.exists(f"{other}/made")


def test_a_tmpfs_on_the_root(naja: Runtime, bundle: Bundle, other: str) -> None:
    put_on_root(bundle, "tmpfs", "tmpfs", "ro")
    bundle.mount("/bin", "bind", f"{other}/bin", "bind")
    assert shown(naja, bundle, "ls /; touch /made 2>&1").split("\n") == [
        *("bin", "dev", "proc", "sys"),
        "touch: /made: Read-only file system",
    ]


@pytest.mark.parametrize("shared", [True, False])
def test_a_bind_on_the_root_in_other_namespaces(
    naja: Runtime, bundle: Bundle, other: str, shared: bool
) -> None:
    """In the mount namespace of the host, or in a user namespace."""
    put_on_root(bundle, "bind", other, "rbind", "ro")
    if shared:
        namespaces(bundle, mount=None)
    else:
        namespaces(bundle, user="")
        map_ids(bundle)
        subprocess.run(["chown", "-R", f"{OUTSIDE}:{OUTSIDE}", other], check=True)
    assert shown(naja, bundle, LOOK).splitlines() == SEEN + READ_ONLY


def test_a_root_that_is_a_bind_of_the_hosts(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    """It is a mount of its own; the host's root itself is none that others could be made on."""
    place = tmp_path / "slash"
    place.mkdir()
    bundle.config["root"] = {"path": str(place), "readonly": True}
    bundle.config["mounts"] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
    ]
    subprocess.run(["mount", "--bind", "/", place], check=True)
    try:
        script = f"ls -d {bundle.path}; cat /proc/1/comm; echo $$"
        assert shown(naja, bundle, script).split("\n") == [bundle.path, "sh", "1"]
    finally:
        subprocess.run(["umount", place], check=True)
    for path in ("/", f"/proc/{os.getpid()}/root"):
        bundle.config["root"]["path"] = path
        assert "the host's own root cannot be a container's" in refused(naja, bundle)


@pytest.mark.parametrize("way", ["create", "run", "exec"])
def test_a_user_namespace_without_an_id_0(naja: Runtime, bundle: Bundle, way: str) -> None:
    """What naja makes is owned by the first user that there is."""
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 5, "hostID": OUTSIDE, "size": 1000}]
    namespaces(bundle, user="")
    host = bundle.linux["uidMappings"]
    map_ids(bundle)
    bundle.linux["uidMappings"] = bundle.linux["gidMappings"] = host
    bundle.process["user"] = {"uid": 5, "gid": 7}
    bundle.mount("/new", "tmpfs", "tmpfs", "tmpcopyup", "mode=755")
    script = "id -u; id -g; stat -c %u:%g /new /dev; touch /new/file && echo made"
    expected = ["5", "7", "5:5", "5:5", "made"]
    if way == "run":
        assert shown(naja, bundle, script).split() == expected
        return
    if way == "create":
        naja.create(bundle.shell(f"({script}) > /tmp/out"))
        naja.start(bundle)
        naja.wait_for(bundle, "stopped")
        with open(f"{bundle.rootfs}/tmp/out") as out:
            assert out.read().split() == expected
        return
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    assert naja.exec(bundle, "/bin/sh", "-c", script).stdout.split() == expected
