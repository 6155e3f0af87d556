"""Mounts are made one by one: the source of one may be what an earlier one shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.namespaces import map_ids, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

MAPPED = "idmap=uids=0-7-10;gids=0-8-10"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A directory with a file in a directory."""
    (tmp_path / "volume/below").mkdir(parents=True)
    (tmp_path / "volume/below/file").write_text("of the volume\n")
    return tmp_path / "volume"


def plainly(bundle: Bundle) -> str:
    return bundle.rootfs


def over_a_link(bundle: Bundle) -> str:
    os.symlink("rootfs", f"{bundle.path}/link")
    os.symlink(f"{bundle.path}/../{os.path.basename(bundle.path)}/link", f"{bundle.path}/other")
    return f"{bundle.path}/other"


def from_the_bundle(_: Bundle) -> str:
    return "rootfs"


@pytest.mark.parametrize("way", [plainly, over_a_link, from_the_bundle])
@pytest.mark.parametrize("kind", ["root's", "mapped", "user", "user, mapped"])
def test_a_source_that_an_earlier_mount_shows(
    naja: Runtime, bundle: Bundle, volume: Path, kind: str, way: Callable[[Bundle], str]
) -> None:
    """The mount point is missing in the image, and so is the directory that is bound from there."""
    top = way(bundle)
    bundle.mount("/mnt", "bind", str(volume), "rbind")
    options = [MAPPED] if "mapped" in kind else []
    bundle.mount("/final", "bind", f"{top}/mnt/below", "rbind", *options)
    bundle.mount("/again", "bind", f"{top}/final/file", "bind", "ro")
    if "user" in kind:
        namespaces(bundle, user="")
        map_ids(bundle)
    script = "cat /final/file /again; stat -c %u:%g /final/file; echo x > /again"
    result = naja.run_attached(bundle.shell(script), check=False)
    owner = {"root's": "0:0", "mapped": "7:8"}.get(kind, "65534:65534")
    assert result.stdout.splitlines() == ["of the volume", "of the volume", owner], result
    assert "Read-only file system" in result.stderr


@pytest.mark.parametrize("recursive", [True, False])
@pytest.mark.parametrize("user", [True, False])
def test_a_source_that_holds_the_root_file_system(
    naja: Runtime, bundle: Bundle, volume: Path, user: bool, recursive: bool
) -> None:
    """With all that is mounted on it so far, and nothing of what comes later."""
    bundle.mount("/mnt", "bind", str(volume), "rbind")
    bundle.mount("/whole", "bind", bundle.path, "rbind" if recursive else "bind")
    bundle.mount("/later", "bind", str(volume), "rbind")
    if user:
        namespaces(bundle, user="")
        map_ids(bundle)
    script = "ls /whole/rootfs/mnt /whole/rootfs/later"
    result = naja.run_attached(bundle.shell(script), check=False)
    assert result.stdout.count("below") == recursive, result


@pytest.mark.parametrize("propagation", ["", "rshared", "rprivate"])
@pytest.mark.parametrize("no_pivot", [False, True])
def test_a_source_in_turn_of_a_created_container(
    naja: Runtime, bundle: Bundle, volume: Path, propagation: str, no_pivot: bool
) -> None:
    """create and start, where the runtime takes its turn between two of the init's."""
    if propagation:
        bundle.linux["rootfsPropagation"] = propagation
    bundle.mount("/mnt", "bind", str(volume), "rbind")
    bundle.mount("/final", "bind", f"{bundle.rootfs}/mnt", "rbind", "ro")
    namespaces(bundle, user="")
    map_ids(bundle)
    naja.create(bundle.shell("cat /final/below/file > /out"), *["--no-pivot"] * no_pivot)
    naja.start(bundle)
    naja.wait_for(bundle, "stopped")
    with open(f"{bundle.rootfs}/out") as out:
        assert out.read() == "of the volume\n"
    with open("/proc/self/mountinfo") as table:
        assert bundle.path not in table.read()


@pytest.mark.parametrize("user", [True, False])
def test_a_source_in_the_root_that_is_missing(naja: Runtime, bundle: Bundle, user: bool) -> None:
    if user:
        namespaces(bundle, user="")
        map_ids(bundle)
    bundle.mount("/final", "bind", f"{bundle.rootfs}/never", "rbind")
    result = naja.run_attached(bundle.args("/bin/true"), check=False)
    (line,) = result.stderr.splitlines()
    assert "/rootfs/never: No such file or directory" in line
    assert f"/mounts/{len(bundle.config['mounts']) - 1}" in line


def test_more_sources_than_one_message_carries(naja: Runtime, bundle: Bundle, volume: Path) -> None:
    for number in range(300):
        bundle.mount(f"/files/{number}", "bind", str(volume), "rbind")
    namespaces(bundle, user="")
    map_ids(bundle)
    assert naja.run_attached(bundle.shell("cat /files/*/below/file | wc -l")).stdout == "300\n"
