"""From config.json to what the kernel keeps for each namespace: names of the host, sysctls. Pure."""

from __future__ import annotations

from ..config.pattern import escape
from ..config.sysctl import namespace_of, sysctl_key
from ..errors import NajaError, Unsupported
from ..operations.kernel import RaiseLoopback, RefuseHostNamespace, SetDomainname, SetHostname, WriteSysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..operations.base import Operation
    from .request import Request


def prepare(request: Request) -> list[Operation]:
    """Return checks that namespaces joined by path which the container changes are not the host's."""
    config, paths = request.config, request.namespaces()
    origins: dict[str, str] = {}
    if config.get("hostname") or config.get("domainname"):
        origins["uts"] = "/hostname" if config.get("hostname") else "/domainname"
    for key in (config.get("linux") or {}).get("sysctl") or {}:
        origins.setdefault(namespace_of(sysctl_key(key)), _sysctl_origin(key))
    if paths.get("mount"):
        # Its root would be exchanged, and all that is mounted stay there.
        origins["mount"] = f"{request.namespace_origin('mount')}/path"
    return [
        RefuseHostNamespace(kind, paths[kind], origin=origin)
        for kind, origin in origins.items()
        if paths.get(kind)
    ]


def change(request: Request) -> list[Operation]:
    """Return what the init does to the container's new namespaces."""
    config, namespaces = request.config, request.namespaces()
    operations: list[Operation] = []
    if namespaces.get("network") == "":
        operations.append(RaiseLoopback(origin=request.namespace_origin("network")))
    for name, kind in (("hostname", SetHostname), ("domainname", SetDomainname)):
        if config.get(name):
            if "uts" not in namespaces:
                raise NajaError(f"{name} needs a uts namespace", origin=f"/{name}")
            operations.append(kind(config[name]))
    for key, value in ((config.get("linux") or {}).get("sysctl") or {}).items():
        operations.append(_sysctl(key, value, namespaces))
    return operations


def _sysctl(key: str, value: str, namespaces: dict[str, str]) -> Operation:
    origin = _sysctl_origin(key)
    name = sysctl_key(key)
    if name == "kernel.hostname":
        raise Unsupported(f"sysctl {key}", why="that is what /hostname is for", origin=origin)
    kind = namespace_of(name)
    if not kind:
        raise Unsupported(f"sysctl {key}", why="it is the host's, whatever the namespaces", origin=origin)
    if kind not in namespaces:
        raise Unsupported(f"sysctl {key}", why=f"without a {kind} namespace it is the host's", origin=origin)
    # "." separates, and "/" stands for a dot within a name (sysctl.d(5)): net.ipv4.conf.eth0/1.mtu
    path = "/".join(part.replace("/", ".") for part in name.split("."))
    if not all(part.strip(".") for part in path.split("/")):
        raise NajaError(f"sysctl {key} is not a valid name", origin=origin)
    return WriteSysctl(key, path, value, origin=origin)


def _sysctl_origin(key: str) -> str:
    return f"/linux/sysctl/{escape(key)}"
