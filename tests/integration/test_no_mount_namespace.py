"""A container in the mount namespace of the host (config-linux.md, Namespaces): the host's mounts stay.

"If a namespace type is not specified in the namespaces array, the container MUST inherit the runtime
namespace of that type."
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Runtime
from tests.support.needs import requires_command
from tests.support.seen import refused, shown
from tests.support.terminal import OnTerminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.bundle import Bundle


def mount_table() -> str:
    """Return all that the host's mount table says."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        return file.read()


@pytest.fixture
def inheriting(bundle: Bundle) -> Bundle:
    """A bundle that asks for every namespace but that of mounts."""
    bundle.linux["namespaces"] = [entry for entry in bundle.linux["namespaces"] if entry["type"] != "mount"]
    return bundle.save()


def test_the_namespace_is_the_runtimes(naja: Runtime, inheriting: Bundle) -> None:
    before = mount_table()
    naja.create(inheriting.args("/bin/sleep", "60"))
    pid = naja.state(inheriting)["pid"]
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    assert mount_table() == before
    naja.start(inheriting)
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    assert mount_table() == before
    naja.delete(inheriting, "--force")
    assert mount_table() == before


def test_what_config_asks_for_is_there(naja: Runtime, inheriting: Bundle, tmp_path: Path) -> None:
    """Mounts, masks, read-only paths and a read-only root: as in a mount namespace."""
    (tmp_path / "file").write_text("bound\n")
    inheriting.write("/copied/file", "copied\n")
    inheriting.mount("/bound", "bind", str(tmp_path / "file"), "bind", "ro")
    inheriting.mount("/copied", "tmpfs", "tmpfs", "tmpcopyup", "ro")
    inheriting.config["root"]["readonly"] = True
    inheriting.process["noNewPrivileges"] = False
    before = mount_table()
    script = """
        cat /bound /copied/file; cat /proc/1/comm; ls /dev/pts; stat -f -c %T /sys /dev/mqueue /dev/shm
        head -c 1 /proc/kcore | wc -c
        for file in /root/x /copied/x /bound /proc/sys/kernel/domainname; do
            (echo x > $file) 2>&1
        done
        echo data > /dev/shm/file && cat /dev/shm/file
        cd ../../../../..; pwd; ls -d bin
    """
    lines = shown(naja, inheriting, script).splitlines()
    assert lines[:7] == ["bound", "copied", "sh", "ptmx", "sysfs", "UNKNOWN", "tmpfs"]
    assert lines[7] == "0"
    assert [line.rpartition(": ")[2] for line in lines[8:12]] == ["Read-only file system"] * 4
    assert lines[12:] == ["data", "/", "bin"]
    assert mount_table() == before
    assert not os.path.exists(os.path.join(inheriting.rootfs, "dev/null"))


@pytest.mark.parametrize("propagation", ["shared", "rslave", "private", "unbindable"])
def test_no_propagation_of_the_hosts_mounts_changes(
    naja: Runtime, inheriting: Bundle, propagation: str
) -> None:
    inheriting.linux["rootfsPropagation"] = propagation
    before = mount_table()
    assert shown(naja, inheriting, "echo in") == "in"
    assert mount_table() == before


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
def test_exec_enters_the_containers_root(naja: Runtime, inheriting: Bundle, flags: list[str]) -> None:
    inheriting.write("/mark", "mine\n")
    naja.run_detached(inheriting.args("/bin/sleep", "60"), *flags)
    result = naja.exec(inheriting, "/bin/sh", "-c", "cat /mark; ls /dev/pts; cd ..; ls; pwd")
    assert result.stdout.split()[:2] == ["mine", "ptmx"]
    assert result.stdout.split()[2:] == [*sorted(os.listdir(inheriting.rootfs)), "/"]
    # With capabilities to change roots and to mount it gets no further: the tree has nothing above it.
    escape = "mkdir -p /tmp/x; chroot /tmp/x /bin/true; cd ../../../..; ls -d mark; mount -t tmpfs x /tmp"
    result = naja.run(
        "exec", "--cap", "CAP_SYS_CHROOT", "--cap", "CAP_SYS_ADMIN", inheriting.id, "/bin/sh", "-c", escape,
        check=False,
    )  # fmt: skip
    assert result.stdout.split() == ["mark"]
    assert "mount" in result.stderr.splitlines()[-1]
    naja.delete(inheriting, "--force")


@pytest.mark.parametrize("number", range(3, 9))
def test_a_working_directory_that_is_a_descriptor(naja: Runtime, inheriting: Bundle, number: int) -> None:
    """CVE-2024-21626: naja holds the namespace of the host while it builds the root file system."""
    inheriting.process["cwd"] = f"/proc/self/fd/{number}"
    inside = '[ "$(stat -c %d:%i ../../../../../../../..)" = "$(stat -c %d:%i /)" ] || echo ESCAPED'
    assert "ESCAPED" not in naja.run_attached(inheriting.shell(inside), check=False).stdout


def test_nothing_of_the_host_is_open(naja: Runtime, inheriting: Bundle) -> None:
    """Neither its mount namespace nor its root."""
    result = naja.run_attached(inheriting.shell("echo /proc/self/fd/*; readlink /proc/self/root"))
    assert result.stdout.split() == [*(f"/proc/self/fd/{number}" for number in range(4)), "/"]


def test_with_a_terminal(naja: Runtime, inheriting: Bundle) -> None:
    inheriting.process["terminal"] = True
    before = mount_table()
    inheriting.shell("tty; ls /dev/console")
    with OnTerminal(naja.command("run", "--bundle", inheriting.path, inheriting.id)) as terminal:
        text = terminal.screen.rest()
    assert "/dev/pts/0" in text
    assert "/dev/console" in text
    assert mount_table() == before


def test_without_any_namespace(naja: Runtime, inheriting: Bundle) -> None:
    """Every type is inherited; a process can be added all the same."""
    del inheriting.linux["namespaces"]
    del inheriting.config["hostname"]
    inheriting.write("/mark", "mine\n")
    naja.run_detached(inheriting.args("/bin/sleep", "60"))
    pid = naja.state(inheriting)["pid"]
    kinds = ("pid", "net", "ipc", "uts", "mnt", "user", "cgroup", "time")
    for kind in kinds:
        assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"), kind
    assert naja.exec(inheriting, "/bin/cat", "/mark").stdout == "mine\n"
    naja.delete(inheriting, "--force")


def test_a_failed_create_leaves_the_mount_table(naja: Runtime, inheriting: Bundle) -> None:
    before = mount_table()
    inheriting.mount("/data", "tmpfs", "tmpfs", "sizee=1")
    assert "/options/0" in refused(naja, inheriting)
    inheriting.config["mounts"][-1]["options"] = ["size=1m", "unbindable"]
    assert "/options/1: without a mount namespace" in refused(naja, inheriting)
    assert mount_table() == before


def test_a_user_namespace_needs_mounts_of_its_own(naja: Runtime, inheriting: Bundle) -> None:
    inheriting.linux["namespaces"].append({"type": "user"})
    for kind in ("uidMappings", "gidMappings"):
        inheriting.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    assert "/linux/namespaces: a user namespace needs a mount namespace" in refused(naja, inheriting)


@requires_command("unshare")
def test_the_hosts_mount_namespace_by_path_is_refused(naja: Runtime, inheriting: Bundle) -> None:
    """Its root would be exchanged under everybody's feet: here, for safety, that of another namespace."""
    inheriting.linux["namespaces"].append({"type": "mount", "path": "/proc/self/ns/mnt"})
    apart = Runtime(naja.root, ["unshare", "--mount", "--propagation", "private", *naja.argv])
    place = f"/linux/namespaces/{len(inheriting.linux['namespaces']) - 1}/path"
    line = refused(apart, inheriting)
    assert "this would change the host's mount namespace" in line
    assert place in line
