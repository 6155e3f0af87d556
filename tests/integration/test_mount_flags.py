"""Flags of bind mounts: what the options name holds, all else is cleared; with none named all are kept."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.namespaces import map_ids, namespaces
from tests.support.needs import requires_command
from tests.support.seen import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

SHOW = "awk '$5 == \"/data\" {print $6}' /proc/self/mountinfo"
#: Makes its arguments root of a user namespace, in which the flags of all mounts are locked.
INSIDE = ("unshare", "--user", "--map-root-user", "--mount")

CASES = [
    ("ro,noexec", ["rbind", "rprivate", "rw"], "rw,relatime"),
    ("ro,noexec", ["rbind", "rprivate"], "ro,noexec,relatime"),
    ("ro,noexec", ["rbind"], "ro,noexec,relatime"),
    ("nosuid,nodev,noexec", ["bind", "ro"], "ro,relatime"),
    ("ro,nosuid,nodev", ["bind", "exec"], "rw,relatime"),
    ("ro,nodev", ["bind", "nodev"], "rw,nodev,relatime"),
    # Access times stay as they are, unless one of their words is there.
    ("noatime,nodiratime", ["bind", "nosuid"], "rw,nosuid,noatime,nodiratime"),
    ("noatime,nodiratime", ["bind", "relatime"], "rw,relatime"),
    ("noatime", ["bind", "nodiratime"], "rw,nodiratime,relatime"),
    ("nodev,noexec", ["bind", "noatime"], "rw,noatime"),
    # What is for the mounts below as well is no flag of the one mount.
    ("noexec", ["rbind", "rro"], "ro,noexec,relatime"),
    ("noexec", ["rbind", "rro", "nosuid"], "ro,nosuid,relatime"),
    ("ro,noexec", ["rbind", "rrw", "nosuid"], "rw,nosuid,relatime"),
]


@contextmanager
def source(path: Path, flags: str) -> Iterator[str]:
    """A directory that is mounted with these flags."""
    path.mkdir()
    subprocess.run(["mount", "--bind", path, path], check=True)
    try:
        subprocess.run(["mount", "--options", f"remount,bind,{flags}", path], check=True)
        yield str(path)
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize(("flags", "options", "expected"), CASES)
def test_flags_of_a_bind(
    naja: Runtime,
    bundle: Bundle,
    tmp_path: Path,
    flags: str,
    options: list[str],
    expected: str,
    user: bool,
) -> None:
    if user:
        namespaces(bundle, user="")
        map_ids(bundle)
    with source(tmp_path / "source", flags) as path:
        bundle.mount("/data", "bind", path, *options)
        assert shown(naja, bundle, SHOW) == expected


def rootless(naja: Runtime, bundle: Bundle, check: bool = True) -> Result:
    del bundle.linux["cgroupsPath"]
    needed = ("proc", "tmpfs", "bind")
    bundle.config["mounts"] = [mount for mount in bundle.config["mounts"] if mount["type"] in needed]
    inner = type(naja)(naja.root, [*INSIDE, *naja.argv])
    return inner.run_attached(bundle.shell(SHOW), check=check)


@requires_command("unshare")
@pytest.mark.parametrize(
    ("flags", "options", "expected"),
    [
        ("ro,noexec", ["rbind", "nosuid"], "ro,nosuid,noexec,relatime"),
        ("nodev,noatime", ["bind", "ro"], "ro,nodev,noatime"),
        ("ro", ["bind", "ro", "nodev"], "ro,nodev,relatime"),
        # Of a flag that is not there nothing has to be cleared.
        ("nodev", ["bind", "suid", "exec"], "rw,nodev,relatime"),
    ],
)
def test_locked_flags_that_are_not_named_stay(
    naja: Runtime, bundle: Bundle, tmp_path: Path, flags: str, options: list[str], expected: str
) -> None:
    with source(tmp_path / "source", flags) as path:
        bundle.mount("/data", "bind", path, *options)
        result = rootless(naja, bundle)
    assert (result.stdout.strip(), result.stderr) == (expected, "")


@requires_command("unshare")
@pytest.mark.parametrize("others", [[], ["nosuid"], ["exec"]])
def test_a_locked_ro_stays_under_rw(naja: Runtime, bundle: Bundle, tmp_path: Path, others: list[str]) -> None:
    """Podman says "rw" wherever "ro" was not asked for."""
    with source(tmp_path / "source", "ro,nodev") as path:
        bundle.mount("/data", "bind", path, "rbind", "rprivate", "rw", *others)
        result = rootless(naja, bundle)
    assert result.stdout.strip().replace("nosuid,", "") == "ro,nodev,relatime"
    assert ("nosuid" in result.stdout) == ("nosuid" in others)
    assert result.stderr.count("\n") == 1
    assert "warning: /data stays read-only" in result.stderr


@requires_command("unshare")
@pytest.mark.parametrize(
    ("flags", "options"),
    [("nodev", ["dev"]), ("ro,noexec", ["rw", "exec"]), ("noatime", ["relatime"]), ("ro", ["rrw"])],
)
def test_other_locked_flags_cannot_be_cleared(
    naja: Runtime, bundle: Bundle, tmp_path: Path, flags: str, options: list[str]
) -> None:
    with source(tmp_path / "source", flags) as path:
        bundle.mount("/data", "bind", path, "rbind", *options)
        result = rootless(naja, bundle, check=False)
    assert result.status == 1
    assert "is locked and cannot be cleared in a user namespace" in result.stderr
    assert f"/mounts/{len(bundle.config['mounts']) - 1}" in result.stderr
    assert not os.path.exists(naja.root) or not naja.ids()
