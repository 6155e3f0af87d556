"""The host's device nodes are out of reach: neither changed by a container, nor opened for it unseen.

Nothing here writes to a device of the host: what could be changed is looked at first.
"""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.bundle import Bundle
from tests.support.needs import need_command
from tests.support.opened import opens
from tests.support.terminal import OnTerminal
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Runtime

HARMLESS = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}

#: The flags of the mount that a path is on.
FLAGS = "flags() { awk -v path=$1 '$5 == path { print $6 }' /proc/self/mountinfo | tail -n 1; }"
#: What changing a node says; it is tried on a mount only that was seen to be read-only.
CHANGE = f"""{FLAGS}
for path in $PATHS; do
    case ,$(flags $path), in *,ro,*) ;; *) echo "$path is writable"; continue;; esac
    chmod 666 $path 2>&1; touch -c $path 2>&1 || true
done"""


def in_user_namespace(bundle: Bundle) -> None:
    """Give the container a user namespace, in which the host's root is root."""
    ids = [{"containerID": 0, "hostID": 0, "size": 1000}]
    bundle.linux["namespaces"].append({"type": "user"})
    bundle.linux.update(uidMappings=ids, gidMappings=ids)


def change(bundle: Bundle, *paths: str) -> Bundle:
    bundle.process["env"].append(f"PATHS={' '.join(paths)}")
    return bundle.shell(CHANGE)


@pytest.mark.parametrize("user", [False, True])
@pytest.mark.parametrize("way", [(), ("--no-pivot",)])
def test_a_mask_cannot_be_changed(naja: Runtime, bundle: Bundle, user: bool, way: tuple[str, ...]) -> None:
    """It is the host's null device, which takes no capability to change, but a mount that can be written."""
    if user:
        in_user_namespace(bundle)
    bundle.linux["maskedPaths"].append("/etc/group")
    lines = naja.run_attached(change(bundle, "/proc/keys", "/etc/group"), *way).stdout.splitlines()
    assert len(lines) == 4
    assert all("Read-only file system" in line for line in lines), lines


@pytest.mark.parametrize("kinds", [("pid", "mount"), ("pid",)])
def test_a_mask_is_read_only_without_a_mount_namespace_too(
    naja: Runtime, bundle: Bundle, kinds: tuple[str, ...]
) -> None:
    """Where there is no mount table to look at."""
    bundle.linux["namespaces"] = [{"type": kind} for kind in kinds]
    bundle.linux["maskedPaths"] = ["/etc/group"]
    bundle.config.pop("hostname")
    naja.run_detached(bundle.args("/bin/sleep", "1000"))
    path = f"/proc/{naja.state(bundle)['pid']}/root/etc/group"
    assert stat.S_ISCHR(os.stat(path).st_mode)
    assert os.statvfs(path).f_flag & os.ST_RDONLY


def test_what_is_masked_reads_empty(naja: Runtime, bundle: Bundle) -> None:
    """And nobody is told off for writing, as before."""
    bundle.linux["maskedPaths"].append("/etc/group")
    script = f"{FLAGS}; cat /proc/keys /etc/group; echo x > /etc/group && flags /proc/keys; flags /etc/group"
    lines = naja.run_attached(bundle.shell(script)).stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert {"ro", "nosuid", "noexec"} <= set(line.split(","))


def test_a_bound_device_cannot_be_changed(naja: Runtime, bundle: Bundle) -> None:
    """A user namespace makes no nodes: those of the host are shown, and can be used."""
    in_user_namespace(bundle)
    bundle.linux["devices"] = [{"path": "/dev/loop-control", "type": "c", "major": 10, "minor": 237}]
    names = ["loop-control", "tty", *HARMLESS]
    lines = naja.run_attached(change(bundle, *(f"/dev/{name}" for name in names))).stdout.splitlines()
    assert len(lines) == 2 * len(names)
    assert all("Read-only file system" in line for line in lines), lines
    script = "echo x > /dev/null && head -c 3 /dev/zero | wc -c; ! echo x > /dev/full"
    assert naja.run_attached(bundle.shell(script)).stdout == "3\n"


def test_a_device_that_may_not_be_made_is_bound_and_cannot_be_changed(naja: Runtime, bundle: Bundle) -> None:
    """Inside of another container, for one: who may not make nodes shows those there are."""
    need_command("setpriv")
    change(bundle, "/dev/null", "/dev/zero")
    argv = ["setpriv", "--bounding-set", "-mknod", *naja.command("run", "--bundle", bundle.path, bundle.id)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done
    assert all("Read-only file system" in line for line in lines), lines


WHICH = 'for fd in 0 2; do stat -Lc "%d %i" /proc/self/fd/$fd; done; stat -c "%d %i" /dev/'


def started(naja: Runtime, bundle: Bundle, way: str, script: str, **options: Any) -> str:
    """Run a script in a container by one of the verbs; return its output."""
    if way == "run":
        bundle.shell(script)
        argv = naja.command("run", "--bundle", bundle.path, bundle.id)
    elif way == "create":
        output = f"{bundle.rootfs}/tmp/output"
        bundle.shell(f"({script}) > /tmp/output.new; mv /tmp/output.new /tmp/output; sleep 1000")
        argv = naja.command("create", "--bundle", bundle.path, bundle.id)
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, timeout=30, **options)
        naja.start(bundle)
        wait_until(lambda: os.path.exists(output), what="the container")
        with open(output) as file:
            return file.read()
    else:
        if not naja.ids():
            naja.run_detached(bundle.args("/bin/sleep", "1000"))
        argv = naja.command("exec", bundle.id, "/bin/sh", "-c", script)
    done = subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=30, **options)
    return bytes(done.stdout).decode()


@pytest.mark.parametrize("way", ["run", "create", "exec"])
@pytest.mark.parametrize("name", HARMLESS)
def test_stdio_is_the_containers_own(naja: Runtime, bundle: Bundle, way: str, name: str) -> None:
    """The node of the host's that the caller hands over is exchanged, on each of the three."""
    with open(f"/dev/{name}", "r+b", buffering=0) as device:
        found = started(naja, bundle, way, WHICH + name, stdin=device, stderr=device).splitlines()
    status = os.stat(f"/dev/{name}")
    assert len(found) == 3
    assert len({*found}) == 1, "the container's"
    assert f"{status.st_dev} {status.st_ino}" not in found, "not the host's"


@pytest.mark.parametrize("way", ["run", "create", "exec"])
def test_stdio_in_a_user_namespace_cannot_be_changed(naja: Runtime, bundle: Bundle, way: str) -> None:
    """There the container's own node is the host's, on a mount that cannot be written to."""
    in_user_namespace(bundle)
    script = """for fd in 0 2; do
        id=$(awk '/mnt_id/ { print $2 }' /proc/self/fdinfo/$fd)
        awk -v id=$id '$1 == id { print $6 }' /proc/self/mountinfo
    done"""
    # The shell's own fdinfo: awk has another, with the same files.
    with open("/dev/null", "r+b", buffering=0) as device:
        found = started(naja, bundle, way, script, stdin=device, stderr=device).splitlines()
    assert len(found) == 2
    assert all("ro" in flags.split(",") for flags in found)


@pytest.mark.parametrize("attack", ["nothing", "zero", "file", "link", "fifo"])
def test_stdio_where_the_container_has_no_null_of_its_own(naja: Runtime, bundle: Bundle, attack: str) -> None:
    """A container that took its own away does not get the host's by exec."""
    command = {
        "nothing": "true",
        "zero": "mknod /dev/null c 1 5",
        "file": "touch /dev/null",
        "link": "ln -s /dev/zero /dev/null",
        "fifo": "mkfifo /dev/null",
    }[attack]
    for capabilities in bundle.process["capabilities"].values():
        capabilities.append("CAP_MKNOD")
    naja.run_detached(bundle.shell(f"rm /dev/null; {command}; touch /tmp/ready; sleep 1000"))
    wait_until(lambda: os.path.exists(f"{bundle.rootfs}/tmp/ready"), what="the container")
    script = 'stat -Lc "%t:%T %d %i" /proc/self/fd/0; cat <&0'
    with open("/dev/null", "rb") as device:
        kind, number, inode = started(naja, bundle, "exec", script, stdin=device).split()
    assert kind == "1:3"
    status = os.stat("/dev/null")
    assert (int(number), int(inode)) != (status.st_dev, status.st_ino)


def test_stdio_in_a_user_namespace_without_a_null(naja: Runtime, bundle: Bundle) -> None:
    """Nothing can take its place there: it is refused, in a line."""
    in_user_namespace(bundle)
    bundle.process["capabilities"] = {
        kind: ["CAP_SYS_ADMIN"] for kind in ("bounding", "permitted", "effective")
    }
    naja.run_detached(bundle.shell("umount -l /dev/null && touch /tmp/ready; sleep 1000"))
    wait_until(lambda: os.path.exists(f"{bundle.rootfs}/tmp/ready"), what="the container")
    done = naja.exec(bundle, "/bin/true", check=False)
    assert done.status
    assert done.stderr.count("\n") == 1
    assert "the container has none of its own" in done.stderr


# What the image offers is looked at before it is opened.


def plant(path: str, kind: str) -> None:
    """Put a device node or a FIFO in the place of a file."""
    if os.path.lexists(path):
        os.unlink(path)
    if kind == "fifo":
        os.mkfifo(path, 0o755)
    else:
        os.mknod(path, stat.S_IFCHR | 0o755, os.makedev(1, 5))


@pytest.mark.parametrize("kind", ["device", "fifo"])
@pytest.mark.parametrize("way", ["run", "create", "exec"])
def test_a_passwd_that_is_no_file_is_not_opened(naja: Runtime, bundle: Bundle, way: str, kind: str) -> None:
    """To open a device is to use it, outside of the container's device cgroup."""
    bundle.process["env"] = ["PATH=/bin"]
    if way == "exec":
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
    path = f"{bundle.rootfs}/etc/passwd"
    plant(path, kind)
    with opens(path) as opened:
        assert started(naja, bundle, way, "echo $HOME", stdin=subprocess.DEVNULL) == "/\n"
    assert opened == []


@pytest.mark.parametrize("kind", ["device", "fifo"])
def test_a_ptmx_that_is_none_is_not_opened(naja: Runtime, bundle: Bundle, kind: str) -> None:
    bundle.config["mounts"] = [
        mount for mount in bundle.config["mounts"] if not mount["destination"].startswith("/dev")
    ]
    bundle.process["terminal"] = True
    os.mkdir(f"{bundle.rootfs}/dev/pts")
    path = f"{bundle.rootfs}/dev/pts/ptmx"
    plant(path, kind)
    with (
        opens(path) as opened,
        OnTerminal(naja.command("run", "-b", bundle.save().path, bundle.id)) as terminal,
    ):
        text = terminal.screen.rest()
        assert terminal.wait() == 1
    assert "does not belong to a devpts" in text
    assert opened == []


@pytest.mark.parametrize("kind", ["device", "fifo"])
@pytest.mark.parametrize("way", ["run", "exec"])
def test_a_null_that_is_none_is_not_opened(naja: Runtime, bundle: Bundle, way: str, kind: str) -> None:
    bundle.config["mounts"] = [
        mount for mount in bundle.config["mounts"] if not mount["destination"].startswith("/dev")
    ]
    path = f"{bundle.rootfs}/dev/null"
    if way == "run":
        # Nothing is made in a directory that is bound; so what is there is taken for what it is.
        bundle.mount("/dev", "bind", f"{bundle.rootfs}/dev", "bind")
        plant(path, kind)
    else:
        naja.run_detached(bundle.args("/bin/sleep", "1000"))
        plant(path, kind)
    script = 'stat -Lc "%t:%T" /proc/self/fd/0'
    with opens(path) as opened:
        assert started(naja, bundle, way, script, stdin=subprocess.DEVNULL) == "1:3\n"
    assert opened == []


@pytest.mark.parametrize("kind", ["device", "fifo"])
def test_a_program_that_is_no_file_fails_at_create(naja: Runtime, bundle: Bundle, kind: str) -> None:
    path = f"{bundle.rootfs}/bin/program"
    plant(path, kind)
    with opens(path) as opened:
        done = naja.create(bundle.args("/bin/program"), check=False)
        assert naja.create(bundle.args("program"), check=False).status
    assert opened == []
    assert done.stderr.startswith('naja: exec: "/bin/program": permission denied')


def test_what_is_no_file_is_copied_unopened(naja: Runtime, bundle: Bundle) -> None:
    """A tmpfs that is filled with what it hides."""
    os.mkdir(f"{bundle.rootfs}/filled")
    paths = [f"{bundle.rootfs}/filled/{kind}" for kind in ("device", "fifo")]
    for path in paths:
        plant(path, os.path.basename(path))
    bundle.mount("/filled", "tmpfs", "tmpfs", "tmpcopyup")
    with opens(*paths) as opened:
        done = naja.run_attached(bundle.shell("stat -c %F /filled/*"))
    assert opened == []
    assert done.stdout.splitlines() == ["character special file", "fifo"]


def spent(work: Callable[[], Any]) -> float:
    """Return the seconds of processor that the children of this process took for something."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * (64 << 20),
        b"a:b:77:\n" * (8 << 20),
        b":77" * (16 << 20),
        b":77:" * (4 << 20),
        b"x:77:\n" * (8 << 20),
    ],
    ids=["newlines", "users", "one line", "another line", "groups"],
)
@pytest.mark.parametrize("way", ["create", "exec"])
def test_a_passwd_that_keeps_nobody_busy(naja: Runtime, bundle: Bundle, way: str, content: bytes) -> None:
    """It is read on the host's time, so only so much of it."""
    bundle.process["env"] = ["PATH=/bin"]
    bundle.process["user"] = {"uid": 77, "gid": 0}
    naja.create(bundle.args("/bin/sleep", "1000"))
    naja.start(bundle)
    if way == "create":
        naja.delete(bundle, "--force")
    bundle.write("/etc/passwd", content)

    def use() -> None:
        if way == "create":
            naja.create(bundle)
        else:
            naja.exec(bundle, "/bin/true")

    assert spent(use) < 1


def test_the_last_of_a_hundred_thousand_users(naja: Runtime, bundle: Bundle) -> None:
    bundle.process["env"] = ["PATH=/bin"]
    lines = [
        f"user{uid}:x:{uid}:100:A user with a name,,,:/home/staff/user{uid}:/bin/sh"
        for uid in range(1000, 101000)
    ]
    bundle.write("/etc/passwd", "\n".join(lines) + "\n")
    for uid in (1000, 100999, 100):
        bundle.process["user"] = {"uid": uid, "gid": 0}
        home = f"/home/staff/user{uid}" if uid >= 1000 else "/"
        assert naja.run_attached(bundle.shell("echo $HOME")).stdout == f"{home}\n"
        naja.delete(bundle, "--force", check=False)


def test_a_tree_that_is_too_deep_to_copy_is_refused_in_a_line(naja: Runtime, bundle: Bundle) -> None:
    """Copying takes descriptors and frames for each level; the image decides how many there are."""
    descriptor = os.open(os.path.join(bundle.path, "rootfs"), os.O_RDONLY)
    for name in ["deep"] + ["d"] * 1500:
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    mount = {"destination": "/deep", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    bundle.config["mounts"].append(mount)
    bundle.save()
    result = naja.run_attached(bundle, check=False)
    assert result.status == 1
    assert "nested more than" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    subprocess.run(["rm", "-rf", os.path.join(bundle.path, "rootfs", "deep")], check=True)
