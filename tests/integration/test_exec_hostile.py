"""A container that runs already, and attacks the processes that are added to it.

What a hostile image can do to ``create`` is in test_mounts_hostile and test_host_escape. Here the attacker
is awake: it watches the processes that appear beside it, and has changed what they will meet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.command import REPOSITORY
from tests.support.needs import requires_command
from tests.support.rootless import let_through
from tests.support.terminal import OnTerminal
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

ALL = ["CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_MKNOD"]


def in_user_namespace(bundle: Bundle) -> None:
    """Give the bundle's container a user namespace, and its root all capabilities that matter there."""
    bundle.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    for directory, _, _ in os.walk(bundle.rootfs):
        os.chown(directory, 100000, 100000)
    let_through(os.path.dirname(bundle.path))
    grant(bundle, *ALL)
    del bundle.process["rlimits"]


def grant(bundle: Bundle, *names: str) -> None:
    """Let the container's root have these capabilities beside its others."""
    for names_of in bundle.process["capabilities"].values():
        names_of.extend(names)


@requires_command("nsenter")
@pytest.mark.parametrize("user_namespace", [False, True])
def test_nobody_looks_into_a_process_that_comes_in(
    naja: Runtime, bundle: Bundle, user_namespace: bool
) -> None:
    """CVE-2016-9962: its descriptors, root and program stay the host's secret until it is the container's.

    It is held where it is in already: in the cgroup of a paused container. The attacker is the same user;
    in a user namespace root there, with all capabilities, which are none over a process of the host.
    """
    if user_namespace:
        in_user_namespace(bundle)
    else:
        bundle.process["user"] = {"uid": 1000, "gid": 1000}
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    naja.run("pause", bundle.id)
    words = naja.command("exec", "--ignore-paused", bundle.id, "/bin/true")
    coming = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: len(json.loads(naja.run("ps", "--format=json", bundle.id).stdout)) == 2, what="exec"
        )
        watch = """
            for process in /proc/[0-9]*; do
                [ $process = /proc/$$ ] && continue
                echo $process $(readlink $process/exe) $(readlink $process/root) $(readlink $process/cwd) \
                    $(ls $process/fd) $(ls $process/map_files) $(cat $process/environ $process/maps)
            done 2> /dev/null
        """
        uid = "0" if user_namespace else "1000"
        enter = ["nsenter", "-t", str(naja.state(bundle)["pid"]), "-m", "-p", "-S", uid, "-G", uid]
        enter += ["-U"] if user_namespace else []
        argv = [*enter, "/bin/sh", "-c", watch]
        seen = subprocess.run(
            argv, capture_output=True, text=True, timeout=10, check=False
        ).stdout.splitlines()
    finally:
        naja.run("resume", bundle.id)
        coming.wait(10)
    (own,) = (line for line in seen if line.startswith("/proc/1 "))
    assert own.startswith("/proc/1 /bin/busybox / / 0 1 2")
    (foreign,) = (line.split() for line in seen if line != own)
    assert len(foreign) == 1, foreign


@pytest.mark.parametrize("number", range(3, 9))
def test_a_directory_that_is_a_descriptor(naja: Runtime, bundle: Bundle, number: int) -> None:
    """CVE-2024-21626, by exec: --cwd, and a link in the image that leads there."""
    os.symlink(f"/proc/self/fd/{number}", os.path.join(bundle.rootfs, "link"))
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    inside = '[ "$(stat -c %d:%i ../../../../../../../..)" = "$(stat -c %d:%i /)" ] || echo ESCAPED'
    directory = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{directory}", "/link"):
            words = ("exec", "--cwd", cwd, bundle.id, "/bin/sh", "-c", inside)
            result = naja.run(*words, check=False, pass_fds=(directory,))
            assert "ESCAPED" not in result.stdout
    finally:
        os.close(directory)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_program_that_is_a_descriptor(naja: Runtime, bundle: Bundle, verb: str) -> None:
    """CVE-2024-21626: what naja or its caller has open is not executed in its name."""
    program = os.open("/bin/true", os.O_RDONLY)
    names = [f"/proc/self/fd/{number}" for number in (*range(3, 12), program)]
    os.symlink(names[-1], os.path.join(bundle.rootfs, "link"))
    try:
        if verb == "exec":
            naja.run_detached(bundle.args("/bin/sleep", "1000"))
        for name in (*names, "/link"):
            if verb == "exec":
                result = naja.exec(bundle, name, check=False, pass_fds=(program,))
            else:
                result = naja.run_attached(bundle.args(name), check=False, pass_fds=(program,))
            assert result.status != 0
    finally:
        os.close(program)


def test_added_capabilities_are_not_inheritable(naja: Runtime, bundle: Bundle) -> None:
    """CVE-2022-29162: as the kernel sees it."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    words = ("exec", "--cap", "CAP_CHOWN", bundle.id, "/bin/grep", "Cap", "/proc/self/status")
    sets = {line.split(":")[0]: int(line.split()[1], 16) for line in naja.run(*words).stdout.splitlines()}
    assert sets["CapInh"] == sets["CapAmb"] == 0
    assert sets["CapBnd"] & sets["CapEff"] & sets["CapPrm"] & 1


@pytest.mark.parametrize("user", ["1000", "1000:1000"])
def test_a_user_is_the_one_that_was_named(naja: Runtime, bundle: Bundle, user: str) -> None:
    """CVE-2026-30892: 1000 is not 0."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    result = naja.run("exec", "--user", user, bundle.id, "/bin/sh", "-c", "id -u; id -g")
    assert result.stdout.split() == ["1000", "1000" if ":" in user else "0"]


@pytest.mark.parametrize(
    "user", ["4294967296", "4294967295", "-1", "+1", " 1", "1_0", "0x1", "٣", "1:", ":1", "nobody-here"]
)
def test_a_user_that_is_none(naja: Runtime, bundle: Bundle, user: str) -> None:
    """CVE-2026-30892, CVE-2026-46680: nothing becomes root by being cut off or read half."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    result = naja.run("exec", f"--user={user}", bundle.id, "/bin/id", check=False)
    assert (result.status, result.stdout) == (255, "")
    assert "--user" in result.stderr


@pytest.mark.parametrize("path", ["..", "../..", "x/../../y", "/../", "x/.."])
def test_a_cgroup_outside(naja: Runtime, bundle: Bundle, path: str) -> None:
    """runc: ``exec --cgroup`` must stay below the container's."""
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    result = naja.run("exec", f"--cgroup={path}", bundle.id, "/bin/true", check=False)
    assert result.status == 255
    assert "must not contain '..'" in result.stderr


def test_a_covered_proc(naja: Runtime, bundle: Bundle) -> None:
    """CVE-2019-16884, CVE-2025-52881: what the container has mounted on /proc is not asked for anything."""
    grant(bundle, "CAP_SYS_ADMIN")
    script = """
        mount -t tmpfs fake /proc
        for name in self thread-self 1; do
            mkdir -p /proc/$name/attr /proc/$name/fd
            echo fake > /proc/$name/attr/exec
            for file in status oom_score_adj setgroups uid_map; do echo fake > /proc/$name/$file; done
        done
        touch /tmp/ready; sleep 1000
    """
    bundle.linux["readonlyPaths"] = bundle.linux["maskedPaths"] = []
    naja.run_detached(bundle.shell(script))
    tmp = os.path.join(bundle.rootfs, "tmp")
    wait_until(lambda: os.path.exists(f"{tmp}/ready"), what="the container")
    result = naja.run("exec", "--user", "1000", "--cwd", "/tmp", bundle.id, "/bin/sh", "-c", "id -u; pwd")
    assert result.stdout.split() == ["1000", "/tmp"]
    assert (
        naja.exec(bundle, "/bin/sh", "-c", "cat /proc/*/oom_score_adj /proc/*/attr/exec").stdout.split()
        == ["fake"] * 6
    )


@pytest.mark.parametrize("fake", ["pts", "ptmx", "console", "dev"])
def test_a_terminal_in_a_hostile_dev(naja: Runtime, bundle: Bundle, fake: str) -> None:
    """CVE-2025-52565, CVE-2026-88264: a terminal comes from a devpts, or there is none."""
    grant(bundle, "CAP_SYS_ADMIN")
    attack = {
        "pts": "umount /dev/pts; rmdir /dev/pts; ln -s /tmp /dev/pts; echo > /tmp/ptmx",
        "ptmx": "mount -t tmpfs t /dev/pts; ln -s /dev/null /dev/pts/ptmx",
        "console": "rm -f /dev/console; ln -s /tmp/made /dev/console",
        "dev": "umount /dev/pts /dev/shm /dev/mqueue /dev; rm -rf /dev; ln -s /tmp /dev; mkdir /tmp/pts",
    }[fake]
    naja.run_detached(bundle.shell(f"{attack}; touch /tmp/ready; sleep 1000"))
    tmp = os.path.join(bundle.rootfs, "tmp")
    wait_until(lambda: os.path.exists(f"{tmp}/ready"), what="the container")
    with OnTerminal(
        naja.command("exec", "--tty", bundle.id, "/bin/sh", "-c", "test -t 0 && echo good")
    ) as terminal:
        text = terminal.screen.rest()
        status = terminal.wait()
    if fake == "console":
        assert (status, "good" in text) == (0, True)
    else:
        assert status == 255
        assert "good" not in text
    assert not os.path.exists(f"{tmp}/made")


@requires_command("unshare")
@pytest.mark.parametrize(("flags", "host"), [([], "False"), (["--user", "--map-root-user"], "True")])
def test_root_of_a_user_namespace_is_not_the_hosts(flags: list[str], host: str) -> None:
    """crun 1.28: who takes its own namespace for the host's does more than it may, and shows more."""
    ask = "from naja.container.creation import is_rootless; print(is_rootless())"
    argv = ["unshare", *flags, sys.executable, "-c", ask]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == host


@pytest.mark.parametrize("length", [65535, 65536, 1 << 20])
def test_no_length_overflows(naja: Runtime, bundle: Bundle, length: int) -> None:
    """CVE-2021-43784: what is too long for 16 bits is neither cut off nor read as something else."""
    text = "x" * (length // 32)
    bundle.process["env"] += [f"LONG{number}={text}" for number in range(32)]
    bundle.config["annotations"] = {"long": "y" * length}
    result = naja.run_attached(bundle.shell("env | grep -c LONG"), check=False)
    if result.status == 0:
        assert result.stdout.strip() == "32"
    else:
        # The kernel's own limit of one string, or of all together (execve(2)).
        assert "E2BIG" in result.stderr
    bundle.process["env"] = ["PATH=/bin"]
    bundle.linux["namespaces"][1]["path"] = "/proc/self/ns/net" + "/" * length
    result = naja.run_attached(bundle.save(), check=False)
    assert result.status == 1
    assert "/linux/namespaces/1/path" in result.stderr
