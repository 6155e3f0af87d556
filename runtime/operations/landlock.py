"""Operations that put the container's process under rules of Landlock (annotation ``naja.landlock``)."""

from __future__ import annotations

import os
import stat
from errno import ELOOP

from ..errors import NajaError, Unsupported
from ..linux import landlock
from ..linux.files import open_in_root
from .base import Context, Operation

_RULESET = "landlock"


class MakeLandlockRules(Operation):
    """Make a set of rules, while everything in the root can be reached; nobody is under it yet."""

    __slots__ = ("files", "needed", "net", "paths", "ports", "scope")

    def __init__(
        self,
        paths: list[tuple[str, int]],
        ports: list[tuple[int, int]],
        denied: tuple[int, int, int],
        needed: tuple[int, str],
        *,
        origin: str,
    ) -> None:
        self.origin = origin
        #: What is allowed: (path, rights), (port, rights).
        self.paths = paths
        self.ports = ports
        #: What is denied else: rights to files and to ports, and what is kept in here.
        self.files, self.net, self.scope = denied
        #: The version of Landlock that knows these, and the first Linux with it.
        self.needed = needed

    def describe(self) -> str:
        allowed = [f"{path} ({_rights(access)})" for path, access in self.paths]
        for words, right in (("bind", landlock.BIND_TCP), ("connect to", landlock.CONNECT_TCP)):
            if self.net & right:
                ports = [str(port) for port, access in self.ports if access & right]
                allowed.append(f"{words} TCP ports {', '.join(ports) or 'none'}")
        allowed += [f"no {name} beyond" for name, bit in landlock.SCOPES.items() if self.scope & bit]
        return f"make Landlock rules: {'; '.join(allowed) or 'no file'}"

    def apply(self, context: Context) -> None:
        version, linux = self.needed
        found = landlock.abi()
        if found < version:
            has = f"this kernel's is {found}" if found else "this kernel has none, or it is switched off"
            why = f"it takes version {version}, of Linux {linux}, and {has}"
            raise Unsupported("Landlock", why=why, origin=self.origin)
        rules = landlock.create_ruleset(self.files, self.net, self.scope)
        for path, access in self.paths:
            self._allow(rules, path, access)
        for port, access in self.ports:
            landlock.allow_port(rules, port, access)
        context.descriptors[_RULESET] = rules

    def _allow(self, rules: int, path: str, access: int) -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A link of the image's would let that choose what is allowed.
            descriptor = open_in_root(root, path, os.O_PATH, symlinks=False)
        except OSError as error:
            why = "a symbolic link leads there: name what it leads to" if error.errno == ELOOP else ""
            raise NajaError.from_os_error(
                f"allow {path} by Landlock", error, why=why, origin=self.origin
            ) from None
        finally:
            os.close(root)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                access &= landlock.OF_FILES
            if access:
                landlock.allow_beneath(rules, descriptor, access)
        finally:
            os.close(descriptor)


def _rights(access: int) -> str:
    return " ".join(name for name, bit in landlock.ACCESS.items() if access & bit)


class ObeyLandlock(Operation):
    """Put this process, and all that comes of it, under the rules for good."""

    __slots__ = ()

    def __init__(self, *, origin: str) -> None:
        self.origin = origin

    def describe(self) -> str:
        return "be under the Landlock rules from now on"

    def apply(self, context: Context) -> None:
        rules = context.take(_RULESET)
        try:
            landlock.restrict_self(rules)
        finally:
            os.close(rules)
