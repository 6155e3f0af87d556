"""Each exposure that `naja audit` names, exploited: the real thing is done, and cannot be when it is closed.

What is not tried here says why (NOT_HERE). The host's own disks, clock and kernel are left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from naja.audit.seccomp import DANGEROUS
from naja.linux import capabilities
from tests.support.namespaces import Holder, map_ids, namespaces
from tests.unit import test_audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.bundle import Bundle
    from tests.support.command import Runtime

    Edit = Callable[["Host", Bundle], object]

NOBODY = 65534
#: What every script begins with. It ends with an exception where it is refused.
PRELUDE = """
import ctypes, errno, fcntl, os, resource, socket, struct, sys, time
sys.excepthook = lambda kind, error, where: print("refused:", repr(error), where.tb_lineno, file=sys.stderr)
TRY = "import os, sys\\ntry: open('/theirs')\\nexcept OSError: os._exit(1)"
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *values):
    result = function(*values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def syscall(number, *values):
    values = [ctypes.c_long(value) if type(value) is int else value for value in values]
    return call(libc.syscall, ctypes.c_long(number), *values)
def reaches(number, *values):
    # The kernel refuses what makes no sense, but not who asks.
    try:
        syscall(number, *values)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            raise
        if error.errno == errno.ENOSYS:
            sys.exit(77)
"""
#: The kernel has not what is to be tried.
LACKING = 77


class Host:
    """What a test makes on the host for a container to reach; all of it goes at its end."""

    def __init__(self, directory: str, naja: Runtime) -> None:
        self.directory = directory
        self.naja = naja
        self.plain = naja.argv
        self.ends = contextlib.ExitStack()
        self.values: dict[str, Any] = {}

    def path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def file(self, name: str, content: str = "secret", mode: int = 0o600, owner: int = 0) -> str:
        """Make a file in a directory of the host; return the directory."""
        directory = self.path("shared")
        os.makedirs(directory, exist_ok=True)
        os.chmod(directory, 0o755)
        path = os.path.join(directory, name)
        with open(path, "w") as file:
            file.write(content)
        os.chown(path, owner, owner)
        os.chmod(path, mode)
        return directory

    def process(self, user: int = 0) -> int:
        """Start a process of the host's; return its pid."""
        started = subprocess.Popen(["sleep", "1000"], user=user, group=user, env={"SECRET": "secret"})
        self.ends.callback(started.wait)
        self.ends.callback(started.kill)
        self.values["process"] = started
        return started.pid


@pytest.fixture
def host(tmp_path: Any, naja: Runtime) -> Iterator[Host]:
    directory = tmp_path / "host"
    directory.mkdir()
    host = Host(str(directory), naja)
    with host.ends:
        yield host


def prepare(bundle: Bundle) -> None:
    """Give a container the host's Python, read-only, and no rights beside."""
    for name in ("lib", "lib64"):
        os.symlink(f"usr/{name}", f"{bundle.rootfs}/{name}")
    bundle.mount("/usr", "bind", "/usr", "rbind", "rro", "nosuid", "nodev", "rprivate")
    bundle.process["capabilities"] = {}


def python(bundle: Bundle, script: str) -> None:
    """Have a container run a script of Python's."""
    bundle.args("/usr/bin/python3", "-IS", "-c", PRELUDE + script)


def nothing(host: Host, bundle: Bundle) -> None:
    """The bundle as it is."""


def shows(*options: str, at: str = "/data") -> Edit:
    """Return an edit that binds the test's directory of the host."""

    def edit(host: Host, bundle: Bundle) -> None:
        bundle.mount(at, "bind", host.file("file"), *options)

    return edit


def holds(*names: str) -> Edit:
    """Return an edit that gives capabilities."""

    def edit(host: Host, bundle: Bundle) -> None:
        held = bundle.process["capabilities"]
        for kind in ("bounding", "effective", "permitted"):
            held[kind] = [*held.get(kind, ()), *names]

    return edit


def shares(kind: str) -> Edit:
    def edit(host: Host, bundle: Bundle) -> None:
        namespaces(bundle, **{kind: None})

    return edit


def puts(**changes: Any) -> Edit:
    """Return an edit that sets values at places of the config ("process__terminal")."""

    def edit(host: Host, bundle: Bundle) -> None:
        for name, value in changes.items():
            test_audit.put(bundle.config, "/" + name.replace("__", "/"), value)

    return edit


def all_of(*edits: Edit) -> Edit:
    def edit(host: Host, bundle: Bundle) -> None:
        for one in edits:
            one(host, bundle)

    return edit


def in_user_namespace(host: Host, bundle: Bundle) -> None:
    bundle.linux["namespaces"].append({"type": "user"})
    map_ids(bundle)
    os.chmod(host.directory, 0o755)


def maps_root(host: Host, bundle: Bundle) -> None:
    in_user_namespace(host, bundle)
    subprocess.run(["chown", "-R", "0:0", bundle.rootfs], check=True)
    for name in ("uidMappings", "gidMappings"):
        bundle.linux[name] = [{"containerID": 0, "hostID": 0, "size": 65536}]


def as_user(uid: int, gid: int | None = None) -> Edit:
    def edit(host: Host, bundle: Bundle) -> None:
        bundle.process["user"] = {"uid": uid, "gid": uid if gid is None else gid}

    return edit


def knows_process(user: int = 0) -> Edit:
    """Return an edit that tells the container the pid of a process of the host's."""

    def edit(host: Host, bundle: Bundle) -> None:
        bundle.process["env"].append(f"PID={host.process(user)}")

    return edit


def listens(host: Host, bundle: Bundle) -> None:
    """Listen on the host's loopback device."""
    server = host.ends.enter_context(socket.create_server(("127.0.0.1", 0)))
    bundle.process["env"].append(f"PORT={server.getsockname()[1]}")


def has_socket(host: Host, bundle: Bundle) -> None:
    """Listen on a socket of the host's in a directory that is shown."""
    path = host.path("shared/daemon.sock")
    host.file("file")
    server = host.ends.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(path)
    server.listen()
    os.chmod(path, 0o666)


def binds_socket(host: Host, bundle: Bundle) -> None:
    has_socket(host, bundle)
    bundle.mount("/daemon.sock", "bind", host.path("shared/daemon.sock"), "bind", "ro")


def shares_memory(host: Host, bundle: Bundle) -> None:
    """Make a segment of shared memory that is nobody's."""
    done = subprocess.run(
        ["ipcmk", "--shmem", "4096", "--mode", "0600"],
        user=NOBODY,
        group=NOBODY,
        check=True,
        stdout=-1,
        text=True,
    )
    id = done.stdout.split()[-1]
    host.ends.callback(subprocess.run, ["ipcrm", "--shmem-id", id], check=False, stderr=-3)
    bundle.process["env"].append(f"SEGMENT={id}")


def joins_ipc(host: Host, bundle: Bundle) -> None:
    """Join an IPC namespace in which somebody has made a queue."""
    holder = Holder()
    host.ends.callback(holder.end)
    queues = host.path("queues")
    os.mkdir(queues)
    holder.make_queue(queues)  # type: ignore[arg-type]
    namespaces(bundle, ipc=holder.path("ipc"))


def owns(path: str, owner: int, mode: int) -> Edit:
    """Return an edit that makes a file of the image's."""

    def edit(host: Host, bundle: Bundle) -> None:
        os.chown(bundle.write(path, "secret", mode), owner, owner)
        os.chmod(f"{bundle.rootfs}{path}", mode)

    return edit


def gains(path: str) -> Edit:
    """Return an edit that makes a set-uid program of the image's: a shell as root."""

    def edit(host: Host, bundle: Bundle) -> None:
        target = f"{bundle.rootfs}{path}"
        shutil.copy(os.path.realpath("/usr/bin/python3"), target)
        os.chmod(target, 0o4755)

    return edit


def has_loop(host: Host, bundle: Bundle) -> None:
    """Make a disk of the test's own: a loop device with a file system that has a file."""
    for program in ("losetup", "mkfs.ext4"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    image = host.path("image")
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-L", "najadisk", image], check=True)
    done = subprocess.run(["losetup", "--find", "--show", image], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop device can be had here: {done.stderr.strip()}")
    device = done.stdout.strip()
    host.ends.callback(subprocess.run, ["losetup", "--detach", device], check=True)
    status = os.stat(device)
    host.values.update(device=device, major=os.major(status.st_rdev), minor=os.minor(status.st_rdev))
    bundle.process["env"] += [f"MAJOR={host.values['major']}", f"MINOR={host.values['minor']}"]


def has_node(host: Host, bundle: Bundle) -> None:
    has_loop(host, bundle)
    numbers = {name: host.values[name] for name in ("major", "minor")}
    bundle.linux["devices"] = [{"type": "b", "path": "/dev/disk", "fileMode": 0o600, **numbers}]
    allows_device(host, bundle)


def allows_device(host: Host, bundle: Bundle) -> None:
    numbers = {name: host.values[name] for name in ("major", "minor")}
    bundle.linux["resources"]["devices"].append({"allow": True, "type": "b", "access": "rwm", **numbers})


def allows_all(host: Host, bundle: Bundle) -> None:
    bundle.linux["resources"]["devices"].append({"allow": True, "access": "rwm"})


def mounts_disk(host: Host, bundle: Bundle) -> None:
    bundle.mount("/disk", "ext4", host.values["device"], "ro")


def below(*options: str) -> Edit:
    """Return an edit that shows a directory below which another file system is mounted."""

    def edit(host: Host, bundle: Bundle) -> None:
        directory = host.file("file")
        os.makedirs(f"{directory}/below", exist_ok=True)
        script = f'mount -t tmpfs tmpfs {directory}/below; exec "$@"'
        host.naja.argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *host.naja.argv]
        bundle.mount("/data", "bind", directory, *options)

    return edit


def has_node_of_null(host: Host, bundle: Bundle) -> None:
    """Make a node of the null device in the directory that is shown."""
    path = os.path.join(host.file("file"), "null")
    os.mknod(path, 0o666 | 0o020000, os.makedev(1, 3))
    os.chmod(path, 0o666)


def spreading(*options: str) -> Edit:
    """Return an edit that shows a shared mount, which is looked at afterwards."""

    def edit(host: Host, bundle: Bundle) -> None:
        directory = host.file("file")
        os.makedirs(f"{directory}/below", exist_ok=True)
        script = (
            f"mount --bind {directory} {directory}; mount --make-shared {directory}; "
            f'"$@"; test -e {directory}/below/theirs'
        )
        host.naja.argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *host.naja.argv]
        bundle.mount("/data", "bind", directory, "bind", *options)

    return edit


def hears_of(*options: str) -> Edit:
    """Return an edit that shows a shared mount, below which another is mounted when the container runs."""

    def edit(host: Host, bundle: Bundle) -> None:
        directory = host.file("file")
        os.makedirs(f"{directory}/below", exist_ok=True)
        script = (
            f"mount --bind {directory} {directory}; mount --make-shared {directory}; "
            f"(until test -e {directory}/ready; do sleep 0.1; done; mount -t tmpfs tmpfs {directory}/below; "
            f'touch {directory}/below/theirs) & exec "$@"'
        )
        host.naja.argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *host.naja.argv]
        bundle.mount("/data", "bind", directory, "bind", *options)

    return edit


def named_host(host: Host, bundle: Bundle) -> None:
    """Have naja called in a UTS namespace of the test's, where the name is looked at later."""
    script = 'hostname before; "$@"; test "$(hostname)" = after'
    host.naja.argv = ["unshare", "--uts", "sh", "-ec", script, "sh", *host.naja.argv]
    bundle.config.pop("hostname", None)


def has_key(host: Host, bundle: Bundle) -> None:
    """Call naja with a key in a session keyring of the test's."""
    script = (
        "import ctypes, os, sys; libc = ctypes.CDLL(None); number = libc.syscall;"
        "number(250, 1, b'test'); number(248, b'user', b'naja', b'secret', 6, -3);"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    host.naja.argv = ["python3", "-c", script, *host.naja.argv]


def hook_of_the_image(host: Host, bundle: Bundle) -> None:
    """Have a hook run a program of the image's, which the container has written the time before."""
    mark = host.path("taken")
    content = f"#!/bin/sh\necho taken > {mark}\n"
    python(bundle, f"open('/hook', 'w').write({content!r}); os.chmod('/hook', 0o755)")
    host.naja.run_attached(bundle)
    bundle.config["hooks"] = {"createRuntime": [{"path": f"{bundle.rootfs}/hook"}]}
    host.values["mark"] = mark


def hook(host: Host, bundle: Bundle) -> None:
    mark = host.path("taken")
    bundle.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"echo > {mark}"]}]}
    host.values["mark"] = mark


DISK = "os.pread(os.open('/dev/disk', os.O_RDONLY), 4096, 1024).index(b'najadisk')"
MAKES_DISK = (
    "os.mknod('/tmp/disk', 0o60600, os.makedev(int(os.environ['MAJOR']), int(os.environ['MINOR'])));"
    "os.pread(os.open('/tmp/disk', os.O_RDONLY), 4096, 1024).index(b'najadisk')"
)
READ, WRITE = "assert open('/data/file').read() == 'secret'", "open('/data/file', 'w').write('taken')"
#: Calls what a filter may deny: keyctl(KEYCTL_GET_KEYRING_ID) of the process's own keyring.
KEYCTL = "reaches(250, 0, -1, 0)"
FILTER = {"defaultAction": "SCMP_ACT_ALLOW", "flags": []}
WITHOUT_DANGER = {
    **FILTER,
    "syscalls": [{"names": [*DANGEROUS], "action": "SCMP_ACT_ERRNO"}],
}
#: Whoever joins its own mount namespace has the root of that.
LEAVE = (
    "call(libc.setns, os.open('/proc/self/ns/mnt', 0), 0x20000);"
    "assert open(os.environ['FILE']).read() == 'secret'"
)
LEAVING = holds("CAP_SYS_ADMIN", "CAP_SYS_CHROOT")
MOUNT_BELOW = "call(libc.mount, b'tmpfs', b'/data/below', b'tmpfs', 0, None); open('/data/below/theirs', 'w')"


#: ptrace(PTRACE_SEIZE): from now on it could do anything with it.
SEIZE = "call(libc.ptrace, 0x4206, int(os.environ['PID']), None, None)"


def knows_file(host: Host, bundle: Bundle) -> None:
    bundle.process["env"].append(f"FILE={host.file('file')}/file")


#: key: (what opens it, what is there all the same, the script), without the first of which it is refused.
EXPLOITS: dict[str, tuple[Edit, Edit, str]] = {
    "root-is-root": (nothing, shows("bind"), WRITE),
    "no-user-namespace": (
        as_user(1000),
        all_of(shows("bind"), lambda host, bundle: os.chown(host.path("shared/file"), 1000, 1000)),
        READ,
    ),
    "maps-host-root": (maps_root, shows("bind"), WRITE),
    "host-pid": (shares("pid"), knows_process(), "os.kill(int(os.environ['PID']), 9)"),
    "host-network": (
        shares("network"),
        listens,
        "socket.create_connection(('127.0.0.1', int(os.environ['PORT'])), timeout=10)",
    ),
    "host-ipc": (
        shares("ipc"),
        shares_memory,
        "assert os.environ['SEGMENT'] in open('/proc/sysvipc/shm').read().split()",
    ),
    "host-uts": (
        shares("uts"),
        all_of(named_host, holds("CAP_SYS_ADMIN")),
        "socket.sethostname('after')",
    ),
    "host-mount": (shares("mount"), all_of(knows_file, LEAVING), LEAVE),
    "leaves-its-root": (shares("mount"), all_of(knows_file, LEAVING), LEAVE),
    "host-cgroup": (
        nothing,
        lambda host, bundle: bundle.process["env"].append(f"ID={bundle.id}"),
        "assert os.environ['ID'] in open('/proc/self/cgroup').read()",
    ),
    "joined-namespace": (joins_ipc, nothing, "os.stat('/dev/mqueue/theirs')"),
    "root-writable": (nothing, nothing, "open('/left', 'w').write('x')"),
    "host-path-written": (shows("bind"), nothing, WRITE),
    "host-path-read": (shows("bind", "ro"), nothing, READ),
    "host-socket": (binds_socket, nothing, "socket.socket(socket.AF_UNIX).connect('/daemon.sock')"),
    "host-disk": (mounts_disk, has_loop, "os.stat('/disk/lost+found')"),
    "bind-below-written": (below("rbind", "ro"), nothing, "open('/data/below/file', 'w')"),
    "bind-flags": (shows("bind", "ro"), has_node_of_null, "open('/data/null')"),
    "bind-shared": (
        puts(linux__rootfsPropagation="shared"),
        all_of(spreading("rshared"), holds("CAP_SYS_ADMIN")),
        MOUNT_BELOW,
    ),
    "root-shared": (
        puts(linux__rootfsPropagation="shared"),
        all_of(spreading(), holds("CAP_SYS_ADMIN")),
        MOUNT_BELOW,
    ),
    "bind-slave": (
        hears_of("rslave"),
        nothing,
        "open('/data/ready', 'w');"
        "[time.sleep(0.1) for _ in range(100) if not os.path.exists('/data/below/theirs')];"
        "os.stat('/data/below/theirs')",
    ),
    "mounts-on-the-host": (
        puts(linux__rootfsPropagation="shared"),
        all_of(spreading("rshared"), holds("CAP_SYS_ADMIN")),
        MOUNT_BELOW,
    ),
    "bounding-set": (
        lambda host, bundle: bundle.process["capabilities"].update(bounding=["CAP_DAC_OVERRIDE"]),
        all_of(
            as_user(1000),
            puts(process__noNewPrivileges=False),
            gains("/bin/python"),
            owns("/theirs", 1, 0o600),
        ),
        "assert os.spawnv(os.P_WAIT, '/bin/python', ['python', '-ISc', TRY]) == 0",
    ),
    "new-privileges": (
        puts(process__noNewPrivileges=False),
        all_of(as_user(1000), gains("/bin/python"), owns("/theirs", 0, 0o600)),
        "assert os.spawnv(os.P_WAIT, '/bin/python', ['python', '-ISc', TRY]) == 0",
    ),
    "device-node": (has_node, nothing, DISK),
    "device-allowed": (allows_device, all_of(has_loop, holds("CAP_MKNOD")), MAKES_DISK),
    "devices-all": (allows_all, all_of(has_loop, holds("CAP_MKNOD")), MAKES_DISK),
    "disks-by-mknod": (holds("CAP_MKNOD"), all_of(has_loop, allows_all), MAKES_DISK),
    "no-seccomp": (nothing, nothing, KEYCTL),
    "seccomp-allows": (puts(linux__seccomp=FILTER), nothing, KEYCTL),
    "callers-groups": (
        puts(**{"annotations__run.oci.keep_original_groups": "1"}),
        all_of(
            as_user(1000),
            lambda host, bundle: os.chmod(f"{host.file('file', owner=4242)}/file", 0o640),
            lambda host, bundle: bundle.mount("/data", "bind", host.path("shared"), "bind"),
            lambda host, bundle: host.values.update(groups=[4242]),
        ),
        READ,
    ),
    "group-root": (
        as_user(1000, 0),
        lambda host, bundle: bundle.mount("/data", "bind", host.file("file", mode=0o640), "bind"),
        READ,
    ),
    "callers-keyring": (
        lambda host, bundle: host.values.update(flags=["--no-new-keyring"]),
        has_key,
        "key = syscall(249, b'user', b'naja', None, 0); text = ctypes.create_string_buffer(6);"
        "syscall(250, 11, key, text, 6); assert text.raw == b'secret'",
    ),
    "callers-descriptors": (
        lambda host, bundle: host.values.update(flags=["--preserve-fds", "1"]),
        lambda host, bundle: host.values.update(descriptor=f"{host.file('file')}/file"),
        "assert os.read(3, 10) == b'secret'",
    ),
    "no-pivot": (
        lambda host, bundle: host.values.update(flags=["--no-pivot"]),
        all_of(knows_file, LEAVING),
        "own = os.open('/proc/self/ns/mnt', 0); call(libc.umount2, b'/', 2); call(libc.setns, own, 0x20000);"
        "assert open(os.environ['FILE']).read() == 'secret'",
    ),
    "personality": (
        puts(linux__personality={"domain": "LINUX32"}),
        nothing,
        "assert os.uname().machine == 'i686'",
    ),
    "scheduler": (
        puts(process__scheduler={"policy": "SCHED_OTHER", "nice": -5}),
        nothing,
        "assert os.getpriority(os.PRIO_PROCESS, 0) == -5",
    ),
    "io-priority": (
        puts(process__ioPriority={"class": "IOPRIO_CLASS_RT", "priority": 0}),
        nothing,
        "assert syscall(252, 1, 0) >> 13 == 1",
    ),
    "unmasked": (
        puts(linux__maskedPaths=[]),
        nothing,
        "assert open('/proc/keys').read() or open('/proc/timer_list').read()",
    ),
    "proc-written-sys": (
        puts(linux__readonlyPaths=[]),
        nothing,
        # What it holds already.
        "path = '/proc/sys/kernel/core_pattern'; value = open(path).read(); open(path, 'w').write(value)",
    ),
    "proc-written-sysrq-trigger": (
        puts(linux__readonlyPaths=[]),
        nothing,
        "os.path.exists('/proc/sysrq-trigger') or sys.exit(77); os.open('/proc/sysrq-trigger', os.O_WRONLY)",
    ),
    "proc-written-irq": (
        puts(linux__readonlyPaths=[]),
        nothing,
        "path = '/proc/irq/default_smp_affinity'; value = open(path).read(); open(path, 'w').write(value)",
    ),
    "sys-written": (
        lambda host, bundle: next(m for m in bundle.config["mounts"] if m["destination"] == "/sys")[
            "options"
        ].remove("ro"),
        nothing,
        "os.open('/sys/kernel/profiling', os.O_WRONLY) if os.path.exists('/sys/kernel/profiling') else "
        "os.open('/sys/kernel/mm/ksm/run', os.O_WRONLY)",
    ),
    "cgroups-written": (
        lambda host, bundle: bundle.config["mounts"][6]["options"].remove("ro"),
        nothing,
        "paths = ('/sys/fs/cgroup/pids/pids.max', '/sys/fs/cgroup/pids.max');"
        "open(next(path for path in paths if os.path.exists(path)), 'w').write('max')",
    ),
    "no-limit-memory": (nothing, nothing, "assert len(b'x' * (96 << 20)) == 96 << 20"),
    "no-limit-pids": (
        nothing,
        nothing,
        "for _ in range(20):\n    if os.fork() == 0: libc.pause()",
    ),
    "no-limit-cpu": (
        nothing,
        nothing,
        "paths = [f'/sys/fs/cgroup/{name}' for name in ('cpu/cpu.cfs_quota_us', 'cpu.max')];"
        "path = next(path for path in paths if os.path.exists(path));"
        "assert open(path).read().split()[0] in ('-1', 'max')",
    ),
    "hook": (hook, nothing, "pass"),
    "hook-of-the-image": (hook_of_the_image, nothing, "pass"),
    "ptrace-of-the-host": (
        holds("CAP_SYS_PTRACE"),
        all_of(shares("pid"), knows_process(NOBODY)),
        SEIZE,
    ),
    "network-of-the-host": (
        holds("CAP_NET_RAW"),
        shares("network"),
        "heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)); heard.bind(('lo', 0));"
        "heard.settimeout(20); said = socket.socket(type=socket.SOCK_DGRAM);"
        "said.sendto(b'secret', ('127.0.0.1', 9))"
        "\nwhile b'secret' not in heard.recv(4096): pass",
    ),
    "files-by-handle": (
        holds("CAP_DAC_READ_SEARCH"),
        all_of(
            lambda host, bundle: bundle.mount("/data", "bind", host.file("shown"), "bind", "ro"),
            lambda host, bundle: bundle.process["env"].append(f"HANDLE={handle(host)}"),
        ),
        "kind, data = os.environ['HANDLE'].split(':'); data = bytes.fromhex(data);"
        "handle = struct.pack('Ii', len(data), int(kind)) + data;"
        "file = syscall(304, os.open('/data', os.O_RDONLY), handle, os.O_RDONLY);"
        "assert os.read(file, 9) == b'elsewhere'",
    ),
    "mounts-anew": (
        holds("CAP_SYS_ADMIN"),
        nothing,
        "os.mkdir('/tmp/proc'); call(libc.mount, b'proc', b'/tmp/proc', b'proc', 0, None);"
        "os.open('/tmp/proc/sys/kernel/core_pattern', os.O_WRONLY)",
    ),
}

#: What closes an exposure where leaving the first edit out does not.
CLOSED: dict[str, Edit] = {
    "root-is-root": in_user_namespace,
    "no-user-namespace": all_of(in_user_namespace, as_user(1000)),
    "maps-host-root": in_user_namespace,
    "host-cgroup": lambda host, bundle: bundle.linux["namespaces"].append({"type": "cgroup"}),
    "root-writable": puts(root__readonly=True),
    "host-path-written": shows("bind", "ro"),
    "bind-below-written": below("rbind", "rro"),
    "bind-flags": shows("bind", "ro", "nodev"),
    "bind-slave": hears_of("rprivate"),
    "no-seccomp": puts(linux__seccomp=WITHOUT_DANGER),
    "seccomp-allows": puts(linux__seccomp=WITHOUT_DANGER),
    "no-limit-memory": puts(linux__resources__memory={"limit": 32 << 20}),
    "no-limit-pids": puts(linux__resources__pids={"limit": 10}),
    "no-limit-cpu": puts(linux__resources__cpu={"quota": 50000, "period": 100000}),
    "group-root": as_user(1000),
    "unmasked": lambda host, bundle: bundle.linux["maskedPaths"].extend(
        ["/proc/asound", "/sys/devices/virtual/powercap"]
    ),
}

#: capability: (what is there all the same, the script), which is refused without it.
HELD: dict[str, tuple[Edit, str]] = {
    "CAP_CHOWN": (owns("/file", 0, 0o644), "os.chown('/file', 1, 1)"),
    "CAP_DAC_OVERRIDE": (owns("/file", 1, 0o600), "open('/file', 'w')"),
    "CAP_DAC_READ_SEARCH": (owns("/file", 1, 0o600), "open('/file')"),
    "CAP_FOWNER": (owns("/file", 1, 0o644), "os.chmod('/file', 0o777)"),
    "CAP_FSETID": (
        lambda host, bundle: os.chown(bundle.write("/file", "x"), 0, 1),
        "os.chmod('/file', 0o2755); assert os.stat('/file').st_mode & 0o2000",
    ),
    "CAP_KILL": (all_of(shares("pid"), knows_process(NOBODY)), "os.kill(int(os.environ['PID']), 9)"),
    "CAP_SETGID": (nothing, "os.setgid(5)"),
    "CAP_SETUID": (nothing, "os.setuid(5)"),
    "CAP_SETPCAP": (nothing, "call(libc.prctl, 24, 8, 0, 0, 0)"),
    "CAP_LINUX_IMMUTABLE": (
        owns("/file", 0, 0o644),
        "file = os.open('/file', os.O_RDONLY); old = fcntl.ioctl(file, 0x80086601, bytes(8));"
        "flags = struct.unpack('q', old)[0]; fcntl.ioctl(file, 0x40086602, struct.pack('q', flags | 0x10));"
        "fcntl.ioctl(file, 0x40086602, old)",
    ),
    "CAP_NET_BIND_SERVICE": (nothing, "socket.socket().bind(('127.0.0.1', 80))"),
    "CAP_NET_ADMIN": (
        nothing,
        "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 0))",
    ),
    "CAP_NET_RAW": (nothing, "socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)"),
    "CAP_IPC_LOCK": (
        nothing,
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0)); text = ctypes.create_string_buffer(9);"
        "call(libc.mlock, text, 9)",
    ),
    "CAP_IPC_OWNER": (
        all_of(shares("ipc"), shares_memory),
        "libc.shmat.restype = ctypes.c_long; call(libc.shmat, int(os.environ['SEGMENT']), None, 0)",
    ),
    "CAP_SYS_MODULE": (nothing, "reaches(175, b'no module', 9, b'')"),
    "CAP_SYS_RAWIO": (nothing, "reaches(173, 0x80, 1, 1)"),
    "CAP_SYS_CHROOT": (nothing, "os.chroot('/tmp')"),
    "CAP_SYS_PTRACE": (
        all_of(shares("pid"), knows_process(NOBODY)),
        SEIZE,
    ),
    # A name that is no file: the host's accounting stays as it is.
    "CAP_SYS_PACCT": (nothing, "reaches(163, b'/nowhere')"),
    "CAP_SYS_ADMIN": (nothing, "call(libc.mount, b'tmpfs', b'/tmp', b'tmpfs', 0, None)"),
    "CAP_SYS_BOOT": (nothing, "reaches(246, 0, 17, None, 0)"),
    "CAP_SYS_NICE": (
        nothing,
        "now = os.getpriority(os.PRIO_PROCESS, 0); os.setpriority(os.PRIO_PROCESS, 0, now - 1)",
    ),
    "CAP_SYS_RESOURCE": (
        nothing,
        "which = resource.RLIMIT_NOFILE; resource.setrlimit(which, (10, 10));"
        "resource.setrlimit(which, (10, 20))",
    ),
    # The status of the clock, as it is already.
    "CAP_SYS_TIME": (
        nothing,
        "now = ctypes.create_string_buffer(256); call(libc.adjtimex, now); now[0:4] = struct.pack('I', 0x10);"
        "call(libc.adjtimex, now)",
    ),
    "CAP_SYS_TTY_CONFIG": (nothing, "call(libc.vhangup)"),
    "CAP_MKNOD": (nothing, "os.mknod('/tmp/null', 0o20600, os.makedev(1, 3))"),
    "CAP_LEASE": (
        owns("/file", 1, 0o666),
        "fcntl.fcntl(os.open('/file', os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)",
    ),
    "CAP_SETFCAP": (
        owns("/file", 0, 0o755),
        "os.setxattr('/file', 'security.capability', struct.pack('<5I', 0x2000000, 1, 0, 0, 0))",
    ),
    "CAP_SYSLOG": (nothing, "call(libc.klogctl, 1, None, 0)"),
    "CAP_WAKE_ALARM": (nothing, "reaches(283, 8, 0)"),
    "CAP_AUDIT_READ": (
        nothing,
        "try: heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9)\nexcept OSError: sys.exit(77)\n"
        "heard.bind((0, 1))",
    ),
    "CAP_PERFMON": (
        nothing,
        "reaches(298, struct.pack('IIQ', 1, 112, 0) + bytes(96), -1, 0, -1, 0)",
    ),
    "CAP_BPF": (nothing, "reaches(321, 0, struct.pack('5I', 11, 8, 8, 1, 1) + bytes(60), 80)"),
    "CAP_CHECKPOINT_RESTORE": (
        nothing,
        "where = '/proc/self/map_files'; os.open(f'{where}/{os.listdir(where)[0]}', os.O_RDONLY)",
    ),
}

_AUDIT = "the kernel hears the audit of its first namespaces only, and the host's log is left alone"
_SMACK = "no kernel that this is tried on has Smack"
#: Why an exposure is not exploited here.
NOT_HERE = {
    "root-is-the-hosts": "naja refuses the host's own root (test_bad_configs)",
    "seccomp-speculation": "it depends on the processor, and is a leak of bits by time",
    "no-security-module": "no kernel that this is tried on has one",
    "callers-streams": "tried in test_the_callers_streams",
    "oom-spared": "to be spared takes memory to be short on the whole machine",
    "rlimit": "limits are inherited; what is above the host's takes CAP_SYS_RESOURCE",
    "proc-written-bus": "there is no bus whose settings may be changed without harm",
    "proc-written-fs": "there is no file system whose settings may be changed without harm",
    "sysctl": "they are of its own namespaces; those of the host naja refuses",
    "oom-killer-off": "it stands still when its memory is full, and holds others up by luck only",
    "annotation": "systemd's are tried in tests/vm, run.oci.keep_original_groups as callers-groups",
    "network-device": "tried in test_netdevices",
    "intel-rdt": "no processor that this is tried on has it",
    "CAP_NET_BROADCAST": "the kernel asks nobody for it",
    "CAP_AUDIT_WRITE": _AUDIT,
    "CAP_AUDIT_CONTROL": _AUDIT,
    "CAP_MAC_OVERRIDE": _SMACK,
    "CAP_MAC_ADMIN": _SMACK,
    "CAP_BLOCK_SUSPEND": "a virtual machine is not suspended; without it the flag is passed over in silence",
}


def handle(host: Host) -> str:
    """Return the handle of a file that is not shown, as name_to_handle_at(2) tells it."""
    import ctypes
    import struct

    path = host.path("elsewhere")
    with open(path, "w") as file:
        file.write("elsewhere")
    os.chmod(path, 0o600)
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    libc, mount = ctypes.CDLL(None, use_errno=True), ctypes.c_int()
    if libc.name_to_handle_at(-100, path.encode(), buffer, ctypes.byref(mount), 0):
        pytest.skip("the file system has no handles")
    size, kind = struct.unpack("Ii", buffer.raw[:8])
    return f"{kind}:{buffer.raw[8 : 8 + size].hex()}"


def keys(host: Host, bundle: Bundle) -> set[str]:
    """Return what `naja audit` says of the bundle."""
    done = subprocess.run(
        [*host.plain, "audit", "--json", *host.values.get("flags", ()), bundle.save().path],
        check=True,
        stdout=-1,
    )
    return {one["key"] for one in json.loads(done.stdout)["exposures"]}


def attempt(host: Host, bundle: Bundle) -> int:
    """Run the container; return its exit status."""
    options: dict[str, Any] = {}
    if "groups" in host.values:
        options["extra_groups"] = host.values["groups"]
    if "descriptor" in host.values:
        path = host.values["descriptor"]
        host.naja.argv = ["sh", "-c", f'exec "$@" 3< {path}', "sh", *host.naja.argv]
    done = host.naja.run_attached(bundle.save(), *host.values.get("flags", ()), check=False, **options)
    print(done.stdout, done.stderr)
    if done.status == LACKING:
        pytest.skip("this kernel has not what is to be tried")
    if "mark" in host.values:
        return 0 if os.path.exists(host.values["mark"]) else 1
    assert done.status in (0, 1, 137) or "cannot allocate" in done.stderr.lower(), str(done)
    return done.status


@pytest.mark.parametrize("key", EXPLOITS)
def test_what_is_open_is_exploited(host: Host, bundle: Bundle, key: str) -> None:
    opens, there, script = EXPLOITS[key]
    prepare(bundle)
    python(bundle, script)
    there(host, bundle)
    opens(host, bundle)
    assert key in keys(host, bundle)
    assert attempt(host, bundle) == 0


@pytest.mark.parametrize("key", [key for key in EXPLOITS if "hook" not in key])
def test_what_is_closed_is_not(host: Host, bundle: Bundle, key: str) -> None:
    _, there, script = EXPLOITS[key]
    prepare(bundle)
    python(bundle, script)
    there(host, bundle)
    CLOSED.get(key, nothing)(host, bundle)
    if key != "host-path-read":  # The test's Python is one.
        assert key not in keys(host, bundle)
    assert attempt(host, bundle) != 0


@pytest.mark.parametrize("name", HELD)
def test_a_capability(host: Host, bundle: Bundle, name: str) -> None:
    there, script = HELD[name]
    prepare(bundle)
    python(bundle, script)
    there(host, bundle)
    assert name not in keys(host, bundle)
    assert attempt(host, bundle) != 0
    with open("/proc/self/status") as file:
        mine = int(next(line for line in file if line.startswith("CapBnd")).split()[1], 16)
    if not mine >> capabilities.NUMBERS[name] & 1:
        pytest.skip(f"root has no {name} here")
    holds(name)(host, bundle)
    assert name in keys(host, bundle)
    assert attempt(host, bundle) == 0


def test_the_callers_streams(host: Host, bundle: Bundle) -> None:
    """A file as standard output can be read and cut, though it was opened to be written to at its end."""
    prepare(bundle)
    python(bundle, "assert open('/proc/self/fd/1').read() == 'secret'; os.ftruncate(1, 0)")
    path = f"{host.file('file')}/file"
    assert "callers-streams" in keys(host, bundle)
    with open(path, "a") as file:
        command = host.naja.command("run", "--bundle", bundle.path, bundle.id)
        assert subprocess.run(command, stdout=file, stdin=-3, check=False, timeout=60).returncode == 0
    assert os.path.getsize(path) == 0


def test_every_exposure_has_its_exploit_or_its_reason() -> None:
    named = set().union(
        *(keys for _, keys in test_audit.CHANGES), capabilities.NAMES, test_audit.BY_THE_COMMAND
    )
    tried = {*EXPLOITS, *HELD}
    assert tried.isdisjoint(NOT_HERE)
    assert tried | {*NOT_HERE} == named | {"oom-killer-off"}
    assert all(NOT_HERE.values())
