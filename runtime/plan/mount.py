"""An entry of ``mounts`` as data: its words sorted, its paths absolute, what cannot be refused."""

from __future__ import annotations

import os

from ..errors import NajaError, Unsupported
from ..linux import mounts
from ..operations.target import COVERABLE
from .mount_options import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .request import Request


#: File systems that show something of the kernel's, and hold no programs.
_NO_ROOTS = frozenset(("proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2"))


class Mount:
    """One entry of ``mounts``, with its words sorted and its paths made absolute."""

    def __init__(self, entry: dict[str, Any], index: int, bundle: str) -> None:
        """Read the entry; refuse what cannot be. Raises NajaError."""
        self.entry = entry
        self.origin = f"/mounts/{index}"
        #: Of the descriptor, where one outlives an operation.
        self.name = f"mount {index}"
        self.options = MountOptions(entry.get("options") or [], f"{self.origin}/options")
        self.destination = clean(entry["destination"])
        self.kind: str = entry.get("type") or ""
        self.bind = self.kind == "bind" or self.options.bind
        self.source: str = entry.get("source") or ""
        if self.bind and not self.options.remount:
            self.source = os.path.join(bundle, self.source)
        self._check()

    def _check(self) -> None:
        self._check_place()
        if not (self.kind or self.bind or self.options.remount):
            raise NajaError(f"the mount on {self.destination} has no type", origin=self.origin)
        if self.bind and not self.options.remount:
            self._check_bind()
        else:
            self._check_filesystem()

    def _check_place(self) -> None:
        if self.destination == "/" and not self.options.remount:
            self._check_root()
        in_proc = self.destination.startswith("/proc/") and self.destination not in COVERABLE
        if in_proc or (self.destination == "/proc" and not (self.bind or self.kind == "proc")):
            why = "nothing may be mounted inside /proc"
            raise NajaError(f"mount on {self.destination}", why=why, origin=f"{self.origin}/destination")

    def _check_root(self) -> None:
        why = ""
        if self.origin != "/mounts/0":
            why = "it would hide the mounts before it; it has to be the first"
        elif not self.bind and self.kind in _NO_ROOTS:
            why = f"of a {self.kind} file system no container can live"
        if why:
            raise Unsupported("mount over the root file system", why=why, origin=f"{self.origin}/destination")

    def _check_bind(self) -> None:
        if not self.entry.get("source"):
            raise NajaError(f"the bind mount on {self.destination} has no source", origin=self.origin)
        if self.options.copy_up:
            self._refuse("is for a tmpfs", "tmpcopyup")

    def _check_filesystem(self) -> None:
        if self.options.copy_up and self.kind != "tmpfs":
            self._refuse("is for a tmpfs", "tmpcopyup")
        for word in self.options.places:
            if word.startswith(("idmap", "ridmap")) or word in (
                "copy-symlink",
                "src-nofollow",
                "dest-nofollow",
            ):
                self._refuse("is for bind mounts", word)
        if self.entry.get("uidMappings") or self.entry.get("gidMappings"):
            place = f"{self.origin}/uidMappings"
            raise Unsupported("id mappings are for bind mounts", origin=place)

    def _refuse(self, why: str, word: str) -> None:
        what = f"option {word!r} of the mount on {self.destination}"
        raise Unsupported(what, why=f"it {why}", origin=self.options.place(word))

    @property
    def maps_ids(self) -> bool:
        """True where the mount shows other owners than its source."""
        return self.options.idmap or bool(self.entry.get("uidMappings") or self.entry.get("gidMappings"))

    @property
    def readonly_later(self) -> bool:
        """True where it has to be writable until mount points and devices are made on it."""
        if self.options.remount or not (self.is_root or (not self.bind and self._holds_mount_points)):
            return False
        return bool(self.options.all_attributes()[0] & mounts.MOUNT_ATTR_RDONLY)

    @property
    def _holds_mount_points(self) -> bool:
        return self.kind == "tmpfs" or self.destination == "/dev"

    @property
    def is_root(self) -> bool:
        """True where it takes the place of the root file system."""
        return self.destination == "/" and not self.options.remount


def clean(path: str) -> str:
    """Return a path inside the container as an absolute one without dots or doubled slashes."""
    if path[:1] == "/" and not (path[-1] == "/" or "//" in path or "/." in path):
        return path  # Most are, and of masks there may be thousands.
    return os.path.normpath("/" + path.lstrip("/"))


def read_mounts(request: Request) -> list[Mount]:
    """Return the entries of ``mounts`` in their order. Raises NajaError."""
    entries = request.config.get("mounts") or ()
    return [Mount(entry, index, request.bundle) for index, entry in enumerate(entries)]
