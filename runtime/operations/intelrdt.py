"""Operations on the resctrl file system: shares of caches and of memory bandwidth. The runtime's.

config-linux.md, IntelRdt; the kernel's filesystems/resctrl. A *class of service* is a directory with
a ``schemata`` file that says what its processes may use of each resource; a *monitoring group* below
it counts what its processes do use.
"""

from __future__ import annotations

import errno
import os

from ..errors import NajaError, Unsupported
from ..linux.cgroupfs import read, write
from .base import Context, Operation

_ORIGIN = "/linux/intelRdt"


def groups_made(context: Context) -> list[str]:
    """Return the list of resctrl groups made for the container, inner ones last, to read or extend."""
    listed: list[str] = context.values.setdefault("resctrl groups made", [])
    return listed


def mount_point() -> str:
    """Return where resctrl is mounted. Raises Unsupported where it is not."""
    for line in read("/proc/self/mountinfo").split("\n"):
        left, _, right = line.partition(" - ")
        if right.startswith("resctrl "):
            return left.split(" ")[4]
    raise Unsupported("intelRdt", why="no resctrl file system is mounted", origin=_ORIGIN)


class MakeClassOfService(Operation):
    """Make a class of service, or use one that is there."""

    __slots__ = ("lasting", "monitored", "must_exist", "name", "root", "schemata")

    def __init__(
        self,
        name: str,
        schemata: list[str],
        *,
        must_exist: bool,
        lasting: bool,
        monitored: str = "",
        root: str = "",
    ) -> None:
        #: The name of its directory, "" for the one that everything is in by default.
        self.name = name
        #: Lines for its schemata file.
        self.schemata = schemata
        #: True where the config names a class, but not what it may use.
        self.must_exist = must_exist
        #: True where it is to stay when the container is deleted.
        self.lasting = lasting
        #: The name of a monitoring group to make below it, "" for none.
        self.monitored = monitored
        #: Where resctrl is mounted, "" to find out.
        self.root = root
        self.origin = _ORIGIN

    def describe(self) -> str:
        verb = "use" if self.must_exist else "make"
        schemata = f" with {', '.join(self.schemata)}" if self.schemata else ""
        group = f", and monitoring group {self.monitored} in it" if self.monitored else ""
        return f"{verb} resctrl class of service {self.name or '/'}{schemata}{group}"

    def apply(self, context: Context) -> None:
        root = self.root or mount_point()
        directory = f"{root}/{self.name}" if self.name else root
        if os.path.isdir(os.fsencode(directory)):
            _compare(read(f"{directory}/schemata"), self.schemata)
        elif self.must_exist:
            raise NajaError(
                f"resctrl class of service {self.name}", why="it does not exist", origin=f"{_ORIGIN}/closID"
            )
        else:
            self._make_class(context, root, directory)
        if self.monitored:
            _make(f"{directory}/mon_groups/{self.monitored}")
            groups_made(context).append(f"{directory}/mon_groups/{self.monitored}")

    def _make_class(self, context: Context, root: str, directory: str) -> None:
        _make(directory)
        if not self.lasting:
            groups_made(context).append(directory)
        try:
            for line in self.schemata:
                _write_line(root, directory, line)
        except NajaError:
            if self.lasting:
                os.rmdir(os.fsencode(directory))
            raise


def _make(directory: str) -> None:
    """Make a class of service or a monitoring group. Raises NajaError."""
    try:
        os.mkdir(os.fsencode(directory))
    except OSError as error:
        why = "no class is left" if error.errno == errno.ENOSPC else ""
        raise NajaError.from_os_error(
            f"make resctrl group {directory}", error, why=why, origin=_ORIGIN
        ) from None


def _write_line(root: str, directory: str, line: str) -> None:
    try:
        write(f"{directory}/schemata", f"{line}\n")
    except OSError as error:
        # The kernel tells more than a number here.
        why = read(f"{root}/info/last_cmd_status")
        what = f"write {line} to {directory}/schemata"
        raise NajaError.from_os_error(what, error, why=why, origin=_ORIGIN) from None


def _compare(present: str, wanted: list[str]) -> None:
    """Refuse a class that somebody else made, where it does not have what the config asks for."""
    found = _parse(present.split("\n"))
    for key, value in _parse(wanted).items():
        if found.get(key) != value:
            resource, domain = key
            raise NajaError(
                f"resctrl schemata {resource}:{domain}={value}",
                why=f"the class of service exists and has {found.get(key, 'nothing')} there",
                origin=_ORIGIN,
            )


def _parse(lines: list[str]) -> dict[tuple[str, str], str]:
    """Return the value of each (resource, domain) in lines like "L3:0=7f0;1=1f"."""
    values = {}
    for line in lines:
        resource, _, domains = line.strip().partition(":")
        for domain in domains.split(";") if domains else ():
            number, _, value = domain.partition("=")
            # Bit masks come back with zeros in front; bandwidth with blanks.
            values[resource, str(int(number))] = value.strip().lower().lstrip("0") or "0"
    return values


class EnterClassOfService(Operation):
    """Put the container's process into its class of service, or its monitoring group there."""

    __slots__ = ("group", "root")

    def __init__(self, group: str, *, root: str = "") -> None:
        #: Its path below the mount point ("class/mon_groups/ID").
        self.group = group
        self.root = root
        self.origin = _ORIGIN

    def describe(self) -> str:
        return f"enter resctrl group {self.group or '/'}"

    def apply(self, context: Context) -> None:
        write(f"{self.root or mount_point()}/{self.group}/tasks", str(context.pid))
