"""procfs, sysfs, mqueue and cgroups show the container's own namespaces, or nothing is mounted.

Where the kernel refuses a mount, the runtime's own instance is right only for a container that shares
its namespace. Which one is shown is asked of what can be seen in there.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from naja.operations.sources import make_user_namespace
from tests.support.bundle import Bundle
from tests.support.command import Result, Runtime
from tests.support.namespaces import OUTSIDE, Holder, map_ids, namespaces
from tests.support.needs import requires_command, requires_path
from tests.support.wait import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = requires_command("unshare", "nsenter", "setpriv")

NOBODY = 65534
#: A hierarchy of the host, and where a container has it.
TREE = "/sys/fs/cgroup/pids" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup"

#: The trees of version 2, alone or beside those of version 1.
TREES = [
    place
    for place in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
    if os.path.exists(f"{place}/cgroup.controllers")
]

QUIET: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 60}

#: Lists what a container sees of pids, interfaces and message queues.
LOOK = """
    cd /proc && echo pids [0-9]*
    cd /sys/class/net && echo net *
    cd /dev/mqueue && echo queues *
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Holder]:
    """Namespaces of the host's user namespace, with a message queue."""
    holder = Holder()
    try:
        holder.make_queue(tmp_path)
        yield holder
    finally:
        holder.end()


@pytest.fixture
def user_namespace() -> Iterator[str]:
    """The path of a user namespace."""
    mapping = [(0, OUTSIDE, 65536)]
    descriptor = make_user_namespace(mapping, mapping)
    yield f"/proc/{os.getpid()}/fd/{descriptor}"
    os.close(descriptor)


def only(bundle: Bundle, *destinations: str) -> None:
    """Leave these mounts alone in the config."""
    entries = bundle.config["mounts"]
    bundle.config["mounts"] = [entry for entry in entries if entry["destination"] in destinations]


def seen(result: Result) -> dict[str, list[str]]:
    """Return what LOOK said, by its first word."""
    lines = [line.split() for line in result.stdout.splitlines()]
    return {first: words for first, *words in lines}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("joined", [("pid",), ("ipc",), ("network",), ("pid", "ipc", "network")])
def test_a_user_namespace_with_others_that_are_joined(
    naja: Runtime, bundle: Bundle, holder: Holder, user_namespace: str, joined: tuple[str, ...], new: bool
) -> None:
    """They belong to the host's user namespace, so its root mounts them; they are never the host's."""
    map_ids(bundle)
    paths: dict[str, str | None] = {kind: holder.path(kind) for kind in joined}
    namespaces(bundle, **paths, user="" if new else user_namespace)
    if not new:
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
    found = seen(naja.run_attached(bundle.shell(LOOK)))
    assert found["net"] == ["lo"]
    assert found["queues"] == (["theirs"] if "ipc" in joined else ["*"])
    # Its own two beside the holder's, which is the first of its namespace.
    assert (found["pids"][0], len(found["pids"])) == ("1", 2 if "pid" in joined else 1)


def test_a_user_namespace_with_others_that_belong_to_it(
    naja: Runtime, bundle: Bundle, user_namespace: str, tmp_path: Path
) -> None:
    map_ids(bundle)
    theirs = Holder(user_namespace)
    try:
        theirs.make_queue(tmp_path)
        paths: dict[str, str | None] = {kind: theirs.path(kind) for kind in ("pid", "ipc", "network")}
        namespaces(bundle, **paths, user=user_namespace)
        del bundle.linux["uidMappings"], bundle.linux["gidMappings"]
        found = seen(naja.run_attached(bundle.shell(LOOK)))
    finally:
        theirs.end()
    assert (found["net"], found["queues"]) == (["lo"], ["theirs"])
    assert (found["pids"][0], len(found["pids"])) == ("1", 2)


def test_a_joined_namespace_that_has_ended(naja: Runtime, bundle: Bundle, holder: Holder) -> None:
    """No process can be born into it: an error, and nobody waits."""
    map_ids(bundle)
    path = f"/proc/{os.getpid()}/fd/{os.open(holder.path('pid'), os.O_RDONLY)}"
    holder.end()
    namespaces(bundle, pid=path, user="")
    result = naja.run_attached(bundle.shell(LOOK), check=False)
    os.close(int(os.path.basename(path)))
    assert (result.status, result.stdout) == (1, "")
    assert naja.ids() == []


@pytest.mark.parametrize("path", [None, "/proc/self/ns/"])
def test_a_user_namespace_with_others_that_are_the_runtimes(
    naja: Runtime, bundle: Bundle, path: str | None
) -> None:
    """Not named, or by a path that leads to the runtime's own: what is seen is the runtime's."""
    map_ids(bundle)
    own = {kind: path and path + name for kind, name in (("pid", "pid"), ("network", "net"))}
    namespaces(bundle, **own, user="")
    found = seen(naja.run_attached(bundle.shell(LOOK)))
    assert str(os.getpid()) in found["pids"]
    assert set(found["net"]) == set(os.listdir("/sys/class/net"))


@requires_command("strace")
@pytest.mark.parametrize("call", ["fsopen", "fsconfig", "fsmount"])
@pytest.mark.parametrize(
    ("kind", "destination"), [("proc", "/proc"), ("sysfs", "/sys"), ("mqueue", "/dev/mqueue")]
)
def test_denied_without_a_user_namespace(
    naja: Runtime, bundle: Bundle, call: str, kind: str, destination: str
) -> None:
    """The namespaces are new, so nothing of the host's stands in, whatever the error says."""
    only(bundle, destination)
    command = naja.command("run", "--bundle", bundle.shell(f"ls {destination}").path, bundle.id)
    inject = ["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:error=EPERM"]
    done = subprocess.run([*inject, *command], check=False, **QUIET)
    assert (done.returncode, done.stdout) == (1, "")
    assert "asked for by config.json /mounts/0" in done.stderr
    assert naja.ids() == []


@requires_command("strace")
@pytest.mark.parametrize("kind", ["pid", "network", "ipc"])
def test_denied_in_a_joined_namespace(naja: Runtime, bundle: Bundle, holder: Holder, kind: str) -> None:
    """A path need not be the runtime's own namespace; that it is another is seen when it is joined."""
    destination = {"pid": "/proc", "network": "/sys", "ipc": "/dev/mqueue"}[kind]
    only(bundle, destination)
    namespaces(bundle, **{kind: holder.path(kind)})
    command = naja.command("run", "--bundle", bundle.shell(f"ls {destination}").path, bundle.id)
    inject = ["strace", "-f", "-o", "/dev/null", "-e", "inject=fsopen:error=EPERM"]
    done = subprocess.run([*inject, *command], check=False, **QUIET)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "/mounts/0" in line
    assert "the host's is no substitute" in line


@pytest.mark.parametrize("kind", ["pid", "cgroup", "user"])
def test_a_fifo_in_the_place_of_a_namespace(naja: Runtime, bundle: Bundle, tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    namespaces(bundle, **{kind: str(tmp_path / "fifo")})
    result = naja.run_attached(bundle.shell("true"), check=False)
    assert result.status == 1
    (line,) = result.stderr.splitlines()
    assert f"this is not a {kind} namespace that can be joined" in line


@pytest.fixture
def marked(tag: str) -> Iterator[str]:
    """A cgroup with another one in it, called "mark"."""
    path = f"{TREE}/{tag}marked"
    os.makedirs(f"{path}/mark")
    yield path
    os.rmdir(f"{path}/mark")

    def removed() -> bool:
        try:
            os.rmdir(path)
        except OSError as error:
            assert error.errno == errno.EBUSY  # A holder's process is ending still.
            return False
        return True

    wait_until(removed)


@requires_path(TREE, "cgroups")
@pytest.mark.parametrize("user", [True, False])
def test_a_cgroup_namespace_that_is_joined(naja: Runtime, bundle: Bundle, marked: str, user: bool) -> None:
    """The mount shows what is below its root, as /proc/self/cgroup tells it; nothing of the host's tree."""
    theirs = Holder(cgroup=marked)
    try:
        namespaces(bundle, cgroup=theirs.path("cgroup"), **({"user": ""} if user else {}))
        if user:
            map_ids(bundle)
        result = naja.run_attached(bundle.shell(f"cd {TREE} && echo */"))
    finally:
        theirs.end()
    assert result.stdout == "mark/\n"


@requires_path(TREE, "cgroups")
@pytest.mark.parametrize("user", [True, False])
@pytest.mark.parametrize("path", ["/proc/self/ns/cgroup", None])
@pytest.mark.parametrize("verb", ["run", "create"])
def test_the_runtimes_own_cgroup_namespace(
    naja: Runtime, bundle: Bundle, path: str | None, user: bool, verb: str
) -> None:
    """Bound: mounted anew, version 2 would lose the options of the host's mount."""
    namespaces(bundle, cgroup=path, **({"user": ""} if user else {}))
    if user:
        map_ids(bundle)
    with open("/proc/self/mounts") as file:
        before = file.read()
    v2 = TREE == "/sys/fs/cgroup"
    place = TREE + bundle.linux["cgroupsPath"] if v2 else TREE
    bundle.shell(f"(cat {place}/cgroup.procs; ls {TREE}) > /tmp/found")
    if verb == "run":
        naja.run_attached(bundle)
    else:
        naja.create(bundle)
        naja.start(bundle)
        naja.wait_for(bundle, "stopped")
    with open(f"{bundle.rootfs}/tmp/found") as file:
        found = file.read().split()
    # A process of another pid namespace is 0 in there.
    assert found[0] == "1"
    assert v2 or "tasks" in found
    with open("/proc/self/mounts") as file:
        assert file.read() == before


class Caller:
    """naja as somebody without root: nobody, or root of a user namespace (who may mask what it sees)."""

    def __init__(self, directory: str, naja: Runtime, busybox_rootfs: str, tag: str) -> None:
        os.chmod(directory, 0o755)
        self.bundle = Bundle(f"{directory}/bundle", tag, busybox_rootfs)
        self.runtime = Runtime(f"{directory}/root", naja.argv)
        os.mkdir(self.runtime.root)
        del self.bundle.linux["cgroupsPath"], self.bundle.linux["resources"]
        self.bundle.config["mounts"] = [
            entry for entry in self.bundle.config["mounts"] if entry["type"] != "devpts"
        ]

    def run(self, *flags: str, before: str = "", nested: bool = False, within: Sequence[str] = ()) -> Result:
        """Run the container, in a mount namespace where ``before`` was run by root."""
        map_ids(self.bundle, 0 if nested else NOBODY, 1)
        if all(entry["type"] != "user" for entry in self.bundle.linux["namespaces"]):
            del self.bundle.linux["uidMappings"], self.bundle.linux["gidMappings"]
        os.chown(self.runtime.root, NOBODY, NOBODY)
        subprocess.run(
            ["chown", "-R", f"{NOBODY}:{NOBODY}", self.bundle.path, self.bundle.rootfs], check=True
        )
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *within]
        if nested:
            become += ["unshare", "--user", "--map-root-user", "--mount"]
        command = self.runtime.command("run", *flags, "--bundle", self.bundle.save().path, self.bundle.id)
        outer = ["unshare", "--mount", "sh", "-ec", f'{before}\nexec "$@"', "sh", *become, *command]
        done = subprocess.run(outer, check=False, cwd="/", **QUIET)
        result = self.runtime.judge(Result(outer, done.returncode, done.stdout, done.stderr), check=False)
        assert self.runtime.ids() == []
        return result


@pytest.fixture
def caller(naja: Runtime, busybox_rootfs: str, tag: str) -> Iterator[Caller]:
    with tempfile.TemporaryDirectory() as directory:
        caller = Caller(directory, naja, busybox_rootfs, tag)
        namespaces(caller.bundle, user="")
        caller.bundle.shell("true")
        probe = caller.run()
        if probe.status:
            pytest.skip(f"nobody can have no container here: {probe.stderr}")
        yield caller


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
def test_sysfs_of_a_shared_network_namespace(caller: Caller, flags: list[str], nested: bool) -> None:
    """It is bound from the host, but of what is mounted below nothing shows, least of all cgroups."""
    namespaces(caller.bundle, network=None)
    only(caller.bundle, "/proc", "/sys")
    secret = "mount -t tmpfs none /sys/kernel; mkdir -p /sys/kernel/sub; echo > /sys/kernel/secret;"
    secret += "mount -t tmpfs none /sys/kernel/sub; touch /sys/kernel/sub/secret"
    caller.bundle.shell(
        "ls /sys/class/net; for d in /sys/fs/cgroup /sys/kernel; do find $d; touch $d/x; done"
    )
    result = caller.run(*flags, before=secret, nested=nested)
    interfaces = sorted(os.listdir("/sys/class/net"))
    assert result.stdout.split() == [*interfaces, "/sys/fs/cgroup", "/sys/kernel"], str(result)
    assert result.stderr.count("Read-only file system") == 2


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["network", "pid"])
def test_what_covers_the_hosts_mounts_cannot_be_taken_away(caller: Caller, kind: str, nested: bool) -> None:
    """Root of a user namespace may mount and unmount, but comes by no way below what covers the host's."""
    namespaces(caller.bundle, **{kind: None})
    only(caller.bundle, "/proc", "/sys")
    place, where = {"network": ("/sys", "/sys/kernel"), "pid": ("/proc", "/proc/fs")}[kind]
    for linux in ("maskedPaths", "readonlyPaths"):
        caller.bundle.linux[linux] = []
    capabilities = caller.bundle.process["capabilities"]
    for name in capabilities:
        capabilities[name] = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYS_CHROOT"]
    caller.bundle.shell(
        f"""mkdir /tmp/a
        umount {where}; umount -l {where}; mount -o remount,bind,rw {where}
        mount --move {where} /tmp/a; mount --bind {place} /tmp/a; mount -t tmpfs none /tmp/a && echo may mount
        mount --rbind {place} /tmp/a; umount -l /tmp/a{where.removeprefix(place)}
        umount -l {place}; find {place} /tmp/a -name 'naja-secret' 2> /dev/null; true"""
    )
    secret = f"mount -t tmpfs none {where}; touch {where}/naja-secret"
    result = caller.run(before=secret, nested=nested)
    assert (result.status, result.stdout) == (0, "may mount\n"), str(result)


def test_covers_that_cannot_be_locked(caller: Caller) -> None:
    """It takes one user namespace more, the third in here."""
    namespaces(caller.bundle, network=None)
    only(caller.bundle, "/proc", "/sys")
    caller.bundle.shell("ls /sys/fs/cgroup")
    limit = 'echo 2 > /proc/sys/user/max_user_namespaces; exec "$@"'
    within = ["unshare", "--user", "--map-root-user", "sh", "-ec", limit, "sh"]
    result = caller.run(within=within, nested=True)
    assert (result.status, result.stdout) == (1, ""), str(result)
    (line,) = result.stderr.splitlines()
    assert "lock the covers" in line
    assert "(ENOSPC), asked for by config.json /mounts/1" in line


@requires_path(TREE, "cgroups")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("network", [None, ""])
@pytest.mark.parametrize("kind", ["cgroup", "cgroup2"])
def test_a_cgroup_mount_over_the_hosts(
    caller: Caller, kind: str, network: str | None, new: bool, nested: bool
) -> None:
    """No cgroup could be made, so the mount shows none, and it hides those of the host.

    A new namespace would begin at the cgroup that the runtime is in: here with all of the host's.
    """
    if kind == "cgroup2" and not TREES:
        pytest.skip("needs a tree of version 2")
    namespaces(caller.bundle, network=network, cgroup="" if new else None)
    caller.bundle.config["mounts"][-1]["type"] = kind
    caller.bundle.shell("find /sys/fs/cgroup -type f; ls -d /sys/fs/cgroup; touch /sys/fs/cgroup/x || true")
    result = caller.run(nested=nested)
    assert (result.status, result.stdout) == (0, "/sys/fs/cgroup\n"), str(result)
    assert "Read-only file system" in result.stderr


@pytest.mark.skipif(TREES != ["/sys/fs/cgroup/unified"], reason="needs a tree of version 2 beside version 1")
@pytest.mark.parametrize("path", [None, "", "/proc/self/ns/cgroup"])
def test_of_the_tree_beside_a_container_sees_its_own_part(
    naja: Runtime, bundle: Bundle, path: str | None
) -> None:
    """As of the hierarchies of version 1, and nobody mounts the host's anew."""
    namespaces(bundle, cgroup=path)
    bundle.config["mounts"][-1].update(type="cgroup2", options=["rw"])
    inside = "/sys/fs/cgroup"
    found = naja.run_attached(bundle.shell(f"find {inside} -type d; cat {inside}/cgroup.procs")).stdout
    # The shell, and another process for each command.
    assert found.split()[:2] == [inside, "1"]


@pytest.fixture
def delegated(tag: str) -> Iterator[str]:
    """A cgroup of nobody's with two more in it: "caller" and "other"."""
    name = f"{tag}delegated"
    places = [f"{TREE}/{name}{below}" for below in ("", "/caller", "/other")]
    for place in places:
        os.mkdir(place)
        os.chown(place, NOBODY, NOBODY)
        os.chown(f"{place}/cgroup.procs", NOBODY, NOBODY)
    yield name
    for place in reversed(places):
        os.rmdir(place)


@pytest.mark.skipif(TREE != "/sys/fs/cgroup", reason="needs a tree of version 2 alone")
@pytest.mark.parametrize("options", [["rw"], ["ro"]])
def test_of_a_users_cgroups_a_container_may_change_its_own(
    caller: Caller, delegated: str, options: list[str]
) -> None:
    """It shares the user's cgroup namespace, so it sees all that belongs to him (CVE-2023-25809)."""
    caller.bundle.linux["cgroupsPath"] = f"/{delegated}/own"
    for entry in caller.bundle.config["mounts"]:
        if entry["type"] == "cgroup":
            entry["options"] = options
    caller.bundle.shell(f"cd /sys/fs/cgroup/{delegated}; mkdir other/x; mkdir own/x && echo made")
    result = caller.run(before=f"echo $$ > {TREE}/{delegated}/caller/cgroup.procs")
    assert result.stdout == ("made\n" if options == ["rw"] else ""), str(result)
    assert "'other/x': Read-only file system" in result.stderr, str(result)


@pytest.mark.parametrize("nested", [False, True])
def test_procfs_of_a_shared_pid_namespace(caller: Caller, nested: bool) -> None:
    """It is bound, with its masks; a file system that is mounted below is not shown."""
    namespaces(caller.bundle, pid=None)
    masks = """
        mount --bind /dev/null /proc/keys
        mount -t tmpfs none /proc/fs; echo > /proc/fs/secret
        mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys
    """
    caller.bundle.linux["maskedPaths"], caller.bundle.linux["readonlyPaths"] = [], []
    caller.bundle.shell("cat /proc/keys /proc/sys/kernel/ostype; ls /proc/fs; cd /proc; echo [0-9]*")
    result = caller.run(before=masks, nested=nested)
    lines = result.stdout.splitlines()
    assert lines[0] == "Linux", str(result)
    assert str(os.getpid()) in lines[1].split()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("destination", "shared", "mask"),
    [
        ("/proc", "pid", "mount --bind /dev/null /proc/keys"),
        ("/sys", "network", "mount -t tmpfs none /sys/kernel"),
    ],
)
def test_new_namespaces_under_a_mask(
    caller: Caller, destination: str, shared: str, mask: str, nested: bool
) -> None:
    """The kernel grants no new instance then; the line says why, and what would help."""
    only(caller.bundle, destination)
    caller.bundle.shell(f"ls {destination}")
    result = caller.run(before=mask, nested=nested)
    assert (result.status, result.stdout) == (1, ""), str(result)
    (line,) = result.stderr.splitlines()
    assert "asked for by config.json /mounts/0" in line
    assert f"unmask {destination} outside, or share the {shared} namespace" in line


#: A /dev with a place for mqueue, which not every host has; what is bound is bound from the host's.
DEV = """
    mount -t tmpfs dev /mnt
    for name in null zero full random urandom tty; do
        touch /mnt/$name; mount --bind /dev/$name /mnt/$name
    done
    mkdir /mnt/mqueue; mount --rbind /mnt /dev; mount -t mqueue mqueue /dev/mqueue; touch /dev/mqueue/theirs
"""


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(
    ("kind", "destination", "shown"),
    [("network", "/sys", "/sys/class/net"), ("ipc", "/dev/mqueue", "/dev/mqueue")],
)
def test_an_instance_of_a_namespace_that_the_runtime_has_left(
    caller: Caller, kind: str, destination: str, shown: str, left: bool, nested: bool
) -> None:
    """It stays mounted, but is not that of the runtime's namespace, which the container shares."""
    namespaces(caller.bundle, **{kind: None})
    only(caller.bundle, "/proc", destination)
    caller.bundle.shell(f"ls {shown}")
    flag = {"network": "--net", "ipc": "--ipc"}[kind]
    # The queue is in a namespace that ends with the test.
    before = f"exec unshare --ipc sh -ec '{DEV if kind == 'ipc' else ''}\n"
    before += f"""exec {f"unshare {flag}" if left else "env"} "$@"' sh "$@\""""
    result = caller.run(before=before, nested=nested)
    if left:
        assert (result.status, result.stdout) == (1, ""), str(result)
        (line,) = result.stderr.splitlines()
        assert "of the runtime's own namespace there" in line and "/mounts/1" in line
    else:
        expected = sorted(os.listdir("/sys/class/net")) if kind == "network" else ["theirs"]
        assert (result.status, result.stdout.split()) == (0, expected), str(result)


def test_a_procfs_of_another_pid_namespace_is_not_the_runtimes_own(caller: Caller) -> None:
    """What lies at /proc may show more than the runtime's namespace, which the container shares."""
    namespaces(caller.bundle, pid=None, user=None)
    only(caller.bundle, "/proc")
    caller.bundle.shell("ls /proc")
    within = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    result = caller.run(before="mount --bind /dev/null /proc/keys", within=within)
    assert (result.status, result.stdout) == (1, ""), str(result)
    (line,) = result.stderr.splitlines()
    assert "/proc belongs to another pid namespace" in line
