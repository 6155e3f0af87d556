"""exec --user NAME[:GROUP]: users and groups by the container's own /etc/passwd and /etc/group."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.namespaces import map_ids
from tests.support.opened import opens

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Result, Runtime

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
ann:x:1000:100:Ann:/home/ann:/bin/sh
bob:x:1001:100::/home/bob:/bin/sh
bobby:x:1002:102::/home/bobby:/bin/sh
homeless:x:1003:100:::/bin/sh
"""
GROUP = """\
root:x:0:
users:x:100:
staff:x:50:bob,ann
disk:x:6:ann
wheel:x:10:anna,bobby
"""


@pytest.fixture
def running(naja: Runtime, bundle: Bundle) -> Bundle:
    bundle.process["env"] = ["PATH=/bin"]
    bundle.process["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}
    bundle.write("/etc/passwd", PASSWD)
    bundle.write("/etc/group", GROUP)
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    return bundle


def as_user(naja: Runtime, bundle: Bundle, user: str, *words: str, check: bool = False) -> Result:
    script = "echo $(id -u) $(id -g) $(id -G) $HOME"
    return naja.run("exec", "--user", user, *words, bundle.id, "/bin/sh", "-c", script, check=check)


@pytest.mark.parametrize(
    ("user", "who"),
    [
        ("root", "0 0 0 /root"),
        ("ann", "1000 100 100 6 50 /home/ann"),
        ("bob", "1001 100 100 50 /home/bob"),
        ("bobby", "1002 102 102 10 /home/bobby"),
        ("ann:staff", "1000 50 50 /home/ann"),
        ("ann:77", "1000 77 77 /home/ann"),
        ("1000:staff", "1000 50 50 /home/ann"),
        ("homeless", "1003 100 100 /"),
        ("1001", "1001 6 6 7 /home/bob"),
        ("1001:9", "1001 9 9 7 /home/bob"),
    ],
)
def test_who_it_is(naja: Runtime, running: Bundle, user: str, who: str) -> None:
    assert as_user(naja, running, user, check=True).stdout.strip() == who


def test_more_groups_and_another_home(naja: Runtime, running: Bundle) -> None:
    result = as_user(naja, running, "ann", "-g", "1234", "-g", "50", "-e", "HOME=/tmp", check=True)
    assert result.stdout.strip() == "1000 100 100 6 50 1234 /tmp"


def test_in_a_user_namespace(naja: Runtime, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.process["env"] = ["PATH=/bin"]
    map_ids(bundle)
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    assert as_user(naja, bundle, "user", check=True).stdout.strip() == "1000 1000 1000 /tmp"


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("nobody-here", "the container's /etc/passwd names no such user"),
        ("an", "the container's /etc/passwd names no such user"),
        ("ann:nobodies", "the container's /etc/group names no such group"),
        ("ann:", "--user"),
        (":staff", "--user"),
        ("ann:staff:x", "--user"),
        ("ann,bob", "--user"),
        ("../ann", "--user"),
        ("ann\nroot", "--user"),
    ],
)
def test_nobody(naja: Runtime, running: Bundle, user: str, why: str) -> None:
    result = as_user(naja, running, user)
    assert (result.status, result.stdout) == (255, "")
    assert why in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "line",
    [
        "ann", "ann:x", "ann:x:", "ann:x::", "ann:x:1000", "ann:x:-1:0", "ann:x:4294967296:0",
        "ann:x:4294967295:0", "ann:x:1000:4294967296", "ann:x: 1000:1000", "ann:x:0x10:0", "ann:x:1_0:0",
        "ann:x:1000:", "ann:x:\xb2:0",
    ],
)  # fmt: skip
def test_a_line_without_ids(naja: Runtime, running: Bundle, line: str) -> None:
    """CVE-2026-46680: what is no number is nobody, and never root; nor is a later line asked."""
    running.write("/etc/passwd", f"{line}\nann:x:0:0::/root:/bin/sh\n")
    result = as_user(naja, running, "ann")
    if ":" in line:
        assert (result.status, result.stdout) == (255, "")
        assert "has no uid and gid" in result.stderr
    else:
        assert result.stdout.strip() == "0 0 0 6 50 /root"  # No line of a user's at all.


@pytest.mark.parametrize("file", ["passwd", "group"])
@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "link", "proc", "missing"])
def test_what_is_no_file(naja: Runtime, running: Bundle, kind: str, file: str) -> None:
    """It is not opened, nor does a link lead to the host's file."""
    path = f"{running.rootfs}/etc/{file}"
    os.unlink(path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "link":
        os.symlink("../" * 20 + "etc/hostname", path)
    elif kind == "proc":
        os.symlink("/proc/1/environ", path)
    user = "ann:staff" if file == "group" else "ann"
    with opens(*[path] * os.path.exists(path)) as opened:
        result = as_user(naja, running, user)
    assert (result.status, result.stdout) == (255, "")
    assert f"look up --user in the container's /etc/{file}: there is no such file to read" in result.stderr
    assert opened == []


def test_without_any_groups(naja: Runtime, running: Bundle) -> None:
    os.unlink(f"{running.rootfs}/etc/group")
    assert as_user(naja, running, "ann", check=True).stdout.strip() == "1000 100 100 /home/ann"


@pytest.mark.parametrize(
    "content",
    [
        b"x:x:1:1::/:\n" * 800000,
        b"ann" * 3000000,
        b"anna:x:1:ann\n" * 800000,
        b"g:x:1:" + b"ann," * 2000000,
        b"\n" * 9000000,
    ],
    ids=["users", "one word", "another user", "one group", "newlines"],
)
def test_files_that_keep_nobody_busy(naja: Runtime, running: Bundle, content: bytes) -> None:
    """They are read on the host's time, so only so much of them."""
    running.write("/etc/group", content)
    running.write("/etc/passwd", PASSWD.encode() + content)
    began = time.monotonic()
    assert as_user(naja, running, "ann").stdout.startswith("1000 100 ")
    assert time.monotonic() - began < 20


def test_files_without_an_end(naja: Runtime, running: Bundle) -> None:
    for file in ("passwd", "group"):
        os.truncate(f"{running.rootfs}/etc/{file}", 1 << 40)
    assert as_user(naja, running, "ann", check=True).stdout.startswith("1000 100 ")


def test_a_nul_in_the_home(naja: Runtime, running: Bundle) -> None:
    running.write("/etc/passwd", b"ann:x:1000:100::/home\0ann:/bin/sh\n")
    assert as_user(naja, running, "ann", check=True).stdout.strip() == "1000 100 100 6 50 /"


def test_more_groups_than_a_process_may_have(naja: Runtime, running: Bundle) -> None:
    running.write("/etc/group", "".join(f"g{gid}:x:{gid}:ann\n" for gid in range(100, 70100)))
    naja.run("exec", "--user", "ann", running.id, "/bin/true")


def test_a_lease(naja: Runtime, running: Bundle) -> None:
    """Whoever opened it would wait for the holder; so the user is not known."""
    script = "import fcntl, os, time; f = os.open('etc/passwd', os.O_RDONLY); fcntl.fcntl(f, 1024, 1); print(flush=True); time.sleep(1000)"  # noqa: E501
    holder = subprocess.Popen(["python3", "-c", script], cwd=running.rootfs, stdout=subprocess.PIPE)
    try:
        assert holder.stdout
        holder.stdout.readline()
        began = time.monotonic()
        as_user(naja, running, "ann")
        assert time.monotonic() - began < 20
    finally:
        holder.kill()
        holder.communicate()
