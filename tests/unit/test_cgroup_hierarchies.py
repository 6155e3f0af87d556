"""Where cgroups are: what /proc says of mounts and membership, and runc's rules for paths."""

from __future__ import annotations

import os

import pytest

from naja import cgroups
from naja.cgroups.hierarchies import by_controller, directories, locate, parse, subgroup
from naja.errors import NajaError

V1 = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory
34 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
"""
V1_OWN = "4:memory:/user.slice\n3:cpu,cpuacct:/\n1:name=systemd:/user.slice/session.scope\n0::/\n"
UNIFIED = "35 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:11 - cgroup2 cgroup2 rw,nsdelegate\n"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V2_OWN = "0::/user.slice/session.scope\n"


def test_v1() -> None:
    found = parse(V1, V1_OWN)
    assert found.kind == "v1"
    assert found.mounts == {
        "memory": "/sys/fs/cgroup/memory",
        "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "name=systemd": "/sys/fs/cgroup/systemd",
    }
    assert found.own["name=systemd"] == "/user.slice/session.scope"


def test_hybrid() -> None:
    found = parse(V1 + UNIFIED, V1_OWN)
    assert (found.kind, found.mounts[""]) == ("v1", "/sys/fs/cgroup/unified")


def test_v2() -> None:
    found = parse(V2, V2_OWN)
    assert (found.kind, found.mounts, found.own) == (
        "v2",
        {"": "/sys/fs/cgroup"},
        {"": "/user.slice/session.scope"},
    )


def test_v2_beside_one_v1_controller_is_v2() -> None:
    """As where a program mounts net_cls for itself on a v2 host."""
    extra = "90 30 0:60 / /sys/fs/cgroup/net_cls rw - cgroup net_cls rw,net_cls\n"
    found = parse(V2 + extra, "1:net_cls:/\n" + V2_OWN)
    assert (found.kind, list(found.mounts)) == ("v2", [""])


def test_nothing_mounted() -> None:
    found = parse("23 1 0:20 / / rw - ext4 /dev/vda rw\n", V1_OWN)
    assert (found.kind, found.mounts) == ("v1", {})


def test_inside_a_container_paths_are_below_the_mount() -> None:
    mounts = V1.replace("0:32 / ", "0:32 /docker/abc ")
    assert parse(mounts, "4:memory:/docker/abc/inner\n").own["memory"] == "/inner"
    assert parse(mounts, "4:memory:/docker/abc\n").own["memory"] == "/"
    assert parse(mounts, "4:memory:/elsewhere\n").own["memory"] == "/"


def test_the_host_s_place_is_preferred_to_a_container_s_view() -> None:
    view = "80 70 0:32 /docker/abc /var/lib/x/sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert parse(view + V1, V1_OWN).mounts["memory"] == "/sys/fs/cgroup/memory"


def test_mount_points_with_spaces() -> None:
    mounts = V1.replace("/sys/fs/cgroup/memory", "/my\\040mounts/a\\134b/memory")
    assert parse(mounts, V1_OWN).mounts["memory"] == "/my mounts/a\\b/memory"


@pytest.mark.parametrize(
    ("path", "v1", "v2"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("//a/./b/", "/a/b", "/a/b"),
        ("a/b", "/user.slice/a/b", "/user.slice/a/b"),
        ("", "/user.slice/ID", "/user.slice/ID"),
        ("/../../a", "/a", "/a"),
        ("../../a", "/user.slice/a", "/user.slice/a"),
        ("/", "/", "/"),
    ],
)
def test_paths_as_runc_has_them(path: str, v1: str, v2: str) -> None:
    """On v1 below the caller's own cgroup, on v2 beside it; ``..`` leads nowhere."""
    assert locate(parse(V1, V1_OWN), path, "ID")["memory"] == v1
    assert locate(parse(V2, V2_OWN), path, "ID")[""] == v2


def test_directories() -> None:
    places = directories({"cpu,cpuacct": "/c", "": "/u"}, {"cpu,cpuacct": "/a/b", "": "/"})
    assert places == {"cpu,cpuacct": "/c/a/b", "": "/u"}
    assert by_controller(places) == {"cpu": "/c/a/b", "cpuacct": "/c/a/b", "": "/u"}


def test_subgroup() -> None:
    assert subgroup("/c/a", "") == "/c/a"
    assert subgroup("/c/a", "x/y") == "/c/a/x/y"
    assert subgroup("/c/a", "/x") == "/c/a/x"
    with pytest.raises(NajaError, match=r"\.\."):
        subgroup("/c/a", "../b")


@pytest.mark.skipif(not cgroups.detect().mounts, reason="needs cgroups")
@pytest.mark.parametrize("rootless", [True, False])
@pytest.mark.parametrize("word", ["", "0123456789abcdef"])
@pytest.mark.parametrize("place", ["mount point", "own", "above", "root"])
def test_a_record_that_names_the_hosts_cgroups_has_none(place: str, word: str, rootless: bool) -> None:
    """What naja itself is in is no container's, whatever was written down: all in it would be killed."""
    here = cgroups.detect()

    def instead(name: str, mount: str) -> str:
        own = mount + here.own[name].rstrip("/")
        return {"mount point": mount, "own": own, "above": os.path.dirname(mount), "root": "/"}[place]

    places = {name: instead(name, mount) for name, mount in here.mounts.items()}
    record = {"kind": here.kind, "unit": "", "adopted": [], "resctrl": [], "places": places}
    manager = cgroups.restore(
        {**record, "made": [*places.values()], "rootless": rootless, "word": word, "invocation": ""}
    )
    assert manager.paths == {}
    assert manager.processes() == []
