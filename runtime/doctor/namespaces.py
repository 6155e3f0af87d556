"""Which namespaces can be made, and which ids can be mapped into a user namespace."""

from __future__ import annotations

import _signal
import os

from ..errors import NajaError
from ..linux import namespaces
from ..operations.base import RUNTIME, Context
from ..operations.namespaces import MapIds
from .attempt import as_root_inside, first_line, tried
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..operations.namespaces import Mapping
    from .host import Host

_SIGKILL = 9
_SYSCTLS = "/proc/sys"
#: What else may keep a user from having a user namespace: file, its value then, what it says, what to do.
_RESTRICTIONS = (
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces is 0", "set it to 15000"),
    (
        "kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone is 0",
        "set it to 1",
    ),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces of users (sysctl kernel.apparmor_restrict_unprivileged_userns)",
        "set it to 0, or install a profile for naja with the rule userns",
    ),
)
#: The kernel's option for each kind.
_OPTIONS = {
    "user": "CONFIG_USER_NS",
    "pid": "CONFIG_PID_NS",
    "network": "CONFIG_NET_NS",
    "ipc": "CONFIG_IPC_NS",
    "uts": "CONFIG_UTS_NS",
    "cgroup": "CONFIG_CGROUPS",
    "time": "CONFIG_TIME_NS (Linux 5.6)",
}


def findings(host: Host) -> Iterator[Finding]:
    """Yield a finding for each kind of namespace, and for ids."""
    yield _user()
    for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup", "time"):
        needed, remedy = f"a namespace of type {kind}", ""
        why = "" if exists(kind) else "the kernel has none"
        if why:
            remedy = f"a kernel with {_OPTIONS.get(kind, 'it')}"
        else:
            why = host.inside(_make(kind))
            remedy = _limit(kind)
        yield Finding(f"namespace-{kind}", why, needed=needed, remedy=remedy)
    yield _ids(host)


def exists(kind: str) -> bool:
    """Tell whether the kernel has namespaces of a type."""
    return os.path.exists(f"/proc/self/ns/{namespaces.file_name(kind)}")


def _make(kind: str) -> Callable[[], None]:
    return lambda: namespaces.unshare(namespaces.FLAGS[kind])


def _limit(kind: str) -> str:
    """Return what to do where the number of namespaces is limited, else in general."""
    name = {"network": "net", "mount": "mnt"}.get(kind, kind)
    if first_line(f"{_SYSCTLS}/user/max_{name}_namespaces") == "0":
        return f"sysctl user.max_{name}_namespaces is 0: set it to 15000"
    return "a user namespace, or CAP_SYS_ADMIN, gives the right"


def _user() -> Finding:
    def use() -> None:
        as_root_inside()
        # The rights in it may have been taken away (AppArmor).
        namespaces.unshare(namespaces.CLONE_NEWUTS)
        namespaces.set_hostname(b"naja")

    why, remedy = tried(use), ""
    if why and not exists("user"):
        why, remedy = "the kernel has none", f"a kernel with {_OPTIONS['user']}"
    elif why:
        found = [entry for entry in _RESTRICTIONS if first_line(f"{_SYSCTLS}/{entry[0]}") == entry[1]]
        why = "; ".join([entry[2] for entry in found] or [why])
        remedy = (
            "; ".join(entry[3] for entry in found) or "neither chroot nor a seccomp filter may be around naja"
        )
    needed = "containers of users, and /linux/uidMappings"
    return Finding("namespace-user", why, needed=needed, remedy=remedy)


def _ids(host: Host) -> Finding:
    needed = "users of a container beside its root (images with more than one)"
    if not host.rootless:
        uids = gids = [(0, 100000, 65536)]
    elif os.geteuid() == 0:
        uids, gids = _own("uid"), _own("gid")
    else:
        uids, gids = _subordinate("uid"), _subordinate("gid")
    if len(uids) < 2 and uids[0][2] < 2:
        remedy = (
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, and the package uidmap"
        )
        missing = "/etc/subuid and /etc/subgid have no ranges" if os.geteuid() else "here is one id only"
        return Finding("ids", f"{missing} for {host.name()}", needed=needed, remedy=remedy)
    why = mapped(uids, gids, rootless=host.rootless)
    detail = ", ".join(f"{outside}+{size}" for _, outside, size in uids)
    return Finding("ids", why, needed=needed, detail=detail, remedy="install the package uidmap (newuidmap)")


def mapped(uids: list[Mapping], gids: list[Mapping], *, rootless: bool) -> str:
    """Map ids into a user namespace of a child's; return "", or why that does not work. Raises OSError."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(namespaces.CLONE_NEWUSER)
            os.write(tell, b".")
            _signal.pause()  # Until it is killed.
        finally:
            os._exit(0)
    os.close(tell)
    try:
        if not os.read(ready, 1):
            return "no user namespace can be made"
        context = Context(RUNTIME, lambda text: None)
        context.values["stage"] = pid
        MapIds(uids, gids, rootless=rootless).apply(context)
    except NajaError as error:
        error.origin = ""
        return str(error)
    finally:
        os.close(ready)
        os.kill(pid, _SIGKILL)
        os.waitpid(pid, 0)
    return ""


def _own(kind: str) -> list[Mapping]:
    """Return a mapping of all ids that there are in the caller's user namespace."""
    mappings, inside = [], 0
    with open(f"/proc/self/{kind}_map", "rb") as file:
        for line in file:
            start, _, size = map(int, line.split())
            mappings.append((inside, start, size))
            inside += size
    return mappings or [(0, 0, 1)]


def _subordinate(kind: str) -> list[Mapping]:
    """Return a mapping of the caller and of its subordinate ids (subuid(5))."""
    import pwd

    number = os.geteuid() if kind == "uid" else os.getegid()
    names = {str(os.geteuid())}
    try:
        names.add(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        pass
    mappings, inside = [(0, number, 1)], 1
    try:
        with open(f"/etc/sub{kind}", encoding="utf-8", errors="replace") as file:
            entries = [line.strip().split(":") for line in file]
    except OSError:
        entries = []
    for entry in entries:
        if len(entry) == 3 and entry[0] in names and entry[1].isdecimal() and entry[2].isdecimal():
            mappings.append((inside, int(entry[1]), int(entry[2])))
            inside += int(entry[2])
    return mappings
