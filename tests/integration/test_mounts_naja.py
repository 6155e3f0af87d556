"""Mounts through the command itself: its processes, its closed imports, its hand-over of descriptors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.namespaces import map_ids, namespaces
from tests.support.rootless import let_through

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
@pytest.mark.parametrize("propagation", ["", "rshared", "rprivate"])
def test_everything_at_once(
    naja: Runtime, bundle: Bundle, tmp_path: Path, flags: list[str], propagation: str
) -> None:
    """All that runs rarely; whatever it would import inside the container cannot be imported."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("bound\n")
    os.chown(source / "file", 5, 5)
    lowers = [tmp_path / ("x" * 120) / name for name in "ab"]
    for lower in lowers:
        lower.mkdir(parents=True)
        (lower / lower.name).write_text("lower\n")
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    bundle.write("/copied/file", "copied\n")
    bundle.process["cwd"] = "/work/here"
    bundle.mount("/copied", "tmpfs", "tmpfs", "tmpcopyup", "ro")
    bundle.mount("/mapped", "bind", str(source), "rbind", "rro", "idmap=uids=5-7-1;gids=5-8-1")
    bundle.mount("/layers", "overlay", "overlay", "lowerdir=" + ":".join(map(str, lowers)))
    bundle.mount("/dev/shm", "tmpfs", "tmpfs", "remount", "ro")
    script = """
        pwd; cat /copied/file /mapped/file /layers/a; stat -c '%u %g' /mapped/file
        touch /copied/x /mapped/x /dev/shm/x
    """
    result = naja.run_attached(bundle.shell(script), *flags, check=False)
    assert result.stdout.split() == ["/work/here", "copied", "bound", "lower", "7", "8"]
    assert result.stderr.count("Read-only file system") == 3


def test_sources_travel_into_a_user_namespace(naja: Runtime, bundle: Bundle, tmp_path: Path) -> None:
    let_through(str(tmp_path))
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    for number in range(20):
        (hidden / str(number)).write_text(f"{number}\n")
        bundle.mount(f"/files/{number}", "bind", str(hidden / str(number)), "bind", "ro")
    for owned, _, _ in os.walk(bundle.rootfs):
        os.chown(owned, 100000, 100000)
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    del bundle.process["rlimits"]
    result = naja.run_attached(bundle.shell("cat /files/*"))
    assert sorted(map(int, result.stdout.split())) == list(range(20))


def test_an_option_at_fault_is_named_in_one_line(naja: Runtime, bundle: Bundle) -> None:
    bundle.mount("/data", "tmpfs", "tmpfs", "nosuid", "sizee=1")
    result = naja.run_attached(bundle.args("true"), check=False)
    assert result.status == 1
    (line,) = result.stderr.splitlines()
    assert "sizee=1" in line
    assert f"/mounts/{len(bundle.config['mounts']) - 1}/options/1" in line


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/made/here", ["tmpcopyup", "mode=1777"]),
        ("/made/here", ["tmpcopyup"]),
        ("/made/here", []),
        ("/etc", ["tmpcopyup", "mode=1777"]),
        ("/etc", ["tmpcopyup", "uid=1000", "mode=700"]),
        ("/etc", ["tmpcopyup", "gid=1000,mode=770"]),
        ("/tmp", ["tmpcopyup"]),
    ],
)
def test_a_user_writes_to_a_tmpfs(
    naja: Runtime, bundle: Bundle, path: str, options: list[str], user: bool
) -> None:
    """At the first start, and when the mount points are there."""
    if user:
        namespaces(bundle, user="")
        map_ids(bundle)
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.mount(path, "tmpfs", "tmpfs", "rprivate", "nosuid", "nodev", *options)
    bundle.shell(f"echo x > {path}/file && cat {path}/file")
    for _ in ("first", "second"):
        assert naja.run_attached(bundle).stdout == "x\n"
    assert not os.path.exists(f"{bundle.rootfs}{path}/file")
