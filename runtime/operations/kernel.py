"""Operations on what a namespace keeps of its own: names, sysctls, the loopback device."""

from __future__ import annotations

import fcntl
import os
import struct

from ..errors import NajaError
from ..linux import namespaces, process
from ..linux.files import open_beneath
from ..linux.network import control_socket
from .base import Context, Operation

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
# struct ifreq: name, flags, and the rest of its union
_IFREQ = struct.Struct("=16sH22x")


class RefuseHostNamespace(Operation):
    """Refuse a namespace joined by path that is the runtime's own, where the config would change it."""

    __slots__ = ("kind", "path")

    def __init__(self, kind: str, path: str, *, origin: str) -> None:
        self.origin = origin
        self.kind = kind
        self.path = path

    def describe(self) -> str:
        return f"check that {self.path} is not the host's {self.kind} namespace"

    def apply(self, context: Context) -> None:
        theirs = os.stat(self.path)
        own = os.stat(f"/proc/self/ns/{namespaces.file_name(self.kind)}")
        if (theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino):
            raise NajaError(
                f"this would change the host's {self.kind} namespace", why=f"{self.path} leads there"
            )


class SetHostname(Operation):
    """Set the host name of the container's UTS namespace (config.md, Hostname)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.origin = "/hostname"
        self.name = name

    def describe(self) -> str:
        return f"set the host name to {self.name}"

    def apply(self, context: Context) -> None:
        namespaces.set_hostname(os.fsencode(self.name))


class SetDomainname(Operation):
    """Set the NIS domain name of the container's UTS namespace (config.md, Domainname)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.origin = "/domainname"
        self.name = name

    def describe(self) -> str:
        return f"set the domain name to {self.name}"

    def apply(self, context: Context) -> None:
        namespaces.set_domainname(os.fsencode(self.name))


class WriteSysctl(Operation):
    """Set a kernel parameter of one of the container's namespaces (config-linux.md, Sysctl)."""

    __slots__ = ("key", "path", "value")

    def __init__(self, key: str, path: str, value: str, *, origin: str) -> None:
        self.origin = origin
        self.key = key
        #: Below /proc/sys.
        self.path = path
        self.value = value

    def describe(self) -> str:
        return f"set sysctl {self.key} to {self.value}"

    def apply(self, context: Context) -> None:
        descriptor = open_beneath(context.descriptors["proc"], f"sys/{self.path}", os.O_WRONLY)
        try:
            os.write(descriptor, os.fsencode(self.value))
        finally:
            os.close(descriptor)

    def explain(self, error: OSError, context: Context) -> str:
        from . import reasons

        return reasons.of_sysctl(context.descriptors.get("proc", -1), self.path, error)


class RaiseLoopback(Operation):
    """Bring up the loopback device of a new network namespace (netdevice(7))."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "bring up the loopback device"

    def apply(self, context: Context) -> None:
        control = control_socket()
        try:
            request = fcntl.ioctl(control, _SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
            name, flags = _IFREQ.unpack(request)
            fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(name, flags | _IFF_UP))
        finally:
            os.close(control)


class SetPersonality(Operation):
    """Set the execution domain, which decides what uname(2) says (personality(2))."""

    __slots__ = ("domain", "persona")

    def __init__(self, domain: str, persona: int) -> None:
        self.origin = "/linux/personality/domain"
        self.domain = domain
        self.persona = persona

    def describe(self) -> str:
        return f"set the personality to {self.domain}"

    def apply(self, context: Context) -> None:
        process.personality(self.persona)
