"""What confines a program beside namespaces: security modules, seccomp, keyrings."""

from __future__ import annotations

import os
from struct import pack, unpack

from ..config.landlock import LEAST
from ..errors import NajaError
from ..linux import keyring, landlock, libseccomp, process, seccomp
from ..operations.base import RUNTIME, Context
from ..operations.identity import RequireSecurityModule
from .attempt import first_line, tried
from .finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTIONS = "/proc/sys/kernel/seccomp/actions_avail"
#: By what the kernel calls them.
_KERNELS = {
    "SCMP_ACT_KILL_PROCESS": "kill_process",
    "SCMP_ACT_KILL_THREAD": "kill_thread",
    "SCMP_ACT_TRAP": "trap",
    "SCMP_ACT_ERRNO": "errno",
    "SCMP_ACT_NOTIFY": "user_notif",
    "SCMP_ACT_TRACE": "trace",
    "SCMP_ACT_LOG": "log",
    "SCMP_ACT_ALLOW": "allow",
}
#: A program that answers "allow" to all: BPF_RET | BPF_K.
_ALLOW_ALL = pack("=HBBI", 0x06, 0, 0, seccomp.ACTIONS["SCMP_ACT_ALLOW"])


def findings() -> Iterator[Finding]:
    """Yield findings about security modules, seccomp and keyrings."""
    yield _module("AppArmor", "apparmor", "/process/apparmorProfile", "apparmor=1 security=apparmor")
    yield _module("SELinux", "selinux", "/process/selinuxLabel", "selinux=1 security=selinux")
    yield _landlock()
    yield from _seccomp()
    why = tried(lambda: keyring.join_session_keyring(b"naja-doctor"))
    yield Finding("keyring", why, needed="a session keyring of the container's own", remedy="CONFIG_KEYS")


def _landlock() -> Finding:
    needed, version = "the annotation naja.landlock", landlock.abi()
    least, linux = LEAST
    if version >= least:
        return Finding("landlock", needed=needed, detail=f"version {version}")
    if version:
        why = f"this kernel's is version {version}, and it takes {least}"
        return Finding("landlock", why, needed=needed, remedy=f"Linux {linux}")
    why = "this kernel has none, or it is switched off"
    return Finding("landlock", why, needed=needed, remedy="Linux 5.13, booted with landlock in lsm=")


def _module(name: str, key: str, needed: str, parameters: str) -> Finding:
    try:
        RequireSecurityModule(name, origin="").apply(Context(RUNTIME, lambda text: None))
    except NajaError as error:
        remedy = f"boot with {parameters}, where the kernel has it"
        return Finding(key, str(error), needed=needed, remedy=remedy)
    return Finding(key, needed=needed, detail=first_line("/sys/kernel/security/lsm"))


def _seccomp() -> Iterator[Finding]:
    needed = "/linux/seccomp"
    try:
        version = unpack("=3I", libseccomp.Libseccomp().version())
        yield Finding("libseccomp", needed=needed, detail=".".join(map(str, version)))
    except (NajaError, OSError) as error:
        yield Finding("libseccomp", str(error), needed=needed, remedy="install the package libseccomp2")

    def load(*, listen: bool = False) -> None:
        process.set_no_new_privs()
        listener = seccomp.load(_ALLOW_ALL, 0, listen=listen)
        if listen:
            os.close(listener)

    known = first_line(_ACTIONS).split()
    missing = [name for name, word in _KERNELS.items() if known and word not in known]
    why = tried(load)
    if not why and missing:
        why = f"the kernel has no {', '.join(missing)}"
    yield Finding("seccomp", why, needed=needed, detail=" ".join(known), remedy="CONFIG_SECCOMP_FILTER")
    why = tried(lambda: load(listen=True))
    yield Finding(
        "seccomp-notify", why, needed="/linux/seccomp/listenerPath", remedy="Linux 5.0; one agent only"
    )
