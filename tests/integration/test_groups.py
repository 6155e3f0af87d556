"""Supplementary groups where a user namespace denies setgroups(2), as that of a user without ranges."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.rootless import AS_NOBODY, nobodys_bundle, nobodys_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

pytestmark = pytest.mark.root


@pytest.fixture
def nobodys(naja: Runtime, busybox_rootfs: str, tag: str) -> Iterator[tuple[Runtime, Bundle]]:
    """The runtime for a user without ranges, and a bundle of his."""
    with tempfile.TemporaryDirectory() as directory:
        bundle = nobodys_bundle(directory, tag, busybox_rootfs)
        runtime = nobodys_runtime(naja, directory)
        probe = runtime.run_attached(bundle, check=False, **AS_NOBODY)
        if probe.status:
            pytest.skip(f"nobody can have no container here: {probe.stderr}")
        yield runtime, bundle
        runtime.run("delete", "--force", bundle.id, check=False, **AS_NOBODY)


@pytest.mark.parametrize(("groups", "left_out"), [([0], ""), ([0, 5, 20], "5, 20")])
def test_run_and_exec(nobodys: tuple[Runtime, Bundle], groups: list[int], left_out: str) -> None:
    """Of group 0 the image's root is a member, as in Alpine's /etc/group; it is the process's own anyway."""
    runtime, bundle = nobodys
    bundle.process["user"] = {"uid": 0, "gid": 0, "additionalGids": groups}
    done = runtime.run_attached(bundle.args("id", "-G"), **AS_NOBODY)
    assert done.stdout.split()[0] == "0"
    assert done.stderr.count("\n") == (1 if left_out else 0)
    if left_out:
        assert f"left out: {left_out}, asked for by config.json /process/user/additionalGids" in done.stderr
    runtime.run_detached(bundle.args("sleep", "1000"), **AS_NOBODY)
    words = ("--additional-gids", "30", bundle.id, "id", "-G")
    added = runtime.run("exec", *words, **AS_NOBODY)
    assert added.stdout.split()[0] == "0"
    assert f"left out: {left_out + ', ' if left_out else ''}30, asked for by" in added.stderr
