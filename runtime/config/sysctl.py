"""Names of kernel parameters, and the namespaces that have some to themselves (sysctl.d(5))."""

from __future__ import annotations

#: Kernel parameters that belong to an IPC namespace, ipc_namespaces(7); fs.mqueue.* too.
_IPC_SYSCTLS = {
    *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
    *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
}


def namespace_of(key: str) -> str:
    """Return the type of the namespaces that have a kernel parameter to themselves, "" for none."""
    if key in _IPC_SYSCTLS or key.startswith("fs.mqueue."):
        return "ipc"
    if key.startswith("net."):
        return "network"
    if key == "kernel.domainname":
        return "uts"
    return "user" if key.startswith("user.") else ""


def sysctl_key(name: str) -> str:
    """Return the name of a kernel parameter with dots between its parts, as sysctl(8) takes both.

    Where a slash comes first, slashes separate, and a dot is part of a name: net/ipv4/conf/a.b/x.
    """
    slash, dot = name.find("/"), name.find(".")
    if slash < 0 or 0 <= dot < slash:
        return name
    return name.translate({ord("/"): ".", ord("."): "/"})
