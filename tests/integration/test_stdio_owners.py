"""Whose the standard streams are in a user namespace: the container's user opens them again by name."""

from __future__ import annotations

import os
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from tests.support.bundle import Bundle
from tests.support.namespaces import OUTSIDE, map_ids, namespaces
from tests.support.rootless import NOBODY, nobodys_bundle, nobodys_runtime
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Runtime

pytestmark = pytest.mark.root

#: The streams are named as the specification has it (config-linux.md, Default Devices).
_SPEAK = "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin"


@pytest.fixture(params=["new", "joined"])
def mapped(request: pytest.FixtureRequest, bundle: Bundle) -> Iterator[Bundle]:
    """A bundle whose container has a user namespace."""
    map_ids(bundle)
    holder = None
    if request.param == "joined":
        # One whose process has the same ids; the mappings are not in the config then.
        holder = subprocess.Popen(["unshare", "--user", "sleep", "1000"])
        wait_until(lambda: os.readlink(f"/proc/{holder.pid}/ns/user") != os.readlink("/proc/self/ns/user"))
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{holder.pid}/{name}", "w") as file:
                file.write(f"0 {OUTSIDE} 65536")
            del bundle.linux[name.replace("_map", "Mappings")]
    namespaces(bundle, user=f"/proc/{holder.pid}/ns/user" if holder else "")
    yield bundle.save()
    if holder:
        holder.kill()
        holder.wait()


@pytest.mark.parametrize("uid", [0, 1000])
def test_run_and_exec(naja: Runtime, mapped: Bundle, uid: int) -> None:
    mapped.process["user"] = {"uid": uid, "gid": uid}
    done = naja.run_attached(mapped.shell(_SPEAK), input="in")
    assert (done.stdout, done.stderr) == ("out\nin", "err\n")
    naja.run_detached(mapped.args("sleep", "1000"))
    for user in (uid, 1234):
        words = ("--user", f"{user}:{user}", mapped.id, "sh", "-c", _SPEAK)
        added = naja.run("exec", *words, input="in")
        assert (added.stdout, added.stderr) == ("out\nin", "err\n")


def test_create(naja: Runtime, mapped: Bundle) -> None:
    """An engine's pipes, which are root's."""
    reader, writer = os.pipe()
    naja.create(mapped.shell("echo out > /dev/stdout"), output=writer)
    os.close(writer)
    naja.start(mapped)
    with open(reader) as file:
        assert file.read() == "out\n"


def test_the_callers_files_and_devices_stay_its_own(naja: Runtime, mapped: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    before = os.stat("/dev/null")
    with file.open("r+b") as opened:
        command = naja.command("run", "-b", mapped.args("cat").path, mapped.id)
        subprocess.run(command, stdin=opened, stdout=opened, stderr=subprocess.DEVNULL, check=True)
    assert file.stat().st_uid == os.stat("/dev/null").st_uid == before.st_uid == 0


def test_what_has_a_name_stays_the_callers(naja: Runtime, mapped: Bundle, tmp_path: Path) -> None:
    """The host may have a user with the container's ids, who could open the terminal of whoever calls."""
    master, terminal = os.openpty()
    os.mkfifo(tmp_path / "fifo", 0o600)
    fifo = os.open(tmp_path / "fifo", os.O_RDWR)
    command = naja.command("run", "-b", mapped.args("true").path, mapped.id)
    subprocess.run(command, stdin=terminal, stdout=fifo, stderr=terminal, check=True, timeout=30)
    assert (os.fstat(terminal).st_uid, os.fstat(fifo).st_uid) == (0, 0)
    for descriptor in (master, terminal, fifo):
        os.close(descriptor)


@pytest.fixture
def directory() -> Iterator[str]:
    """A directory that all may enter; those of pytest are its owner's, whenever another run begins."""
    with tempfile.TemporaryDirectory() as path:
        yield path


@pytest.mark.parametrize("hidden", [False, True])
def test_without_privileges(
    naja: Runtime, busybox_rootfs: str, directory: str, tag: str, hidden: bool
) -> None:
    """Root's pipes stay root's, and that is no error; also where /proc shows its own processes only."""
    bundle, runtime = nobodys_bundle(directory, tag, busybox_rootfs), nobodys_runtime(naja, directory)
    ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    hide = "mount -t proc -o hidepid=2 proc /proc &&" if hidden else ""
    enter = ["unshare", "--mount", "sh", "-c", f'{hide} exec setpriv {" ".join(ids)} "$@"', "sh"]
    as_nobody = type(naja)(runtime.root, [*enter, *naja.argv])
    done = as_nobody.run_attached(bundle.shell("echo said; cat"), input="in", check=False, cwd="/")
    if "make a" in done.stderr or "map " in done.stderr:
        pytest.skip(f"nobody can have no container here: {done.stderr}")
    assert (done.stdout, done.stderr, done.status) == ("said\nin", "", 0)
