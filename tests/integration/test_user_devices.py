"""Devices in a user namespace, where none can be made: they are made before it is entered."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from naja.operations.sources import make_user_namespace
from tests.support.namespaces import OUTSIDE, Holder, map_ids, namespaces
from tests.support.seen import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

LOOK = "stat -c '%n %F %t:%T %a %u:%g' "


def device(path: str, minor: int, kind: str = "c", major: int = 1, **more: Any) -> dict[str, Any]:
    return {"path": path, "type": kind, "major": major, "minor": minor, **more}


@pytest.fixture(params=["new", "joined"])
def user(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Bundle]:
    """The bundle, with a new user namespace, or with one to be joined."""
    map_ids(bundle)
    if request.param == "new":
        namespaces(bundle, user="")
        yield bundle
        return
    # What the config says of its ids is for looking up only.
    del bundle.linux["uidMappings"]
    bundle.linux["gidMappings"] = [{"containerID": 0, "hostID": 5, "size": 9}]
    mapping = [(0, OUTSIDE, 65536)]
    descriptor = make_user_namespace(mapping, mapping)
    namespaces(bundle, user=f"/proc/{os.getpid()}/fd/{descriptor}")
    yield bundle
    os.close(descriptor)


def test_devices_that_the_host_has_not(naja: Runtime, user: Bundle) -> None:
    user.linux["devices"] = [
        device("/dev/foo", 3),
        device("/dev/deep/bar", 5, fileMode=0o640, uid=5, gid=6),
        device("/dev/block", 9, kind="b", major=7, fileMode=0o600),
        # The host has another one of that name, or not as it is to be.
        device("/dev/full", 5, uid=7),
        device("/dev/zero", 5, fileMode=0o444, uid=0, gid=0),
        device("/dev/pipe", 0, kind="p", fileMode=0o622, uid=8),
    ]
    paths = [entry["path"] for entry in user.linux["devices"]]
    assert shown(naja, user, LOOK + " ".join(paths)).split("\n") == [
        "/dev/foo character special file 1:3 666 0:0",
        "/dev/deep/bar character special file 1:5 640 5:6",
        "/dev/block block special file 7:9 600 0:0",
        "/dev/full character special file 1:5 666 7:0",
        "/dev/zero character special file 1:5 444 0:0",
        "/dev/pipe fifo 0:0 622 8:0",
    ]
    assert not os.path.exists("/dev/foo")


def test_an_owner_that_the_user_namespace_has_not(naja: Runtime, bundle: Bundle) -> None:
    """Nobody's, and not somebody's on the host who is root inside."""
    namespaces(bundle, user="")
    map_ids(bundle, size=10)
    bundle.linux["devices"] = [device("/dev/foo", 3, fileMode=0o604, uid=3, gid=10)]
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] != "devpts"]
    assert shown(naja, bundle, "stat -c '%a %u:%g' /dev/foo") == "604 3:65534"


def test_they_can_be_used_and_are_the_containers_own(naja: Runtime, user: Bundle) -> None:
    user.linux["devices"] = [device("/dev/foo", 3), device("/dev/bar", 5, fileMode=0o600)]
    script = """
        echo gone > /dev/foo && cat /dev/foo | wc -c
        head -c 3 /dev/bar | od -An -tx1
        chmod 640 /dev/bar && stat -c %a /dev/bar
    """
    assert shown(naja, user, script).split("\n") == ["0", " 00 00 00", "640"]


def test_a_device_of_which_nothing_is_asked_but_the_number_is_the_hosts(naja: Runtime, user: Bundle) -> None:
    user.linux["devices"] = [device("/dev/kmsg", 11)]
    host = os.stat("/dev/kmsg")
    assert (os.major(host.st_rdev), os.minor(host.st_rdev)) == (1, 11)
    mode = stat.S_IMODE(host.st_mode)
    assert shown(naja, user, "stat -c '%t:%T %a %u' /dev/kmsg") == f"1:b {mode:o} 65534"


def test_many_devices(naja: Runtime, user: Bundle) -> None:
    user.linux["devices"] = [device(f"/dev/many/{minor}", minor, kind="b", major=7) for minor in range(300)]
    assert shown(naja, user, "ls /dev/many | wc -l; stat -c %t:%T /dev/many/299") == "300\n7:12b"


@pytest.mark.parametrize("path", ["/dev/foo/", "/dev//foo///", "/dev/x/../foo/", "/dev/./foo/."])
@pytest.mark.parametrize("in_user_namespace", [False, True])
def test_a_slash_at_the_end_of_a_path_is_none(
    naja: Runtime, bundle: Bundle, path: str, in_user_namespace: bool
) -> None:
    if in_user_namespace:
        namespaces(bundle, user="")
        map_ids(bundle)
    bundle.linux["devices"] = [device(path, 3), device("/dev/ptmx/", 2, major=5), device("/dev/null/", 3)]
    found = shown(naja, bundle, "stat -c %t:%T /dev/foo /dev/null; readlink /dev/ptmx")
    assert found.split("\n") == ["1:3", "1:3", "pts/ptmx"]


def test_beside_joined_namespaces(naja: Runtime, bundle: Bundle) -> None:
    """And beside a mount whose source the runtime opens in its turn."""
    holder = Holder()
    try:
        namespaces(bundle, pid=holder.path("pid"), network=holder.path("network"), user="")
        map_ids(bundle)
        bundle.linux["devices"] = [device("/dev/foo", 3, uid=4)]
        bundle.mount("/etc/source", "bind", f"{bundle.rootfs}/etc", "bind")
        assert shown(naja, bundle, "stat -c %u /dev/foo; ls -d /etc/source/passwd") == (
            "4\n/etc/source/passwd"
        )
    finally:
        holder.end()
